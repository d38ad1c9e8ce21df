"""What a model is told of treatments at an origin: what still acts of those taken, and what is planned."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from scipy.signal import lfilter

from hdt_fm.schema.modalities import modality
from hdt_fm.schema.series import DAY_S, Series
from hdt_fm.signal.moments import Moments

HOUR_S = 3600.0
# Rapid insulin acts over some four hours, carbohydrates over half an hour to three: a bank of decays spans both.
DECAYS_S = (1800.0, HOUR_S, 2 * HOUR_S, 4 * HOUR_S)
JUST_S = 1800.0
RATE_SPANS_S = (900.0, 1800.0, HOUR_S, 2 * HOUR_S, 4 * HOUR_S, float(DAY_S))


def acting(moments: Moments, given: Mapping[str, Sequence[Series]]) -> Float[np.ndarray, "origin feature"]:
    """Of each treatment (by name) what still acts at each origin; NaN where it is not known what was given.

    Of amounts: sums that decay with four time constants, the sum of the last half hour and of the last day. Of rates:
    means over six spans. Nothing later than the origin is read.

    Args:
        given: Series of each treatment, on the same calendars as the origins, of any step.
    """
    width = len(RATE_SPANS_S)
    out = np.full((len(moments), width * len(given)), np.nan)
    for number, name in enumerate(sorted(given)):
        columns = slice(number * width, (number + 1) * width)
        describe = _amounts if modality(name).given else _means
        for rows, one, place in _places(moments, given[name]):
            out[rows, columns] = describe(one)[place]
    return out


def planned(moments: Moments, given: Mapping[str, Sequence[Series]]) -> Float[np.ndarray, "origin feature"]:
    """What is taken between an origin and the first horizon, then the next, and so on: knowledge of a plan.

    Only for a track that is named so: nobody who forecasts what comes by itself knows it. NaN where unknown.
    """
    width = len(moments.horizons_s)
    out = np.full((len(moments), width * len(given)), np.nan)
    for number, name in enumerate(sorted(given)):
        for rows, one, place in _places(moments, given[name]):
            total = np.concatenate([[0.0], np.cumsum(np.where(one.observed, one.values, 0.0), dtype=np.float64)])
            ahead = np.round(np.array([0.0, *moments.horizons_s]) / one.step_s).astype(np.int64)
            edge = place[:, None] + ahead + 1
            inside = edge[:, 1:] <= len(one)
            sums = np.diff(total[edge.clip(max=len(one))], axis=1)
            if not modality(name).given:
                sums = sums / np.diff(ahead)
            out[rows, number * width : (number + 1) * width] = np.where(inside, sums, np.nan)
    return out


def _places(moments: Moments, series: Sequence[Series]) -> list[tuple[np.ndarray, Series, np.ndarray]]:
    """Rows that a series tells something about, and the place in it that is now."""
    found = []
    for one in series:
        rows = np.flatnonzero(moments.subject == one.subject)
        place = np.floor((moments.time_s[rows] - one.start_s) / one.step_s + 1e-6).astype(np.int64)
        inside = (place >= 0) & (place < len(one))
        rows, place = rows[inside], place[inside]
        known = one.observed[place]
        found.append((rows[known], one, place[known]))
    return found


def _amounts(one: Series) -> Float[np.ndarray, "time feature"]:
    values = np.where(one.observed, one.values, 0.0).astype(np.float64)
    decayed = [lfilter([1.0], [1.0, -np.exp(-one.step_s / span)], values) for span in DECAYS_S]
    return np.stack([*decayed, *(_sum_of_last(values, span / one.step_s) for span in (JUST_S, DAY_S))], axis=1)


def _means(one: Series) -> Float[np.ndarray, "time feature"]:
    values, seen = np.where(one.observed, one.values, 0.0).astype(np.float64), one.observed.astype(np.float64)
    found = []
    for span in RATE_SPANS_S:
        count = _sum_of_last(seen, span / one.step_s)
        found.append(_sum_of_last(values, span / one.step_s) / np.maximum(count, 1.0))
    return np.stack(found, axis=1)


def _sum_of_last(values: Float[np.ndarray, " time"], places: float) -> Float[np.ndarray, " time"]:
    """Up to and with each place."""
    total, size = np.concatenate([[0.0], np.cumsum(values)]), max(1, round(places))
    upto = np.arange(1, len(total))
    return total[upto] - total[np.maximum(upto - size, 0)]
