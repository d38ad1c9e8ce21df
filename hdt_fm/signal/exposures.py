"""An exposure of one person on a regular grid: what is known of each step, how much of it is known, and since when.

A step's value is exact for spans of any length: levels are averaged over the part of the step that is known, amounts
are spread evenly over their span. Nothing is filled; a step of which nothing is known is NaN. A span may reach beyond
its step (a day's mean on a grid of hours): then the step is known only once the span has ended, which `known_s` says.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.exposure import Exposure, exposure_kind

# Of a step; less is rounding where spans meet.
LEAST_COVERED = 1e-6
_SPANS = ("start_s", "length_s", "values")


@dataclass(frozen=True)
class OnGrid:
    """Steps from `start_s` on.

    Attributes:
        values: In the canonical unit. Of an amount: what a whole step would have at the rate of its known part; the
            part itself is values * covered. NaN where nothing is known.
        covered: Share of the step that is known.
        known_s: When the value is known to the one who wears the sensor: the step's end, or later.
    """

    values: Float[np.ndarray, " step"]
    covered: Float[np.ndarray, " step"]
    known_s: Float[np.ndarray, " step"]
    start_s: float
    step_s: float


def joined(parts: Sequence[Exposure]) -> Exposure:
    """Recordings of one kind and one person as one; what lies between them is not known.

    Raises:
        RecordingError: If there is none, they are of several kinds or people, or they overlap.
    """
    if len({(part.kind, part.subject, part.group) for part in parts}) != 1:
        raise RecordingError(
            "Exposures cannot be joined",
            where="signal/exposures",
            expected="one or more of one kind and one person",
            got=f"{len(parts)} of {len({part.kind for part in parts})} kinds",
        )
    first = parts[0]
    start, length, values = (np.concatenate([getattr(part, name) for part in parts]) for name in _SPANS)
    order = np.argsort(start, kind="stable")
    return Exposure(first.kind, start[order], length[order], values[order], first.subject, first.group)


def on_grid(exposure: Exposure, *, start_s: float, step_s: float, steps: int) -> OnGrid:
    """What is known of each step.

    Raises:
        RecordingError: If the grid has no step.
    """
    if steps < 1 or not step_s > 0:
        got = f"{steps} steps of {step_s:g} s"
        raise RecordingError("A grid has no step", where="on_grid", expected="1 or more, longer than 0 s", got=got)
    amount = exposure_kind(exposure.kind).amount
    edges = np.arange(steps + 1) * step_s
    begin = exposure.start_s - start_s
    there = np.isfinite(exposure.values)
    known = exposure.length_s * there
    inside = np.where(there, exposure.values, 0.0) * (1.0 if amount else exposure.length_s)
    held, seen = (_between(edges, begin, exposure.length_s, whole) for whole in (inside, known))
    covered = (seen / step_s).clip(0.0, 1.0)
    covered[covered < LEAST_COVERED] = 0.0
    per = step_s if amount else 1.0
    values = np.where(covered > 0, per * held / np.where(covered > 0, seen, 1.0), np.nan)
    return OnGrid(values, covered, start_s + _known(edges, begin, exposure.length_s, there), start_s, step_s)


def _between(edges: np.ndarray, begin: np.ndarray, length: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Of each span's whole, spread evenly over it, what lies between edges."""
    if not len(begin):
        return np.zeros(len(edges) - 1)
    places = np.stack([begin, begin + length], axis=1).ravel()
    after = whole.cumsum()
    # Not `after - whole`, which would be off by the rounding of what comes later.
    sums = np.stack([np.append(0.0, after[:-1]), after], axis=1).ravel()
    out: np.ndarray = np.diff(np.interp(edges, np.maximum.accumulate(places), sums))
    return out


def _known(edges: np.ndarray, begin: np.ndarray, length: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The end of the last span that lies in each step, or of the step."""
    ends = edges[1:].copy()
    last = np.searchsorted(begin, ends, side="left") - 1
    rows = np.flatnonzero(last >= 0)
    rows = rows[there[last[rows]]]
    ends[rows] = np.maximum(ends[rows], (begin + length)[last[rows]])
    return ends
