"""PPG-DaLiA: wrist and chest during two hours of everyday activities, with heart rate from the ECG."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.cohorts._codes import class_track
from data_pipelines.cohorts._people import covariates
from data_pipelines.cohorts._visits import OneVisit, Visits
from data_pipelines.cohorts._wrist_and_chest import (
    CHEST,
    CHEST_HZ,
    START_NS,
    WRIST,
    Arrays,
    arrays_of,
    check_length,
    codes_of,
    people,
    recordings_of,
    values_of,
)
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Visit
from hdt_fm.schema.subject import SubjectKey

# 0 is the way from one activity to the next.
ACTIVITIES = {
    1: "sitting",
    2: "stairs",
    3: "table_soccer",
    4: "cycling",
    5: "driving",
    6: "lunch",
    7: "walking",
    8: "working",
}
WINDOW_S, HOP_S = 8, 2
_ACTIVITY_HZ = 4.0


class PpgDalia:
    """One visit a person: `SN/SN.pkl`, with heart rate, beats and activity.

    Labels: `heart_rate`, the published number of each 8-s window, 2 s apart; a window of 8 s that begins on an even
    second has exactly that number as its label. `beats`, the published R peaks, for windows of any other length.
    `activity`, a class track; the ways between activities have no label.

    Format: pickle with signal/wrist (E4: BVP 64 Hz, ACC 32 Hz, EDA and TEMP 4 Hz), signal/chest (RespiBAN: ECG, Resp,
        ACC at 700 Hz), label, rpeaks, activity at 4 Hz, questionnaire; read by `data_pipelines/unpickle.py` alone.
    Units: bvp nW, kept as arbitrary; wrist acc g or 1/64 g, told apart by gravity; eda uS; temp celsius; ecg mV;
        resp % of the belt's range, kept as arbitrary; chest acc g.
    Lossy: chest EDA, EMG and Temp, which the publisher filled with dummies; weight, height, skin type and fitness.
        The pickles hold no clock: every session begins at midnight of 2000-01-01 UTC.

    Args:
        path: Folder PPG_FieldStudy with S1 .. S15, or the folder above it.
        subject_key: See `SubjectKey.find`; `public` gives the same pseudonyms everywhere.
        limit: Only the first people, for a quick look; None is all.
    """

    name = "ppg_dalia"
    licence = "CC BY 4.0 (the publisher asks for scientific, non-commercial use)"
    source = "Reiss et al. 2019, doi:10.3390/s19143079; archive.ics.uci.edu/dataset/495"

    def __init__(self, *, path: str, subject_key: str = "auto", limit: int | None = None) -> None:
        self._folder = Path(path)
        self._key = subject_key
        self._limit = limit

    def inputs(self) -> list[Path]:
        """Everyone's pickle."""
        return [path for person in self._people() if (path := person / f"{person.name}.pkl").is_file()]

    def visits(self) -> Iterator[Visit]:
        """Each person in the order of their numbers; see `Visits` for what happens after an error."""
        key = SubjectKey.find(self._key)
        people = [(person, key.pseudonym(self.name, person.name)) for person in self._people()]
        return Visits([OneVisit(partial(_read, person, subject), subject, (person,)) for person, subject in people])

    def _people(self) -> list[Path]:
        return people(self._folder, "PPG_FieldStudy", cohort="PPG-DaLiA")[: self._limit]


def _read(person: Path, subject: str) -> Visit:
    arrays = arrays_of(person)
    recordings = recordings_of(arrays, {**WRIST, **CHEST}, subject=subject)
    seconds = recordings["ppg"].duration_s
    activity = codes_of(arrays, "activity", rate_hz=_ACTIVITY_HZ, seconds=seconds, known={0, *ACTIVITIES})
    tracks = (
        _heart_rate(values_of(arrays, "label")[0], seconds),
        _beats(values_of(arrays, "rpeaks")[0], seconds),
        class_track("activity", activity, rate_hz=_ACTIVITY_HZ, start_ns=START_NS, classes=ACTIVITIES),
    )
    return Visit(
        subject=subject,
        recordings=recordings,
        labels={track.name: track for track in tracks},
        covariates=_covariates(arrays),
        source="ppg_dalia",
    )


def _heart_rate(rates_bpm: NDArray[np.float64], seconds: float) -> LabelTrack:
    check_length("label", len(rates_bpm), expected=int((seconds - WINDOW_S) // HOP_S) + 1, tolerance=1)
    begins = START_NS + np.arange(len(rates_bpm), dtype=np.int64) * HOP_S * NS_PER_S
    known = np.isfinite(rates_bpm) & (rates_bpm > 0)
    return LabelTrack(
        "heart_rate", "value", begins[known], begins[known] + WINDOW_S * NS_PER_S, rates_bpm[known], unit="bpm"
    )


def _beats(peaks: NDArray[np.float64], seconds: float) -> LabelTrack:
    outside = int(((peaks < 0) | (peaks > seconds * CHEST_HZ)).sum())
    if outside:
        raise ReaderError(
            "R peaks lie outside of the ECG",
            where="rpeaks",
            expected="numbers of ECG samples at 700 Hz",
            got=f"{outside} of {len(peaks)} outside",
            fix="the file was cut off or edited: take it as it was published",
        )
    times = START_NS + np.rint(np.sort(peaks) * (NS_PER_S / CHEST_HZ)).astype(np.int64)
    return LabelTrack("beats", "event", times, times, np.zeros(len(times)))


def _covariates(arrays: Arrays) -> dict[str, str]:
    sex, age = (str(arrays.get(f"questionnaire/{name}", "")) for name in ("Gender", "AGE"))
    return covariates(sex=sex, age=age)
