"""A daily table of the weather where a person is -> one exposure a column."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from data_pipelines.exposures._told import DAY_S, Days, Whose
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.exposure import Exposure, exposure_kind

# Column -> kind, and the unit in the column. Rain comes as a rate and leaves as the day's amount.
COLUMNS: Mapping[str, tuple[str, str]] = {
    "temperature_celsius": ("temperature", "celsius"),
    "humidity": ("humidity", "%"),
    "pressure_hpa": ("pressure", "hPa"),
    "clouds": ("clouds", "%"),
    "rain_mm_per_hour": ("rain", "mm"),
}
_HOURLY = frozenset({"rain_mm_per_hour"})


class Weather:
    """Daily means as they are; a mean rate over the day times 24 h is its amount.

    Units: of `EXPOSURES`. Lossy: What the kind cannot be (a pressure of 0) becomes unknown.

    Args:
        columns: Column -> (kind, unit); those that a table lacks are not answered.
    """

    def __init__(self, *, columns: Mapping[str, tuple[str, str]] = COLUMNS) -> None:
        self._columns = dict(columns)
        self.gives = tuple(kind for kind, _ in self._columns.values())

    def __call__(
        self, day: NDArray[np.int64], table: Mapping[str, NDArray[np.float64]], whose: Whose
    ) -> tuple[Exposure, ...]:
        """A value for each day from the first to the last; days that are missing, or NaN, are unknown.

        Args:
            day: Number of each row's day on the person's calendar (seconds / 86,400), no day twice.

        Raises:
            ReaderError: If a day comes twice, or no column is known.
        """
        found = [name for name in self._columns if name in table]
        if len(np.unique(day)) < len(day) or not len(day) or not found:
            raise ReaderError(
                "The table of the weather cannot be used",
                where="weather",
                expected=f"a row a day, no day twice, and one or more of: {', '.join(self._columns)}",
                got=f"{len(day)} row(s), {len(np.unique(day))} day(s), columns {', '.join(sorted(table)) or 'none'}",
            )
        days = Days(float(day.min()) * DAY_S, int(day.max() - day.min()) + 1)
        return tuple(self._column(name, day, table[name], days, whose) for name in found)

    def _column(
        self, name: str, day: NDArray[np.int64], values: NDArray[np.float64], days: Days, whose: Whose
    ) -> Exposure:
        kind, unit = self._columns[name]
        scale, offset = exposure_kind(kind).conversion(unit)
        told = np.full(days.count, np.nan)
        told[day - day.min()] = values * scale + offset
        return days.exposure(kind, told * (24 if name in _HOURLY else 1), whose)
