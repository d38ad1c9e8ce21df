"""The worst class of an outcome at any reading of a span ahead; the same truth for every model of a severity."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from hdt_fm.schema.series import Series
from hdt_fm.signal.moments import MAX_LINE_S, Moments
from hdt_fm.signal.within import LEAST_SEEN, Happening, happened_within


def severity_within(
    moments: Moments,
    series: Sequence[Series],
    outcomes: Sequence[Sequence[Happening]],
    *,
    least_seen: float = LEAST_SEEN,
    longest_gap_s: float = MAX_LINE_S,
) -> Float[np.ndarray, "origin horizon outcome"]:
    """How many of its grades an outcome reached in (now, now + horizon]: 0 is none, NaN not asked or not known.

    Not asked: a grade is there already at the newest reading. Not known: a worse grade than was seen may have passed
    unread. Both as `happened_within` says of each grade.

    Args:
        outcomes: Of each its grades, flags of values that hold wherever a worse one does, such as `GRADES` in
            `metrics/ordinal.py`.
    """
    told = [
        happened_within(moments, series, grades, least_seen=least_seen, longest_gap_s=longest_gap_s).sum(axis=2)
        for grades in outcomes
    ]
    return np.stack(told, axis=2)
