"""What is known of one person's nights: named indicators by date, and which device was worn."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hdt_fm.schema.errors import ConfigError, RecordingError, ShapeError, unknown_name

# What a feverish illness typically adds at its height, in units as modalities have them: orders of size, from no source
# and not fitted to anything, so that each indicator speaks as loud as it is likely to be heard over the person's own
# spread. A name that is not here (a component of an embedding) is asked how far it is from usual, either way.
TYPICAL_EFFECTS = {
    "resting_heart_rate": 5.0,  # bpm
    "respiratory_rate": 1.0,  # 1/min
    "skin_temperature": 0.5,  # celsius
    "body_temperature": 0.8,  # celsius
    "hrv": -8.0,  # ms
    "sdnn": -10.0,  # ms
    "spo2": -1.0,  # %
    "steps": -2500.0,  # 1/d
}
# Further apart than this is a slip in the dates, not a life.
MOST_NIGHTS = 36_525
DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Nights:
    """One person's nights in order of date; dates that are not named are nights without data.

    Args:
        dates: datetime64[D], strictly rising: the local date on which the night ends.
        values: One column per indicator, in any unit that stays the same; NaN where it was not measured.
        names: Of the columns.
        devices: The device worn in each night, "" where that is not known; None when it never changed.

    Raises:
        ShapeError: If the parts differ in length or type.
        RecordingError: If dates do not rise, names repeat, or a value is infinite.
    """

    dates: np.ndarray
    values: Float[np.ndarray, "night indicator"]
    names: tuple[str, ...]
    devices: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        self._shapes()
        where = "Nights"
        if not len(self.dates):
            raise RecordingError("There is no night", where=where, expected="one night or more", got="none")
        if np.isnat(self.dates).any() or (np.diff(self.dates) < DAY).any():
            fix = "sort by date, and keep one row a night"
            raise RecordingError(
                "Dates do not rise", where=f"{where}.dates", expected="each later than the last", fix=fix
            )
        if (self.dates[-1] - self.dates[0]) // DAY >= MOST_NIGHTS:
            fix = "look for a date with a wrong year"
            raise RecordingError(
                "Dates span too long a time", where=f"{where}.dates", expected="a century at most", fix=fix
            )
        if len(set(self.names)) != len(self.names) or not all(self.names):
            raise RecordingError("Indicators need a name each", where=f"{where}.names", expected="names that differ")
        if np.isinf(self.values).any():
            raise RecordingError(
                "A value is infinite",
                where=f"{where}.values",
                expected="finite numbers",
                fix="put NaN where none is known",
            )

    def _shapes(self) -> None:
        if self.dates.dtype != np.dtype("datetime64[D]") or self.dates.ndim != 1:
            got = f"{self.dates.dtype} of {self.dates.ndim} axes"
            raise ShapeError(
                "Dates are of the wrong type", where="Nights.dates", expected="datetime64[D], one axis", got=got
            )
        expected = (len(self.dates), len(self.names))
        if self.values.shape != expected or not self.names:
            got = str(self.values.shape)
            raise ShapeError(
                "Values do not fit dates and names", where="Nights.values", expected=str(expected), got=got
            )
        if self.devices is not None and len(self.devices) != len(self.dates):
            raise ShapeError(
                "Devices do not fit dates",
                where="Nights.devices",
                expected=f"{len(self.dates)} names",
                got=str(len(self.devices)),
            )

    def on_calendar(self) -> "Nights":
        """The same with a row for every date from first to last."""
        place = ((self.dates - self.dates[0]) // DAY).astype(np.int64)
        values = np.full((int(place[-1]) + 1, len(self.names)), np.nan)
        values[place] = self.values
        devices = None
        if self.devices is not None:
            named = dict(zip(place.tolist(), self.devices, strict=True))
            devices = tuple(named.get(night, "") for night in range(len(values)))
        return Nights(self.dates[0] + np.arange(len(values)) * DAY, values, self.names, devices)

    def changes(self) -> np.ndarray:
        """(night,) True where another device is worn than the last one that was named."""
        changed = np.zeros(len(self.dates), dtype=np.bool_)
        last = ""
        for night, device in enumerate(self.devices or ()):
            changed[night] = bool(device and last and device != last)
            last = device or last
        return changed


def effects_of(names: tuple[str, ...], given: Mapping[str, float] | None = None) -> Float[np.ndarray, " indicator"]:
    """What illness typically adds to each, 0 where that is not known; what is `given` goes before the table.

    Raises:
        ConfigError: If an effect is given for a name that is not among the indicators, or is not finite.
    """
    for name, effect in (given or {}).items():
        if name not in names:
            raise unknown_name("indicator", name, names, where="effects")
        if not np.isfinite(effect):
            raise ConfigError(
                "An effect is no number", expected="a finite number, 0 for either way", where=f"effects.{name}"
            )
    table = {**TYPICAL_EFFECTS, **(given or {})}
    return np.array([table.get(name, 0.0) for name in names], dtype=np.float64)


def weekdays(dates: np.ndarray) -> np.ndarray:
    """Of each date, 0 to 6; day 0 of datetime64 was a Thursday, which does not matter here."""
    return dates.astype(np.int64) % 7
