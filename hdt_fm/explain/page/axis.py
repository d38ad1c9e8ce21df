"""Axes in words that are read at a glance: time in the unit that fits, units as they are printed, short numbers."""

from dataclasses import dataclass

import numpy as np

# Up to which length of a window (s) a unit is used, its length (s), and the steps that its clock suggests.
_UNITS = (
    (180.0, "s", 1.0, (1.0, 2.0, 5.0, 10.0, 15.0, 30.0)),
    (3 * 3600.0, "min", 60.0, (1.0, 2.0, 5.0, 10.0, 15.0, 30.0)),
    (3 * 86400.0, "h", 3600.0, (1.0, 2.0, 3.0, 4.0, 6.0, 12.0)),
    (float("inf"), "days", 86400.0, (1.0, 2.0, 7.0, 14.0, 28.0)),
)
_PRINTED = {
    "au": "a.u.",
    "1": "",
    "celsius": "°C",
    "uS": "µS",
    "uV": "µV",
    "uT": "µT",
    "deg/s": "°/s",
}


@dataclass(frozen=True)
class TimeAxis:
    """Time within a window.

    Attributes:
        unit: Of the ticks: s, min, h or days.
        unit_s: Its length.
        ticks: From 0 on, in that unit.
    """

    window_s: float
    unit: str
    unit_s: float
    ticks: tuple[float, ...]

    @classmethod
    def of(cls, window_s: float, *, most: int = 7) -> "TimeAxis":
        """Ticks at round times, `most` at the most."""
        _, unit, unit_s, steps = next(row for row in _UNITS if window_s <= row[0])
        length = window_s / unit_s
        step = next(
            (one for one in steps if length / one <= most - 1 and length >= 1), _round_step(length / (most - 1))
        )
        ticks = np.arange(int(length / step + 1e-9) + 1) * step
        return cls(window_s, unit, unit_s, tuple(float(f"{tick:.6g}") for tick in ticks))

    def span(self, first: float, last: float) -> str:
        """From and to, given as shares of the window, in words: `2 to 2.5 s`."""
        length = self.window_s / self.unit_s
        return f"{short(first * length)} to {short(last * length)} {self.unit}"

    @property
    def words(self) -> str:
        """How long the window is."""
        return f"{short(self.window_s / self.unit_s)} {self.unit}"


def _round_step(least: float) -> float:
    power = 10.0 ** np.floor(np.log10(least))
    return float(next(times * power for times in (1, 2, 5, 10) if times * power >= least * (1 - 1e-9)))


def printed_unit(unit: str) -> str:
    """A canonical unit as it is printed; nothing for a pure number."""
    return _PRINTED.get(unit, unit)


def signed(value: float) -> str:
    """As `short`, with a plus before what is above 0."""
    return f"+{short(value)}" if value > 0 else short(value)


def short(value: float) -> str:
    """Three digits, or all those before the point; a power of ten only where zeros would hide the number."""
    if value == 0 or not np.isfinite(value):
        return "0" if value == 0 else "not known"
    if not 1e-4 <= abs(value) < 1e6:
        return f"{value:.2e}"
    digits = max(0, 2 - int(np.floor(np.log10(abs(value)))))
    text = f"{value:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")
