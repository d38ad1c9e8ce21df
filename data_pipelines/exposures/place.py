"""A sequence of stays -> time at home, time outdoors and the variety of places, a day."""

from collections.abc import Collection, Sequence

import numpy as np

from data_pipelines.exposures._told import DAY_S, Days, Event, Watched, Whose
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.exposure import Exposure

HOME = frozenset({"home", "home_office"})
OUTDOORS = frozenset({"outdoors", "park", "garden", "street", "forest", "beach"})


class Place:
    """Stays at places of a category, one after another.

    Units: `time_at_home`, `time_outdoors` min; `place_entropy` nat: -sum of p ln p over the shares p of the day's known
        time at each place, 0 for a day at one place.
    Lossy: Coordinates are not asked for, since they name a person. Time between stays is unknown and is not shared out:
        a day with less than `least_known` of it told is unknown, and minutes of a day that is mostly told are those
        that were seen.

    Args:
        home, outdoors: Categories that count as such.
        least_known: Share of a day that stays must tell of.
    """

    gives = ("time_at_home", "time_outdoors", "place_entropy")

    def __init__(
        self,
        *,
        home: Collection[str] = HOME,
        outdoors: Collection[str] = OUTDOORS,
        least_known: float = 0.8,
    ) -> None:
        self._home, self._outdoors, self._least = frozenset(home), frozenset(outdoors), least_known

    def __call__(self, events: Sequence[Event], watched: Watched, whose: Whose) -> tuple[Exposure, ...]:
        """A value a day.

        Raises:
            ReaderError: If two stays overlap: one is in one place at a time.
        """
        days = Days.of(watched)
        stays = sorted((one for one in events if one.length_s > 0), key=lambda one: one.start_s)
        begins = np.array([one.start_s for one in stays])
        ends = np.array([one.end_s for one in stays])
        if (begins[1:] < ends[:-1] - 1e-6).any():
            raise ReaderError(
                "Stays overlap",
                where="place",
                expected="one place at a time",
                fix="end each stay where the next begins",
            )
        names = sorted({one.kind for one in stays})
        seconds = days.overlap_s(begins, ends)
        at = np.array([[one.kind == name for one in stays] for name in names], dtype=np.float64)
        spent = at.reshape(len(names), len(stays)) @ seconds
        known = spent.sum(axis=0) >= self._least * DAY_S - 1e-6
        values = (self._minutes(spent, names, self._home), self._minutes(spent, names, self._outdoors), _variety(spent))
        return tuple(
            days.exposure(kind, np.where(known, value, np.nan), whose)
            for kind, value in zip(self.gives, values, strict=True)
        )

    def _minutes(self, spent: np.ndarray, names: Sequence[str], wanted: Collection[str]) -> np.ndarray:
        return spent[[place for place, name in enumerate(names) if name in wanted]].sum(axis=0) / 60


def _variety(spent: np.ndarray) -> np.ndarray:
    total = spent.sum(axis=0)
    share = np.divide(spent, total, out=np.zeros_like(spent), where=total > 0)
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    return np.maximum(-(share * logs).sum(axis=0), 0.0)
