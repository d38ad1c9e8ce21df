"""Quantile forecasts of a label from frozen embeddings, people held out, beside persistence, ridge and the mean."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.evaluation import people
from hdt_fm.evaluation.audit import Pretraining, audit
from hdt_fm.evaluation.contenders import Contender, Metric, directions, rows_of
from hdt_fm.evaluation.folds import Fold
from hdt_fm.evaluation.forecast_baselines import (
    Sides,
    linear_forecast,
    mean_forecast,
    persistence_forecast,
    with_spread,
)
from hdt_fm.evaluation.origins import Origins, first_step, forecast_origins
from hdt_fm.evaluation.record import protocol_record
from hdt_fm.evaluation.targets import label_target
from hdt_fm.metrics.quantiles import pinball_each
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.result import Result, Row

OURS = "encoder + forecast head"
PERSISTENCE = "persistence"
LINEAR = "ridge on recent values"
MEAN = "mean of training people"
REQUIRED = (PERSISTENCE, LINEAR, MEAN)
LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)

FitForecast = Callable[[Origins, np.ndarray, np.ndarray], np.ndarray]


def forecast(
    table: EmbeddingTable,
    label: str,
    *,
    context: int,
    horizon: int,
    folds: Sequence[Fold],
    fit: FitForecast,
    levels: Sequence[float] = LEVELS,
    pretraining: Pretraining | None = None,
    seed: int = 0,
    draws: int = 1000,
) -> Result:
    """Scores of each step of the horizon.

    Args:
        context, horizon: In windows; see `forecast_origins`.
        folds: Made from `table.group`.
        fit: Called once a fold as `fit(origins, train, test)` with numbers of origins; returns quantiles
            (test, horizon, level). It must use targets of `train` only.
        levels: Ascending quantile levels that include 0.5; the outermost two give the coverage.

    Returns:
        Rows for MAE, RMSE and coverage (means over people), and weighted quantile loss, of each step.

    Raises:
        LeakError: If the audit finds a leak.
        ConfigError: If the label is unknown, or too few windows follow each other.
        ShapeError: If levels or the quantiles of `fit` do not fit.
    """
    _check_levels(levels)
    target = label_target(table, label, folds)
    checks = audit(table, folds, pretraining=pretraining)
    origins = forecast_origins(table, label, context, horizon)
    sides = [(_inside(origins, table, fold.train), _inside(origins, table, fold.test)) for fold in folds]
    columns = {"pretraining": checks["pretraining"]}
    contenders = [
        Contender(OURS, "ours", _quantiles(origins, sides, fit, levels), columns),
        Contender(PERSISTENCE, "baseline", with_spread(origins, sides, persistence_forecast(origins, sides), levels)),
        Contender(LINEAR, "baseline", with_spread(origins, sides, linear_forecast(origins, sides, seed), levels)),
        Contender(MEAN, "baseline", with_spread(origins, sides, mean_forecast(origins, sides), levels)),
    ]
    rows = []
    for step in range(horizon):
        what = f"{label} in {origins.ahead_s[step]:g} s"
        rows += _step_rows(what, contenders, origins, step, levels, target.unit, draws, seed)
    protocol = protocol_record(table, target, folds, checks=checks, draws=draws, seed=seed)
    protocol |= {
        "task": "forecast",
        "context": context,
        "horizon": horizon,
        "first_step_hops": first_step(table),
        "origins": len(origins),
        "levels": list(levels),
        "nominal_coverage": round(levels[-1] - levels[0], 6),
        "headline": OURS,
        "better": directions(_metrics(np.zeros(1), np.zeros(1, np.int64), levels, unit="")),
    }
    return Result(name=f"forecast of {label}", protocol=protocol, rows=tuple(rows), required_baselines=REQUIRED)


def _inside(origins: Origins, table: EmbeddingTable, rows: Int[np.ndarray, " row"]) -> Int[np.ndarray, " origin"]:
    return np.flatnonzero(np.isin(origins.group, np.unique(table.group[rows])))


def _quantiles(origins: Origins, sides: Sides, fit: FitForecast, levels: Sequence[float]) -> np.ndarray:
    """Out-of-fold median, then quantiles that never cross, of the caller's model: (origin, horizon, 1 + level)."""
    shape = (*origins.target.shape, len(levels))
    middle = list(levels).index(0.5)
    out = np.full((*shape[:2], 1 + len(levels)), np.nan)
    for train, test in sides:
        if not len(test):
            continue
        if not np.isfinite(origins.target[train]).any(axis=0).all():
            raise ConfigError(
                "A fold has no training target for some step of the horizon",
                expected="at least one known target a step",
                fix="shorten the horizon, or use fewer folds",
            )
        got = np.asarray(fit(_blinded(origins, test), train, test), dtype=np.float64)
        if got.shape != (len(test), *shape[1:]) or not np.isfinite(got).all():
            raise ShapeError(
                "The forecast head's quantiles do not fit",
                expected=f"finite, {(len(test), *shape[1:])} (test origin, horizon, level)",
                got=str(got.shape),
                fix="return one quantile for each test origin, step and level",
            )
        ordered = np.sort(got, axis=-1)
        out[test] = np.concatenate([ordered[..., middle : middle + 1], ordered], axis=-1)
    return out


