"""What a model is told at an origin: the last hours, the person's own days and windows before, as far as known."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from hdt_fm.schema.series import DAY_S, Series
from hdt_fm.signal.moments import Moments, known_until

HOUR_S = 3600.0
SPANS_S = (3 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S, DAY_S, 3 * DAY_S, 7 * DAY_S)
DAYS_BEFORE = (1, 2, 7)


def recent(moments: Moments) -> Float[np.ndarray, "origin feature"]:
    """Changes to the last reading over the context, the last reading, and the time of day; unknown changes are 0.

    The share of the context that is unknown stands beside.
    """
    change = moments.context[:, :-1] - moments.last[:, None]
    known = np.isfinite(change)
    angle = 2 * np.pi * moments.clock_s[:, None] / DAY_S
    missing = 1.0 - known.mean(axis=1, keepdims=True)
    return np.concatenate(
        [np.where(known, change, 0.0), moments.last[:, None], missing, np.sin(angle), np.cos(angle)], axis=1
    )


def own_past(moments: Moments, series: Sequence[Series]) -> Float[np.ndarray, "origin feature"]:
    """The person's own week, up to now: mean (from the last reading) and spread over six spans, and the readings one,
    two and seven days before now and before each asked time (from the last reading). NaN where nothing is known.

    Of several recordings of a person each knows only itself.
    """
    asked = (0.0, *moments.horizons_s)
    out = np.full((len(moments), 2 * len(SPANS_S) + len(DAYS_BEFORE) * len(asked)), np.nan)
    for number in np.unique(moments.series):
        rows, one = np.flatnonzero(moments.series == number), series[number]
        place, last = moments.place[rows], moments.last[rows]
        columns = _spans(one, place, last)
        line, _ = known_until(one)
        for days in DAYS_BEFORE:
            for ahead in asked:
                then = place + round((ahead - days * DAY_S) / one.step_s)
                # Lines are of 45 minutes at most, so that one of a day before has ended by now.
                columns.append(np.where(then >= 0, line[then.clip(min=0)], np.nan) - last)
        out[rows] = np.stack(columns, axis=1)
    return out


def windows_before(
    moments: Moments,
    series: Sequence[Series],
    *,
    windows: int,
    apart_s: float,
    span_s: float,
    point_s: float = 900.0,
) -> Float[np.ndarray, "origin window point_and_flag"]:
    """Readings of the windows that end at each origin and `apart_s`, twice that, ... before it, newest last.

    Means of `point_s` from the newest reading, 0 where nothing was read, and beside them which were; what a head is
    told that has no encoder. A window without a reading is NaN.
    """
    per, points = max(1, round(point_s / moments.step_s)), round(span_s / max(point_s, moments.step_s))
    out = np.full((len(moments), windows, 2 * points), np.nan, dtype=np.float32)
    back = np.round(np.arange(windows - 1, -1, -1) * apart_s / moments.step_s).astype(np.int64)
    for number in np.unique(moments.series):
        rows, one = np.flatnonzero(moments.series == number), series[number]
        values = np.where(one.observed, one.values, 0.0)
        total, seen = (np.concatenate([[0.0], np.cumsum(x, dtype=np.float64)]) for x in (values, one.observed))
        ends = moments.place[rows][:, None, None] - back[:, None] - per * np.arange(points - 1, -1, -1) + 1
        high, low = ends.clip(0), (ends - per).clip(0)
        count = seen[high] - seen[low]
        change = (total[high] - total[low]) / np.maximum(count, 1) - moments.last[rows][:, None, None]
        known = count > 0
        both = np.concatenate([np.where(known, change, 0.0), known], axis=-1)
        out[rows] = np.where(known.any(axis=-1, keepdims=True), both, np.nan)
    return out


def _spans(one: Series, place: np.ndarray, last: np.ndarray) -> list[np.ndarray]:
    """Mean and spread over the last hours and days, by running sums."""
    values = np.where(one.observed, one.values, 0.0).astype(np.float64)
    total, squares, seen = (np.concatenate([[0.0], np.cumsum(x)]) for x in (values, values**2, one.observed))
    found: list[np.ndarray] = []
    for span in SPANS_S:
        first = np.maximum(place + 1 - round(span / one.step_s), 0)
        count = np.maximum(seen[place + 1] - seen[first], 1)
        mean = (total[place + 1] - total[first]) / count
        variance = (squares[place + 1] - squares[first]) / count - mean**2
        found += [mean - last, np.sqrt(np.maximum(variance, 0.0))]
    return found
