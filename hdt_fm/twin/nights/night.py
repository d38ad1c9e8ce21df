"""What is known of one person's nights: named indicators by date, and which device was worn."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from hdt_fm.schema.errors import RecordingError, ShapeError

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
        RecordingError: If there is no night, dates do not rise or span more than a century, names repeat, or a value is
            infinite.
    """

    dates: np.ndarray
    values: Float[np.ndarray, "night indicator"]
    names: tuple[str, ...]
    devices: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        self._check_shapes()
        self._check_dates()
        if len(set(self.names)) != len(self.names) or not all(self.names):
            raise RecordingError(
                "Indicators need a name each",
                where="Nights.names",
                expected="names that differ, none of them empty",
                fix="rename one of the columns",
            )
        if np.isinf(self.values).any():
            raise RecordingError(
                "A value is infinite",
                where="Nights.values",
                expected="finite numbers",
                fix="put NaN where none is known",
            )

    def _check_shapes(self) -> None:
        if self.dates.dtype != np.dtype("datetime64[D]") or self.dates.ndim != 1:
            raise ShapeError(
                "Dates are of the wrong type",
                where="Nights.dates",
                expected="datetime64[D], one axis",
                got=f"{self.dates.dtype} of {self.dates.ndim} axes",
                fix='bring them to it: dates.astype("datetime64[D]")',
            )
        expected = (len(self.dates), len(self.names))
        if self.values.shape != expected or not self.names:
            raise ShapeError(
                "Values do not fit dates and names",
                where="Nights.values",
                expected=f"{expected}, one indicator or more",
                got=str(self.values.shape),
                fix="give a row a night and a column an indicator",
            )
        if self.devices is not None and len(self.devices) != len(self.dates):
            raise ShapeError(
                "Devices do not fit dates",
                where="Nights.devices",
                expected=f"{len(self.dates)} names",
                got=str(len(self.devices)),
                fix='give one a night, "" where it is not known, or None if it never changed',
            )

    def _check_dates(self) -> None:
        if not len(self.dates):
            raise RecordingError(
                "There is no night", where="Nights", expected="one night or more", got="none", fix="give a night"
            )
        if np.isnat(self.dates).any() or (np.diff(self.dates) < DAY).any():
            raise RecordingError(
                "Dates do not rise",
                where="Nights.dates",
                expected="each later than the last",
                fix="sort by date, and keep one row a night",
            )
        if (self.dates[-1] - self.dates[0]) // DAY >= MOST_NIGHTS:
            raise RecordingError(
                "Dates span too long a time",
                where="Nights.dates",
                expected="a century at most",
                fix="look for a date with a wrong year",
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

    def only(self, *names: str) -> "Nights":
        """The same nights with some of the indicators, in the order of `names`."""
        columns = [self.names.index(name) for name in names]
        return Nights(self.dates, self.values[:, columns], names, self.devices)

    def changes(self) -> Bool[np.ndarray, " night"]:
        """True where another device is worn than the last one that was named."""
        changed = np.zeros(len(self.dates), dtype=np.bool_)
        last = ""
        for night, device in enumerate(self.devices or ()):
            changed[night] = bool(device and last and device != last)
            last = device or last
        return changed


def weekdays(dates: np.ndarray) -> Int[np.ndarray, " night"]:
    """Of each date, 0 to 6; day 0 of datetime64 was a Thursday, which does not matter here."""
    return dates.astype(np.int64) % 7
