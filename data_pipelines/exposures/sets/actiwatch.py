"""A watch with a light sensor: the day's light, and the activity and sleep of the next."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.exposures._told import DAY_S, Days, Whose, by_day
from data_pipelines.exposures.light import Light
from data_pipelines.exposures.sets._person_days import PersonDays, daily_samples, days_of, first_day
from data_pipelines.readers.actiwatch import Actiwatch
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack
from hdt_fm.schema.subject import SubjectKey

_SLEEP = 0
# A night is looked for from 18 h to 12 h, and known if that much of it was recorded.
_NIGHT_BEGINS_S, _NIGHT_S, _LEAST = 18 * 3_600.0, 18 * 3_600.0, 0.8


def actiwatch_days(path: Path) -> PersonDays:
    """One export, of one person.

    Units: `light` lux (geometric mean), `time outdoors` min above 1,000 lux; `activity` counts a minute, `sleep` min
        from 18 h on the day before to 12 h.

    Raises:
        ReaderError: If the export has no light.
    """
    visit = Actiwatch().read(path, subject=SubjectKey.find("public").pseudonym("actiwatch", "one person"))
    days = days_of(visit)
    if days is None or "light" not in visit.recordings:
        raise ReaderError("The export has no light", expected="a column of light in lux", fix="export it with light")
    offset_s = visit.recordings["light"].utc_offset_s or 0
    level, outdoors = Light()(visit.recordings["light"], Whose(0, 0))
    return PersonDays(
        group=visit.group,
        first_day=first_day(days),
        exposures={"light": by_day(level, days), "time outdoors": by_day(outdoors, days)},
        outcomes={
            "activity": daily_samples(visit.recordings.get("counts"), days),
            "sleep": _sleep(visit.labels.get("sleep_wake"), offset_s, days),
        },
    )


def _sleep(scored: LabelTrack | None, offset_s: int, days: Days) -> NDArray[np.float64]:
    """Minutes scored as sleep in the night that ends on each day."""
    if scored is None:
        return np.full(days.count, np.nan)
    since = scored.start_ns / NS_PER_S + offset_s - days.first + DAY_S - _NIGHT_BEGINS_S
    night, within = np.floor(since / DAY_S).astype(np.int64), since % DAY_S < _NIGHT_S
    inside = within & (night >= 0) & (night < days.count)
    minutes = (scored.end_ns - scored.start_ns)[inside] / NS_PER_S / 60
    recorded = np.bincount(night[inside], weights=minutes, minlength=days.count)
    asleep = np.bincount(night[inside], weights=minutes * (scored.values[inside] == _SLEEP), minlength=days.count)
    return np.where(recorded >= _LEAST * _NIGHT_S / 60, asleep, np.nan)
