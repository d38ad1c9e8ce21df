"""The backtest: every model at the same origins, people held out, several seeds, one table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hdt_fm.evaluation.backtest.floors import LEVELS, Fit
from hdt_fm.evaluation.backtest.probability_calibration import calibrated_risks
from hdt_fm.evaluation.backtest.scores import EXTRA, RISKS, Asked, metrics_of
from hdt_fm.evaluation.contenders import Contender, Metric, Role, directions, rows_of
from hdt_fm.evaluation.folds import Fold, grouped_folds
from hdt_fm.evaluation.people import people_draws
from hdt_fm.metrics.conformal import online_shift, scores_of, split_shift
from hdt_fm.metrics.events import Event
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.result import Result, Row, Scalar
from hdt_fm.schema.series import DAY_S, Series
from hdt_fm.signal.moments import Moments

COVERAGE = 0.8
CALIBRATION = 0.2
OWED = ("last value", "damped trend", "seasonal naive, a day", "ridge", "LightGBM")


@dataclass(frozen=True)
class Model:
    """A contender of the backtest. See `floors.Fit` for what `fit` is given and gives."""

    fit: Fit
    role: Role


def backtest(
    name: str,
    series: Sequence[Series],
    moments: Moments,
    models: Mapping[str, Model],
    *,
    headline: str,
    folds: int | Sequence[Fold] = 5,
    seeds: Sequence[int] = (0, 1, 2),
    levels: Sequence[float] = LEVELS,
    events: Sequence[Event] = (),
    unit: str = "",
    owed: Sequence[str] = OWED,
    draws: int = 1000,
    counted: NDArray[np.bool_] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    slow: Mapping[str, Model] | None = None,
    slow_origins: int = 400,
) -> Result:
    """Out-of-fold scores of each horizon.

    In each fold a fifth of the training people are kept apart: nothing is fitted on them, and intervals are set by
    them. Scores are of each person, averaged over seeds, then over people; intervals are over people.

    Args:
        folds: How many are made by people, anew for each seed; or the folds of origins themselves. Of those who are
            tested in none nothing is scored.
        headline: The model whose paired differences from the others are told.
        levels: Rising, with .1 and .9 at the ends: the raw interval of 80 %.
        progress: Called as (done, total, what) after each fold.
        counted: Origins that are scored; None takes all. It moves nothing else.
        slow: Models that learn from nobody but the person asked, too slow for all origins. They are asked at
            `slow_origins`, shared out among people, and stand in tables of their own with all others at these.

    Raises:
        ConfigError: If the headline is no model.
        ShapeError: If a model gives something else than finite numbers (asked, horizon, 1 + level).
    """
    if headline not in models or len(levels) < 2 or abs(levels[-1] - levels[0] - COVERAGE) > 1e-9:
        raise ConfigError(
            "The backtest cannot be run",
            expected=f"a headline among the models, and levels from {(1 - COVERAGE) / 2:g} to {(1 + COVERAGE) / 2:g}",
            got=f"{headline!r}, {list(levels)}",
        )
    shape = (len(moments), len(seeds), len(moments.horizons_s), 1 + len(levels) + EXTRA + RISKS * len(events))
    out = {model: np.full(shape, np.nan, dtype=np.float32) for model in models}
    scale = np.full((len(moments), len(seeds), len(moments.horizons_s)), np.nan)
    for number, seed in enumerate(seeds):
        every = grouped_folds(moments.group, folds, seed) if isinstance(folds, int) else folds
        for place, fold in enumerate(every):
            train, calibration = parted(moments, fold.train, seed)
            scale[fold.test, number] = _naive_error(moments, series, train)
            for model, one in models.items():
                got = _asked(one, moments, series, train, np.concatenate([calibration, fold.test]), len(levels))
                intervals = _with_intervals(moments, got, calibration, fold.test)
                risks = calibrated_risks(moments, got, calibration, fold.test, tuple(levels), events)
                out[model][fold.test, number] = np.concatenate([intervals, risks], axis=-1)
            if progress:
                progress(number * len(every) + place + 1, len(seeds) * len(every), "folds")
    if counted is not None:
        for answers in out.values():
            answers[~counted] = np.nan
    rows: list[Row] = []
    for column in range(len(moments.horizons_s)):
        rows += _rows(moments, models, out, scale, column, headline, tuple(levels), events, unit, draws)
    if slow:
        tested = np.asarray(np.isfinite(out[headline][:, :, 0, 0]).all(axis=1))
        at = sampled_origins(moments, slow_origins, tested)
        nobody = np.empty(0, dtype=np.int64)
        said = {model: _asked(one, moments, series, nobody, at, len(levels)) for model, one in slow.items()}
        for model, got in said.items():
            beside = np.repeat(got[:, None], len(seeds), axis=1)
            out[model] = np.full((len(moments), *beside.shape[1:]), np.nan, dtype=np.float32)
            out[model][at] = beside
        both = {**models, **slow}
        for column in range(len(moments.horizons_s)):
            rows += _rows(moments, both, out, scale, column, headline, tuple(levels), (), unit, draws, only=at)
    protocol: dict[str, Scalar | list[float] | list[int] | dict[str, str]] = {
        "task": "backtest",
        "people": len(np.unique(moments.group[np.isfinite(out[headline][:, 0, 0, 0])])),
        "origins": len(moments),
        "every_s": moments.every_s,
        "step_s": moments.step_s,
        "context_s": moments.context.shape[1] * moments.step_s,
        "horizons_s": list(moments.horizons_s),
        "folds": folds if isinstance(folds, int) else len(folds),
        "seeds": list(seeds),
        "draws": draws,
        "levels": list(levels),
        "headline": headline,
        "better": directions(metrics_of(_asked_at(moments, np.arange(1), 0, scale, tuple(levels), events, unit))),
    }
    return Result(name=name, protocol=protocol, rows=tuple(rows), required_baselines=tuple(owed))


def parted(moments: Moments, train: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training origins, and those of the people kept apart."""
    groups = np.random.default_rng(seed).permutation(np.unique(moments.group[train]))
    apart = np.isin(moments.group[train], groups[: max(1, round(CALIBRATION * len(groups)))])
    return train[~apart], train[apart]


