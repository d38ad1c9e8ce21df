"""Many indicators of one night -> one score: how far along the way that illness goes, and how far any way at all.

A score is nothing but the sum of its parts, one of each indicator that was measured.
"""

import numpy as np
from jaxtyping import Float

# Nights that "indicators have nothing to do with each other" counts for, against what the person has shown.
PRIOR_NIGHTS = 20.0
# No indicator is expected to move by more, however steady it is.
MOST_SHIFT = 4.0
# Nor does one indicator say more in a night, nor a night more of how indicators go together.
MOST_SURPRISE = 3.0
# Squared, where either way counts: one component of an embedding says as much as 5 SDs and no more.
MOST_SQUARE = 25.0


def correlation(
    surprise: Float[np.ndarray, "person night indicator"],
) -> Float[np.ndarray, "person indicator indicator"]:
    """Between indicators of the same night, pulled to none."""
    known = np.isfinite(surprise)
    filled, there = np.clip(np.where(known, surprise, 0.0), -MOST_SURPRISE, MOST_SURPRISE), known.astype(np.float64)
    cross = filled.transpose(0, 2, 1) @ filled
    square = (filled**2).transpose(0, 2, 1) @ there
    size = np.sqrt(square * square.transpose(0, 2, 1))
    both = there.transpose(0, 2, 1) @ there
    found = np.divide(cross, size, out=np.zeros_like(cross), where=size > 0) * both / (both + PRIOR_NIGHTS)
    diagonal = np.arange(surprise.shape[2])
    found[:, diagonal, diagonal] = 1.0
    return found


def total(parts: Float[np.ndarray, "person indicator"]) -> Float[np.ndarray, " person"]:
    """The score that parts make up; NaN where no indicator has one."""
    known = np.isfinite(parts)
    return np.where(known.any(axis=1), np.where(known, parts, 0.0).sum(axis=1), np.nan)


def along(
    surprise: Float[np.ndarray, "person indicator"],
    shift: Float[np.ndarray, "person indicator"],
    between: Float[np.ndarray, "person indicator indicator"],
    nights: Float[np.ndarray, " person"],
) -> Float[np.ndarray, " person"]:
    """The likelihood ratio's score for a shift of the indicators, in SDs; NaN where none is known."""
    return total(parts_along(surprise, shift, between, nights))


def parts_along(
    surprise: Float[np.ndarray, "person indicator"],
    shift: Float[np.ndarray, "person indicator"],
    between: Float[np.ndarray, "person indicator indicator"],
    nights: Float[np.ndarray, " person"],
) -> Float[np.ndarray, "person indicator"]:
    """What each indicator adds to `along`: its weight times its surprise, in SDs of the sum; NaN where not known.

    An indicator that says what another one says already weighs less, down to nothing but never against its own shift:
    what would follow from that is more than a correlation learned from some weeks can carry.
    """
    known = np.isfinite(surprise) & np.isfinite(shift)
    expected = np.where(known, np.clip(shift, -MOST_SHIFT, MOST_SHIFT), 0.0)
    weight = np.linalg.solve(_of_known(between, known), expected[..., None])[..., 0]
    weight = np.where(weight * expected > 0, weight, 0.0)
    size = np.sqrt(np.einsum("pi,pij,pj->p", weight, between, weight))
    # Weights were learned from so many nights, and scores spread wider for it.
    size *= np.sqrt(1 + (known.sum(axis=1) - 1) / np.maximum(nights, 4))
    heard = np.clip(np.where(known, surprise, 0.0), -MOST_SURPRISE, MOST_SURPRISE)
    size = np.where(known, size[:, None], 0.0)
    return np.divide(weight * heard, size, out=np.full(size.shape, np.nan), where=size > 0)


def anywhere(surprise: Float[np.ndarray, "person indicator"]) -> Float[np.ndarray, " person"]:
    """Sum of squares of what is known, less its expectation, in its SDs; NaN where none is known."""
    return total(parts_anywhere(surprise))


def parts_anywhere(surprise: Float[np.ndarray, "person indicator"]) -> Float[np.ndarray, "person indicator"]:
    """What each indicator adds to `anywhere`: its square less 1, in SDs of the sum; NaN where it is not known.

    The square of chance is 1 on average, and each indicator's own is taken off it. So a part below 0 is an indicator
    that was nearer to what was expected than chance alone has it.
    """
    known = np.isfinite(surprise)
    above = np.minimum(surprise**2, MOST_SQUARE) - 1
    size = np.where(known, np.sqrt(2 * known.sum(axis=1))[:, None], 0.0)
    return np.divide(above, size, out=np.full(size.shape, np.nan), where=known)


def _of_known(between: np.ndarray, known: np.ndarray) -> np.ndarray:
    pair = known[:, :, None] & known[:, None, :]
    return np.where(pair, between, np.eye(known.shape[1]))
