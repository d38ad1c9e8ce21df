"""A line of versions of a model: its checkpoint, what it keeps of earlier domains, and who was never taught."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from hdt_fm.checkpoint import Model, load, load_preprocess, save_model
from hdt_fm.checkpoint.folder import read_record
from hdt_fm.schema.errors import CheckpointError
from hdt_fm.schema.manifest import Preprocess
from hdt_fm.schema.preparation import Plain
from hdt_fm.training.updating.anchors import Anchor
from hdt_fm.training.updating.kept import load_anchors, load_memory, save_anchors, save_memory
from hdt_fm.training.updating.memory import Memory

CHECKPOINT, DOMAINS = "checkpoint", "domains.json"


class Domain(Plain):
    """A domain that the head has learned.

    Attributes:
        name: As it stands in ledger and memory.
        shards: Digest of the shard folder.
        asked: Pseudonyms of those who were never taught: scores rest on them, in this update and in later ones.
        taught: How many people were.
        score: Error right after the domain was learned, in the unit of the series; what forgetting is measured from.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    shards: str
    asked: tuple[str, ...]
    taught: int
    score: float


class Domains(Plain):
    """`domains.json` of a version."""

    version: int = 1
    head: str
    strategy: str
    domains: tuple[Domain, ...]


@dataclass(frozen=True)
class State:
    """All of a version."""

    model: Model
    preprocess: Preprocess
    domains: Domains
    memory: Memory | None = None
    anchors: tuple[Anchor, ...] = ()

    @property
    def head(self) -> Any:
        return self.model.heads[self.domains.head]

    def with_domains(self, domains: Sequence[Domain]) -> "State":
        """The same with other domains."""
        return replace(self, domains=self.domains.model_copy(update={"domains": tuple(domains)}))

    def write(self, folder: Path) -> None:
        """Into a folder that is being filled."""
        save_model(self.model, folder / CHECKPOINT, preprocess=self.preprocess)
        (folder / DOMAINS).write_text(json.dumps(self.domains.model_dump(), indent=1) + "\n")
        if self.memory is not None:
            save_memory(folder, self.memory)
        save_anchors(folder, self.anchors)

    @classmethod
    def read(cls, folder: Path) -> "State":
        """What `write` wrote.

        Raises:
            CheckpointError: If the folder's versions are of something else, or a file does not fit its contract.
        """
        if not (folder / DOMAINS).is_file():
            raise CheckpointError(
                "These versions are not of a model",
                where="update.line",
                expected=f"{CHECKPOINT}/ and {DOMAINS} in a version",
                fix="name another folder (a person's twin goes on with `hdt-fm twin update`)",
            )
        return cls(
            model=load(folder / CHECKPOINT),
            preprocess=load_preprocess(folder / CHECKPOINT),
            domains=read_record(folder / DOMAINS, Domains),
            memory=load_memory(folder),
            anchors=load_anchors(folder),
        )
