"""Door 1: the Recording, and the Visit that holds what one person recorded together.

Contract, version 1 (tests/schema/test_recording.py holds each sentence):

1. A Recording MUST hold one modality of one subject from one device at one nominal sampling rate.
2. `values` MUST be float32 of shape (channel, time), in the modality's canonical unit, and finite
   wherever `observed` is True. Where `observed` is False the values MUST be 0 and MUST NOT be read.
3. A gap MUST stay a gap: time that was not measured is `observed == False`, never a filled number.
4. `start_ns` MUST be UTC in nanoseconds since 1970; the local offset is kept beside it when known.
5. `subject` MUST be a pseudonym (see `subject.py`), never an id from the device's export.
6. Labels MUST carry their own clock: start and end in UTC nanoseconds, independent of any signal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.modalities import recorded
from hdt_fm.schema.subject import is_pseudonym

RECORDING_VERSION = 1
NS_PER_S = 1_000_000_000
# What float32 holds; a larger number is no sample of any signal.
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Channel:
    """One axis of a modality; `source_unit` is the unit in the file, before conversion."""

    name: str
    source_unit: str


@dataclass(frozen=True)
class Recording:
    """One stretch of one modality of one subject. See the contract at the top of this file."""

    modality: str
    channels: tuple[Channel, ...]
    sampling_rate_hz: float
    start_ns: int
    values: NDArray[np.float32]
    observed: NDArray[np.bool_]
    subject: str
    device: str
    body_site: str
    utc_offset_s: int | None = None
    version: int = RECORDING_VERSION

    def __post_init__(self) -> None:
        _check_recording(self)

    @property
    def duration_s(self) -> float:
        return self.values.shape[1] / self.sampling_rate_hz

    @property
    def end_ns(self) -> int:
        return self.start_ns + round(self.duration_s * NS_PER_S)


@dataclass(frozen=True)
class LabelTrack:
    """Something known about a person over time, with its own clock.

    Kinds: `class` (values are indices into `classes`, each valid in [start, end)); `value` (a number
    valid in [start, end)); `event` (points in time, start == end, e.g. breaths, meals, doses; the
    window's label is their rate per minute unless the protocol says otherwise).
    """

    name: str
    kind: Literal["class", "value", "event"]
    start_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    classes: tuple[str, ...] = ()
    unit: str = ""

    def __post_init__(self) -> None:
        lengths = {len(self.start_ns), len(self.end_ns), len(self.values)}
        if len(lengths) != 1:
            raise RecordingError(
                f"Label track {self.name!r} has arrays of different lengths",
                expected="start_ns, end_ns and values of one length",
                got=str(sorted(lengths)),
            )
        if np.any(self.end_ns < self.start_ns):
            raise RecordingError(f"Label track {self.name!r} has an interval that ends before it starts")
        if self.kind == "class" and len(self.values) and not _are_class_indices(self.values, len(self.classes)):
            raise RecordingError(
                f"Label track {self.name!r} has a class index without a name",
                expected=f"whole numbers from 0 to {len(self.classes) - 1}",
            )


@dataclass(frozen=True)
class Visit:
    """What one subject recorded together: any subset of modalities, labels, coarse covariates.

    `group` names people who must stay on one side of every split (twins, one person under two
    ids); it is the subject itself when there is no such tie. `covariates` holds coarse facts
    (`sex`, `age_band`, `bmi`) for subgroup tables and as an input that a run may ask for, never a date of birth or an
    exact age above 89.
    """

    subject: str
    recordings: Mapping[str, Recording]
    labels: Mapping[str, LabelTrack] = field(default_factory=dict)
    covariates: Mapping[str, str] = field(default_factory=dict)
    group: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if not self.group:
            object.__setattr__(self, "group", self.subject)
        for name, recording in self.recordings.items():
            if recording.modality != name:
                raise RecordingError(
                    "A visit names a recording differently from its modality",
                    expected=recording.modality,
                    got=name,
                )
            if recording.subject != self.subject:
                raise RecordingError(
                    "A visit holds recordings of two subjects",
                    expected=f"every recording of subject {self.subject}",
                    got=f"one of subject {recording.subject}",
                    fix="make one visit per subject",
                )


def _are_class_indices(values: NDArray[np.float64], count: int) -> bool:
    return bool(np.all((values == np.round(values)) & (values >= 0) & (values < count)))


def _check_recording(recording: Recording) -> None:
    recorded(recording.modality)
    values, observed, where = recording.values, recording.observed, f"recording of {recording.modality}"
    if values.ndim != 2 or values.dtype != np.float32:
        raise RecordingError(
            "Values have the wrong form",
            where=where,
            expected="float32 of shape (channel, time)",
            got=f"{values.dtype} of shape {values.shape}",
        )
    if observed.shape != values.shape[1:] or observed.dtype != np.bool_:
        raise RecordingError(
            "The observed mask does not fit the values",
            where=where,
            expected=f"bool of shape {values.shape[1:]}",
            got=f"{observed.dtype} of shape {observed.shape}",
        )
    if len(recording.channels) != values.shape[0]:
        raise RecordingError(
            "Channels and values differ in number",
            where=where,
            expected=f"{values.shape[0]} channels",
            got=str(len(recording.channels)),
        )
    if not (np.isfinite(recording.sampling_rate_hz) and recording.sampling_rate_hz > 0):
        raise RecordingError("The sampling rate must be a positive number of hertz", where=where)
    if not is_pseudonym(recording.subject):
        raise RecordingError(
            "The subject is not a pseudonym",
            where=where,
            expected="'s' and 32 hexadecimal digits",
            fix="pass the raw id through SubjectKey.pseudonym(); raw ids never enter a Recording",
        )
    # Whole arrays first: picking the observed samples copies them, and most recordings have nothing to pick.
    if not (np.isfinite(values).all() or np.isfinite(values[:, observed]).all()):
        raise RecordingError(
            "Observed values must be finite", where=where, fix="mark those samples as not observed in the reader"
        )
    if not observed.all() and values[:, ~observed].any():
        raise RecordingError(
            "Unobserved samples must hold 0", where=where, fix="build the arrays with recording_arrays()"
        )


def recording_arrays(
    values: NDArray[np.floating], *, modality: str, unit: str, missing: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Convert raw samples (channel, time) to the canonical unit, and say which were measured.

    A sample is unobserved when any channel is not finite or implausible, or where `missing` is True.

    Raises:
        UnknownNameError: If the modality is not in the table.
        UnitError: If the unit is not in the modality's table.
    """
    entry = recorded(modality)
    scale, offset = entry.conversion(unit)
    converted = np.asarray(values, dtype=np.float64) * scale + offset
    low, high = np.clip(entry.plausible, -_LARGEST, _LARGEST)
    observed: NDArray[np.bool_] = np.all(np.isfinite(converted) & (converted >= low) & (converted <= high), axis=0)
    if missing is not None:
        observed = observed & ~missing
    return np.where(observed, converted, 0.0).astype(np.float32), observed
