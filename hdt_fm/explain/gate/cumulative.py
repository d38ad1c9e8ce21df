"""Cumulative prediction difference and preservation: effects are added up step by step, so that signs cannot cancel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdt_fm.explain.explanation import Check
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.judge import as_good, both
from hdt_fm.explain.gate.removal import UNMOVED, Bench, first, ranked, shuffled, told

CHANCE = 0.05
# Twentieths of the segments; a fifth is gone after the fourth step, half after the last.
STEPS = tuple(k / 20 for k in range(1, 11))
FIFTH = STEPS.index(0.2)


@dataclass(frozen=True)
class Cumulative:
    """Steps of the output, added up in size while half of the segments go.

    Attributes:
        difference: CPD, the segments of most |credit| first; higher is better.
        preservation: CPP, those of least |credit| first; lower is better.

    Units: shares of the change from the reference.
    Source: Jang, Kim, Yang 2025, "TIMING", ICML, arXiv 2506.05035: the sum over k of |F(x_k) - F(x_k+1)|, where x_k
    lacks the k first points. Here a point is a segment, the explained output takes the place of the classes'
    probabilities, and a step is a twentieth of the segments.
    """

    difference: float
    preservation: float


def cumulative(exam: Exam, method: str) -> Cumulative:
    """CPD and CPP of a map, over a few windows."""
    bench = Bench.of(exam)
    size = np.abs(bench.credit(exam.explanation.find(method)))
    return exam.once(
        f"cumulative by {method}",
        lambda: Cumulative(_walked(bench, ranked(bench, size))[FIFTH], _walked(bench, ranked(bench, -size))[-1]),
    )


def at_random(exam: Exam) -> tuple[Cumulative, ...]:
    """The same sums for orders at random."""
    bench = Bench.of(exam)
    # Another seed than that of deletion: two tests on one draw would err together.
    return exam.once(
        "cumulative at random",
        lambda: tuple(
            Cumulative(walk[FIFTH], walk[-1])
            for walk in (_walked(bench, order) for order in shuffled(bench, exam.orders, exam.seed + 1))
        ),
    )


def check(exam: Exam) -> Check:
    """CPD must lie above, and CPP below, the band of orders at random."""
    rule = f"pass when at most {CHANCE:.0%} of random orders do as well in CPD and in CPP, warn when in one"
    if np.isnan(Bench.of(exam).scale):
        return Check("CPD and CPP", "fail", float("nan"), rule, UNMOVED)
    own, random = cumulative(exam, exam.lead), at_random(exam)
    above = as_good(own.difference, [one.difference for one in random])
    below = as_good(-own.preservation, [-one.preservation for one in random])
    fifth = float(np.median([one.difference for one in random]))
    half = float(np.median([one.preservation for one in random]))
    meaning = (
        f"The fifth of most credit moves the output by {own.difference:.2f} of the change, a random fifth by "
        f"{fifth:.2f}; the half of least credit by {own.preservation:.2f}, a random half by {half:.2f}."
    )
    detail = {
        "CPD": own.difference,
        "CPD at random": fifth,
        "CPP": own.preservation,
        "CPP at random": half,
        "random orders as good in CPD": above,
        "random orders as good in CPP": below,
    }
    return Check("CPD and CPP", both(above <= CHANCE, below <= CHANCE), max(above, below), rule, meaning, detail)


def _walked(bench: Bench, order: list[NDArray[np.int64]]) -> list[float]:
    """After each step, the sum over windows and steps so far of |step|, as a share of the sum of |change|."""
    after = told(bench, first(bench, order, STEPS))
    start = bench.run.output.double().cpu().numpy()[:, None]
    steps = np.abs(np.diff(after, axis=1, prepend=start)).sum(0)
    found: list[float] = (np.cumsum(steps) / bench.scale).tolist()
    return found
