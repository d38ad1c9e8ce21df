"""Risks that say how often: a model's probability of an event, moved by people apart (Platt 1999) and by one's own."""

import math
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Float, Int
from sklearn.linear_model import LogisticRegression

from hdt_fm.evaluation.backtest.scores import RISKS
from hdt_fm.metrics.events import Event, risk_of
from hdt_fm.signal.moments import Moments

Risk = Float[np.ndarray, " origin"]
# Beyond this odds are held: a tail of quantiles says 1e-9 as lightly as 1e-3.
LEAST = 1e-4
TRUSTED_PEOPLE = 2.0
# How fast a person's risks move, in log-odds for a risk of 0 that came true; the pace of intervals too.
RATE = 0.05


def fitted(
    risk: Float[np.ndarray, " row"],
    happened: Bool[np.ndarray, " row"],
    person: Int[np.ndarray, " row"],
    *,
    trusted: float = TRUSTED_PEOPLE,
) -> Callable[[Risk], Risk]:
    """A line through the log-odds of calibration people, each person weighing the same.

    Two numbers and not a staircase (isotonic): a fold keeps a few people apart, and the steps would be theirs. So few
    people differ by chance too, so as many as `trusted` stand beside them for whom the risks are right as they are.
    Where nobody is apart, or risk and event run against each other, nothing is moved.
    """
    if not len(risk):
        return lambda asked: asked
    _, code, size = np.unique(person, return_inverse=True, return_counts=True)
    weight = 1.0 / size[code]
    held = np.clip(risk, LEAST, 1 - LEAST)
    beside = trusted / len(size) * weight
    line = LogisticRegression(C=1e6).fit(
        np.tile(_log_odds(risk), 3)[:, None],
        np.concatenate([happened, np.ones(len(risk), bool), np.zeros(len(risk), bool)]),
        sample_weight=np.concatenate([weight, beside * held, beside * (1 - held)]),
    )
    slope, start = float(line.coef_[0, 0]), float(line.intercept_[0])
    if slope <= 0:
        return lambda asked: asked
    return lambda asked: 1 / (1 + np.exp(-(slope * _log_odds(asked) + start)))


def _log_odds(risk: np.ndarray) -> np.ndarray:
    held = np.clip(risk, LEAST, 1 - LEAST)
    return np.log(held / (1 - held))


def online(
    time_s: Float[np.ndarray, " origin"], risk: Risk, happened: Float[np.ndarray, " origin"], *, horizon_s: float
) -> Risk:
    """Risks of one person, moved in log-odds by what has come true of them by then.

    Each truth that has come moves what follows by `RATE` times what the risk was off. People differ in how often a
    model of all people is right, and no split by people can say how this one does.

    Args:
        time_s: Rising.
        happened: 0 or 1; NaN where the event was there already or nothing was measured: it teaches nothing.
    """
    odds, out = _log_odds(risk), np.empty(len(risk))
    shift, told = 0.0, 0
    for place, now in enumerate(time_s):
        while told < place and time_s[told] + horizon_s <= now:
            if happened[told] == happened[told]:
                shift += RATE * (happened[told] - out[told])
            told += 1
        out[place] = 1 / (1 + math.exp(-(odds[place] + shift)))
    return out


def calibrated_risks(
    moments: Moments,
    said: Float[np.ndarray, "row horizon point_and_levels"],
    calibration: Int[np.ndarray, " apart"],
    test: Int[np.ndarray, " asked"],
    levels: tuple[float, ...],
    events: Sequence[Event],
) -> Float[np.ndarray, "asked horizon risk"]:
    """Risks of the forecasts of `test`, which follow those of `calibration`: for each event after the split by people,
    then after the online step too. Only origins where the event is not yet teach.
    """
    apart, asked = said[: len(calibration), :, 1:], said[len(calibration) :, :, 1:]
    out = np.empty((*asked.shape[:2], len(events), RISKS))
    for column, (place, event) in product(range(asked.shape[1]), enumerate(events)):
        came = _came(moments, column, event)
        told = np.isfinite(came[calibration])
        risk = risk_of(apart[told, column], levels, event)
        move = fitted(risk, came[calibration][told] == 1, moments.group[calibration][told])
        moved = move(risk_of(asked[:, column], levels, event))
        out[:, column, place, 0] = moved
        for subject in np.unique(moments.subject[test]):
            own = np.flatnonzero(moments.subject[test] == subject)
            own = own[np.argsort(moments.time_s[test[own]], kind="stable")]
            time_s, known = moments.time_s[test[own]], came[test[own]]
            out[own, column, place, 1] = online(time_s, moved[own], known, horizon_s=moments.horizons_s[column])
    return rearrange(out, "asked horizon event kind -> asked horizon (event kind)")


def _came(moments: Moments, column: int, event: Event) -> Float[np.ndarray, " origin"]:
    """Whether the event came: 0 or 1, NaN where it was there already or nothing was measured."""
    truth = moments.target[:, column]
    asked = np.isfinite(truth) & ~event.of(moments.last)
    return np.where(asked, event.of(truth).astype(np.float64), np.nan)
