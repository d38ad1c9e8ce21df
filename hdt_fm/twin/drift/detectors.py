"""Has one daily number left its usual? Detectors that hear one value at a time and remember a few numbers.

Each has `add(value) -> bool` (NaN teaches nothing), `height` (how far it has climbed; it alarms above `limit`), `days`
(values since the climb began) and a `state` of plain numbers. An alarm clears nothing: whoever asked decides.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from hdt_fm.schema.errors import ConfigError

# A shift of twice this many SDs is found fastest.
SLACK = 0.75
# An ADWIN is built anew of its newest half when it holds so many values: what it keeps does not grow.
ADWIN_KEEPS = 400


@runtime_checkable
class Detector(Protocol):
    """What every detector can do."""

    @property
    def height(self) -> float: ...
    @property
    def days(self) -> int: ...
    def add(self, value: float) -> bool: ...
    def state(self) -> dict[str, Any]: ...


class Cusum:
    """Two-sided: how far values have run above (or below) 0, less `slack` for each.

    Args:
        limit: In SDs, as `slack` is; infinite only measures heights.

    Source: Page 1954.
    """

    def __init__(self, *, limit: float, slack: float = SLACK) -> None:
        self.limit, self.slack = limit, slack
        self.up = self.down = 0.0
        self.days_up = self.days_down = 0

    @property
    def height(self) -> float:
        return max(self.up, self.down)

    @property
    def sign(self) -> int:
        """1 where values run above 0, -1 where below."""
        return 1 if self.up >= self.down else -1

    @property
    def days(self) -> int:
        return self.days_up if self.sign > 0 else self.days_down

    def add(self, value: float) -> bool:
        """Whether the climb has passed the limit."""
        if np.isfinite(value):
            self.up, self.days_up = self._climbed(self.up, self.days_up, float(value))
            self.down, self.days_down = self._climbed(self.down, self.days_down, -float(value))
        return self.height > self.limit

    def clear(self) -> None:
        """Start from 0."""
        self.up = self.down = 0.0
        self.days_up = self.days_down = 0

    def state(self) -> dict[str, Any]:
        return {"up": self.up, "down": self.down, "days_up": self.days_up, "days_down": self.days_down}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.up, self.down = float(state["up"]), float(state["down"])
        self.days_up, self.days_down = int(state["days_up"]), int(state["days_down"])

    def _climbed(self, height: float, days: int, value: float) -> tuple[float, int]:
        higher = max(0.0, height + value - self.slack)
        return higher, days + 1 if higher > 0 else 0


class PageHinkley:
    """How far the sum of values less their running mean has left its lowest (or highest) point.

    It needs no usual level: the mean of all values so far is one, and a shift moves that too, slowly.

    Args:
        delta: Taken off each value, in its unit.
        least: Values before it may alarm.

    Source: Page 1954; Hinkley 1971. With `keep` 1 it forgets nothing; river's default is 0.9999.
    """

    def __init__(self, *, limit: float, delta: float = 0.005, least: int = 30, keep: float = 0.9999) -> None:
        self.limit, self.delta, self.least, self.keep = limit, delta, least, keep
        self.count, self.mean = 0, 0.0
        # (sum, its extreme, values since that extreme) going up and going down.
        self._up, self._down = (0.0, np.inf, 0), (0.0, -np.inf, 0)

    @property
    def height(self) -> float:
        """0 until `least` values were heard."""
        return max(self._rise, self._fall) if self.count >= self.least else 0.0

    @property
    def days(self) -> int:
        return self._up[2] if self._rise >= self._fall else self._down[2]

    def add(self, value: float) -> bool:
        """Whether the sum has left its extreme by more than the limit."""
        if np.isfinite(value):
            self.count += 1
            self.mean += (float(value) - self.mean) / self.count
            away = float(value) - self.mean
            up, down = self.keep * self._up[0] + away - self.delta, self.keep * self._down[0] + away + self.delta
            self._up = (up, up, 0) if up < self._up[1] else (up, self._up[1], self._up[2] + 1)
            self._down = (down, down, 0) if down > self._down[1] else (down, self._down[1], self._down[2] + 1)
        return self.height > self.limit

    def state(self) -> dict[str, Any]:
        """Plain numbers; the extremes only once there are any, since files have no infinity."""
        seen = {"up": list(self._up), "down": list(self._down)} if self.count else {}
        return {"count": self.count, "mean": self.mean, **seen}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.count, self.mean = int(state["count"]), float(state["mean"])
        if self.count:
            (up, low, rising), (down, high, falling) = state["up"], state["down"]
            self._up, self._down = (float(up), float(low), int(rising)), (float(down), float(high), int(falling))

    @property
    def _rise(self) -> float:
        return self._up[0] - self._up[1] if self.count else 0.0

    @property
    def _fall(self) -> float:
        return self._down[1] - self._down[0] if self.count else 0.0


class Adwin:
    """River's ADWIN: alarms when two parts of its own window differ. For comparison; it has no height between 0 and 1.

    Its insides cannot be written to a file, so the values themselves are kept, at most `ADWIN_KEEPS`, and heard again.

    Args:
        delta: Chance of a false cut that it allows at each look.
        every: Values between two looks; river's default of 32 is made for long streams.

    Raises:
        ConfigError: If river is not installed.
    """

    limit = 0.5

    def __init__(self, *, delta: float = 0.002, every: int = 32, grace: int = 10) -> None:
        self.delta, self.every, self.grace = delta, every, grace
        self.values: list[float] = []
        self._inside, self._alarmed = self._fresh(), False

    @property
    def height(self) -> float:
        return float(self._alarmed)

    @property
    def days(self) -> int:
        """Values that its window still holds."""
        return int(self._inside.width)

    def add(self, value: float) -> bool:
        """Whether its window was cut at this value."""
        self._alarmed = False
        if np.isfinite(value):
            self.values.append(float(value))
            if len(self.values) > ADWIN_KEEPS:
                self.restore({"values": self.values[-ADWIN_KEEPS // 2 :]})
            else:
                self._inside.update(float(value))
                self._alarmed = bool(self._inside.drift_detected)
        return self._alarmed

    def state(self) -> dict[str, Any]:
        return {"values": list(self.values)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Hear the values of a `state` again."""
        self.values, self._inside = [float(one) for one in state["values"]], self._fresh()
        for one in self.values:
            self._inside.update(one)
        self._alarmed = bool(self.values) and bool(self._inside.drift_detected)

    def _fresh(self) -> Any:
        try:
            from river.drift import ADWIN
        except ImportError:
            raise ConfigError(
                "ADWIN needs the package river",
                where="twin.drift.Adwin",
                expected="river to be installed",
                fix="pip install river, or take Cusum or PageHinkley, which need nothing",
            ) from None
        return ADWIN(delta=self.delta, clock=self.every, grace_period=self.grace)
