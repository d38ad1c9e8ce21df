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
        # Days that the newest was judged by, in own SDs; of no use before the next one comes.
        self.past = np.zeros((0, len(names)))

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

    def keep(self, days: int) -> None:
        """Learn anew, of so many newest days to begin with."""
        self._days = self._days[max(len(self._days) - days, 0) :]

    def state(self) -> dict[str, Any]:
        """Days as rows, None for what is unknown."""
        rows = [[one if np.isfinite(one) else None for one in row] for row in self._days.tolist()]
        return {"names": list(self.names), "days": rows}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`; a number that it lacks was not known on those days, one more in it is left out.

        Raises:
            ConfigError: If it is of other numbers alone.
        """
        column = {str(name): at for at, name in enumerate(state["names"])}
        if not set(self.names) & set(column):
            raise ConfigError(
                "What was kept is of other numbers",
                where="drift.Usual",
                expected=", ".join(self.names),
                got=", ".join(str(name) for name in state["names"]),
                fix="watch the same numbers as when it was written, or begin anew",
            )
        rows = [[np.nan if one is None else float(one) for one in row] for row in state["days"]]
        days = np.array(rows, dtype=np.float64).reshape(-1, len(column))[-KEPT:]
        unknown = np.full(len(days), np.nan)
        self._days = np.stack([days[:, column[one]] if one in column else unknown for one in self.names], axis=1)

    def _away(self, day: np.ndarray) -> np.ndarray:
        old = self._days[: max(LEARN_DAYS, len(self._days) - LAG_DAYS)]
        past = np.sort(old, axis=0)  # NaN sorts last
        count = np.isfinite(past).sum(axis=0)
        level, spread = np.full(len(day), np.nan), np.ones(len(day))
        for at in np.flatnonzero(count >= LEAST_DAYS):
            known = past[: count[at], at]
            lowest, low, high, highest = known[((count[at] - 1) * _PLACES).round().astype(np.int64)]
            level[at] = known.clip(lowest, highest).mean()
            spread[at] = max((high - low) / _IQR_OF_NORMAL, _LEAST_SHARE * known.std(), _TINY)
        self.past = np.clip((old - level) / spread, -MOST_SDS, MOST_SDS)
        return np.clip((day - level) / spread, -MOST_SDS, MOST_SDS)


_PLACES = np.array([0.05, 0.25, 0.75, 0.95])
