"""The leak auditor: it runs before any model is fitted, and what it refuses is not scored.

Each check names how many rows, people or windows are at fault, never which.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Num

from hdt_fm.evaluation.folds import Fold
from hdt_fm.schema.covariates import as_number, known
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import LeakError

TIME_TOLERANCE_S = 1e-3


@dataclass(frozen=True)
class FittedOn:
    """Which groups a fitted statistic, scaler or model has seen."""

    groups: frozenset[int]

    @classmethod
    def of(cls, group: Int[np.ndarray, " row"]) -> "FittedOn":
        """The groups of the rows that something is about to be fitted on."""
        return cls(frozenset(int(one) for one in np.unique(group)))


@dataclass(frozen=True)
class Pretraining:
    """Whom the encoder saw in pretraining, from its checkpoint's record.

    Attributes:
        subjects: Pseudonyms; one set for all folds, or one a fold where the encoder was made per fold.
        declared: Test people among them are accepted, and the table says so.
    """

    subjects: tuple[frozenset[str], ...]
    declared: bool = False

    def seen(self, fold: int) -> frozenset[str]:
        """Whom the encoder of this fold saw."""
        return self.subjects[0 if len(self.subjects) == 1 else fold]


def audit(
    table: EmbeddingTable,
    folds: Sequence[Fold],
    *,
    features: Sequence[Num[np.ndarray, "row feature"]] = (),
    pretraining: Pretraining | None = None,
) -> dict[str, str]:
    """Run every check that can run before fitting.

    Args:
        table: Table on which the folds will be used.
        folds: Folds made from `table.group`.
        features: Further inputs, one row a window; a row with the same content on both sides is refused.
        pretraining: Whom the encoder saw; None when its checkpoint does not say.

    Returns:
        Each check and how it ended, for the Result's protocol.

    Raises:
        LeakError: At the first leak.
    """
    refuse_wrong_rows(folds, group=table.group)
    contents = [row_digests(np.asarray(x)) for x in (_embeddings_in_rows(table), *features)]
    for fold in folds:
        refuse_shared_groups(fold, group=table.group)
        refuse_shared_windows(fold, window_id=table.window_id)
        refuse_overlap(fold, subject=table.subject, time_s=table.time_s, window_s=table.window_s)
        for content in contents:
            refuse_equal_content(fold, content=content)
    return {
        "groups": "disjoint",
        "window ids": "disjoint",
        "time overlap": "none",
        "equal content": "none",
        "pretraining": check_pretraining(folds, table=table, pretraining=pretraining),
    }


def refuse_wrong_rows(folds: Sequence[Fold], *, group: Int[np.ndarray, " row"]) -> None:
    """Refuse folds made from another table, such as positions in a subset used as rows of the whole.

    This is the index slip found in published code: the numbers are valid, so nothing fails, but they
    point at other people. A fold remembers its table's length and its test people; both must agree.
    """
    for number, fold in enumerate(folds):
        where = f"fold {number + 1} of {len(folds)}"
        if fold.rows != len(group):
            raise LeakError(
                "The folds were made from another table than the one in use",
                expected=f"folds of {len(group)} rows",
                got=f"folds of {fold.rows} rows",
                where=where,
                fix="make the folds from the group column of this very table; subsets have their own row numbers",
            )
        if len(fold.test) == 0 or frozenset(int(one) for one in np.unique(group[fold.test])) != fold.test_groups:
            raise LeakError(
                "The test rows of a fold do not hold the people that the fold was made for",
                expected=f"{len(fold.test_groups)} groups, those recorded in the fold",
                where=where,
                fix="make the folds from the group column of this very table; check for reordered or subset rows",
            )


def refuse_shared_groups(fold: Fold, *, group: Int[np.ndarray, " row"]) -> None:
    """Refuse a group with windows in both training and test."""
    shared = np.intersect1d(group[fold.train], group[fold.test])
    if len(shared):
        raise LeakError(
            "Groups lie in both training and test",
            expected="every window of a group on one side",
            got=f"{len(shared)} shared groups",
            fix="split with grouped_folds or leave_one_group_out",
        )


def refuse_shared_windows(fold: Fold, *, window_id: Int[np.ndarray, " row"]) -> None:
    """Refuse a window that is on both sides, as repeated rows of a joined table can be."""
    shared = np.intersect1d(window_id[fold.train], window_id[fold.test])
    if len(shared):
        raise LeakError(
            "Windows lie in both training and test",
            expected="each window id on one side",
            got=f"{len(shared)} shared windows",
            fix="remove repeated rows, or give cohorts that are joined distinct window ids",
        )


def refuse_overlap(
    fold: Fold, *, subject: Int[np.ndarray, " row"], time_s: Num[np.ndarray, " row"], window_s: float
) -> None:
    """Refuse a training and a test window of one person that share measured time."""
    overlapping = 0
    for person in np.intersect1d(subject[fold.train], subject[fold.test]):
        train = np.sort(time_s[fold.train[subject[fold.train] == person]])
        test = time_s[fold.test[subject[fold.test] == person]]
        right = np.searchsorted(train, test).clip(max=len(train) - 1)
        nearest = np.minimum(abs(train[right] - test), abs(train[(right - 1).clip(min=0)] - test))
        overlapping += int((nearest < window_s - TIME_TOLERANCE_S).sum())
    if overlapping:
        raise LeakError(
            "Windows of one person overlap in time across training and test",
            expected=f"starts at least {window_s:g} s apart",
            got=f"{overlapping} test windows overlap a training window",
            fix="keep a person on one side, or leave a gap of one window between the sides",
        )


def row_digests(features: Num[np.ndarray, "row feature"]) -> Int[np.ndarray, " row"]:
    """64 bits of the content of each row; 0 where a row holds nothing but zeros and NaN."""
    empty = ~(np.nan_to_num(features) != 0).any(axis=1)
    rows = np.ascontiguousarray(features)
    hashed = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
    digests = np.frombuffer(b"".join(hashed), dtype=np.int64).copy() if hashed else np.zeros(0, np.int64)
    digests[empty] = 0
    return digests


def refuse_equal_content(fold: Fold, *, content: Int[np.ndarray, " row"]) -> None:
    """Refuse a test row whose features equal a training row's bit for bit: one recording under two names."""
    test, train = content[fold.test], content[fold.train]
    copies = int(np.isin(test[test != 0], train).sum())
    if copies:
        raise LeakError(
            "Test windows have exactly the content of training windows",
            expected="no equal rows across the sides",
            got=f"{copies} equal test rows",
            fix="look for one recording under two subjects, or flat signals that should have been masked",
        )


