"""The label in play: which windows know it, and which of them a protocol may score."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from hdt_fm.evaluation.folds import Fold
from hdt_fm.evaluation.personal import PersonalView
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.shard import LabelColumn


@dataclass(frozen=True)
class Target:
    """The label in play.

    Attributes:
        values: One a window of the table; NaN where unknown.
        scored: Known and tested by a fold.
        columns: Names of the classes (empty for a value).
    """

    name: str
    values: Float[np.ndarray, " row"]
    scored: Bool[np.ndarray, " row"]
    unit: str
    classes: tuple[str, ...] = ()


def label_target(table: EmbeddingTable, label: str, folds: Sequence[Fold]) -> Target:
    """Look the label up and find the windows that can be scored.

    Raises:
        ConfigError: If the table has no such label, or no test window knows it.
    """
    if label not in table.labels:
        raise ConfigError(
            f"The embedding table has no label {label!r}",
            expected=f"one of: {', '.join(sorted(table.labels)) or '(none)'}",
            where="evaluate.label",
            fix="name one of these, or rebuild the shards with that label track",
        )
    values = table.labels[label].astype(np.float64)
    tested = np.zeros(len(table), dtype=np.bool_)
    for fold in folds:
        tested[fold.test] = True
    scored = np.isfinite(values) & tested
    if not scored.any():
        raise ConfigError(f"No test window knows its {label!r}", where="evaluate.label", fix="check the label track")
    column = next((one for one in table.label_columns if one.name == label), LabelColumn(name=label, kind="value"))
    return Target(label, values, scored, column.unit, column.classes)


def class_target(table: EmbeddingTable, label: str, folds: Sequence[Fold]) -> Target:
    """As `label_target`, for class indices; names them by number where the table does not.

    Raises:
        ConfigError: If values are not class indices, or fewer than two classes occur.
    """
    target = label_target(table, label, folds)
    known = target.values[np.isfinite(target.values)]
    classes = target.classes or tuple(str(one) for one in range(int(known.max()) + 1))
    if (known != np.round(known)).any() or known.min() < 0 or known.max() >= len(classes):
        raise ConfigError(
            f"The values of {label!r} are not class indices",
            expected=f"whole numbers from 0 to {len(classes) - 1}, or NaN",
            fix="use the regression protocol for a label of kind value",
        )
    if len(np.unique(target.values[target.scored])) < 2:
        raise ConfigError(
            f"Fewer than two classes of {label!r} occur in the test windows",
            expected="at least 2",
            fix="check the label track and the minimum coverage of windows",
        )
    return Target(target.name, target.values, target.scored, target.unit, classes)


def rows_in_play(target: Target, view: PersonalView) -> Int[np.ndarray, " row"]:
    """Windows that this view can score.

    Raises:
        ConfigError: If none is left after the own baseline's minutes.
    """
    rows = np.flatnonzero(target.scored & view.kept())
    if not len(rows):
        raise ConfigError(
            f"No window is left to score for {target.name}{view.suffix}",
            expected="people with labels after their first minutes",
            where="evaluate.personal",
            fix="leave `own start` out for recordings this short",
        )
    return rows
