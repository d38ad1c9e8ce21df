"""Who taught the checkpoint, who watched over it and whom it was kept from, in the shards of a run."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from hdt_fm.checkpoint import model_digest
from hdt_fm.checkpoint.model import Model
from hdt_fm.cli.cohorts import Cohorts, People
from hdt_fm.cli.compose import Config
from hdt_fm.cli.held_out import PARTS, PEOPLE_NAME, people_of_checkpoint
from hdt_fm.data.shards import ShardFolder
from hdt_fm.report.check import PROVENANCE_NAME, Provenance
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.result import RunRecord

AS_MADE = "give the experiment, seed and shards that the checkpoint was made with"


@dataclass(frozen=True)
class Roll:
    """Everyone with windows, cohort after cohort.

    Attributes:
        cohort: Number of each person's cohort, in the order of `cohorts`.
        row: Row of the manifest's subject table.
        group: People of one group stay together.
        part: 0 taught, 1 watched, 2 was kept out (as `PARTS`).
    """

    cohorts: Cohorts
    cohort: Int[np.ndarray, " person"]
    row: Int[np.ndarray, " person"]
    group: tuple[str, ...]
    part: Int[np.ndarray, " person"]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.cohorts.folders)

    def folder(self, person: int) -> ShardFolder:
        """Shards of a person."""
        return self.cohorts.folders[self.names[self.cohort[person]]]

    def taught_by(self, chosen: Bool[np.ndarray, " person"]) -> Cohorts:
        """The cohorts with these people to learn from, and nobody to watch."""
        nobody = np.zeros(0, dtype=np.int64)
        people = {
            name: People(np.sort(self.row[chosen & (self.cohort == number)]).astype(np.int64), nobody, nobody)
            for number, name in enumerate(self.names)
        }
        return replace(self.cohorts, people=people)


def roll_of(config: Config, checkpoint: Path, cohorts: Cohorts) -> Roll:
    """Everyone, by what they were to the checkpoint.

    A run's checkpoint says it in `people.json` beside it. A published one holds no pseudonym: then the split of the
    config counts, if the published provenance names these inputs, this seed and this number of people.

    Raises:
        ConfigError: If neither says it, or the shards hold nobody of the checkpoint's people.
    """
    if not (checkpoint.parent / PEOPLE_NAME).is_file() and (checkpoint / PROVENANCE_NAME).is_file():
        _refuse_other_split(config, checkpoint / PROVENANCE_NAME, cohorts)
        named = {part: cohorts.pseudonyms(part) for part in PARTS}
    else:
        named = {part: frozenset(names) for part, names in people_of_checkpoint(checkpoint).items()}
    found: list[tuple[int, int, str, int]] = []
    for number, folder in enumerate(cohorts.folders.values()):
        for row, subject in enumerate(folder.manifest.subjects):
            parts = [place for place, part in enumerate(PARTS) if subject.subject in named[part]]
            if parts and bool((folder.subject_rows == row).any()):
                found.append((number, row, f"{number} {subject.group}", parts[0]))
    if not found:
        raise ConfigError("Nobody of the checkpoint's people is in these shards", where="shards", fix=AS_MADE)
    return Roll(
        cohorts,
        cohort=np.array([one[0] for one in found]),
        row=np.array([one[1] for one in found]),
        group=tuple(one[2] for one in found),
        part=np.array([one[3] for one in found]),
    )


def refuse_other_checkpoint(model: Model, checkpoint: Path) -> None:
    """Refuse a checkpoint beside the record of another one: its list of people would be another's.

    Raises:
        ConfigError: If the record beside it names another model.
    """
    record = checkpoint.parent / "result.json"
    if not record.is_file() or not (checkpoint.parent / PEOPLE_NAME).is_file():
        return
    said = RunRecord.model_validate_json(record.read_bytes()).provenance.get("model")
    if said is not None and said != model_digest(model):
        raise ConfigError(
            "The list of people beside this checkpoint is of another model",
            where=str(checkpoint.parent / PEOPLE_NAME),
            expected=f"model {str(said)[:12]}",
            got=model_digest(model)[:12],
            fix="audit the checkpoint where `hdt-fm pretrain` left it",
        )


def _refuse_other_split(config: Config, path: Path, cohorts: Cohorts) -> None:
    provenance = Provenance.model_validate_json(path.read_bytes())
    pretrained = [record for record in provenance.records if record.verb == "pretrain"]
    here = {folder.manifest.input_digest for folder in cohorts.folders.values()}
    said: dict[str, object] = {
        "files that the shards come from": sorted(one.input_digest[:12] for one in provenance.data),
        "seed": pretrained[-1].provenance.get("seed") if pretrained else None,
        "people in training": pretrained[-1].summary.get("people in training") if pretrained else None,
    }
    ours: dict[str, object] = {
        "files that the shards come from": sorted(digest[:12] for digest in here),
        "seed": int(config.value("seed")),
        "people in training": len(cohorts.pseudonyms("train")),
    }
    for name, value in said.items():
        if value != ours[name]:
            raise ConfigError(
                f"It is not known whom this encoder saw: {name} differ from the published provenance",
                where=path.name,
                expected=str(value),
                got=str(ours[name]),
                fix=AS_MADE,
            )