def _naive_error(moments: Moments, series: Sequence[Series], train: np.ndarray) -> np.ndarray:
    """Mean absolute difference from the day before, among readings of training people; the same at all horizons."""
    day, errors = round(DAY_S / moments.step_s), []
    for number in np.unique(moments.series[train]):
        one = series[number]
        both = one.observed[day:] & one.observed[: len(one) - day]
        errors.append(np.abs(one.values[day:] - one.values[: len(one) - day])[both])
    known = np.concatenate(errors) if errors else np.empty(0)
    return np.full(len(moments.horizons_s), known.mean() if len(known) else np.nan)


def _asked(
    model: Model, moments: Moments, series: Sequence[Series], train: np.ndarray, asked: np.ndarray, levels: int
) -> np.ndarray:
    hidden = np.full_like(moments.target, np.nan)
    hidden[train] = moments.target[train]
    got = np.asarray(model.fit(replace(moments, target=hidden), series, train, asked), dtype=np.float64)
    wanted = (len(asked), len(moments.horizons_s), 1 + levels)
    if got.shape != wanted or not np.isfinite(got).all():
        raise ShapeError("A model's forecasts do not fit", expected=f"finite, {wanted}", got=str(got.shape))
    got[..., 1:] = np.sort(got[..., 1:], axis=-1)
    return got


