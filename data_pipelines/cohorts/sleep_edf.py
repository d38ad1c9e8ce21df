"""Sleep-EDF expanded, the cassette study: nights of EEG and EOG at home, scored in stages of 30 s."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from data_pipelines.cohorts._people import covariates
from data_pipelines.cohorts._visits import OneVisit, Visits
from data_pipelines.readers._recordings import datetime_to_ns
from data_pipelines.readers.edf import Annotation, Edf, read_annotations
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit
from hdt_fm.schema.subject import SubjectKey

CLASSES = ("wake", "n1", "n2", "n3", "rem")
# As the hypnograms write them; None has no label. Stages 3 and 4 of Rechtschaffen and Kales are N3 of the AASM.
STAGES = {
    "Sleep stage W": "wake",
    "Sleep stage 1": "n1",
    "Sleep stage 2": "n2",
    "Sleep stage 3": "n3",
    "Sleep stage 4": "n3",
    "Sleep stage R": "rem",
    "Sleep stage ?": None,
}
SCORED_S = 30
_EOG = "EOG horizontal"
# SC4, two digits of the person, one of the night, a letter.
_PSG = re.compile(r"(SC4(\d\d)(\d)[A-Z])\w-PSG\.edf")
_PATIENT = re.compile(r"(female|male)_(\d+)yr", re.IGNORECASE)


@dataclass(frozen=True)
class _Night:
    """Files of one night; person and night as the names say them."""

    psg: Path
    hypnograms: tuple[Path, ...]
    person: str


class SleepEdf:
    """One visit a night, with a `stage` class track; the person, who mostly has two nights, is the subject.

    `eeg` has the derivations as its channels, `eog` one channel. A cassette ran for about twenty hours, most of them a
    day awake. As in the literature, a visit keeps the sleep, from the first to the last interval scored as such, and
    `wake_edge_s` on either side.

    Format: EDF, SC4ssNxx-PSG.edf (EEG Fpz-Cz, EEG Pz-Oz, EOG horizontal at 100 Hz), with an EDF+ of annotations
        SC4ssNxx-Hypnogram.edf: W, 1, 2, 3, 4, R, Movement time, ?.
    Units: eeg and eog uV.
    Lossy: Stages 3 and 4 are one (`n3`); movement and `?` have no label. Respiration, EMG and rectal temperature at
        1 Hz and the event marker; the telemetry study (ST7). The header's local time is taken as UTC.

    Args:
        path: Folder sleep-cassette, or the folder above it.
        derivations: Of the EEG. One alone asks for `preparation.modalities.eeg.channels=1` as well.
        wake_edge_s: Time awake that is kept before and after sleep; None keeps all.
        subject_key: See `SubjectKey.find`; `public` gives the same pseudonyms everywhere.
        limit: Only the first nights, for a quick look; None is all.
    """

    name = "sleep_edf"
    licence = "ODC-By 1.0"
    source = "Kemp et al. 2000, doi:10.1109/10.867928; Goldberger et al. 2000; doi:10.13026/C2X676"

    def __init__(
        self,
        *,
        path: str,
        derivations: Sequence[str] = ("Fpz-Cz", "Pz-Oz"),
        wake_edge_s: float | None = 1800.0,
        subject_key: str = "auto",
        limit: int | None = None,
    ) -> None:
        inside = Path(path) / "sleep-cassette"
        self._folder = inside if inside.is_dir() else Path(path)
        self._signals = (*(f"EEG {name}" for name in derivations), _EOG)
        self._edge_s = wake_edge_s
        self._key = subject_key
        self._limit = limit

    def inputs(self) -> list[Path]:
        """Both files of every night."""
        return [path for night in self._nights() for path in (night.psg, *night.hypnograms)]

    def visits(self) -> Iterator[Visit]:
        """Each night in order of name; see `Visits` for what happens after an error."""
        key, nights = SubjectKey.find(self._key), self._nights()
        # Facts are those of the first night: a birthday between two nights must not make two people of one.
        first = {night.person: night.psg for night in reversed(nights)}
        subjects = {person: key.pseudonym(self.name, person) for person in first}
        return Visits(
            [
                OneVisit(
                    partial(self._read, night, subjects[night.person], first[night.person]),
                    subjects[night.person],
                    (night.psg, *night.hypnograms),
                )
                for night in nights
            ]
        )

    def _nights(self) -> list[_Night]:
        found = [
            _Night(path, tuple(sorted(self._folder.glob(f"{match[1]}*-Hypnogram.edf"))), match[2])
            for path in sorted(self._folder.glob("SC4*-PSG.edf"))
            if (match := _PSG.fullmatch(path.name))
        ]
        if not found:
            raise ReaderError(
                "The cohort's folder holds no night",
                where=self._folder.name,
                expected="SC4ssNxx-PSG.edf and SC4ssNxx-Hypnogram.edf",
                fix="point cohort.path to the sleep-cassette folder",
            )
        return found[: self._limit]

    def _read(self, night: _Night, subject: str, first: Path) -> Visit:
        if len(night.hypnograms) != 1:
            raise ReaderError(
                "A night does not have one hypnogram",
                expected="one SC4ssNxx-Hypnogram.edf beside SC4ssNxx-PSG.edf",
                got=str(len(night.hypnograms)),
                fix="download the missing file, or remove the recording or the second hypnogram",
            )
        visit = Edf(only=self._signals).read(night.psg, subject=subject)
        start, annotations = read_annotations(night.hypnograms[0])
        start_ns = visit.recordings["eeg"].start_ns
        if datetime_to_ns(start) != start_ns:
            raise ReaderError(
                "A hypnogram and its recording begin at different times",
                where="Hypnogram",
                expected="one start, as published",
                fix="one of the two is of another night: download both again",
            )
        stages = _stages(annotations, start_ns)
        begin_ns, end_ns = _kept(stages, visit.recordings["eeg"], self._edge_s)
        return replace(
            visit,
            recordings={
                name: replace(_cut(recording, begin_ns, end_ns), device="cassette_recorder", body_site="head")
                for name, recording in visit.recordings.items()
            },
            labels={"stage": stages},
            covariates=_covariates(first),
            source="sleep_edf",
        )


def _stages(annotations: Sequence[Annotation], start_ns: int) -> LabelTrack:
    scored = [one for one in annotations if one.text.startswith("Sleep stage")]
    other = sum(one.text not in STAGES or one.duration_s is None for one in scored)
    if other or not scored:
        raise ReaderError(
            "A hypnogram does not hold the stages of this study",
            where="Hypnogram",
            expected=f"annotations with a duration: {', '.join(STAGES)}",
            got=f"{other} of {len(scored)} with another name or without a duration",
            fix="take the file as it was published",
        )
    known = [(one.onset_s, one.duration_s or 0.0, stage) for one in scored if (stage := STAGES[one.text])]
    onsets, durations = (np.array([row[k] for row in known], dtype=np.float64) for k in (0, 1))
    starts, ends = (start_ns + np.rint(edge * NS_PER_S).astype(np.int64) for edge in (onsets, onsets + durations))
    values = np.array([CLASSES.index(stage) for *_, stage in known], dtype=np.float64)
    return LabelTrack("stage", "class", starts, ends, values, classes=CLASSES)


def _kept(stages: LabelTrack, recording: Recording, edge_s: float | None) -> tuple[int, int]:
    """Begin and end of what is kept: the sleep and its edges."""
    asleep = stages.values != CLASSES.index("wake")
    if not asleep.any() or int(stages.end_ns[asleep].max()) > recording.end_ns + SCORED_S * NS_PER_S:
        raise ReaderError(
            "A hypnogram does not fit its recording",
            where="Hypnogram",
            expected="sleep, all of it within the recording",
            got="sleep after its end" if asleep.any() else "no sleep",
            fix="one of the two files was cut off or is of another night: download both again",
        )
    if edge_s is None:
        return recording.start_ns, recording.end_ns
    edge_ns = round(edge_s * NS_PER_S)
    return int(stages.start_ns[asleep].min()) - edge_ns, int(stages.end_ns[asleep].max()) + edge_ns


def _cut(recording: Recording, begin_ns: int, end_ns: int) -> Recording:
    rate, length = recording.sampling_rate_hz, recording.values.shape[1]
    first, stop = (
        min(max(round((edge - recording.start_ns) / NS_PER_S * rate), 0), length) for edge in (begin_ns, end_ns)
    )
    return replace(
        recording,
        values=recording.values[:, first:stop],
        observed=recording.observed[first:stop],
        start_ns=recording.start_ns + round(first / rate * NS_PER_S),
    )


def _covariates(psg: Path) -> dict[str, str]:
    """From the patient field of an EDF header, `X F X Female_33yr`."""
    with psg.open("rb") as handle:
        match = _PATIENT.search(handle.read(88)[8:].decode("ascii", errors="replace"))
    return covariates(sex=match[1], age=match[2]) if match else {}