def refuse_fitted_on_test(fitted: FittedOn, *, test_groups: Collection[int], what: str = "a statistic") -> None:
    """Refuse a transform or model that was fitted on people whom it will be tested on."""
    shared = fitted.groups & frozenset(test_groups)
    if shared:
        raise LeakError(
            f"Test people were used to fit {what}",
            expected="fitted on training people only",
            got=f"{len(shared)} of {len(test_groups)} test groups were seen",
            fix="fit inside the fold, after the split",
        )


def refuse_label_as_input(
    label: str,
    values: Num[np.ndarray, " row"],
    subject: Int[np.ndarray, " row"],
    *,
    people: Sequence[Mapping[str, str]],
    columns: Sequence[str],
) -> None:
    """Refuse a label that the encoder is given: by its name, or since it says of each person what a column says.

    Args:
        values: The label of each window; NaN where not known.
        subject: Row of the window's person in `people`.
        people: Each person's covariates.
        columns: Those that the encoder reads.

    Raises:
        LeakError: If predicting it would be reading it.
    """
    if label in columns:
        raise LeakError(
            f"The label {label!r} is a covariate that the encoder reads",
            where="covariates",
            expected="a label that is no input",
            fix=f"pretrain and evaluate without {label!r} in covariates, or take another label",
        )
    seen = np.isfinite(values)
    answers = {int(one): np.unique(values[seen & (subject == one)]) for one in np.unique(subject[seen])}
    if any(len(own) > 1 for own in answers.values()):
        return
    for column in columns:
        pairs = {row: (word, float(own[0])) for row, own in answers.items() if (word := known(people[row].get(column)))}
        words, labels = {word for word, _ in pairs.values()}, {answer for _, answer in pairs.values()}
        # With a word for each person any label would be one to one with it.
        alike = len(labels) > 1 and len(words) < len(pairs) and len(set(pairs.values())) == len(words) == len(labels)
        equal = len(labels) > 1 and all(as_number(column, word) == answer for word, answer in pairs.values())
        if alike or equal:
            raise LeakError(
                f"The label {label!r} says of each person what the covariate {column!r} says, which the encoder reads",
                where="covariates",
                expected="a label that cannot be read off an input",
                got=f"equal for all {len(pairs)} people of whom both are known",
                fix=f"pretrain and evaluate without {column!r} in covariates, or take another label",
            )


def check_pretraining(folds: Sequence[Fold], *, table: EmbeddingTable, pretraining: Pretraining | None) -> str:
    """How the encoder's pretraining relates to the test people, in words for the table.

    Raises:
        LeakError: If test people, or people of their group, were seen in pretraining and it is not declared.
    """
    if pretraining is None:
        return "not recorded"
    if len(pretraining.subjects) not in (1, len(folds)):
        raise LeakError(
            "The pretraining record does not fit the folds",
            expected=f"1 set of people or {len(folds)}",
            got=f"{len(pretraining.subjects)} sets",
            fix="give the record of each fold's own encoder, in the order of the folds",
        )
    groups = [_groups_of(table, pretraining.seen(number)) & fold.test_groups for number, fold in enumerate(folds)]
    seen = len(frozenset().union(*groups))
    if seen and not pretraining.declared:
        raise LeakError(
            "The encoder has seen test people in pretraining",
            expected="test people left out of pretraining",
            got=f"{seen} test groups were seen, without their labels",
            fix="pretrain per fold without them, or declare it so that the table says so",
        )
    return f"saw {seen} test groups, without labels (declared)" if seen else "test people left out"


def _groups_of(table: EmbeddingTable, subjects: Iterable[str]) -> frozenset[int]:
    wanted = frozenset(subjects)
    rows = [row for row, subject in enumerate(table.subjects) if subject in wanted]
    return frozenset(int(one) for one in np.unique(table.group[np.isin(table.subject, rows)]))


def _embeddings_in_rows(table: EmbeddingTable) -> Num[np.ndarray, "row feature"]:
    return table.embeddings.reshape(len(table), -1)
