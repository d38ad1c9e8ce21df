"""Intervals that hold what they promise: by people apart (split), and for one person as readings come in (online)."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.schema.errors import ConfigError, ShapeError

_SETTINGS = ("horizon_s", "spread", "coverage", "within_s", "rate", "haste")
# Of Python or of an array, whose precision is kept.
Number = float | np.floating[Any]

# How fast a person's interval adapts, in units of the scores' own spread (Angelopoulos et al. 2023, quantile tracking).
RATE = 0.05
# How many times faster it may get (see `OnlineShift`), at a share so far off the promise, over about so many truths.
HASTE, OFF_BY, LATELY = 4.0, 0.1, 100


def scores_of(
    low: Float[np.ndarray, " origin"], high: Float[np.ndarray, " origin"], truth: Float[np.ndarray, " origin"]
) -> Float[np.ndarray, " origin"]:
    """How far the truth lies outside (positive) or inside of an interval (Romano et al. 2019)."""
    return np.maximum(low - truth, truth - high)


def split_shift(
    low: Float[np.ndarray, " origin"],
    high: Float[np.ndarray, " origin"],
    truth: Float[np.ndarray, " origin"],
    person: Int[np.ndarray, " origin"],
    coverage: float,
) -> float:
    """By how much both ends move so that calibration people are covered; each person weighs the same."""
    known = np.isfinite(truth)
    if not known.any():
        return 0.0
    score, who = scores_of(low, high, truth)[known], person[known]
    _, code, size = np.unique(who, return_inverse=True, return_counts=True)
    order = np.argsort(score)
    share = np.cumsum((1.0 / size[code])[order]) / len(size)
    return float(score[order][min(np.searchsorted(share, coverage), len(score) - 1)])


class OnlineShift:
    """One person's shift of both ends, as forecasts are told and truths come, one at a time.

    The same rule as `online_shift`, which is made of it. The state is two numbers and what is still open:
    with a forecast every so often, `horizon_s` over that many. Of each horizon of a forecast there is one:

        shift = OnlineShift(horizon_s=3600.0, start=people.shift, spread=people.score_spread, coverage=0.8)
        shift.came(now_s, reading)            # each reading, first: it is the truth of what was told a horizon ago
        moved = shift.at(now_s)               # by how much both ends move now
        shift.told(now_s, low, high)          # what the head said, before that move
        kept = shift.state()                  # plain numbers, for a file
        shift = OnlineShift.of_state(kept)    # goes on as if nothing had been

    Args:
        horizon_s: From a forecast to its truth.
        start: The shift that a new person begins with (`split_shift`).
        spread: Of the scores of calibration people, the unit of a step.
        within_s: How far from a horizon's end a reading may lie and still be its truth. The first such counts.
        rate: How fast it moves, in `spread`.
        haste: 0 keeps to that; more lets it move up to 1 + `haste` times as fast, in proportion to how far the share of
            hits among the last `LATELY` truths or so is off the promise, up to `OFF_BY`. After a change that is days
            sooner; where nothing changes, chance alone makes intervals 1 to 5 % wider. Twins have `HASTE`.
    """

    def __init__(
        self,
        *,
        horizon_s: float,
        start: float,
        spread: float,
        coverage: float,
        within_s: float = 0.0,
        rate: float = RATE,
        haste: float = 0.0,
    ) -> None:
        if not 0 < coverage < 1 or horizon_s <= 0 or min(within_s, haste) < 0:
            raise ConfigError(
                "The interval of a person cannot follow such a promise",
                where="OnlineShift",
                expected="coverage between 0 and 1, horizon_s above 0, within_s and haste not below 0",
                got=f"coverage {coverage:g}, horizon_s {horizon_s:g}, within_s {within_s:g}, haste {haste:g}",
                fix="give the coverage as a share, and times in seconds",
            )
        self.horizon_s, self.spread, self.coverage, self.rate = horizon_s, spread, coverage, rate
        self.within_s, self.haste, self.shift = within_s, haste, start
        self._off = 0.0  # share of misses lately, less the share that is promised
        # Open forecasts, oldest first: when it was told, its ends, and the shift that they moved by.
        self._open: deque[tuple[Number, Number, Number, Number]] = deque()

    def at(self, now_s: Number) -> float:
        """By how much both ends of a forecast made now move outwards."""
        self._drop(now_s)
        return self.shift

    def told(self, now_s: Number, low: Number, high: Number) -> None:
        """Remember a forecast until its truth comes.

        Args:
            now_s: When it was made, rising; `at` of the same moment is what its ends moved by.
            low, high: Its ends as the head said them.

        Raises:
            ShapeError: If it is older than the one before.
        """
        if self._open and now_s < self._open[-1][0]:
            raise ShapeError(
                "A forecast is older than the one before",
                where="OnlineShift.told",
                expected="forecasts in the order in which they were made",
                got="a step back in time",
                fix="sort by time; of several people, keep one OnlineShift each",
            )
        self._drop(now_s)
        self._open.append((now_s, low, high, self.shift))

    def came(self, time_s: Number, truth: Number) -> None:
        """Learn from a reading, the truth of the forecast whose horizon ends there; NaN teaches nothing."""
        self._drop(time_s)
        while self._open and np.isfinite(truth) and self._open[0][0] + self.horizon_s <= time_s + self.within_s:
            self.settle(truth)

    def settle(self, truth: Number) -> None:
        """The oldest open forecast's truth: it moves all that follow. NaN closes it and teaches nothing."""
        _, low, high, moved = self._open.popleft()
        if np.isfinite(truth):
            missed = np.maximum(low - truth, truth - high) > moved
            off = self.coverage if missed else self.coverage - 1
            self._off += (off - self._off) / LATELY
            faster = 1 + self.haste * min(abs(self._off) / OFF_BY, 1.0)
            self.shift += self.rate * faster * max(self.spread, 1e-9) * off

    def due(self, now_s: Number) -> bool:
        """Whether the oldest open forecast's horizon has ended."""
        return bool(self._open and self._open[0][0] + self.horizon_s <= now_s)

    def state(self) -> dict[str, Any]:
        """Settings, the shift and the open forecasts, as plain numbers; holds no reading."""
        names = (*_SETTINGS, "shift")
        rows = [[float(one) for one in row] for row in self._open]
        return {**{name: float(getattr(self, name)) for name in names}, "off": float(self._off), "open": rows}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> "OnlineShift":
        """What `state` wrote.

        Raises:
            ConfigError: If something is missing or is no number.
        """
        try:
            settings = {name: float(state[name]) for name in _SETTINGS}
            shift, off = float(state["shift"]), float(state["off"])
            rows = [(float(made), float(low), float(high), float(moved)) for made, low, high, moved in state["open"]]
            if not np.isfinite([shift, off, *settings.values(), *(one for row in rows for one in row)]).all():
                raise ValueError
        except (KeyError, TypeError, ValueError) as wrong:
            raise ConfigError(
                "What was kept of a person's interval cannot be read",
                where="OnlineShift.of_state",
                expected="the names and numbers that OnlineShift.state wrote",
                got=f"{type(wrong).__name__} at {wrong.args[0]!r}" if isinstance(wrong, KeyError) else "other values",
                fix="take it from the same file as the rest of the twin, unchanged",
            ) from None
        made = cls(start=shift, **settings)
        made._off = off
        made._open.extend(rows)
        return made

    def _drop(self, now_s: Number) -> None:
        while self._open and self._open[0][0] + self.horizon_s < now_s - self.within_s:
            self._open.popleft()


