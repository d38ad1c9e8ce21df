"""What is in a file: format, rates, units, gaps, and signs of trouble, before anything is built from it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from data_pipelines.readers import choose
from hdt_fm.schema.modalities import modality as look_up_modality
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit
from hdt_fm.signal.polarity import pulse_polarity
from hdt_fm.signal.quality import MIN_STILL_RATE_HZ, clipped, flat, gaps, share_of
from hdt_fm.signal.repeats import repeated

# Reading needs a subject; nothing of it is shown.
_NOBODY = "s" + "0" * 32
_PULSES = ("ppg", "abp")
_CLEAR_SKEW = 0.1
_SLOWEST_WAVE_HZ = 1.0


@dataclass(frozen=True)
class SignalPrint:
    """One modality.

    Attributes:
        starts_after_s: From the start of the visit's first signal.
        ends_before_s: To the end of its last one.
        repeated_share: Share of the observed samples that equal an earlier stretch (stored twice).
        typical: 1st, 50th and 99th percentile of the observed samples of all channels.
        plausible: Range outside which samples were not taken as observed, if the modality has one.
    """

    modality: str
    device: str
    body_site: str
    channels: tuple[str, ...]
    unit: str
    source_unit: str
    sampling_rate_hz: float
    duration_s: float
    starts_after_s: float
    ends_before_s: float
    observed_share: float
    gaps: int
    longest_gap_s: float
    flat_share: float
    clipped_share: float
    repeated_share: float
    typical: tuple[float, float, float] | None
    plausible: tuple[float, float] | None
    polarity: Literal["upright", "inverted", "unclear"] | None


@dataclass(frozen=True)
class LabelPrint:
    """One label track: how many intervals or events, and how much time they cover."""

    name: str
    kind: str
    unit: str
    classes: tuple[str, ...]
    count: int
    covered_s: float


@dataclass(frozen=True)
class Fingerprint:
    """A recording at a glance: aggregates only, no id, no clock time, no single value."""

    format: str
    clock: Literal["UTC, local offset known", "UTC, or local time taken as UTC", "none"]
    signals: tuple[SignalPrint, ...]
    labels: tuple[LabelPrint, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain lists and mappings, for JSON."""
        return asdict(self)


def inspect(path: Path, reader: str = "auto") -> Fingerprint:
    """Read one recording and describe it.

    Raises:
        ReaderError: If it cannot be read.
        UnitError: If its values cannot be in its unit.
    """
    name, chosen = choose(path, reader)
    visit = chosen.read(path, subject=_NOBODY)
    return describe(visit, format=name)


def describe(visit: Visit, *, format: str) -> Fingerprint:
    """The fingerprint of a visit that was read."""
    recordings = visit.recordings.values()
    first, last = min((r.start_ns for r in recordings), default=0), max((r.end_ns for r in recordings), default=0)
    signals = tuple(_signal_print(recording, first, last) for recording in recordings)
    return Fingerprint(
        format=format,
        clock=_clock(visit),
        signals=signals,
        labels=tuple(_label_print(track) for track in visit.labels.values()),
        warnings=tuple(warning for signal in signals for warning in _warnings(signal)),
    )


def _clock(visit: Visit) -> Literal["UTC, local offset known", "UTC, or local time taken as UTC", "none"]:
    recordings = visit.recordings.values()
    if all(recording.start_ns == 0 for recording in recordings):
        return "none"
    known = all(recording.utc_offset_s is not None for recording in recordings)
    return "UTC, local offset known" if known else "UTC, or local time taken as UTC"


def _signal_print(recording: Recording, first_ns: int, last_ns: int) -> SignalPrint:
    values, observed, rate = recording.values, recording.observed, recording.sampling_rate_hz
    missing = gaps(observed, rate)
    entry = look_up_modality(recording.modality)
    typical = np.percentile(values[:, observed], (1, 50, 99)).tolist() if observed.any() else None
    return SignalPrint(
        modality=recording.modality,
        device=recording.device,
        body_site=recording.body_site,
        channels=tuple(channel.name for channel in recording.channels),
        unit=entry.unit,
        source_unit=recording.channels[0].source_unit,
        sampling_rate_hz=rate,
        duration_s=recording.duration_s,
        starts_after_s=(recording.start_ns - first_ns) / NS_PER_S,
        ends_before_s=(last_ns - recording.end_ns) / NS_PER_S,
        observed_share=1 - missing.share,
        gaps=missing.count,
        longest_gap_s=missing.longest_s,
        flat_share=share_of(flat(values, observed, rate), observed),
        clipped_share=share_of(clipped(values, observed), observed),
        repeated_share=share_of(repeated(values, observed, rate), observed),
        typical=tuple(round(value, 4) for value in typical) if typical else None,
        plausible=entry.plausible if np.isfinite(entry.plausible).all() else None,
        polarity=_polarity(recording) if entry.kind in _PULSES else None,
    )


def _polarity(recording: Recording) -> Literal["upright", "inverted", "unclear"]:
    skew = pulse_polarity(recording.values, recording.observed, recording.sampling_rate_hz)
    if abs(skew) < _CLEAR_SKEW:
        return "unclear"
    return "upright" if skew > 0 else "inverted"


def _label_print(track: LabelTrack) -> LabelPrint:
    covered = float((track.end_ns - track.start_ns).sum() / NS_PER_S)
    return LabelPrint(track.name, track.kind, track.unit, track.classes, len(track.values), covered)


def _warnings(signal: SignalPrint) -> list[str]:
    found = []
    if signal.observed_share < 0.8:
        found.append(f"{signal.modality}: only {signal.observed_share:.0%} of the time was observed")
    # What a device counts or estimates now and then is often 0 without fault.
    if signal.clipped_share > 0.01 and signal.sampling_rate_hz >= _SLOWEST_WAVE_HZ:
        found.append(f"{signal.modality}: {signal.clipped_share:.1%} of the samples stay at an extreme (clipped?)")
    # Slow, coarse signals such as skin temperature stand still for seconds without fault.
    if signal.flat_share > 0.2 and signal.sampling_rate_hz >= MIN_STILL_RATE_HZ:
        found.append(f"{signal.modality}: {signal.flat_share:.0%} of the samples stand still (off the body?)")
    if signal.repeated_share > 0:
        found.append(f"{signal.modality}: {signal.repeated_share:.1%} of the samples were there before (stored twice?)")
    if signal.polarity == "inverted":
        found.append(f"{signal.modality}: pulses look upside down; set invert: true in the preparation")
    return found
