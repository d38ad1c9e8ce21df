"""How far a leaky dose may be off for the days that were not seen, by how this person's own days go together.

A dose of what was seen differs from that of all days by a sum over days whose weights are known, so its spread follows
from the covariance of days: that of the days that are kept, as a part that fades with the days between and a part that
each day has for itself.
"""

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

# Known days that an interval asks for: fewer do not say how days spread.
LEAST_DAYS = 14
APART_D, LONGEST = 7, 0.99
LEVEL = 0.95
# Of the SD of days: 95 % of how far two of them lie apart.
SLOWEST = 1.96 * 2**0.5


def unseen_reach(days: Float[np.ndarray, " day"], tau: float) -> float:
    """Half of the 95 % interval, in the unit of the exposure; NaN where too few days are known to say.

    Args:
        days: Up to the one of the dose; NaN is not known. What lies before the first is not known.
        tau: Time constant in days.
    """
    known = np.isfinite(days)
    if int(known.sum()) < LEAST_DAYS:
        return float("nan")
    variance, shared, keep, independent = _covariance(days)
    age = np.arange(len(days))[::-1]
    weights = np.exp(-age / tau)
    # Between the days that are kept, by how they go together.
    off = weights / weights.sum() - weights * known / (weights @ known)
    apart = np.abs(np.subtract.outer(age, age))
    together = variance * (shared * keep**apart + (1 - shared) * (apart == 0))
    gaps = student.ppf(0.5 + LEVEL / 2, independent) * np.sqrt(max(off @ together @ off, 0.0))
    # Before them, as if that were as slow as can be: a record tells nothing of what is slower than itself.
    before = np.exp(-len(days) / tau)
    return float(np.hypot((1 - before) * gaps, before * SLOWEST * np.nanstd(days, ddof=1)))


def _covariance(days: Float[np.ndarray, " day"]) -> tuple[float, float, float, float]:
    """Variance, the share of it that fades, by what it fades a day, and how many days are worth one of their own."""
    known = np.isfinite(days)
    off = days - days[known].mean()
    variance = float(np.square(off[known]).mean())
    if not variance > 0:
        return 0.0, 0.0, 0.0, float(known.sum() - 1)
    near, far = (_correlation(off, lag) / variance for lag in (1, APART_D))
    keep = float(np.clip((far / near) ** (1 / (APART_D - 1)), 0.0, LONGEST)) if near > 0 and far > 0 else 0.0
    shared = float(np.clip(near / keep, 0.0, 1.0)) if keep > 0 else 0.0
    count = float(known.sum())
    # A day that fades over d days is worth 1 / (2 d) of its own.
    independent = count / (1 + 2 * shared * keep / (1 - keep))
    free = max(independent - 1, 1.0)
    return variance * max(independent, 2.0) / free, shared, keep, free


def _correlation(off: Float[np.ndarray, " day"], lag: int) -> float:
    products = off[lag:] * off[:-lag]
    there = products[np.isfinite(products)]
    return float(there.mean()) if len(there) >= LEAST_DAYS // 2 else 0.0
