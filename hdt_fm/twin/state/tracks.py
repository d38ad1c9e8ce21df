"""What is kept of readings and of what was given: absorbed in order of time, each once, and forgotten when it is old.

Times are seconds on the clock of the recordings, the same for everything of a person.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from hdt_fm.schema.series import DAY_S, Series
from hdt_fm.signal.given import SILENT_S

# As in training: nothing is told across a longer gap.
APART_S = 2.0 * DAY_S
# Absorbs the rounding of times, in steps.
_ROUNDING = 1e-6
# A reading that is told again may have gone through another unit with one decimal: so far apart it is the same.
ALIKE = 0.03


@dataclass(frozen=True)
class Counts:
    """What became of entries that came in.

    Attributes:
        new: Taken.
        known: There already, told alike.
        differing: There already with another value; the first one stays.
        late: Older than the newest that is there, in a gap: not taken, since what was learned after them stands.
        before: Older than all that is kept, so that nothing can be said of them.
    """

    new: int = 0
    known: int = 0
    differing: int = 0
    late: int = 0
    before: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(one + two for one, two in zip(vars(self).values(), vars(other).values(), strict=True)))


@dataclass(frozen=True)
class Stretch:
    """Samples of one recording, rising in time."""

    times_s: Float[np.ndarray, " sample"]
    values: Float32[np.ndarray, " sample"]
    step_s: float

    def until(self, end_s: float) -> "Stretch":
        """Those up to a moment, and with it."""
        upto = int(np.searchsorted(self.times_s, end_s, side="right"))
        return Stretch(self.times_s[:upto], self.values[:upto], self.step_s)


@dataclass(frozen=True)
class Track:
    """Samples that are kept, rising in time."""

    times_s: Float[np.ndarray, " sample"]
    values: Float32[np.ndarray, " sample"]

    @classmethod
    def empty(cls) -> "Track":
        return cls(np.zeros(0), np.zeros(0, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.times_s)

    @property
    def newest_s(self) -> float:
        """Minus infinity of an empty one."""
        return float(self.times_s[-1]) if len(self) else -np.inf

    def absorb(self, came: Stretch) -> tuple["Track", Counts]:
        """With what is newer than the newest; what lies within half a step of a kept sample is that sample.

        Half a step, since readers put readings on a grid that begins with the recording: told again in another export
        a reading may stand up to that far from where it stood.
        """
        new = came.times_s >= self.newest_s + came.step_s / 2
        told, values = came.times_s[~new], came.values[~new]
        nearest = self._nearest(told)
        there = np.abs(self.times_s[nearest] - told) < came.step_s / 2 if len(self) else np.zeros(len(told), np.bool_)
        alike = there & (np.abs(self.values[nearest] - values) <= ALIKE * np.abs(values)) if len(self) else there
        before = ~there & (told < (self.times_s[0] if len(self) else -np.inf))
        counts = Counts(
            new=int(new.sum()),
            known=int(alike.sum()),
            differing=int((there & ~alike).sum()),
            late=int((~there & ~before).sum()),
            before=int(before.sum()),
        )
        times_s = np.concatenate([self.times_s, came.times_s[new]])
        return Track(times_s, np.concatenate([self.values, came.values[new]])), counts

    def since(self, from_s: float) -> "Track":
        """Without what is older."""
        first = int(np.searchsorted(self.times_s, from_s))
        return Track(self.times_s[first:], self.values[first:])

    def between(self, after_s: float, until_s: float) -> "Track":
        """What is newer than a moment, up to another and with it."""
        rows = slice(*np.searchsorted(self.times_s, [after_s, until_s], side="right"))
        return Track(self.times_s[rows], self.values[rows])

    def _nearest(self, times_s: Float[np.ndarray, " told"]) -> Int[np.ndarray, " told"]:
        if not len(self):
            return np.zeros(len(times_s), dtype=np.int64)
        after = np.searchsorted(self.times_s, times_s).clip(1, max(len(self) - 1, 1))
        after = after.clip(max=len(self) - 1)
        before = (after - 1).clip(min=0)
        nearer = np.abs(self.times_s[before] - times_s) <= np.abs(self.times_s[after] - times_s)
        return np.where(nearer, before, after)


@dataclass(frozen=True)
class Events:
    """Doses or meals that are kept, rising in time; amounts in the modality's unit."""

    times_s: Float[np.ndarray, " event"]
    amounts: Float32[np.ndarray, " event"]

    @classmethod
    def empty(cls) -> "Events":
        return cls(np.zeros(0), np.zeros(0, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.times_s)

    def absorb(self, came: "Events", *, from_s: float) -> tuple["Events", Counts]:
        """With those that were not told before: time (to a millisecond) and amount say which is which.

        Who logs a meal an hour later adds to what is told from now on; what was learned before stands.

        Args:
            from_s: Older ones have been forgotten, so that nothing can be said of them.
        """
        old = came.times_s < from_s
        there = Counter(zip(np.round(self.times_s * 1e3).tolist(), self.amounts.tolist(), strict=True))
        fresh = np.zeros(len(came), dtype=np.bool_)
        for place in np.flatnonzero(~old).tolist():
            key = (float(np.round(came.times_s[place] * 1e3)), float(came.amounts[place]))
            fresh[place] = there[key] == 0
            there[key] -= not fresh[place]
        times_s = np.concatenate([self.times_s, came.times_s[fresh]])
        amounts = np.concatenate([self.amounts, came.amounts[fresh]])
        order = np.argsort(times_s, kind="stable")
        counts = Counts(new=int(fresh.sum()), known=int((~fresh & ~old).sum()), before=int(old.sum()))
        return Events(times_s[order], amounts[order]), counts

    def since(self, from_s: float) -> "Events":
        """Without what is older."""
        first = int(np.searchsorted(self.times_s, from_s))
        return Events(self.times_s[first:], self.amounts[first:])


@dataclass(frozen=True)
class Grid:
    """Where samples are put: `phase_s` and whole steps from it. A sample goes to the end of the step that it falls in.

    Attributes:
        offset_s: How far the local clock is ahead.
    """

    step_s: float
    phase_s: float = 0.0
    offset_s: float = 0.0

    def place(self, times_s: Float[np.ndarray, " sample"]) -> Int[np.ndarray, " sample"]:
        """Steps from `phase_s`."""
        return np.ceil((times_s - self.phase_s) / self.step_s - _ROUNDING).astype(np.int64)

    def series(self, track: Track, *, how: str = "newest", apart_s: float = APART_S) -> tuple[Series, ...]:
        """The newest sample, or the mean, of each step; parted where nothing is known for longer than `apart_s`."""
        if not len(track):
            return ()
        place = self.place(track.times_s)
        first, inside = int(place[0]), place - place[0]
        values = np.zeros(int(inside[-1]) + 1, dtype=np.float32)
        if how == "newest":
            values[inside] = track.values
        else:
            count = np.bincount(inside)
            values[:] = np.bincount(inside, track.values.astype(np.float64)) / np.maximum(count, 1)
        seen = np.unique(inside)
        observed = np.zeros(len(values), dtype=np.bool_)
        observed[seen] = True
        parts = np.split(seen, np.flatnonzero(np.diff(seen) * self.step_s > apart_s) + 1)
        return tuple(
            self._one(values[part[0] : part[-1] + 1], observed[part[0] : part[-1] + 1], first + int(part[0]))
            for part in parts
        )

    def given(self, events: Events, *, until_s: float) -> tuple[Series, ...]:
        """Sums of the step that ends with each sample, up to a moment: known while the newest entry is fresh enough.

        As `hdt_fm.signal.given.amounts_given` has it: what nobody wrote down for two days is unknown, not zero.
        """
        place, last = self.place(events.times_s), int(np.floor((until_s - self.phase_s) / self.step_s + _ROUNDING))
        place, amounts = place[place <= last], events.amounts[place <= last]
        if not len(place):
            return ()
        first, size = int(place[0]), last - int(place[0]) + 1
        count, values = np.bincount(place - first, minlength=size), np.bincount(place - first, amounts, minlength=size)
        newest = np.maximum.accumulate(np.where(count > 0, np.arange(size), -1))
        observed = (np.arange(size) - newest) * self.step_s <= SILENT_S
        return (self._one(np.where(observed, values, 0.0).astype(np.float32), observed, first),)

    def _one(self, values: Float32[np.ndarray, " time"], observed: Bool[np.ndarray, " time"], first: int) -> Series:
        return Series(
            values=values,
            observed=observed,
            step_s=self.step_s,
            start_s=self.phase_s + first * self.step_s,
            subject=0,
            group=0,
            utc_offset_s=self.offset_s,
        )
