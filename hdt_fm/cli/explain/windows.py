"""Which windows are explained: one, some of a person, or some of each person of a cohort."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hdt_fm.cli.held_out import people_of_checkpoint
from hdt_fm.cli.settings import ExplainSettings
from hdt_fm.data.shards import ShardFolder
from hdt_fm.explain.cohort.cells import MINIMUM_CELL
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ConfigError


@dataclass(frozen=True)
class Asked:
    """Windows to explain.

    Attributes:
        positions: Of the windows in the shard folder, person by person, in order of time.
        scope: `window`, `person` or `cohort`.
    """

    batch: Batch
    positions: NDArray[np.int64]
    scope: Literal["window", "person", "cohort"]

    def __len__(self) -> int:
        return len(self.positions)


def windows_asked(folder: ShardFolder, settings: ExplainSettings, pretrained: Path) -> Asked:
    """The windows that the settings name.

    Args:
        pretrained: The encoder's checkpoint; of a cohort only people whom it never saw are shown, unless all are asked.

    Raises:
        ConfigError: If there is no such person or window, one is named that the scope does not ask for, or a cohort
            has fewer people than may be shown.
    """
    _refuse_unread(settings)
    if settings.scope == "cohort":
        rows = _people(folder, settings, pretrained)
        if len(rows) < MINIMUM_CELL:
            raise ConfigError(
                "A report of so few people would tell of single ones",
                where="explain.people",
                expected=f"windows of at least {MINIMUM_CELL} people",
                got=f"{len(rows)}",
                fix="explain.people=all, or a report of one person (explain.scope=person)",
            )
        positions = np.concatenate([_spread(_of_person(folder, row), settings.windows) for row in rows])
    else:
        positions = _one_person(folder, settings)
    return Asked(folder.gather(positions), positions, settings.scope)


def _people(folder: ShardFolder, settings: ExplainSettings, pretrained: Path) -> list[int]:
    """Rows of the manifest whose people have windows; those kept out of pretraining, or all."""
    here = sorted({int(row) for row in folder.subject_rows})
    if settings.people == "all":
        return here
    unseen = set(people_of_checkpoint(pretrained)["test"])
    chosen = [row for row in here if folder.manifest.subjects[row].subject in unseen]
    if not chosen:
        raise ConfigError(
            "No window of a person whom the encoder never saw is in these shards",
            where="explain.people",
            expected="the shards that it was pretrained on, or explain.people=all",
        )
    return chosen


def _refuse_unread(settings: ExplainSettings) -> None:
    """Nobody is shown another window or person than the one that was named."""
    for name, scopes in (("window", ("window",)), ("subject", ("window", "person"))):
        if getattr(settings, name) is not None and settings.scope not in scopes:
            raise ConfigError(
                f"A {name} is named, and the report is of a {settings.scope}",
                where=f"explain.{name}",
                fix=f"say explain.scope={scopes[-1]}, or leave explain.{name} out",
            )


def _one_person(folder: ShardFolder, settings: ExplainSettings) -> NDArray[np.int64]:
    row = int(folder.subject_rows.min()) if settings.subject is None else settings.subject
    own = _of_person(folder, row)
    if not len(own):
        raise ConfigError(
            f"There is no window of subject row {row}",
            where="explain.subject",
            expected=f"one of: {_listed(sorted({int(row) for row in folder.subject_rows}))}",
        )
    if settings.scope == "person":
        return _spread(own, settings.windows)
    number = settings.window or 0
    if number >= len(own):
        raise ConfigError(
            f"There is no window {number} of subject row {row}",
            where="explain.window",
            expected=f"0 to {len(own) - 1}, in order of time",
        )
    return own[[number]]


def _listed(rows: list[int]) -> str:
    """Rows as a reader takes them in: runs as a range."""
    starts = [row for row in rows if row - 1 not in rows]
    ends = [row for row in rows if row + 1 not in rows]
    return ", ".join(
        f"{start} to {end}" if end > start else str(start) for start, end in zip(starts, ends, strict=True)
    )


def _of_person(folder: ShardFolder, row: int) -> NDArray[np.int64]:
    own = np.flatnonzero(folder.subject_rows == row)
    return own[np.argsort(folder.t0_ns[own], kind="stable")]


def _spread(own: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return own[np.linspace(0, len(own) - 1, min(count, len(own))).astype(int)]
