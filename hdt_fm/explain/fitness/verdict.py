"""The verdict on a method in one architecture, by what it found of what was planted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdt_fm.explain.explanation import Verdict
from hdt_fm.explain.fitness.measure import Plot
from hdt_fm.explain.fitness.score import RANDOM_MAP
from hdt_fm.explain.fitness.train import SKILL
from hdt_fm.explain.gate.planted import Fitness

# Below one half, what a map shows is more often wrong than right. Above .7 it is, kind by kind, where .65 was the best
# that public work reports of a point map on such events.
FIT, USELESS = 0.7, 0.5
DRAWS = 2000


@dataclass(frozen=True)
class Spread:
    """A mean and its 95 % interval; NaN bounds where fewer than two groups were measured."""

    value: float
    low: float
    high: float


def spread_of(groups: Sequence[NDArray[np.float64]], *, draws: int = DRAWS, seed: int = 0) -> Spread:
    """Mean over all windows, and its interval over groups drawn with replacement; windows that are NaN do not count.

    Args:
        groups: Windows that stand or fall together: of one trained model, or of one person.
    """
    kept = [one[np.isfinite(one)] for one in groups]
    sums, counts = np.array([one.sum() for one in kept]), np.array([len(one) for one in kept])
    if not counts.sum():
        return Spread(float("nan"), float("nan"), float("nan"))
    value = float(sums.sum() / counts.sum())
    if len(groups) < 2:
        return Spread(value, float("nan"), float("nan"))
    drawn = np.random.default_rng(seed).integers(0, len(groups), (draws, len(groups)))
    count = counts[drawn].sum(1)
    low, high = np.percentile((sums[drawn].sum(1) / np.maximum(count, 1))[count > 0], (2.5, 97.5))
    return Spread(value, float(low), float(high))


@dataclass(frozen=True)
class Judged:
    """One method in one architecture.

    Attributes:
        fitness: What the gate of the report is given; None where nothing could be measured.
        share: Share of |credit| on the true channel. `share_null`: that of a random map.
        by_kind: Mean AUPRC of each kind of event that the architecture could be taught.
        models: How many trained models that rests on.
        why: The verdict in one sentence.
        refused: Whether the method cannot explain such a model at all.
    """

    method: str
    architecture: str
    fitness: Fitness | None
    auprc: Spread
    share: Spread
    share_null: float
    by_kind: Mapping[str, float]
    models: int
    why: str
    refused: bool = False


def judge(plots: Sequence[Plot], method: str) -> Judged:
    """The verdict on a method in the architecture of some plots."""
    architecture = plots[0].architecture
    nothing = Spread(float("nan"), float("nan"), float("nan"))
    told = [plot for plot in plots if method in plot.found]
    if not told:
        refusals = sorted({plot.refused[method] for plot in plots if method in plot.refused})
        if refusals:
            return Judged(method, architecture, None, nothing, nothing, float("nan"), {}, 0, f"{refusals[0]}.", True)
        why = f"Not measured: no model of this architecture reached an AUROC of {SKILL} on any event."
        return Judged(method, architecture, None, nothing, nothing, float("nan"), {}, 0, why)
    found = [plot.found[method] for plot in told]
    auprc = spread_of([one.auprc for one in found])
    share = spread_of([one.channel for one in found])
    share_null = float(np.mean([1 / count for one in found for count in one.channels]))
    guess = spread_of([plot.found[RANDOM_MAP].auprc for plot in told]).value
    kinds = dict.fromkeys(plot.kind for plot in told)
    by_kind = {
        kind: spread_of([plot.found[method].auprc for plot in told if plot.kind == kind]).value for kind in kinds
    }
    verdict, why = _verdict(auprc, share, share_null, by_kind)
    fitness = Fitness(method, architecture, auprc.value, auprc.low, guess, share.value, verdict)
    return Judged(method, architecture, fitness, auprc, share, share_null, by_kind, len(told), why)


def _verdict(auprc: Spread, share: Spread, null: float, by_kind: Mapping[str, float]) -> tuple[Verdict, str]:
    worst = min(by_kind, key=lambda kind: by_kind[kind])
    # One model alone has no interval, and says nothing about the next one.
    low, share_low = (np.nan_to_num(one.low, nan=0.0) for one in (auprc, share))
    if low < USELESS:
        return "fail", f"AUPRC may be as low as {low:.2f}; below {USELESS} a map is more often wrong than right."
    if share_low <= null:
        return "fail", f"No more credit on the true channel ({share.value:.2f}) than by chance ({null:.2f})."
    if low < FIT:
        return "warn", f"AUPRC {auprc.value:.2f}, but it may be below {FIT}."
    if by_kind[worst] < USELESS:
        return "warn", f"AUPRC {auprc.value:.2f}, but {by_kind[worst]:.2f} where the event is of the kind {worst!r}."
    return "pass", f"AUPRC {auprc.value:.2f}, at least {low:.2f}; {by_kind[worst]:.2f} on the hardest kind, {worst!r}."
