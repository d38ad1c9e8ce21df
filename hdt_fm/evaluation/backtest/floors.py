"""Forecasts that every head must beat. Each is fitted on training people and asked at test origins.

A model gives, for each asked origin and horizon, a point and the quantiles `levels` side by side, (asked, horizon, 1 +
level). Only `lightgbm_quantiles` (extra `floors`) and `auto_arima` (extra `arima`) need more than the core.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import ndtri
from sklearn.linear_model import RidgeCV

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.series import DAY_S, Series
from hdt_fm.signal.moments import Moments, context_at, known_until
from hdt_fm.signal.own_past import recent

# Numbers of origins: of training people, or of those asked; two kinds of rows, so no shape ties them.
Rows = NDArray[np.int64]
Forecasts = Float[np.ndarray, "asked horizon point_and_levels"]
# fit(moments, series, train, asked): all targets but those of `train` are hidden; series may be read up to a place.
Fit = Callable[[Moments, Sequence[Series], Rows, Rows], Forecasts]
Points = Callable[[Moments, Sequence[Series], Rows], Float[np.ndarray, "origin horizon"]]
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SLOPE_S = 1800.0
DAMPINGS = (0.0, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
ARIMA_HISTORY_S = 12 * 3600.0
# Values under which a model of the person's own is a guess.
ARIMA_LEAST = 12
ARIMA_LEVEL = 80


def last_value(levels: Sequence[float] = LEVELS) -> Fit:
    """What was read last comes again."""
    return _spread(lambda moments, _, rows: np.repeat(moments.last[rows, None], len(moments.horizons_s), 1), levels)


def damped_trend(levels: Sequence[float] = LEVELS) -> Fit:
    """The slope of the last half hour, fading by a factor a step that training people choose."""

    def fit(moments: Moments, series: Sequence[Series], train: Rows, asked: Rows) -> Forecasts:
        errors = []
        for damping in DAMPINGS:
            miss = moments.target[train] - _trend(moments, damping)(moments, series, train)
            errors.append(np.nanmean(np.abs(miss)))
        points = _trend(moments, DAMPINGS[int(np.argmin(errors))])
        return _spread(points, levels)(moments, series, train, asked)

    return fit


def _trend(moments: Moments, damping: float) -> Points:
    back = max(1, min(round(SLOPE_S / moments.step_s), moments.context.shape[1] - 1))

    def points(moments: Moments, _: Sequence[Series], rows: Rows) -> np.ndarray:
        early = moments.context[rows, -1 - back]
        slope = np.where(np.isfinite(early), (moments.last[rows] - early) / back, 0.0)
        ahead = [sum(damping**step for step in range(1, round(h / moments.step_s) + 1)) for h in moments.horizons_s]
        return moments.last[rows, None] + slope[:, None] * np.array(ahead)

    return points


def seasonal_naive(levels: Sequence[float] = LEVELS) -> Fit:
    """What was read a day before the asked time; the last reading where nothing was."""
    return _spread(_a_day_before, levels)


def _a_day_before(moments: Moments, series: Sequence[Series], rows: Rows) -> np.ndarray:
    out = np.repeat(moments.last[rows, None], len(moments.horizons_s), axis=1)
    day = round(DAY_S / moments.step_s)
    for number in np.unique(moments.series[rows]):
        own, one = np.flatnonzero(moments.series[rows] == number), series[number]
        for column, horizon in enumerate(moments.horizons_s):
            place = moments.place[rows[own]] + round(horizon / moments.step_s) - day
            known = (place >= 0) & one.observed[place.clip(min=0)]
            out[own[known], column] = one.values[place[known]]
    return out


def ridge(levels: Sequence[float] = LEVELS) -> Fit:
    """Linear in the last readings, a model a horizon; strength by leave-one-out on training people."""

    def fit(moments: Moments, series: Sequence[Series], train: Rows, asked: Rows) -> Forecasts:
        features = recent(moments)
        center, scale = features[train].mean(axis=0), features[train].std(axis=0) + 1e-9
        features = (features - center) / scale
        models = []
        for column in range(len(moments.horizons_s)):
            rows = train[np.isfinite(moments.target[train, column])]
            change = moments.target[rows, column] - moments.last[rows]
            models.append(RidgeCV(alphas=np.logspace(-1, 4, 11)).fit(features[rows], change))

        def points(moments: Moments, _: Sequence[Series], rows: Rows) -> np.ndarray:
            changes = [model.predict(features[rows]) for model in models]
            return moments.last[rows, None] + np.stack(changes, axis=1)

        return _spread(points, levels)(moments, series, train, asked)

    return fit


def lightgbm_quantiles(
    levels: Sequence[float] = LEVELS,
    *,
    trees: int = 300,
    seed: int = 0,
    beside: Float[np.ndarray, "origin feature"] | None = None,
) -> Fit:
    """Boosted trees on the same features: one of squared error for the point, and one for each level; one thread.

    Args:
        beside: What is told beside the last hours (`own_past`, `acting`); NaN where unknown.

    Raises:
        ConfigError: If LightGBM is not installed.
    """
    try:
        import lightgbm
    except ImportError:
        raise ConfigError(
            "LightGBM is not installed", expected="the extra floors", fix="pip install 'hdt-fm[floors]'"
        ) from None
    plain: dict[str, Any] = {
        "num_leaves": 31,
        "learning_rate": 0.05,
        "min_child_samples": 100,
        "subsample": 0.8,
        "subsample_freq": 1,
    }
    plain |= {"colsample_bytree": 0.8, "n_estimators": trees, "n_jobs": 1, "verbose": -1, "random_state": seed}
    plain |= {"deterministic": True, "force_row_wise": True}
    aims: list[dict[str, Any]] = [{"objective": "l2"}, *({"objective": "quantile", "alpha": one} for one in levels)]

    def fit(moments: Moments, series: Sequence[Series], train: Rows, asked: Rows) -> Forecasts:
        features = recent(moments)
        if beside is not None:
            features = np.concatenate([features, beside], axis=1)
        out = np.empty((len(asked), len(moments.horizons_s), 1 + len(levels)))
        for column in range(len(moments.horizons_s)):
            rows = train[np.isfinite(moments.target[train, column])]
            change = moments.target[rows, column] - moments.last[rows]
            for place, aim in enumerate(aims):
                model = lightgbm.LGBMRegressor(**plain, **aim).fit(features[rows], change)
                out[:, column, place] = moments.last[asked] + model.predict(features[asked])
        out[..., 1:] = np.sort(out[..., 1:], axis=-1)
        return out

    return fit


def auto_arima(levels: Sequence[float] = LEVELS, *, history_s: float = ARIMA_HISTORY_S) -> Fit:
    """The ARIMA model that fits the person's own last hours best (AICc, stepwise), anew at each origin.

    It learns from nobody else, and takes a tenth of a second and more an origin: `backtest(slow=...)` asks it at some.
    What it reads ends at the origin and begins after the last long gap; a line across a short gap is read like
    readings. Where too little is known, all is equal, or no model is found, the last value stands, with the spread of
    a walk whose steps are those that were read. Quantiles are normal, as the model has them.

    Raises:
        ConfigError: If statsforecast is not installed.
    """
    kind = auto_arima_kind()
    away = ndtri(np.asarray(levels, dtype=np.float64))

    def fit(moments: Moments, series: Sequence[Series], train: Rows, asked: Rows) -> Forecasts:
        steps = np.round(np.array(moments.horizons_s) / moments.step_s).astype(int)
        back = round(history_s / moments.step_s)
        out = np.empty((len(asked), len(steps), 1 + len(levels)))
        for number in np.unique(moments.series[asked]):
            rows = np.flatnonzero(moments.series[asked] == number)
            past = context_at(*known_until(series[number]), moments.place[asked[rows]], back)
            for row, own in zip(rows, past, strict=True):
                mean, deviation = _arima_ahead(kind, own, steps)
                out[row] = np.column_stack([mean, mean[:, None] + deviation[:, None] * away])
        return out

    return fit


def auto_arima_kind() -> Any:
    """statsforecast's AutoARIMA.

    Raises:
        ConfigError: If statsforecast is not installed.
    """
    try:
        from statsforecast.models import AutoARIMA
    except ImportError:
        raise ConfigError(
            "statsforecast is not installed", expected="the extra arima", fix="pip install 'hdt-fm[arima]'"
        ) from None
    return AutoARIMA


def _arima_ahead(
    kind: Any, past: Float[np.ndarray, " time"], steps: np.ndarray
) -> tuple[Float[np.ndarray, " horizon"], Float[np.ndarray, " horizon"]]:
    """Mean and standard deviation some steps ahead of the last value."""
    unknown = np.flatnonzero(np.isnan(past))
    own = past[unknown[-1] + 1 :] if len(unknown) else past
    walk = float(np.sqrt(np.mean(np.diff(own) ** 2))) if len(own) > 1 else 0.0
    still = np.full(len(steps), own[-1]), walk * np.sqrt(steps)
    if len(own) < ARIMA_LEAST or walk == 0:
        return still
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each of hundreds of fits may say that a search stopped early
        try:
            got = kind().forecast(y=own, h=int(steps.max()), level=[ARIMA_LEVEL])
        except (ValueError, ArithmeticError, IndexError, np.linalg.LinAlgError):
            return still
    mean, high = (np.asarray(got[name], dtype=np.float64)[steps - 1] for name in ("mean", f"hi-{ARIMA_LEVEL}"))
    deviation = (high - mean) / ndtri(0.5 + ARIMA_LEVEL / 200)
    return (mean, deviation) if np.isfinite(mean).all() and np.isfinite(deviation).all() else still


def _spread(points: Points, levels: Sequence[float]) -> Fit:
    """A point forecast with the quantiles of its errors on training people around it."""

    def fit(moments: Moments, series: Sequence[Series], train: Rows, asked: Rows) -> Forecasts:
        miss = moments.target[train] - points(moments, series, train)
        shift = np.nanquantile(miss, levels, axis=0).T
        middle = points(moments, series, asked)[..., None]
        return np.concatenate([middle, middle + shift], axis=-1)

    return fit
