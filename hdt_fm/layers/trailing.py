"""Sums and means of an exposure over the last so many days, exact for spans of any length; what a stream carries.

A window that ends at a span's end takes the part of each span that lies in it; an unknown span has no part. The state
is the spans that the longest window still reaches: bounded, whatever the length of the recording.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hdt_fm.schema.errors import ShapeError

Spans = Float[np.ndarray, " span"]


@dataclass(frozen=True)
class Trailing:
    """Windows that end with each span.

    Attributes:
        integral: Level times time over what is known of the window.
        known: Share of the window of which the level is known.
        width: Of the windows, in the unit of the spans.
    """

    integral: Float[np.ndarray, "span window"]
    known: Float[np.ndarray, "span window"]
    width: Float[np.ndarray, " window"]

    @property
    def mean(self) -> Float[np.ndarray, "span window"]:
        """Of what is known; NaN where nothing is."""
        seen = self.known * self.width
        return np.where(seen > 0, self.integral / np.where(seen > 0, seen, 1.0), np.nan)

    @property
    def total(self) -> Float[np.ndarray, "span window"]:
        """As if the unknown part had been like the known one: the mean times the width."""
        return self.mean * self.width


@dataclass(frozen=True)
class Recent:
    """The spans that a later window may still reach."""

    start: Spans
    length: Float[np.ndarray, " _"]
    values: Float[np.ndarray, " _"]

    def arrays(self) -> dict[str, Float[np.ndarray, "..."]]:
        """Plain copies, of which `of` makes it again."""
        return {name: values.copy() for name, values in vars(self).items()}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Recent":
        """The same as the one whose `arrays` these are.

        Raises:
            ShapeError: If they are no spans.
        """
        parts = [np.asarray(arrays.get(name, np.zeros(0)), dtype=np.float64) for name in ("start", "length", "values")]
        _check(*parts)
        return cls(*(part.copy() for part in parts))


def nothing_recent() -> Recent:
    """The state before anything was seen."""
    return Recent(np.zeros(0), np.zeros(0), np.zeros(0))


def trailing(
    start: Spans,
    length: Float[np.ndarray, " _"],
    values: Float[np.ndarray, " _"],
    width: Float[np.ndarray, " window"],
    *,
    before: Recent | None = None,
) -> tuple[Trailing, Recent]:
    """What windows of each width that end with each span hold, and the state to go on from.

    Args:
        start, length, values: Spans that rise and do not overlap; NaN where not known.
        width: Above 0, in the unit of `start`.
        before: State before the first span; nothing seen if left out.

    Raises:
        ShapeError: If spans do not fit, do not rise, or begin before the state ends.

    Numerics: each window is summed by itself, oldest span first, so pieces give the same as one pass.
    """
    _check(start, length, values)
    old = nothing_recent() if before is None else before
    every = [np.concatenate(pair) for pair in ((old.start, start), (old.length, length), (old.values, values))]
    _check(*every)
    begin, last, level = every[0], every[0] + every[1], every[2]
    there = np.isfinite(level)
    integral, known = np.zeros((len(start), len(width))), np.zeros((len(start), len(width)))
    for row, end in enumerate(last[len(old.start) :]):
        first = int(np.searchsorted(last, end - width.max(), side="right"))
        span = slice(first, len(old.start) + row + 1)
        for place, wide in enumerate(width):
            part = (last[span] - np.maximum(begin[span], end - wide)).clip(min=0.0) * there[span]
            integral[row, place] = _in_order(part * np.where(there[span], level[span], 0.0))
            known[row, place] = _in_order(part) / wide
    kept = last > (last[-1] - width.max() if len(last) else 0.0)
    return Trailing(integral, known, width), Recent(*(one[kept] for one in every))


def _in_order(parts: Spans) -> float:
    """One after the other: numpy's pairwise sums depend on how many zeros stand before."""
    return float(np.cumsum(parts)[-1]) if len(parts) else 0.0


def _check(start: np.ndarray, length: np.ndarray, values: np.ndarray) -> None:
    fits = start.shape == length.shape == values.shape and start.ndim == 1
    if not fits or not np.isfinite(start).all() or not (length > 0).all():
        raise ShapeError("Spans do not hold together", where="trailing", expected="one length each, lengths above 0")
    if (np.diff(start) - length[:-1] < -1e-6).any():
        raise ShapeError("Spans overlap or do not rise", where="trailing", expected="each to begin where one has ended")
