"""False episodes a year, and illness found by its onset: the same counting for every rule."""

import numpy as np
from jaxtyping import Bool, Float, Int

from hdt_fm.twin.alert.cusum import NIGHTS_PER_YEAR
from hdt_fm.twin.alert.episodes import MERGED_NIGHTS
from hdt_fm.twin.alert.simulated.people import RAMP_NIGHTS


def episodes(
    alert: Bool[np.ndarray, "person night"], counts: Bool[np.ndarray, "person night"]
) -> Int[np.ndarray, " person"]:
    """How many begin on nights that count; nights of alert up to three apart are one episode."""
    found = np.zeros(len(alert), dtype=np.int64)
    for person, row in enumerate(alert):
        nights = np.flatnonzero(row)
        begins = nights[np.diff(nights, prepend=-MERGED_NIGHTS - 1) > MERGED_NIGHTS] if len(nights) else nights
        found[person] = counts[person, begins].sum()
    return found


def false_rate(episodes: np.ndarray, watched: np.ndarray, *, weight: np.ndarray | None = None) -> float:
    """Episodes a year of watched nights, over all people together; takes weights for the bootstrap."""
    weight = np.ones(len(episodes)) if weight is None else weight
    years = (weight * watched).sum() / NIGHTS_PER_YEAR
    return float((weight * episodes).sum() / years) if years > 0 else float("nan")


def lead_nights(
    alert: Bool[np.ndarray, "person night"], onset: Int[np.ndarray, " person"]
) -> Float[np.ndarray, " person"]:
    """Nights from the first alert of the ramp to the onset, 0 at the onset; NaN where none came by then."""
    lead = np.full(len(alert), np.nan)
    for person, day in enumerate(onset.tolist()):
        if day >= RAMP_NIGHTS:
            nights = np.flatnonzero(alert[person, day - RAMP_NIGHTS : day + 1])
            lead[person] = RAMP_NIGHTS - nights[0] if len(nights) else np.nan
    return lead
