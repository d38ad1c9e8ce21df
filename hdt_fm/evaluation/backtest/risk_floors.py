"""Risks that a head for events must beat. Each is fitted on training people and asked at test origins.

A model gives, for each asked origin, horizon and event, the probability that the event happens within the horizon.
Only `lightgbm_classes` and a forecast of LightGBM (extra `floors`) need more than the core.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression

from hdt_fm.evaluation.backtest.floors import LEVELS, SLOPE_S, Fit, Rows
from hdt_fm.metrics.events import Event, risk_of
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.series import Series
from hdt_fm.signal.moments import Moments


@dataclass(frozen=True)
class Told:
    """What a model of risks is fitted on.

    Attributes:
        moments: Targets of all but training people are hidden.
        happened: Within each horizon; NaN where it is there now or cannot be told, and of all but training people.
        series: May be read up to an origin's place.
        events: Of the last axis of `happened`.
    """

    moments: Moments
    happened: Float[np.ndarray, "origin horizon event"]
    series: Sequence[Series]
    events: tuple[Event, ...]


Risks = Float[np.ndarray, "asked horizon event"]
# fit(told, train, asked): numbers of origins.
RiskFit = Callable[[Told, Rows, Rows], Risks]


def base_rate() -> RiskFit:
    """As often as it happened to training people, each weighing the same."""

    def fit(told: Told, train: Rows, asked: Rows) -> Risks:
        group = told.moments.group[train]
        own = [_rate(told.happened[train[group == one]]) for one in np.unique(group)]
        rate = _rate(np.stack(own))
        return np.broadcast_to(np.nan_to_num(rate), (len(asked), *rate.shape)).copy()

    return fit


def at_horizon(forecast: Fit, levels: Sequence[float] = LEVELS) -> RiskFit:
    """By a forecast's quantiles, of the event at the very horizon: what comes and goes before is missed."""

    def fit(told: Told, train: Rows, asked: Rows) -> Risks:
        said = forecast(told.moments, told.series, train, asked)[..., 1:]
        risks = [[risk_of(said[:, column], levels, event) for event in told.events] for column in range(said.shape[1])]
        return np.moveaxis(np.array(risks), -1, 0)

    return fit


def last_and_slope() -> RiskFit:
    """Logistic in the newest reading, the change over the last half hour, their squares and their product."""

    def fit(told: Told, train: Rows, asked: Rows) -> Risks:
        moments = told.moments
        back = max(1, min(round(SLOPE_S / moments.step_s), moments.context.shape[1] - 1))
        early = moments.context[:, -1 - back]
        slope = np.where(np.isfinite(early), moments.last - early, 0.0)
        plain = np.stack([moments.last, slope], axis=1)
        plain = (plain - plain[train].mean(axis=0)) / (plain[train].std(axis=0) + 1e-9)
        features = np.concatenate([plain, plain**2, plain[:, :1] * plain[:, 1:]], axis=1)

        def each(rows: Rows, happened: np.ndarray) -> np.ndarray:
            model = LogisticRegression(max_iter=1000).fit(features[rows], happened)
            return model.predict_proba(features[asked])[:, 1]

        return _each(told, train, asked, each)

    return fit


def lightgbm_classes(features: Float[np.ndarray, "origin feature"], *, trees: int = 300, seed: int = 0) -> RiskFit:
    """Boosted trees for each horizon and event, told the same as a head; one thread.

    How many trees there are is said by a fifth of the training people; then they are grown anew on all. With the
    settings of `lightgbm_quantiles` (31 leaves, all trees) they did worse, and a floor is not to be weakened.

    Args:
        features: Of all origins; NaN where unknown.
        trees: At most.

    Raises:
        ConfigError: If LightGBM is not installed.
    """
    try:
        import lightgbm
    except ImportError:
        raise ConfigError(
            "LightGBM is not installed", expected="the extra floors", fix="pip install 'hdt-fm[floors]'"
        ) from None
    plain: dict[str, Any] = {"objective": "binary", "num_leaves": 8, "learning_rate": 0.03, "min_child_samples": 100}
    plain |= {"subsample": 0.8, "subsample_freq": 1, "colsample_bytree": 0.8, "num_threads": 1, "verbose": -1}
    plain |= {"deterministic": True, "force_row_wise": True, "seed": seed}

    def enough(rows: Rows, happened: np.ndarray, apart: np.ndarray) -> int:
        if min(len(np.unique(happened[apart])), len(np.unique(happened[~apart]))) < 2:
            return trees
        learn, judge = (lightgbm.Dataset(features[rows[some]], happened[some]) for some in (~apart, apart))
        stop = lightgbm.early_stopping(trees // 5 + 1, verbose=False)
        return lightgbm.train(plain, learn, trees, valid_sets=[judge], callbacks=[stop]).best_iteration

    def fit(told: Told, train: Rows, asked: Rows) -> Risks:
        def each(rows: Rows, happened: np.ndarray) -> np.ndarray:
            group = told.moments.group[rows]
            order = np.random.default_rng(seed).permutation(np.unique(group))
            count = enough(rows, happened, np.isin(group, order[: max(1, len(order) // 5)]))
            model = lightgbm.train(plain, lightgbm.Dataset(features[rows], happened), count)
            return np.asarray(model.predict(features[asked]))

        return _each(told, train, asked, each)

    return fit


def _each(told: Told, train: Rows, asked: Rows, model: Callable[[Rows, np.ndarray], np.ndarray]) -> Risks:
    """A model for each horizon and event, of the training rows at which it is known; one answer where all are alike."""
    out = np.empty((len(asked), *told.happened.shape[1:]))
    for column, event in product(range(out.shape[1]), range(out.shape[2])):
        happened = told.happened[train, column, event]
        rows, known = train[np.isfinite(happened)], happened[np.isfinite(happened)]
        alike = len(np.unique(known)) < 2
        out[:, column, event] = (known.mean() if len(known) else 0.0) if alike else model(rows, known)
    return out


def _rate(happened: np.ndarray) -> np.ndarray:
    """Mean of what is known over the first axis; NaN where nothing is."""
    known = np.isfinite(happened)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, happened, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)