def online_shift(
    time_s: Float[np.ndarray, " origin"],
    low: Float[np.ndarray, " origin"],
    high: Float[np.ndarray, " origin"],
    truth: Float[np.ndarray, " origin"],
    *,
    horizon_s: float,
    start: float,
    spread: float,
    coverage: float,
    haste: float = 0.0,
) -> Float[np.ndarray, " origin"]:
    """For each origin of one person, by how much both ends move, learned from what has come true by then.

    An origin's truth is known a horizon later: only then does it move what follows. A miss widens by
    `RATE * coverage * spread`, a hit narrows by `RATE * (1 - coverage) * spread`: in the long run the share is right,
    whatever the person.

    Args:
        time_s: Rising.
        truth: NaN where nothing was measured: it teaches nothing.
        start: The shift that a new person begins with (`split_shift`).
        spread: Of the scores of calibration people, the unit of a step.
        haste: As of `OnlineShift`; the numbers above are without it.
    """
    one = OnlineShift(horizon_s=horizon_s, start=start, spread=spread, coverage=coverage, haste=haste)
    out, settled = np.full(len(time_s), start), 0
    for place, now in enumerate(time_s):
        while one.due(now):
            one.settle(truth[settled])
            settled += 1
        out[place] = one.shift
        one.told(now, low[place], high[place])
    return out
