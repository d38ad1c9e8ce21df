"""A line of versions of a model: its checkpoint, what it keeps of earlier domains, and who was never taught."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import Field
from torch import Tensor

from hdt_fm.checkpoint import Model, load, load_preprocess, save_model
from hdt_fm.checkpoint.folder import read_record
from hdt_fm.schema.errors import CheckpointError, unknown_name
from hdt_fm.schema.manifest import Preprocess
from hdt_fm.schema.preparation import Plain
from hdt_fm.schema.shard import LabelColumn
from hdt_fm.training.updating.adapters import onto
from hdt_fm.training.updating.anchors import Anchor
from hdt_fm.training.updating.kept import (
    load_adapters,
    load_anchors,
    load_memory,
    save_adapters,
    save_anchors,
    save_memory,
)
from hdt_fm.training.updating.memory import Memory

CHECKPOINT, DOMAINS = "checkpoint", "domains.json"


class Domain(Plain):
    """A domain that the head has learned.

    Attributes:
        name: As it stands in ledger and memory.
        shards: Digest of the shard folder.
        asked: Pseudonyms of those who are never taught: scores rest on them, in this update and in later ones.
        teachers: Pseudonyms of those who taught, or said how wide intervals must be: they are never asked.
        treatments: Whether what was given to them was told beside.
        score: Of those asked right after the domain was learned; what forgetting is measured from. None once somebody
            of them has withdrawn.
        lost: How much worse the head got on it since, in the measure of the score: all updates together.
        unjudged: Updates that were accepted although nobody could say what they lost of it; not in `lost`.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    shards: str
    asked: tuple[str, ...]
    teachers: tuple[str, ...]
    treatments: bool
    score: float | None
    lost: float = 0.0
    unjudged: int = 0


class Domains(Plain):
    """`domains.json` of a version.

    Attributes:
        label: What a head of labels answers: its classes in order, or its unit. None where the head says it itself.
        updates: How often the head has learned one more domain.
        newest: Scores of the newest of these, as in the ledger.
    """

    version: int = 1
    head: str
    strategy: str
    domains: tuple[Domain, ...]
    label: LabelColumn | None = None
    updates: int = 0
    newest: dict[str, float] = {}


@dataclass(frozen=True)
class State:
    """All of a version.

    Attributes:
        memory, anchors: What the strategy keeps of the domains.
        adapters: Domain -> changes of its own beside the shared head.
    """

    model: Model
    preprocess: Preprocess
    domains: Domains
    memory: Memory | None = None
    anchors: tuple[Anchor, ...] = ()
    adapters: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)

    @property
    def head(self) -> Any:
        return self.model.heads[self.domains.head]

    def model_of(self, domain: str | None) -> Model:
        """The model as a domain has it; the shared one where it has nothing of its own, or none is named.

        Raises:
            UnknownNameError: If the line has not learned the domain.
        """
        names = [one.name for one in self.domains.domains]
        if domain is not None and domain not in names:
            raise unknown_name("domain", domain, names, where="domain")
        if domain is None or domain not in self.adapters:
            return self.model
        model = copy.deepcopy(self.model)
        model.heads[self.domains.head] = onto(self.head, self.adapters[domain])
        return model

    def with_domains(self, domains: Sequence[Domain], **more: Any) -> "State":
        """The same with other domains, and `more` of what `Domains` holds."""
        return replace(self, domains=self.domains.model_copy(update={"domains": tuple(domains), **more}))

    def write(self, folder: Path) -> None:
        """Into a folder that is being filled."""
        save_model(self.model, folder / CHECKPOINT, preprocess=self.preprocess)
        (folder / DOMAINS).write_text(json.dumps(self.domains.model_dump(), indent=1) + "\n")
        if self.memory is not None:
            save_memory(folder, self.memory)
        save_anchors(folder, self.anchors)
        save_adapters(folder, self.adapters)

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
            adapters=load_adapters(folder),
        )
