"""Deletion and insertion: what a map calls important must move the output more than segments picked at random."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdt_fm.explain.explanation import Check
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.judge import as_good, both
from hdt_fm.explain.gate.removal import LEVELS, UNMOVED, Bench, first, ranked, shuffled, told
from hdt_fm.explain.methods import METHODS

CHANCE = 0.05


@dataclass(frozen=True)
class Curve:
    """Share of the whole change that is gone (deletion) or there (insertion) at each of `removal.LEVELS`."""

    deletion: NDArray[np.float64]
    insertion: NDArray[np.float64]


def curve(exam: Exam, method: str) -> Curve:
    """The curves of a map, over a few windows.

    Segments that hold the output where it is go first: by signed credit, times the sign of the change from the
    reference. At 100 % the whole change is gone, and both curves are 1.
    """
    bench = Bench.of(exam)
    side = np.sign(bench.change)[:, None] if METHODS[method].signs else 1.0
    order = ranked(bench, side * bench.credit(exam.explanation.find(method)))
    return exam.once(f"deletion by {method}", lambda: _followed(bench, order))


def band(exam: Exam) -> tuple[Curve, ...]:
    """The curves of orders at random, for the same windows."""
    bench = Bench.of(exam)
    return exam.once(
        "deletion at random", lambda: tuple(_followed(bench, o) for o in shuffled(bench, exam.orders, exam.seed))
    )


def check(exam: Exam) -> Check:
    """The mean of the leading map's curves over the levels, among those of orders at random."""
    rule = f"pass when at most {CHANCE:.0%} of random orders do as well in deletion and in insertion, warn when in one"
    if np.isnan(Bench.of(exam).scale):
        return Check("deletion", "fail", float("nan"), rule, UNMOVED)
    own, random = curve(exam, exam.lead), band(exam)
    out = as_good(own.deletion.mean(), [one.deletion.mean() for one in random])
    back = as_good(own.insertion.mean(), [one.insertion.mean() for one in random])
    meaning = (
        f"Of random orders of segments {out:.0%} move the output as far when segments are taken away, and {back:.0%} "
        "restore it as well when they come back."
    )
    detail = {
        "deletion": float(own.deletion.mean()),
        "deletion at random": float(np.mean([one.deletion.mean() for one in random])),
        "insertion": float(own.insertion.mean()),
        "insertion at random": float(np.mean([one.insertion.mean() for one in random])),
        "random orders": float(len(random)),
    }
    return Check("deletion", both(out <= CHANCE, back <= CHANCE), max(out, back), rule, meaning, detail)


def _followed(bench: Bench, order: list[NDArray[np.int64]]) -> Curve:
    top, side = first(bench, order, LEVELS), np.sign(bench.change)[:, None]
    whole = bench.run.output.double().cpu().numpy()[:, None]
    none = bench.reference_output[:, None]
    gone = side * (whole - told(bench, top))
    there = side * (told(bench, ~top) - none)
    return Curve(gone.sum(0) / bench.scale, there.sum(0) / bench.scale)
