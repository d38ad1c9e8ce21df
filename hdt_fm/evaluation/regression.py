"""A value of each window (a rate, a level) from frozen embeddings, people held out, beside its baselines."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float, Int, Num

from hdt_fm.evaluation import people
from hdt_fm.evaluation.audit import Pretraining, audit
from hdt_fm.evaluation.baselines import (
    DUMMY,
    FROM_SCRATCH,
    HAND,
    RANDOM_ENCODER,
    check_inputs,
    check_owed,
    given_contenders,
    one_or_more,
    unaided,
)
from hdt_fm.evaluation.contenders import Contender, Metric, Role, directions, scored_rows
from hdt_fm.evaluation.folds import Fold
from hdt_fm.evaluation.fused import Fuse, by_fold, fused_features, with_mean
from hdt_fm.evaluation.personal import PersonalView, personal_views
from hdt_fm.evaluation.probes import FEW, Fit, boosted_value, constant, out_of_fold, ridge
from hdt_fm.evaluation.record import protocol_record
from hdt_fm.evaluation.standardise import embedding_features, side_by_side
from hdt_fm.evaluation.targets import Target, label_target, rows_in_play
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ShapeError
from hdt_fm.schema.result import Result

LINEAR = "ridge"
SPARSE = "sparse ridge"
TREES = "gradient boosting"
HEADLINE = f"encoder + {LINEAR}"
REQUIRED = (
    f"{DUMMY} (mean)",
    f"{DUMMY} (median)",
    f"{HAND} + {LINEAR}",
    f"{HAND} + {SPARSE}",
    f"{HAND} + {TREES}",
    f"{RANDOM_ENCODER} + {LINEAR}",
    f"{RANDOM_ENCODER} + {SPARSE}",
    FROM_SCRATCH,
)


def regression(
    *,
    table: EmbeddingTable,
    label: str,
    hand: tuple[Num[np.ndarray, "row feature"], Sequence[str]],
    folds: Sequence[Fold],
    extra_tables: Mapping[str, EmbeddingTable | Sequence[EmbeddingTable]],
    predictions: Mapping[str, np.ndarray],
    estimates: Mapping[str, np.ndarray] | None = None,
    fold_tables: Sequence[EmbeddingTable] | None = None,
    fuse: Sequence[Fuse] | None = None,
    ours: Mapping[str, np.ndarray] | None = None,
    pretraining: Pretraining | None = None,
    personal: Sequence[str] = ("nothing",),
    seed: int = 0,
    draws: int = 1000,
) -> Result:
    """The full table for one value label; arguments as in `classification`, and:

    Args:
        predictions: Out-of-fold values in the label's unit, (row,); must hold `trained from scratch`.
        estimates: Closed-form estimates such as a spectral peak, (row,); NaN where one has no answer. There
            the median of the training people stands in, and the share of such windows is in the row.

    Returns:
        Rows for MAE and RMSE, each the mean over people of a person's own error.

    Raises:
        LeakError, ConfigError, ShapeError: As `classification`.
    """
    check_owed(extra_tables, predictions)
    check_inputs(table, hand[0], extra_tables, fold_tables, folds)
    target = label_target(table, label, folds)
    checks = audit(table, folds, features=[hand[0]], pretraining=pretraining)
    given = given_contenders({"baseline": predictions, "ours": ours or {}}, target, 1)
    closed = [_closed_form(name, values, target, table, folds) for name, values in (estimates or {}).items()]
    views = personal_views(table, personal)
    for view in views:
        rows_in_play(target, view)
    rows = []
    for view in views:
        fitted = _fitted(view, target, hand[0], folds, extra_tables, fold_tables or [table], fuse, seed)
        rows += scored_rows(
            view,
            target,
            [*fitted, *unaided(given, view), *closed],
            partial(value_metrics, unit=target.unit),
            headline=HEADLINE,
            pretraining=checks["pretraining"],
            draws=draws,
            seed=seed,
        )
    record = protocol_record(table, target, folds, checks=checks, draws=draws, seed=seed)
    record |= {
        "task": "regression",
        "headline": HEADLINE,
        "better": directions(value_metrics(np.zeros(1), np.zeros(1, np.int64), unit="")),
        "hand_features": len(hand[1]),
        "encoder_per_fold": fold_tables is not None,
    }
    return Result(name=f"regression of {label}", protocol=record, rows=tuple(rows), required_baselines=REQUIRED)


def _fitted(
    view: PersonalView,
    target: Target,
    hand: np.ndarray,
    folds: Sequence[Fold],
    extra_tables: Mapping[str, EmbeddingTable | Sequence[EmbeddingTable]],
    own_tables: Sequence[EmbeddingTable],
    fuse: Sequence[Fuse] | None,
    seed: int,
) -> list[Contender]:
    """Every model that is fitted here, on the features that the view allows."""
    linear, sparse, trees = ridge(seed=seed), ridge(seed=seed, few=FEW), boosted_value(seed=seed)
    known = np.where(view.kept(), target.values, np.nan)
    own = [view.features(embedding_features(one)) for one in own_tables]
    by_hand = view.features(hand)
    both = [side_by_side(one, by_hand) for one in own]

    def contend(model: str, role: Role, fit: Fit, features: Sequence[np.ndarray]) -> Contender:
        scores = out_of_fold(fit, features, known, view.table.group, folds, outputs=1)
        return Contender(model, role, scores, view.columns)

    contenders = [
        contend(HEADLINE, "ours", linear, own),
        contend(f"encoder + {SPARSE}", "ours", sparse, own),
        contend(f"encoder + {TREES}", "ours", trees, own),
        contend(f"encoder + {HAND} + {LINEAR}", "ours", linear, both),
        contend(f"encoder + {HAND} + {SPARSE}", "ours", sparse, both),
        contend(f"{DUMMY} (mean)", "baseline", constant(np.mean), [by_hand]),
        contend(f"{DUMMY} (median)", "baseline", constant(np.median), [by_hand]),
        contend(f"{HAND} + {LINEAR}", "baseline", linear, [by_hand]),
        contend(f"{HAND} + {SPARSE}", "baseline", sparse, [by_hand]),
        contend(f"{HAND} + {TREES}", "baseline", trees, [by_hand]),
    ]
    for name, some in with_mean(fuse).items():
        features = [view.features(fused_features(*one)) for one in by_fold(own_tables, some)]
        contenders.append(contend(f"{name} + {LINEAR}", "ours", linear, features))
    for name, other in extra_tables.items():
        features = [view.features(embedding_features(one)) for one in one_or_more(other)]
        contenders.append(contend(f"{name} + {LINEAR}", "baseline", linear, features))
        contenders.append(contend(f"{name} + {SPARSE}", "baseline", sparse, features))
    return contenders


def _closed_form(
    name: str, values: np.ndarray, target: Target, table: EmbeddingTable, folds: Sequence[Fold]
) -> Contender:
    """An estimate that is not fitted, with the training median where it has no answer."""
    if np.shape(values) != (len(table),):
        raise ShapeError(
            f"Estimates of {name!r} do not fit the table",
            expected=f"({len(table)},)",
            got=str(np.shape(values)),
            fix="estimate every window of the embedding table, in its order",
        )
    answers = np.asarray(values, dtype=np.float64)[:, None]
    fallback = out_of_fold(constant(np.median), [answers], target.values, table.group, folds, outputs=1)
    missing = float((~np.isfinite(answers[target.scored])).mean())
    filled = np.where(np.isfinite(answers), answers, fallback)
    return Contender(name, "baseline", filled, {"share_without_answer": missing})


def value_metrics(truth: Float[np.ndarray, " row"], person: Int[np.ndarray, " row"], *, unit: str) -> list[Metric]:
    """Mean over people of each person's own MAE and RMSE."""

    def mae(predicted: np.ndarray) -> people.Score:
        return people.mean_of_people(people.person_means(np.abs(predicted[:, 0] - truth), person))

    def rmse(predicted: np.ndarray) -> people.Score:
        return people.mean_of_people(np.sqrt(people.person_means((predicted[:, 0] - truth) ** 2, person)))

    return [Metric("mae", mae, "lower", unit), Metric("rmse", rmse, "lower", unit)]
