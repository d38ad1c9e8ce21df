"""The error grid of Clarke et al. 1987: what a wrong glucose value would lead to. Both values in mg/dL."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdt_fm.metrics._rows import rows
from hdt_fm.schema.errors import UnitError

ZONES = ("A", "B", "C", "D", "E")
# Under 40 no value is a reading of mg/dL; a column of mmol/L lies under it as a whole.
LEAST_MG_DL = 40.0


def clarke_zones(said: ArrayLike, truth: ArrayLike) -> NDArray[np.int8]:
    """Zone of each pair as its place in `ZONES`.

    A: within 20 % of the truth, or both under 70. E: high said to be low, or low high (70, 180). C: a good value said
    to need treatment: 110 or more above a truth of 70 to 290, or on or under the line (130, 0)-(180, 70). D: a value
    that needs treatment said to be good (70 to 180): a truth of 240 or more, or of 70 or less and said more than 20 %
    above. B: the rest. A point on a line that is not A's belongs to the zone of greater harm.

    Raises:
        ShapeError: If lengths differ or a value is not finite.
        UnitError: If no truth reaches 40: these are no mg/dL.
    """
    (calls, truths), _ = rows(np.asarray(said, dtype=float), np.asarray(truth, dtype=float))
    if not (truths >= LEAST_MG_DL).any():
        raise UnitError("The error grid got glucose in another unit", expected="mg/dL", fix="mmol/L times 18.016")
    near = np.abs(calls - truths) <= 0.2 * truths + 1e-9
    good = (calls >= 70) & (calls <= 180)
    return np.select(
        [
            near | ((truths < 70) & (calls < 70)),
            ((truths >= 180) & (calls <= 70)) | ((truths <= 70) & (calls >= 180)),
            ((truths >= 70) & (truths <= 290) & (calls >= truths + 110))
            | ((truths >= 130) & (truths <= 180) & (calls <= 1.4 * (truths - 130))),
            good & ((truths >= 240) | ((truths <= 70) & (calls > truths))),
        ],
        [np.int8(0), np.int8(4), np.int8(2), np.int8(3)],
        default=np.int8(1),
    )


def share_in(zones: str, said: ArrayLike, truth: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Share of pairs in the named zones, e.g. "AB"."""
    found = clarke_zones(said, truth)
    _, weights = rows(found, weight=weight)
    inside = np.isin(found, [ZONES.index(zone) for zone in zones])
    return float((inside * weights).sum() / weights.sum()) if weights.sum() > 0 else float("nan")
