"""Events that a forecast is asked about, and how likely quantiles say they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True)
class Event:
    """What a risk is asked for: the value beyond a threshold at the horizon, when it is not beyond it now."""

    name: str
    threshold: float
    below: bool

    def of(self, values: Float[np.ndarray, "..."]) -> Bool[np.ndarray, "..."]:
        return values < self.threshold if self.below else values > self.threshold


# ATTD consensus (Danne et al. 2017), mg/dL.
EVENTS: Mapping[str, tuple[Event, ...]] = {
    "glucose": (Event("below 70 mg/dL", 70.0, below=True), Event("above 180 mg/dL", 180.0, below=False))
}


def risk_of(
    quantiles: Float[np.ndarray, "origin level"], levels: Sequence[float], event: Event
) -> Float[np.ndarray, " origin"]:
    """Probability of the event by the quantiles: between them by a line, beyond them by the tail's last slope."""
    edge = np.asarray(levels, dtype=np.float64)
    above = (quantiles <= event.threshold).sum(axis=1)
    low, high = (above - 1).clip(0, len(edge) - 2), above.clip(1, len(edge) - 1)
    rows = np.arange(len(quantiles))
    step = np.maximum(quantiles[rows, high] - quantiles[rows, low], 1e-6)
    between = edge[low] + (edge[high] - edge[low]) * (event.threshold - quantiles[rows, low]) / step
    first = np.maximum(quantiles[:, 1] - quantiles[:, 0], 1e-6)
    below = edge[0] * np.exp(-np.maximum(quantiles[:, 0] - event.threshold, 0) / first)
    last = np.maximum(quantiles[:, -1] - quantiles[:, -2], 1e-6)
    beyond = 1 - (1 - edge[-1]) * np.exp(-np.maximum(event.threshold - quantiles[:, -1], 0) / last)
    share = np.where(above == 0, below, np.where(above == len(edge), beyond, between))
    return share if event.below else 1 - share
