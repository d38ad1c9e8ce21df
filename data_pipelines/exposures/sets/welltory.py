"""Welltory: weather at the user's place, and what was measured of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.cohorts.welltory_covid19 import WelltoryCovid19
from data_pipelines.exposures._told import DAY_S, Days, Whose, by_day
from data_pipelines.exposures.sets._person_days import PersonDays, daily_mean, daily_samples, first_day
from data_pipelines.exposures.weather import Weather
from hdt_fm.schema.recording import NS_PER_S, Visit

_WEATHER = {
    "temperature_celsius": "outdoor_temperature",
    "humidity": "outdoor_humidity",
    "pressure_hpa": "outdoor_pressure",
    "clouds": "clouds",
    "rain_mm_per_hour": "precipitation",
}
# The published table says millimetres an hour. As such the people would have 33 mm of rain a year; as inches, which
# weather services give by default, 830 mm.
_MM = 25.4


def welltory_days(path: Path) -> Iterator[PersonDays]:
    """Everyone with a day of weather.

    Units: `temperature` celsius, `humidity`, `clouds` %, `pressure` hPa, `rain` mm; `ln RMSSD`, `ln SDNN` (ms, mean of
        the day's spot measurements), `spot pulse`, `resting pulse`, `mean pulse` bpm.
    """
    weather = Weather()
    for visit in WelltoryCovid19(path=str(path), subject_key="public").visits():
        if (rows := _weather(visit)) is None:
            continue
        exposures = weather(*rows, Whose(0, 0))
        # Some outcomes lie years before the app; one day after the last weather is as far as it can tell of.
        days = Days(exposures[0].start_s[0], len(exposures[0]) + 1)
        yield PersonDays(
            group=visit.group,
            first_day=first_day(days),
            exposures={one.kind: by_day(one, days) for one in exposures},
            outcomes=_outcomes(visit, days),
        )


def _weather(visit: Visit) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]] | None:
    """Number of each day that has weather, and its columns."""
    tracks = {column: visit.labels[name] for column, name in _WEATHER.items() if name in visit.labels}
    if not tracks:
        return None
    of = {name: (track.start_ns // (int(DAY_S) * NS_PER_S), track.values) for name, track in tracks.items()}
    day = np.unique(np.concatenate([at for at, _ in of.values()]))
    table = {name: np.full(len(day), np.nan) for name in of}
    for name, (at, values) in of.items():
        table[name][np.searchsorted(day, at)] = values * (_MM if name == "rain_mm_per_hour" else 1.0)
    return day, table


def _outcomes(visit: Visit, days: Days) -> dict[str, NDArray[np.float64]]:
    spot = {name: daily_mean(visit.labels.get(name), days) for name in ("hrv", "sdnn", "pulse")}
    # Variability is skewed: its logarithm is what is compared between days.
    logs = {name: np.log(np.where(spot[name] > 0, spot[name], np.nan)) for name in ("hrv", "sdnn")}
    return {
        "ln RMSSD": logs["hrv"],
        "ln SDNN": logs["sdnn"],
        "spot pulse": spot["pulse"],
        "resting pulse": daily_mean(visit.labels.get("resting_heart_rate"), days),
        "mean pulse": daily_samples(visit.recordings.get("heart_rate"), days),
    }
