"""How rare a score is among the person's own: conformal p-values, with a tail where ranks run out."""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from hdt_fm.twin.alert.baseline import IQR_OF_NORMAL, quantiles

# Past the upper tenth of the own scores ranks are too coarse (1 in 22 at best after 21 nights) and a normal tail goes
# on, as wide as the own scores there; its width starts as that of the middle, which counts as so many scores.
TAIL = 0.1
TAIL_PRIOR = 10.0
# Nor does one score of an illness widen the tail by more than so many SDs of the middle.
MOST_EXCESS = 2.0
_NORMAL = NormalDist()
# Mean excess of a normal over its upper tenth, in SDs.
_EXCESS = _NORMAL.pdf(_NORMAL.inv_cdf(1 - TAIL)) / TAIL - _NORMAL.inv_cdf(1 - TAIL)
_GRID = np.linspace(-8.0, 8.0, 1601)
_SURVIVAL = np.array([_NORMAL.cdf(-at) for at in _GRID])


class Rarity(NamedTuple):
    """Of each person's score; NaN without calibration scores."""

    p: Float[np.ndarray, " person"]  # (1 + own scores as high) / (1 + own scores) up to the upper tenth
    z: Float[np.ndarray, " person"]  # the normal score of p, high where p is small


def rarity(score: Float[np.ndarray, " person"], own: Float[np.ndarray, "person night"]) -> Rarity:
    """How rare each score is among its person's own, which hold no score of the same night.

    Args:
        score: Of tonight, in any unit, high where it is unlike the person; NaN where there is none.
        own: Of earlier nights, in the same unit; NaN where a night gave none.
    """
    count = np.isfinite(own).sum(axis=1)
    as_high = (own >= score[:, None]).sum(axis=1)
    p = (1.0 + as_high) / (1.0 + count)
    low, edge, high = quantiles(own, (0.25, 1 - TAIL, 0.75))
    over = np.where(own > edge[:, None], own - edge[:, None], 0.0)
    number = (over > 0).sum(axis=1)
    middle = (high - low) / IQR_OF_NORMAL
    over = np.minimum(over, MOST_EXCESS * middle[:, None])
    width = (over.sum(axis=1) / _EXCESS + TAIL_PRIOR * middle) / (number + TAIL_PRIOR)
    steps = (score - edge) / np.where(width > 0, width, np.nan)
    # In the tail, but never rarer than by a tail that begins at the rank of its edge.
    start = (1.0 + number) / (1.0 + count)
    tail_z = normal_score(start) + np.maximum(steps, 0.0)
    z = np.where(steps > 0, np.fmax(tail_z, normal_score(p)), normal_score(p))
    usable = (count > 0) & np.isfinite(score)
    z = np.where(usable, z, np.nan)
    return Rarity(np.where(usable, tail_p(z), np.nan), z)


def normal_score(p: Float[np.ndarray, " person"]) -> Float[np.ndarray, " person"]:
    """Where a normal leaves p above."""
    return np.interp(-p, -_SURVIVAL, _GRID)


def tail_p(z: Float[np.ndarray, " person"]) -> Float[np.ndarray, " person"]:
    """What a normal leaves above z."""
    return np.interp(z, _GRID, _SURVIVAL)
