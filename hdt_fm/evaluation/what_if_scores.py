"""Scores of foretold effects against true ones, of the foretold ranking of doses, and of the dose that would be chosen.

Each is made within a seed's cohort and then averaged over seeds: a seed weighs the same whatever its people are like.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.evaluation.contenders import Metric
from hdt_fm.evaluation.people import Score

EFFECT, LOW, HIGH = range(3)
# The risk of a glucose value, 0 at 112.5 mg/dL and about 100 at both ends of a meter (Kovatchev et al. 1997).
_SCALE, _POWER, _CENTER = 1.509, 1.084, 5.381


def over_seeds(
    top: Float[np.ndarray, " row"],
    bottom: Float[np.ndarray, " row"],
    person: Int[np.ndarray, " row"],
    seed: Int[np.ndarray, " person"],
    finish: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> Score:
    """The mean over seeds of `finish(sum of top / sum of bottom)`; rows with NaN in either do not count.

    Args:
        seed: To which each person belongs.
    """
    known = np.isfinite(top) & np.isfinite(bottom)
    sums = [
        np.bincount(person[known], weights=some[known].astype(np.float64), minlength=len(seed))
        for some in (top, bottom)
    ]
    members = [seed == one for one in np.unique(seed)]

    def over(counts: np.ndarray) -> np.ndarray:
        found = []
        for mine in members:
            above, below = (counts[:, mine] @ some[mine] for some in sums)
            found.append(finish(np.where(below != 0, above / np.where(below != 0, below, 1.0), np.nan)))
        values = np.stack(found)
        there = np.isfinite(values)
        out: np.ndarray = np.where(there, values, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        return np.where(there.any(axis=0), out, np.nan)

    return Score(over, len(np.unique(person[known])))


def effect_metrics(
    true: Float[np.ndarray, " row"],
    moves: np.ndarray,
    person: Int[np.ndarray, " row"],
    seed: Int[np.ndarray, " person"],
) -> list[Metric]:
    """Of answers (row, effect low high), mg/dL.

    Args:
        true: Effect at each moment.
        moves: Whether the two plans differ there; where they do not the effect is 0 and nothing is to be got right.
    """
    mean = partial(over_seeds, person=person, seed=seed)
    ones = np.ones_like(true)
    signed = np.where(moves & (true != 0), 1.0, np.nan)
    asked = np.where(moves, 1.0, np.nan)

    def pehe(answers: np.ndarray) -> Score:
        return mean(np.square(answers[:, EFFECT] - true), ones, finish=np.sqrt)

    def share(answers: np.ndarray) -> Score:
        return mean(np.square(answers[:, EFFECT] - true), np.square(true), finish=np.sqrt)

    def bias(answers: np.ndarray) -> Score:
        return mean(answers[:, EFFECT] - true, true, finish=lambda ratio: 100 * np.abs(ratio))

    def sign(answers: np.ndarray) -> Score:
        return mean((np.sign(answers[:, EFFECT]) == np.sign(true)).astype(np.float64), signed)

    def coverage(answers: np.ndarray) -> Score:
        inside = (answers[:, LOW] <= true) & (true <= answers[:, HIGH])
        return mean(np.where(np.isfinite(answers[:, LOW]), inside, np.nan) * asked, asked)

    return [
        Metric("PEHE", pehe, "lower", "mg/dL"),
        Metric("PEHE, share of the true effects' RMS", share, "lower"),
        Metric("mean effect", lambda answers: mean(answers[:, EFFECT], ones), None, "mg/dL"),
        Metric("mean effect off by", bias, "lower", "%"),
        Metric("sign right", sign, "higher"),
        Metric("90 % interval covers", coverage, None),
        Metric("its width", lambda answers: mean((answers[:, HIGH] - answers[:, LOW]) * asked, asked), None, "mg/dL"),
    ]


def plan_metrics(
    true: Float[np.ndarray, "row plan"],
    dose: Float[np.ndarray, "row plan"],
    ranked: list[int],
    person: Int[np.ndarray, " row"],
    seed: Int[np.ndarray, " person"],
) -> list[Metric]:
    """Of answers (row, plan), mg/dL.

    Args:
        dose: Of each plan, U.
        ranked: The plans that differ in nothing but the dose.
    """
    mean = partial(over_seeds, person=person, seed=seed)

    def rmse(answers: np.ndarray) -> Score:
        return mean(np.square(answers - true).mean(axis=1), np.ones(len(true)), finish=np.sqrt)

    def tau(answers: np.ndarray) -> Score:
        found = kendall(answers[:, ranked], true[:, ranked], dose[:, ranked])
        return mean(found, np.where(np.isfinite(found), 1.0, np.nan))

    return [Metric("RMSE of levels", rmse, "lower", "mg/dL"), Metric("Kendall tau of doses", tau, "higher")]


def kendall(
    answers: Float[np.ndarray, "row plan"], true: Float[np.ndarray, "row plan"], dose: Float[np.ndarray, "row plan"]
) -> Float[np.ndarray, " row"]:
    """Of each row: pairs in the right order less pairs in the wrong one, over pairs that differ in truth and in dose.

    A pair that the answers tie is neither. NaN where no pair differs.
    """
    first, second = np.triu_indices(true.shape[1], k=1)
    order = np.sign(true[:, first] - true[:, second]) * (dose[:, first] != dose[:, second])
    agrees = order * np.sign(answers[:, first] - answers[:, second])
    pairs = np.abs(order).sum(axis=1)
    out: np.ndarray = np.where(pairs > 0, agrees.sum(axis=1) / np.maximum(pairs, 1), np.nan)
    return out


def glucose_risk(glucose_mg_dl: np.ndarray) -> np.ndarray:
    """How bad a value is, low or high."""
    out: np.ndarray = 10 * np.square(_SCALE * (np.log(np.maximum(glucose_mg_dl, 1.0)) ** _POWER - _CENTER))
    return out


def regret(answers: Float[np.ndarray, "row plan minute"], true: Float[np.ndarray, "row plan minute"]) -> np.ndarray:
    """Of each row: mean risk over the minutes under the dose that the answers would choose, less that of the best dose.

    Chosen is the plan of least foretold risk; of plans that tie, each with the same chance.
    """
    foretold, real = glucose_risk(answers).mean(axis=2), glucose_risk(true).mean(axis=2)
    chosen = np.isclose(foretold, foretold.min(axis=1, keepdims=True), rtol=0, atol=1e-9)
    out: np.ndarray = (real * chosen).sum(axis=1) / chosen.sum(axis=1) - real.min(axis=1)
    return out


def regret_metric(
    true: Float[np.ndarray, "row plan minute"], person: Int[np.ndarray, " row"], seed: Int[np.ndarray, " person"]
) -> Metric:
    """Of answers (row, plan, minute) of plans that differ in nothing but the dose."""

    def score(answers: np.ndarray) -> Score:
        return over_seeds(regret(answers, true), np.ones(len(true)), person, seed)

    return Metric("regret of the chosen dose", score, "lower", "risk")
