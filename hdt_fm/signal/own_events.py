"""What a model is told at an origin of the person's own events up to then: how often, how long ago, at which time."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from hdt_fm.schema.series import DAY_S, Series
from hdt_fm.signal.moments import Moments
from hdt_fm.signal.within import LEAST_SEEN, Happening

SPANS_S = (DAY_S, 3 * DAY_S, 7 * DAY_S, np.inf)
# Of fewer readings than this a share says nothing of a person.
LEAST_READ_S = 6 * 3600.0
DAYS = 7


def own_events(
    moments: Moments, series: Sequence[Series], happenings: Sequence[Happening]
) -> Float[np.ndarray, "origin feature"]:
    """Of each happening eight columns with three horizons, and one more for each horizon beyond.

    The share of readings that had it over a day, three days, a week and all so far; log(1 + hours) since the last that
    had it, a week if none did; and for each horizon on what share of the seven days before it happened in the very
    span of the day that is asked about. NaN where too little was read. Of several recordings each knows only itself.
    """
    width = len(happenings) * (len(SPANS_S) + 1 + len(moments.horizons_s))
    out = np.full((len(moments), width), np.nan)
    for number in np.unique(moments.series):
        rows, one = np.flatnonzero(moments.series == number), series[number]
        place, columns = moments.place[rows], []
        seen = np.concatenate([[0], np.cumsum(one.observed)])
        for happening in happenings:
            had = one.observed & happening(one.values)
            events = np.concatenate([[0], np.cumsum(had)])
            columns += [_share(seen, events, place, span / one.step_s, one.step_s) for span in SPANS_S]
            columns.append(_since(had, place, one.step_s))
            columns += [_same_time(seen, events, place, round(h / one.step_s), one.step_s) for h in moments.horizons_s]
        out[rows] = np.stack(columns, axis=1)
    return out


def _share(seen: np.ndarray, events: np.ndarray, place: np.ndarray, span: float, step_s: float) -> np.ndarray:
    first = np.maximum(place + 1 - min(span, float(len(seen))), 0).round().astype(np.int64)
    read = seen[place + 1] - seen[first]
    share = (events[place + 1] - events[first]) / np.maximum(read, 1)
    return np.asarray(np.where(read * step_s >= LEAST_READ_S, share, np.nan))


def _since(had: np.ndarray, place: np.ndarray, step_s: float) -> np.ndarray:
    week = round(DAYS * DAY_S / step_s)
    last = np.maximum.accumulate(np.where(had, np.arange(len(had)), -week - len(had)))
    return np.asarray(np.log1p(np.minimum(place - last[place], week) * step_s / 3600.0))


def _same_time(seen: np.ndarray, events: np.ndarray, place: np.ndarray, ahead: int, step_s: float) -> np.ndarray:
    """A day before and earlier, so that every such span has ended by now."""
    had, known = np.zeros(len(place)), np.zeros(len(place))
    for day in range(1, DAYS + 1):
        first = place + 1 - round(day * DAY_S / step_s)
        there, first = first >= 0, first.clip(0)
        came = there & (events[first + ahead] > events[first])
        enough = there & (seen[first + ahead] - seen[first] >= LEAST_SEEN * ahead - 1e-9)
        had += came
        known += came | enough
    return np.where(known > 0, had / np.maximum(known, 1), np.nan)
