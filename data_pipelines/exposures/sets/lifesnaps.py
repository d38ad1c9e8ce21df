"""LifeSnaps: where people said they were and how they felt, and what the watch measured by the next morning."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.cohorts.lifesnaps_daily import LifesnapsDaily
from data_pipelines.exposures._told import Days
from data_pipelines.exposures.sets._person_days import PersonDays, daily_mean, daily_samples, days_of, first_day
from hdt_fm.schema.recording import Visit

# The words said most often: about home and work, out of doors and on the way; good, calm, tired and tense.
PLACES = ("home", "work_school", "outdoors", "transit")
MOODS = ("happy", "rested_relaxed", "tired", "tense_anxious")


def lifesnaps_days(path: Path) -> Iterator[PersonDays]:
    """Everyone who ever answered.

    Units: exposures are 1 on a day on which the word was said and 0 on one on which others were: `place home` is no
        time at home. `ln RMSSD` (ms, of the night that ended on the day), `resting pulse` bpm, `sleep` min, `stress
        score` 1 to 100 (higher is calmer, as its maker has it).
    """
    for visit in LifesnapsDaily(path=str(path), subject_key="public").visits():
        days = days_of(visit)
        said = {} if days is None else _said(visit, days)
        if days is not None and any(np.isfinite(values).any() for values in said.values()):
            yield PersonDays(visit.group, first_day(days), said, _outcomes(visit, days))


def _said(visit: Visit, days: Days) -> dict[str, NDArray[np.float64]]:
    words = {f"place {word}": f"place_{word}" for word in PLACES} | {f"mood {word}": f"mood_{word}" for word in MOODS}
    return {name.replace("_", " "): daily_mean(visit.labels.get(track), days) for name, track in words.items()}


def _outcomes(visit: Visit, days: Days) -> dict[str, NDArray[np.float64]]:
    rmssd = daily_samples(visit.recordings.get("hrv"), days)
    return {
        "ln RMSSD": np.log(np.where(rmssd > 0, rmssd, np.nan)),
        "resting pulse": daily_mean(visit.labels.get("resting_heart_rate"), days),
        "sleep": daily_mean(visit.labels.get("sleep_min"), days),
        "stress score": daily_samples(visit.recordings.get("stress_score"), days),
    }
