"""The backtest: every model at the same origins, people held out, several seeds, one table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hdt_fm.evaluation.backtest.conformal import online_shift, scores_of, split_shift
from hdt_fm.evaluation.backtest.floors import LEVELS, Fit
from hdt_fm.evaluation.backtest.moments import Moments
from hdt_fm.evaluation.backtest.scores import EXTRA, Asked, Event, metrics_of
from hdt_fm.evaluation.contenders import Contender, Role, directions, rows_of
from hdt_fm.evaluation.folds import grouped_folds
from hdt_fm.evaluation.people import people_draws
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.result import Result, Row, Scalar
from hdt_fm.schema.series import DAY_S, Series

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
    folds: int = 5,
    seeds: Sequence[int] = (0, 1, 2),
    levels: Sequence[float] = LEVELS,
    events: Sequence[Event] = (),
    unit: str = "",
    owed: Sequence[str] = OWED,
    draws: int = 1000,
) -> Result:
    """Out-of-fold scores of each horizon.

    In each fold a fifth of the training people are kept apart: nothing is fitted on them, and intervals are set by
    them. Scores are of each person, averaged over seeds, then over people; intervals are over people.

    Args:
        headline: The model whose paired differences from the others are told.
        levels: Rising, with .1 and .9 at the ends: the raw interval of 80 %.

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
    shape = (len(moments), len(seeds), len(moments.horizons_s), 1 + len(levels) + EXTRA)
    out = {model: np.full(shape, np.nan, dtype=np.float32) for model in models}
    scale = np.full((len(moments), len(seeds), len(moments.horizons_s)), np.nan)
    for number, seed in enumerate(seeds):
        for fold in grouped_folds(moments.group, folds, seed):
            train, calibration = _parted(moments, fold.train, seed)
            scale[fold.test, number] = _naive_error(moments, series, train)
            for model, one in models.items():
                got = _asked(one, moments, series, train, np.concatenate([calibration, fold.test]), len(levels))
                out[model][fold.test, number] = _with_intervals(moments, got, calibration, fold.test)
    rows: list[Row] = []
    for column, horizon in enumerate(moments.horizons_s):
        rows += _rows(moments, models, out, scale, column, horizon, headline, tuple(levels), events, unit, draws)
    protocol: dict[str, Scalar | list[float] | list[int] | dict[str, str]] = {
        "task": "backtest",
        "people": len(np.unique(moments.group)),
        "origins": len(moments),
        "every_s": moments.every_s,
        "step_s": moments.step_s,
        "context_s": moments.context.shape[1] * moments.step_s,
        "horizons_s": list(moments.horizons_s),
        "folds": folds,
        "seeds": list(seeds),
        "draws": draws,
        "levels": list(levels),
        "headline": headline,
        "better": directions(metrics_of(_asked_at(moments, np.arange(1), 0, scale, tuple(levels), events, unit))),
    }
    return Result(name=name, protocol=protocol, rows=tuple(rows), required_baselines=tuple(owed))


def _parted(moments: Moments, train: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
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
        moving = online_shift(moments, test, column, *ends, start=shift, spread=spread, coverage=COVERAGE)
        extra[:, column] = np.stack([ends[0] - shift, ends[1] + shift, ends[0] - moving, ends[1] + moving], axis=1)
    return np.concatenate([asked, extra], axis=-1)


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
    horizon: float,
    headline: str,
    levels: tuple[float, ...],
    events: Sequence[Event],
    unit: str,
    draws: int,
) -> list[Row]:
    rows = np.flatnonzero(np.isfinite(moments.target[:, column]))
    asked = _asked_at(moments, rows, column, scale, levels, events, unit)
    counts = people_draws(int(asked.person.max()) + 1, draws=draws, seed=0)
    contenders = [
        Contender(name, one.role, out[name][rows][:, :, column].astype(np.float64)) for name, one in models.items()
    ]
    return rows_of(f"in {horizon / 60:g} min", contenders, metrics_of(asked), counts=counts, headline=headline)
