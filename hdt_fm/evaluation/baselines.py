"""What every table owes: the names of its baselines, and their out-of-fold scores."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Num

from hdt_fm.evaluation.contenders import Contender, Role
from hdt_fm.evaluation.folds import Fold
from hdt_fm.evaluation.personal import PersonalView
from hdt_fm.evaluation.standardise import check_same_windows
from hdt_fm.evaluation.targets import Target
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.result import Scalar

RANDOM_ENCODER = "random encoder"
FROM_SCRATCH = "trained from scratch"
HAND = "hand features"
DUMMY = "dummy"


def check_owed(
    tables: Mapping[str, EmbeddingTable | Sequence[EmbeddingTable]], predictions: Mapping[str, np.ndarray]
) -> None:
    """Refuse to begin without the baselines that only the caller can make.

    Raises:
        ConfigError: If the random encoder's table or the predictions of a model trained from scratch are missing.
    """
    missing = [name for name, given in ((RANDOM_ENCODER, tables), (FROM_SCRATCH, predictions)) if name not in given]
    if missing:
        raise ConfigError(
            f"The table owes baselines that were not given: {', '.join(missing)}",
            expected=f"extra_tables[{RANDOM_ENCODER!r}] and predictions[{FROM_SCRATCH!r}]",
            fix="embed with an untrained model of this config, and train the same encoder with labels in these folds",
        )


def check_inputs(
    table: EmbeddingTable,
    hand: Num[np.ndarray, "row feature"],
    tables: Mapping[str, EmbeddingTable | Sequence[EmbeddingTable]],
    fold_tables: Sequence[EmbeddingTable] | None,
    folds: Sequence[Fold],
) -> None:
    """Refuse inputs that do not describe the same windows in the same order.

    Raises:
        ShapeError: If a table, or the hand features, have other rows; or if there is not one table a fold.
    """
    if len(hand) != len(table):
        raise ShapeError(
            "Hand features and embeddings do not have the same windows",
            expected=f"{len(table)} rows",
            got=f"{len(hand)} rows",
            fix="compute the hand features on the windows of the embedding table, in its order",
        )
    for name, given in {**tables, **({"tables of the folds": fold_tables} if fold_tables is not None else {})}.items():
        some = one_or_more(given)
        check_same_windows(table, some, where=name)
        if len(some) not in (1, len(folds)) or (given is fold_tables and len(some) != len(folds)):
            raise ShapeError(
                "There must be one table for each fold",
                expected=f"{len(folds)} tables",
                got=f"{len(some)}",
                where=name,
                fix="pretrain and embed once a fold, in the order of the folds",
            )


def one_or_more(given: EmbeddingTable | Sequence[EmbeddingTable]) -> Sequence[EmbeddingTable]:
    """A table for all folds, or one a fold, as a sequence."""
    return [given] if isinstance(given, EmbeddingTable) else given


def given_scores(scores: np.ndarray, target: Target, *, outputs: int, model: str) -> Float[np.ndarray, "row output"]:
    """Scores made elsewhere as (row, output); a binary score of the second class becomes two columns.

    Raises:
        ShapeError: If they do not fit the table, or are unknown in a window that is scored.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim == 1:
        table = np.stack([1.0 - table, table], axis=1) if outputs == 2 else table[:, None]
    if table.shape != (len(target.values), outputs) or not np.isfinite(table[target.scored]).all():
        raise ShapeError(
            f"Predictions of {model!r} do not fit the table",
            expected=f"({len(target.values)}, {outputs}), finite in all {int(target.scored.sum())} scored windows",
            got=str(np.shape(scores)),
            fix="predict every test window of every fold, in the order of the table",
        )
    return table


def given_contenders(by_role: Mapping[Role, Mapping[str, np.ndarray]], target: Target, outputs: int) -> list[Contender]:
    """Models that were fitted elsewhere, in the same folds."""
    return [
        Contender(model, role, given_scores(scores, target, outputs=outputs, model=model))
        for role, models in by_role.items()
        for model, scores in models.items()
    ]


def unaided(given: Sequence[Contender], view: PersonalView) -> list[Contender]:
    """Scores made elsewhere know nothing of the person, and say so in a table where others do."""
    columns: dict[str, Scalar] = {"own_data": "nothing", "transductive": False} if view.columns else {}
    return [Contender(one.model, one.role, one.scores, {**one.columns, **columns}) for one in given]
