"""Pass 2 of a build: which window goes where."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_pipelines.work import VisitFacts
from hdt_fm.schema.errors import ShardError, SplitError
from hdt_fm.schema.permutation import keyed_permutation
from hdt_fm.schema.preparation import Preparation
from hdt_fm.schema.shard import LabelColumn, ModalityColumn, ShardHeader, SubjectRow


@dataclass(frozen=True)
class Places:
    """Windows of one split in the order they are written: visit by number, row in its work file."""

    visit: NDArray[np.int64]
    row: NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """Where each window goes.

    Attributes:
        first_id: Window id of each visit's first window.
        subject_row: Row of `subjects` per visit.
        training: Visits whose numbers may choose an encoding: the split `train`, or all if there is none.
    """

    visits: tuple[VisitFacts, ...]
    splits: Mapping[str, Places]
    subjects: tuple[SubjectRow, ...]
    subject_row: NDArray[np.int32]
    first_id: NDArray[np.int64]
    training: tuple[VisitFacts, ...]
    labels: tuple[LabelColumn, ...]

    def header(self, columns: Sequence[ModalityColumn], preparation: Preparation) -> ShardHeader:
        return ShardHeader(
            modalities=tuple(columns),
            labels=self.labels,
            window_s=preparation.window_s,
            hop_s=preparation.hop_s,
        )


def make_plan(visits: Sequence[VisitFacts], *, shares: Mapping[str, float], seed: int) -> Plan:
    """Assign people to splits and windows to places: a seeded permutation over the whole split mixes people.

    Raises:
        SplitError: If a split would hold no window.
        ShardError: If visits disagree about a label or about a person.
    """
    subjects = _subject_table(visits)
    rows = {subject.subject: row for row, subject in enumerate(subjects)}
    names = list(shares)
    group_home = {row.group: _split_of(row.group, shares, seed) for row in subjects}
    home = np.array([group_home[visit.group] for visit in visits])
    counts = np.array([visit.windows for visit in visits], dtype=np.int64)
    places = {}
    for part, split in enumerate(shares):
        members = np.flatnonzero(home == part)
        visit = np.repeat(members, counts[members])
        if not len(visit):
            raise SplitError(
                f"Split {split!r} would be empty",
                got=f"{len(subjects)} people, shares {dict(shares)}",
                fix="give it a larger share, use another seed, or split later by subject",
            )
        row = np.concatenate([np.arange(count) for count in counts[members]])
        order = keyed_permutation(len(visit), seed, part=part)
        places[split] = Places(visit[order], row[order])
    train = names.index("train") if "train" in shares else None
    return Plan(
        visits=tuple(visits),
        splits=places,
        subjects=tuple(row.model_copy(update={"split": names[group_home[row.group]]}) for row in subjects),
        subject_row=np.array([rows[visit.subject] for visit in visits], dtype=np.int32),
        first_id=np.concatenate([[0], np.cumsum(counts)[:-1]]),
        training=tuple(v for v, split in zip(visits, home, strict=True) if train is None or split == train),
        labels=_label_table(visits),
    )


def _split_of(group: str, shares: Mapping[str, float], seed: int) -> int:
    digest = hashlib.sha256(f"{seed}\x1f{group}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return min(int(np.searchsorted(np.cumsum(list(shares.values())), place, side="right")), len(shares) - 1)


def _subject_table(visits: Sequence[VisitFacts]) -> tuple[SubjectRow, ...]:
    rows: dict[str, SubjectRow] = {}
    for visit in visits:
        old = rows.get(visit.subject) or SubjectRow(
            subject=visit.subject, group=visit.group, windows=0, hours=0.0, covariates=visit.covariates
        )
        if old.group != visit.group or old.covariates != visit.covariates:
            raise ShardError(
                "Two visits of one person differ in group or covariates",
                where=f"subject {visit.subject}",
                fix="correct the subject table of the cohort, or give different people different ids",
            )
        rows[visit.subject] = old.model_copy(
            update={"windows": old.windows + visit.windows, "hours": round(old.hours + visit.hours, 6)}
        )
    return tuple(rows[subject] for subject in sorted(rows))


def _label_table(visits: Sequence[VisitFacts]) -> tuple[LabelColumn, ...]:
    table: dict[str, LabelColumn] = {}
    for visit in visits:
        for label in visit.labels:
            if table.setdefault(label.name, label) != label:
                raise ShardError(
                    f"Visits disagree about label {label.name!r}",
                    expected="one kind, unit and list of classes in all visits",
                    fix="make the cohort give the same label track everywhere, or rename one of them",
                )
    return tuple(table[name] for name in sorted(table))
