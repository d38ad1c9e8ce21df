"""What the terms of a student say: an effect a feature, or a curve, with intervals over people."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.explain.distil.named import MIN_PEOPLE, NamedFeatures, digits_of
from hdt_fm.explain.distil.terms import Terms
from hdt_fm.metrics.bootstrap import Interval

POINTS = 41
TICKS = (0.1, 0.25, 0.5, 0.75, 0.9)
# A turn smaller than this share of a curve's whole rise is not told as one.
TURN = 0.1
_INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class Effect:
    """One feature of the linear student.

    Attributes:
        per_sd: What a standard deviation more of it adds, in the output's unit; interval over draws of people, with the
            choice of features held.
        sd: In the feature's unit.
        not_known: What it adds that the feature is not known, beside one who has its mean; None where all have it.
        chosen_again: In which share of draws of people the feature would be chosen at all.
    """

    feature: int
    per_sd: Interval
    sd: float
    not_known: float | None
    chosen_again: float


@dataclass(frozen=True)
class Curve:
    """One feature of the additive student.

    Attributes:
        at: Levels, within a range that five people reach below and five above.
        adds, low, high: What the level adds, in the output's unit; pointwise interval over draws of people.
        ticks: Levels that a tenth, a quarter, half ... of the windows are below, rounded.
        trend: `rises`, `falls`, `rises, then falls`, `falls, then rises`, `turns more than once`, `level`.
    """

    feature: int
    at: Float[np.ndarray, " point"]
    adds: Float[np.ndarray, " point"]
    low: Float[np.ndarray, " point"]
    high: Float[np.ndarray, " point"]
    ticks: tuple[float, ...]
    trend: str
    not_known: float | None


def effects(
    student: Terms, named: NamedFeatures, output: Float[np.ndarray, " window"], *, seed: int = 0
) -> tuple[Effect, ...]:
    """Of the linear student, in the order in which the features were chosen."""
    if not student.chosen:
        return ()
    drawn = student.drawn_weights(named.values, output, named.subject, seed=seed)
    again = student.chosen_again(named.values, output, named.subject, seed=seed)
    found = []
    for feature in student.chosen:
        place = int(np.flatnonzero(student.some == student.basis.blocks[feature][0])[0])
        low, high = np.percentile(drawn[:, place], _INTERVAL)
        per_sd = Interval(float(student.weight[place]), float(low), float(high))
        spread = float(student.basis.spread[feature])
        found.append(Effect(feature, per_sd, spread, _not_known(student, feature), float(again[feature])))
    return tuple(found)


def curves(
    student: Terms, named: NamedFeatures, output: Float[np.ndarray, " window"], *, seed: int = 0
) -> tuple[Curve, ...]:
    """Of the additive student, in the order in which the features were chosen."""
    if not student.chosen:
        return ()
    drawn = student.drawn_weights(named.values, output, named.subject, seed=seed)
    return tuple(_curve(student, named, feature, drawn) for feature in student.chosen)


def _curve(student: Terms, named: NamedFeatures, feature: int, drawn: Float[np.ndarray, "draw some"]) -> Curve:
    column = named.values[:, feature]
    digits = digits_of(column)
    low, high = _range(column, named.subject, digits)
    at = np.linspace(low, high, POINTS)
    values = np.tile(student.basis.center, (POINTS, 1))
    values[:, feature] = at
    own = np.isin(student.some, student.basis.blocks[feature])
    columns = (student.basis.columns(values)[:, student.some] - student.mean)[:, own]
    adds, spread = columns @ student.weight[own], columns @ drawn[:, own].T
    low_line, high_line = np.percentile(spread, _INTERVAL, axis=1)
    known = column[np.isfinite(column)]
    ticks = np.unique(np.round(np.quantile(known, TICKS), digits))
    inside = tuple(float(one) + 0.0 for one in ticks if low <= one <= high)
    return Curve(feature, at, adds, low_line, high_line, inside, trend(adds), _not_known(student, feature))


def _range(
    column: Float[np.ndarray, " window"], subject: Int[np.ndarray, " window"], digits: int
) -> tuple[float, float]:
    """Rounded levels that at least five people have windows below, and five above; 2 % of the windows lie outside."""
    known = np.isfinite(column)
    people = [column[known & (subject == one)] for one in np.unique(subject[known])]
    lowest, highest = (np.sort([edge(one) for one in people]) for edge in (np.min, np.max))
    low = max(lowest[MIN_PEOPLE - 1], np.quantile(column[known], 0.02))
    high = min(highest[-MIN_PEOPLE], np.quantile(column[known], 0.98))
    step = 10.0**-digits
    rounded = float(np.ceil(low / step) * step), float(np.floor(high / step) * step)
    return rounded if rounded[1] > rounded[0] else (float(low), float(high))


def _not_known(student: Terms, feature: int) -> float | None:
    """What a missing feature adds, less what its mean does; None where so few lack it that nothing was learned."""
    basis = student.basis
    place = np.flatnonzero(student.some == basis.blocks[feature][-1])
    if not basis.says_missing[feature] or not len(place):
        return None
    return float(student.weight[place[0]] / basis.missing_sd[feature])


def trend(adds: Float[np.ndarray, " point"]) -> str:
    """Where a curve goes, in words."""
    whole = float(np.ptp(adds))
    if whole <= 1e-12:
        return "level"
    # Turning points that are left after small ones are passed over.
    turns, last = [adds[0]], 0
    for value in adds[1:]:
        side = 1 if value > turns[-1] else -1
        if side == last:
            turns[-1] = value
        elif abs(value - turns[-1]) > TURN * whole:
            turns.append(value)
            last = side
    if len(turns) == 2:
        return "rises" if last > 0 else "falls"
    if len(turns) == 3:
        return "falls, then rises" if last > 0 else "rises, then falls"
    return "turns more than once"