def _blinded(origins: Origins, test: Int[np.ndarray, " origin"]) -> Origins:
    """Origins whose test targets are NaN, so that a head cannot learn from them by mistake."""
    target = origins.target.copy()
    target[test] = np.nan
    return Origins(origins.context, origins.recent, target, origins.group, origins.ahead_s)


def _step_rows(
    what: str,
    contenders: Sequence[Contender],
    origins: Origins,
    step: int,
    levels: Sequence[float],
    unit: str,
    draws: int,
    seed: int,
) -> list[Row]:
    tested = np.isfinite(contenders[0].scores[:, step, 0])
    scored = np.flatnonzero(tested & np.isfinite(origins.target[:, step]))
    if not len(scored):
        return []
    _, person = np.unique(origins.group[scored], return_inverse=True)
    counts = people.people_draws(int(person.max()) + 1, draws=draws, seed=seed)
    at_step = [Contender(one.model, one.role, one.scores[scored, step], one.columns) for one in contenders]
    metrics = _metrics(origins.target[scored, step], person, levels, unit=unit)
    return rows_of(what, at_step, metrics, counts=counts, headline=OURS)


def _metrics(
    truth: Float[np.ndarray, " origin"], person: Int[np.ndarray, " origin"], levels: Sequence[float], *, unit: str
) -> list[Metric]:
    size = int(person.max()) + 1
    sums = partial(np.bincount, person, minlength=size)
    own = partial(people.person_means, person=person)
    mean = people.mean_of_people

    def wql(q: np.ndarray) -> people.Score:
        return people.ratio_of_sums(2 * sums(pinball_each(q[:, 1:], truth, levels).mean(axis=1)), sums(np.abs(truth)))

    return [
        Metric("mae", lambda q: mean(own(np.abs(q[:, 0] - truth))), "lower", unit),
        Metric("rmse", lambda q: mean(np.sqrt(own((q[:, 0] - truth) ** 2))), "lower", unit),
        Metric("wql", wql, "lower"),
        Metric("coverage", lambda q: mean(own(((truth >= q[:, 1]) & (truth <= q[:, -1])).astype(float))), None),
    ]


def _check_levels(levels: Sequence[float]) -> None:
    rising = list(levels) == sorted(set(levels)) and min(levels, default=0) > 0 and max(levels, default=1) < 1
    if not rising or 0.5 not in levels:
        raise ShapeError(
            "These quantile levels cannot be scored", expected="ascending levels in (0, 1) that include 0.5"
        )
