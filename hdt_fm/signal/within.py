"""Whether something happened at any reading of a span ahead; the same truth for every model of a risk."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.schema.series import Series
from hdt_fm.signal.moments import MAX_LINE_S, Moments

# Of the places of a span, how many must have been read before nothing seen means that nothing happened.
LEAST_SEEN = 2 / 3
Happening = Callable[[Any], Any]


def happened_within(
    moments: Moments,
    series: Sequence[Series],
    happenings: Sequence[Happening],
    *,
    least_seen: float = LEAST_SEEN,
    longest_gap_s: float = MAX_LINE_S,
) -> Float[np.ndarray, "origin horizon happening"]:
    """1 where a reading in (now, now + horizon] had it, 0 where none had, NaN where that is not asked or not known.

    Not asked: it is there already at the newest reading. Not known: none was seen, and too few places of the span were
    read, or there was no reading for longer than a short gap, counted from now, between readings and to the end. What
    was seen counts whatever is missing. Only readings count, never a line between them.

    Args:
        happenings: Values -> flags, such as `Event.of`.
        least_seen: Share of the span's places.
    """
    ahead = np.array([round(one / moments.step_s) for one in moments.horizons_s])
    out = np.full((len(moments), len(ahead), len(happenings)), np.nan)
    for number in np.unique(moments.series):
        rows, one = np.flatnonzero(moments.series == number), series[number]
        index = moments.place[rows, None] + np.arange(1, ahead.max() + 1)
        inside = index.clip(max=len(one) - 1)
        seen = (index < len(one)) & one.observed[inside]
        known = _known(seen, ahead, least_seen, longest_gap_s / moments.step_s)
        for place, happening in enumerate(happenings):
            so_far = np.cumsum(seen & happening(one.values[inside]), axis=1)[:, ahead - 1] > 0
            told = np.where(so_far, 1.0, np.where(known, 0.0, np.nan))
            out[rows, :, place] = np.where(happening(moments.last[rows])[:, None], np.nan, told)
    return out


def _known(seen: np.ndarray, ahead: np.ndarray, least_seen: float, longest_gap: float) -> np.ndarray:
    """Whether enough of each span was read to say that nothing happened, (origin, horizon)."""
    step = np.arange(1, seen.shape[1] + 1)
    newest = np.maximum.accumulate(np.where(seen, step, 0), axis=1)
    # From now or the reading before to each place: at its longest just before a reading, or at the span's end.
    gap = step - np.concatenate([np.zeros((len(seen), 1), dtype=step.dtype), newest[:, :-1]], axis=1)
    longest = np.maximum.accumulate(gap, axis=1)[:, ahead - 1]
    share = np.cumsum(seen, axis=1)[:, ahead - 1] / ahead
    return np.asarray((share >= least_seen - 1e-9) & (longest <= longest_gap))


def next_places(
    moments: Moments, series: Sequence[Series], happening: Happening, *, longest_s: float
) -> Int[np.ndarray, " origin"]:
    """The place of the next reading that has it, in the origin's own series; -1 where none comes in `longest_s`.

    Origins of one series that share it wait for the same thing.
    """
    out = np.full(len(moments), -1)
    for number in np.unique(moments.series):
        rows, one = np.flatnonzero(moments.series == number), series[number]
        there = np.flatnonzero(one.observed & happening(one.values))
        place = moments.place[rows]
        following = np.append(there, -1)[np.searchsorted(there, place, side="right")]
        near = (following >= 0) & ((following - place) * moments.step_s <= longest_s + 1e-9)
        out[rows] = np.where(near, following, -1)
    return out
