"""What is usual of a person's daily numbers: learned from their own first weeks, and from later days once old.

A day is judged by days that ended two weeks before, so that what changes now cannot make itself usual. Days are kept
up to `KEPT`, so that what is held does not grow.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hdt_fm.schema.errors import ConfigError

LEARN_DAYS, LAG_DAYS, KEPT = 28, 14, 98
# A number says at most so many SDs on a day, and its SD is not below so much of the plain one.
MOST_SDS, _LEAST_SHARE = 3.0, 0.7
# With fewer known days among those that are learned from, the number is not judged.
LEAST_DAYS = 14
_IQR_OF_NORMAL = 1.349
_TINY = 1e-9


class Usual:
    """The usual of a few named numbers, a day at a time.

    Args:
        names: Of the numbers; others that come are left out, those that lack are unknown that day.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._days = np.zeros((0, len(names)))

    @property
    def learned(self) -> bool:
        """Whether days can be judged."""
        return len(self._days) >= LEARN_DAYS

    @property
    def kept(self) -> int:
        """Days that are remembered, at most `KEPT`."""
        return len(self._days)

    def add(self, values: Mapping[str, float]) -> dict[str, float]:
        """The day in the person's own SDs from their usual; NaN for what cannot be said. Then the day is remembered."""
        day = np.array([float(values.get(name, np.nan)) for name in self.names])
        away = self._away(day) if self.learned else np.full(len(self.names), np.nan)
        self._days = np.concatenate([self._days, day[None]])[-KEPT:]
        return dict(zip(self.names, away.tolist(), strict=True))

    def clear(self) -> None:
        """Learn anew."""
        self._days = self._days[:0]

    def state(self) -> dict[str, Any]:
        """Days as rows, None for what is unknown."""
        rows = [[one if np.isfinite(one) else None for one in row] for row in self._days.tolist()]
        return {"names": list(self.names), "days": rows}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`.

        Raises:
            ConfigError: If it is of other numbers.
        """
        if tuple(state["names"]) != self.names:
            raise ConfigError(
                "What was kept is of other numbers",
                where="drift.Usual",
                expected=", ".join(self.names),
                got=", ".join(str(name) for name in state["names"]),
                fix="watch the same numbers as when it was written, or begin anew",
            )
        rows = [[np.nan if one is None else float(one) for one in row] for row in state["days"]]
        self._days = np.array(rows, dtype=np.float64).reshape(-1, len(self.names))[-KEPT:]

    def _away(self, day: np.ndarray) -> np.ndarray:
        past = np.sort(self._days[: max(LEARN_DAYS, len(self._days) - LAG_DAYS)], axis=0)  # NaN sorts last
        count = np.isfinite(past).sum(axis=0)
        out = np.full(len(day), np.nan)
        for at in np.flatnonzero((count >= LEAST_DAYS) & np.isfinite(day)):
            known = past[: count[at], at]
            lowest, low, high, highest = known[((count[at] - 1) * _PLACES).round().astype(np.int64)]
            level = np.clip(known, lowest, highest).mean()
            spread = max((high - low) / _IQR_OF_NORMAL, _LEAST_SHARE * known.std(), _TINY)
            out[at] = np.clip((day[at] - level) / spread, -MOST_SDS, MOST_SDS)
        return out


_PLACES = np.array([0.05, 0.25, 0.75, 0.95])
