"""A value of each window (a rate, a level) from frozen embeddings, people held out, beside its baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from hdt_fm.evaluation.personal import Knowledge, PersonalView, personal_views
from hdt_fm.evaluation.probes import FEW, Fit, boosted_value, constant, out_of_fold, ridge
from hdt_fm.evaluation.rates import Estimate
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
    estimates: Sequence[Estimate] = (),
    fold_tables: Sequence[EmbeddingTable] | None = None,
    fuse: Sequence[Fuse] | None = None,
    pretraining: Pretraining | None = None,
    personal: Sequence[str] = ("nothing",),
    seed: int = 0,
    draws: int = 1000,
) -> Result:
    """The full table for one value label; arguments as in `classification`, and:

    Args:
        predictions: Out-of-fold values in the label's unit, (row,); must hold `trained from scratch`.
        estimates: Rates that are read and not fitted, such as a spectral peak. Where one has no answer the median
            of the training people stands in, and the share of such windows is in the row. Those that know more of
            the person than the window stand in the table of what they know, if it is asked for.

    Returns:
        Rows for MAE and RMSE, each the mean over people of a person's own error.

    Raises:
        LeakError, ConfigError, ShapeError: As `classification`.
    """
    check_owed(extra_tables, predictions)
    check_inputs(table, hand[0], extra_tables, fold_tables, folds)
    target = label_target(table, label, folds)
    checks = audit(table, folds, features=[hand[0]], pretraining=pretraining)
    given = given_contenders({"baseline": predictions}, target, 1)
    closed = [(one.knowledge, _not_fitted(one, target, table, folds)) for one in estimates]
    views = personal_views(table, personal)
    for view in views:
        rows_in_play(target, view)
    rows = []
    for view in views:
        fitted = _fitted(view, target, hand[0], folds, extra_tables, fold_tables or [table], fuse, seed)
        rows += scored_rows(
            view,
            target,
            [*fitted, *unaided(given, view), *_read_under(view, closed)],
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


def _not_fitted(one: Estimate, target: Target, table: EmbeddingTable, folds: Sequence[Fold]) -> Contender:
    """An estimate with the training median where it has no answer."""
    if one.values.shape != (len(table),):
        raise ShapeError(
            f"Estimates of {one.model!r} do not fit the table",
            expected=f"({len(table)},)",
            got=str(one.values.shape),
            fix="estimate every window of the embedding table, in its order",
        )
    answers = np.asarray(one.values, dtype=np.float64)[:, None]
    fallback = out_of_fold(constant(np.median), [answers], target.values, table.group, folds, outputs=1)
    missing = float((~np.isfinite(answers[target.scored])).mean())
    filled = np.where(np.isfinite(answers), answers, fallback)
    return Contender(one.model, one.role, filled, {"share_without_answer": missing})


def _read_under(view: PersonalView, closed: Sequence[tuple[Knowledge, Contender]]) -> list[Contender]:
    """Estimates that know as much as the view allows, or less; those that know less say so."""
    found = unaided([one for knowledge, one in closed if knowledge == "nothing"], view)
    more = [one for knowledge, one in closed if knowledge == view.knowledge != "nothing"]
    return [*found, *(replace(one, columns={**one.columns, **view.columns}) for one in more)]


def value_metrics(truth: Float[np.ndarray, " row"], person: Int[np.ndarray, " row"], *, unit: str) -> list[Metric]:
    """Mean over people of each person's own MAE and RMSE."""

    def mae(predicted: np.ndarray) -> people.Score:
        return people.mean_of_people(people.person_means(np.abs(predicted[:, 0] - truth), person))

    def rmse(predicted: np.ndarray) -> people.Score:
        return people.mean_of_people(np.sqrt(people.person_means((predicted[:, 0] - truth) ** 2, person)))

    return [Metric("mae", mae, "lower", unit), Metric("rmse", rmse, "lower", unit)]
