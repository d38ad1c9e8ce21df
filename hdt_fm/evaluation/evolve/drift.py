"""How drift is judged: alarms against a known day, errors after what was proposed, coverage day by day.

All is by person first, then over people; 95 % intervals are of people drawn with replacement, or exact ones of Poisson
where people are few. Days count from a life's first; `inf` is never. Several lives may be one person's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaincinv

from hdt_fm.evaluation.people import (
    Score,
    interval,
    mean_of_people,
    median,
    people_draws,
    person_means,
    ratio_of_sums,
)
from hdt_fm.schema.result import Row

DAYS_PER_YEAR = 365.25
SOON_DAYS = 14
# A drift that was not found counts as found after so many days, where a median is asked for.
NEVER_DAYS = 35
# Of coverage: days since the onset, the first of them and the one after the last.
WINDOWS = {
    "before": (-14, 0),
    "day 1": (0, 1),
    "day 2": (1, 2),
    "day 3": (2, 3),
    "days 4-7": (3, 7),
    "days 8-14": (7, 14),
}
Role = Literal["ours", "baseline", "reference"]


@dataclass(frozen=True)
class Alarms:
    """First alarm days of one rule.

    Attributes:
        well: Of people in whom nothing changes, from the first watched day on.
        changed: Of each kind of change, of other lives.
    """

    model: str
    role: Role
    well: Float[np.ndarray, " person"]
    changed: Mapping[str, Float[np.ndarray, " changed"]]


def alarm_rows(
    world: str,
    rules: Sequence[Alarms],
    onset: Mapping[str, Int[np.ndarray, " changed"]],
    *,
    watched: tuple[int, int | Int[np.ndarray, " person"]],
    person: Mapping[str, Int[np.ndarray, " changed"]] | None = None,
    poisson: bool = False,
    draws: int = 1000,
) -> list[Row]:
    """False alarms a year, and for each kind how soon and how often it is found.

    Who alarms before the onset is a false alarm: such a person is not among those who could be found.

    Args:
        watched: First watched day, and the day after the last, of all or of each of those in whom nothing changes.
        person: Of each kind, whose lives they are; each somebody else's by default.
        poisson: Whether the interval of false alarms is the exact one of their number; it says nothing of how much
            people differ.
    """
    rows = []
    for rule in rules:
        ever = np.isfinite(rule.well)
        years = np.maximum(np.where(ever, rule.well + 1, watched[1]) - watched[0], 0) / DAYS_PER_YEAR
        what = f"{world}, nothing changes"
        if poisson:
            rows.append(
                _counted(what, rule.model, rule.role, int(ever.sum()), float(years.sum()), int((years > 0).sum()))
            )
        else:
            falsely = ratio_of_sums(ever.astype(np.float64), years)
            rows.append(_row(what, rule.model, rule.role, "false alarms a year", falsely, len(ever), draws))
        for kind, alarm in rule.changed.items():
            could = alarm >= onset[kind]
            if not could.any():
                continue
            delay = (alarm - onset[kind] + 1)[could]
            own = np.arange(len(delay)) if person is None else np.unique(person[kind][could], return_inverse=True)[1]
            what, several = f"{world}, {kind}", int(own.max()) + 1
            soon = mean_of_people(person_means((delay <= SOON_DAYS).astype(np.float64), own))
            typical = median(np.minimum(delay, NEVER_DAYS).astype(np.float64), own)
            rows.append(_row(what, rule.model, rule.role, f"found within {SOON_DAYS} days", soon, several, draws))
            rows.append(_row(what, rule.model, rule.role, "median delay", typical, several, draws, "d"))
    return rows


def _counted(what: str, model: str, role: Role, alarms: int, years: float, people: int) -> Row:
    """A rate with the exact Poisson interval of 95 %."""
    low = float(gammaincinv(alarms, 0.025)) if alarms else 0.0
    high = float(gammaincinv(alarms + 1, 0.975))
    rate, ends = alarms / years, (low / years, high / years)
    return Row(
        what=what, model=model, metric="false alarms a year", value=rate, low=ends[0], high=ends[1], n=people, role=role
    )


def named_rows(
    world: str, named: Mapping[str, Sequence[str]], causes: Mapping[str, str], *, model: str, draws: int = 1000
) -> list[Row]:
    """Of proposals made after an onset, the share that names the right cause.

    Args:
        named: Of each kind, the causes that were told.
        causes: Of each kind, the right one.
    """
    found = {kind: np.array([one == causes[kind] for one in told], dtype=np.float64) for kind, told in named.items()}
    return [
        _row(f"{world}, {kind}", model, "reference", "right cause named", mean_of_people(right), len(right), draws)
        for kind, right in found.items()
        if len(right)
    ]


def error_rows(
    what: str,
    missed: Mapping[str, tuple[Role, Float[np.ndarray, "person origin"]]],
    inside: np.ndarray,
    *,
    person: Int[np.ndarray, " person"] | None = None,
    draws: int = 1000,
) -> list[Row]:
    """RMSE of each way to answer, over the same origins; a person with none does not count.

    Args:
        missed: By name, truth less answer.
        inside: (person, origin) Which origins count.
        person: Whose rows they are, where several are one person's.
    """
    known = inside.copy()
    for _, errors in missed.values():
        known &= np.isfinite(errors)
    rows = []
    for name, (role, errors) in missed.items():
        squares = np.where(known, errors, 0.0) ** 2
        count = known.sum(axis=1)
        own = _of_people(np.where(count > 0, np.sqrt(squares.sum(axis=1) / np.maximum(count, 1)), np.nan), person)
        if np.isfinite(own).any():
            rows.append(_row(what, name, role, "RMSE", mean_of_people(own), len(own), draws, "mg/dL"))
    return rows


def coverage_rows(
    what: str,
    half_width: Mapping[str, tuple[Role, Float[np.ndarray, "person origin"]]],
    missed: Float[np.ndarray, "person origin"],
    since: Int[np.ndarray, "person origin"],
    *,
    person: Int[np.ndarray, " person"] | None = None,
    windows: Mapping[str, tuple[float, float]] = WINDOWS,
    draws: int = 1000,
) -> list[Row]:
    """Share of truths within the interval and its width, in windows of days since the onset.

    Args:
        half_width: Of each rule at each origin.
        missed: Truth less answer, NaN where no truth came.
        since: Days since the onset of each origin.
        person: Whose rows they are, where several are one person's.
        windows: First day and the one after the last of each.
    """
    rows = []
    for window, (first, end) in windows.items():
        there = (since >= first) & (since < end) & np.isfinite(missed)
        if not there.any():
            continue
        for name, (role, half) in half_width.items():
            count = np.where(there.any(axis=1), there.sum(axis=1), np.nan)
            held = ((np.abs(missed) <= half) & there).sum(axis=1) / count
            wide = 2 * np.where(there, half, 0.0).sum(axis=1) / count
            for metric, each, unit in (("80 % interval covers", held, ""), ("its width", wide, "mg/dL")):
                own = _of_people(each, person)
                rows.append(_row(what, name, role, f"{metric}, {window}", mean_of_people(own), len(own), draws, unit))
    return rows


def _of_people(each: Float[np.ndarray, " life"], person: Int[np.ndarray, " life"] | None) -> Float[np.ndarray, " _"]:
    """Means of people over their lives."""
    return each if person is None else person_means(each, np.unique(person, return_inverse=True)[1])


def _row(what: str, model: str, role: Role, metric: str, score: Score, people: int, draws: int, unit: str = "") -> Row:
    """`people` is over how many the score keeps values, known or not."""
    values = score.over(people_draws(people, draws=draws, seed=0))
    low, high = interval(values) if score.people > 1 else (None, None)
    value = float(values[0])
    return Row(
        what=what, model=model, metric=metric, value=value, low=low, high=high, unit=unit, n=score.people, role=role
    )
