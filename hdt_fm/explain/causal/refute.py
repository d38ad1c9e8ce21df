"""Attempts to show that an effect is not what the rows say.

Two ask for an effect where there can be none: it must be near 0. Two change the rows in ways that must not matter: the
effect must stay. Passing all of them is no proof, failing one is a reason not to trust the effect. Numbers are in
SDs of the outcome, as those of the negative control are in SDs of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hdt_fm.explain.causal.design import Design, design_of, features_of
from hdt_fm.explain.causal.effect import Estimate, critical, estimate
from hdt_fm.explain.causal.observed import Observed
from hdt_fm.schema.errors import ExplainError
from hdt_fm.schema.what_if import Refuter

PLACEBOS, CAUSES, SUBSETS = 20, 20, 20
# Of people, that a subset keeps.
KEPT = 0.8
# A true 0 stays this near in 99 of 100 tables, by the error of what is found.
SURE = 0.99
# A twentieth of an SD never fails an effect, however many the rows.
NEVER_MATTERS = 0.05
# Where chance alone may move an effect by half an SD, the rows are too few to say.
SAYS_NOTHING = 0.5


@dataclass(frozen=True)
class _Asked:
    """An effect and what it was made of, all in SDs by `scale`."""

    some: Observed
    design: Design
    found: Estimate
    scale: float

    @property
    def value(self) -> float:
        return self.found.value * self.scale

    @property
    def error(self) -> float:
        return self.found.error * self.scale


def refute(
    some: Observed, design: Design, found: Estimate, *, control: Observed | None = None, seed: int
) -> tuple[Refuter, ...]:
    """All attempts.

    Args:
        control: Rows with the negative control for an outcome; None if there is none.
        seed: The same gives the same draws.
    """
    asked = _Asked(some, design, found, scale_of(design))
    ways: tuple[Callable[[_Asked, np.random.Generator], Refuter], ...] = (
        _placebo,
        _random_cause,
        _subset,
    )
    generators = np.random.default_rng(seed).spawn(len(ways))
    tried = [way(asked, generator) for way, generator in zip(ways, generators, strict=True)]
    return *tried, _negative_control(control, within=design.within, seed=seed)


def scale_of(design: Design) -> float:
    """What makes an effect one in SDs: of the outcome, and by an SD of a continuous treatment."""
    return (1.0 if design.binary else design.treatment_sd) / design.outcome_sd


def shuffled(design: Design, generator: np.random.Generator) -> Design:
    """Treatments dealt anew among each person's own rows."""
    order = np.lexsort((generator.random(len(design.person)), design.person))
    own = np.lexsort((np.arange(len(design.person)), design.person))
    treatment = np.empty_like(design.treatment)
    treatment[own] = design.treatment[order]
    return replace(design, treatment=treatment)


def _placebo(asked: _Asked, generator: np.random.Generator) -> Refuter:
    """Mean effect of so many draws, and the middle one of their errors."""
    words = "Treatments are dealt anew among each person's own rows, where they did nothing."
    drawn = [estimate(shuffled(asked.design, generator)) for _ in range(PLACEBOS)]
    value = asked.scale * float(np.mean([one.value for one in drawn]))
    error = asked.scale * float(np.median([one.error for one in drawn]))
    return _judged("placebo treatment", words, value, 0.0, _sure(asked.design) * error)


def _random_cause(asked: _Asked, generator: np.random.Generator) -> Refuter:
    """Of so many random columns, one at a time, the one that moves the effect farthest."""
    words = "Random numbers are held fixed beside the rest, and must not matter."
    design, values = asked.design, []
    for _ in range(CAUSES):
        chance = generator.normal(size=(len(design.outcome), 1))
        more = features_of(chance, design.person, design.people, within=design.within)
        values.append(estimate(replace(design, features=np.column_stack([design.features, more]))).value)
    half = critical(design.people) * asked.error
    return _stays("random common cause", words, asked, values, half)


def _subset(asked: _Asked, generator: np.random.Generator) -> Refuter:
    """Four people of five; of so many draws the one that moves the effect farthest."""
    words = "A fifth of the people is left out; of some such draws the effect farthest off is told."
    people = asked.design.people
    values = []
    for _ in range(SUBSETS):
        weight = np.zeros(people)
        weight[generator.permutation(people)[: round(KEPT * people)]] = 1.0
        values.append(estimate(asked.design, weight).value)
    return _stays("subset of people", words, asked, values, _sure(asked.design) * asked.error)


def _negative_control(control: Observed | None, *, within: bool, seed: int) -> Refuter:
    """The same estimate of something that the treatment cannot have changed."""
    name, words = "negative control", "The effect on something that the treatment cannot have changed is asked for."
    if control is None:
        return Refuter(name, np.nan, 0.0, np.nan, None, "No negative control was named.")
    try:
        design = design_of(control, within=within, seed=seed)
    except ExplainError:
        return Refuter(name, np.nan, 0.0, np.nan, None, words)
    found, scale = estimate(design), scale_of(design)
    return _judged(name, words, found.value * scale, 0.0, _sure(design) * found.error * scale)


def _sure(design: Design) -> float:
    return critical(design.people, SURE)


def _stays(name: str, words: str, asked: _Asked, values: list[float], allowed: float) -> Refuter:
    """By the one that is farthest off, a draw that gives no number before all."""
    drawn = asked.scale * np.array(values)
    off = np.abs(drawn - asked.value)
    worst = int(np.argmax(np.where(np.isfinite(off), off, np.inf)))
    return _judged(name, words, float(drawn[worst]), asked.value, allowed)


def _judged(name: str, words: str, found: float, expected: float, allowed: float) -> Refuter:
    if not np.isfinite([found, allowed]).all():
        return Refuter(name, np.nan, expected, np.nan, None, words)
    allowed = max(allowed, NEVER_MATTERS)
    off = bool(abs(found - expected) > allowed)
    # What is surely off fails however few the rows; that nothing is seen off says nothing where they are few.
    passed = False if off else True if allowed <= SAYS_NOTHING else None
    return Refuter(name, found, expected, allowed, passed, words)
