"""Physiology: whether credit lies near moments that mean something, more than chance would have it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdt_fm.explain.explanation import Check, Verdict, worst
from hdt_fm.explain.gate.events import Events
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.schema.errors import unknown_name

SHIFTS = 200


@dataclass(frozen=True)
class Enrichment:
    """Share of |credit| near the events over what chance gives; the band is where 95 % of random shifts lie below."""

    ratio: float
    upper: float


def check(exam: Exam) -> Check:
    """Enrichment for each kind of event; judged only where the caller knows what must be."""
    rule = "judged only where the truth is known: credit near the events above (or within) 95 % of random shifts"
    if not exam.events:
        return Check("physiology", "warn", float("nan"), rule, "No events were given, so this was not looked at.")
    found = {one.name: enrichment(exam, one) for one in exam.events}
    verdict = worst([_judged(one, found[one.name]) for one in exam.events])
    told = "; ".join(f"{name}: {e.ratio:.2f} times chance (95 % of shifts {e.upper:.2f})" for name, e in found.items())
    detail = {name: e.ratio for name, e in found.items()} | {f"{name}, upper": e.upper for name, e in found.items()}
    meaning = f"Credit near {told}."
    if all(one.must_carry is None for one in exam.events):
        meaning += " Not judged: nobody knows what it should be."
    return Check("physiology", verdict, min(e.ratio for e in found.values()), rule, meaning, detail)


def _judged(events: Events, found: Enrichment) -> Verdict:
    if events.must_carry is None:
        return "pass"
    if np.isnan(found.ratio):
        return "warn"
    return "pass" if (found.ratio > found.upper) == events.must_carry else "fail"


def enrichment(exam: Exam, events: Events) -> Enrichment:
    """Over all windows that hold the modality, some credit and an event; NaN where there is none.

    The chance is of the same moments shifted round the window by any number of samples: it keeps their number, their
    spacing and the course of the credit.

    Raises:
        UnknownNameError: If the modality is not among those explained.
        ExplainError: If places do not fit the windows.
    """
    told = exam.explanation
    if events.modality not in told.signals:
        raise unknown_name("modality of events", events.modality, told.signals)
    values = told.find(exam.lead).values.get(events.modality)
    size = np.zeros((0, 1)) if values is None else np.abs(values.astype(np.float64)).sum(1)
    rate, draw = told.signals[events.modality].sampling_rate_hz, np.random.default_rng(exam.seed)
    shares, chance = [], []
    for row, course in enumerate(size):
        near = events.near(row, len(course), rate)
        if near.any() and course.sum() > 0:
            course = course / course.sum()
            shares.append(float(course[near].sum()))
            chance.append(_shifted(course, near, draw))
    if not shares:
        return Enrichment(float("nan"), float("nan"))
    random = np.mean(chance, axis=0)
    return Enrichment(float(np.mean(shares) / random.mean()), float(np.quantile(random, 0.95) / random.mean()))


def _shifted(course: NDArray[np.float64], near: NDArray[np.bool_], draw: np.random.Generator) -> NDArray[np.float64]:
    """(shift,) share near the events after each random shift."""
    by = draw.integers(0, len(course), SHIFTS)
    places = np.flatnonzero(near)
    return course[(places[None] + by[:, None]) % len(course)].sum(1)