def _with_intervals(moments: Moments, got: np.ndarray, calibration: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Test rows with the 80 % interval after the split and after the online step beside."""
    apart, asked = got[: len(calibration)], got[len(calibration) :]
    extra = np.empty((*asked.shape[:2], EXTRA))
    for column in range(asked.shape[1]):
        low, high = apart[:, column, 1], apart[:, column, -1]
        truth = moments.target[calibration, column]
        shift = split_shift(low, high, truth, moments.group[calibration], COVERAGE)
        known = np.isfinite(truth)
        spread = float(np.std(scores_of(low[known], high[known], truth[known]))) if known.any() else 1.0
        ends = asked[:, column, 1], asked[:, column, -1]
        moving = _moving(moments, test, column, *ends, start=shift, spread=spread)
        extra[:, column] = np.stack([ends[0] - shift, ends[1] + shift, ends[0] - moving, ends[1] + moving], axis=1)
    return np.concatenate([asked, extra], axis=-1)


def _moving(
    moments: Moments, rows: np.ndarray, column: int, low: np.ndarray, high: np.ndarray, *, start: float, spread: float
) -> np.ndarray:
    """Each person's shift at each origin, in time."""
    out = np.full(len(rows), start)
    for subject in np.unique(moments.subject[rows]):
        own = np.flatnonzero(moments.subject[rows] == subject)
        own = own[np.argsort(moments.time_s[rows[own]], kind="stable")]
        out[own] = online_shift(
            moments.time_s[rows[own]],
            low[own],
            high[own],
            moments.target[rows[own], column],
            horizon_s=moments.horizons_s[column],
            start=start,
            spread=spread,
            coverage=COVERAGE,
        )
    return out


def _asked_at(
    moments: Moments,
    rows: np.ndarray,
    column: int,
    scale: np.ndarray,
    levels: tuple[float, ...],
    events: Sequence[Event],
    unit: str,
) -> Asked:
    _, person = np.unique(moments.group[rows], return_inverse=True)
    return Asked(
        truth=moments.target[rows, column],
        now=moments.last[rows],
        person=person,
        scale=scale[rows, :, column],
        levels=levels,
        every_s=moments.every_s,
        unit=unit,
        events=tuple(events),
    )


def _rows(
    moments: Moments,
    models: Mapping[str, Model],
    out: Mapping[str, np.ndarray],
    scale: np.ndarray,
    column: int,
    headline: str,
    levels: tuple[float, ...],
    events: Sequence[Event],
    unit: str,
    draws: int,
    only: np.ndarray | None = None,
) -> list[Row]:
    """All scores at all origins of a horizon, or the plain ones at some."""
    tested = np.isfinite(out[headline][:, :, column, 0]).all(axis=1)
    rows = np.flatnonzero(tested & np.isfinite(moments.target[:, column])) if only is None else only[tested[only]]
    asked = _asked_at(moments, rows, column, scale, levels, events, unit)
    counts = people_draws(int(asked.person.max()) + 1, draws=draws, seed=0)
    contenders = [
        Contender(name, one.role, out[name][rows][:, :, column].astype(np.float64)) for name, one in models.items()
    ]
    what = f"in {moments.horizons_s[column] / 60:g} min" + ("" if only is None else f", at {len(rows)} origins")
    # A table of thirty columns is read by nobody: errors, intervals and events have one each.
    parts: dict[str, list[Metric]] = {"": [], ": intervals": [], ": events": []}
    for metric in metrics_of(asked, plain=only is not None):
        parts[_table_of(metric.name, events)].append(metric)
    found: list[Row] = []
    for part, metrics in parts.items():
        if metrics:
            found += rows_of(f"{what}{part}", contenders, metrics, counts=counts, headline=headline)
    return found


def _table_of(metric: str, events: Sequence[Event]) -> str:
    if metric.startswith(("coverage", "width")):
        return ": intervals"
    return ": events" if any(metric.startswith(event.name) for event in events) else ""


def sampled_origins(moments: Moments, count: int, tested: np.ndarray) -> np.ndarray:
    """Of those tested (a flag each) origins whose targets are all known, shared out among people as evenly as they have
    them; always the same."""
    known = np.flatnonzero(tested & np.isfinite(moments.target).all(axis=1))
    mixed = np.random.default_rng(0).permutation(known)
    # How many of the same person come before each.
    order = np.argsort(moments.group[mixed], kind="stable")
    _, first, size = np.unique(moments.group[mixed][order], return_index=True, return_counts=True)
    turn = np.empty(len(mixed), dtype=np.int64)
    turn[order] = np.arange(len(mixed)) - np.repeat(first, size)
    return np.sort(mixed[np.argsort(turn, kind="stable")][:count])
