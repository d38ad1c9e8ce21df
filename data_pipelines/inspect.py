"""What is in a file: format, rates, units, gaps, and signs of trouble, before anything is built from it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from data_pipelines.clocks import ClockPrint, between_devices, off_nominal_ppm
from data_pipelines.readers import choose
from hdt_fm.schema.modalities import modality as look_up_modality
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording, Visit
from hdt_fm.signal import artefacts
from hdt_fm.signal.artefact_limits import LIMITS
from hdt_fm.signal.polarity import pulse_polarity
from hdt_fm.signal.quality import MIN_STILL_RATE_HZ, clipped, flat, gaps, share_of
from hdt_fm.signal.repeats import repeated

# Reading needs a subject; nothing of it is shown.
_NOBODY = "s" + "0" * 32
_PULSES = ("ppg", "abp")
_CLEAR_SKEW = 0.1
# Kinds whose artefact `contact` says that nobody wears the device.
_WORN = ("acc", "temp", "eda")
_SLOWEST_WAVE_HZ = 1.0


@dataclass(frozen=True)
class SignalPrint:
    """One modality.

    Attributes:
        starts_after_s: From the start of the visit's first signal.
        ends_before_s: To the end of its last one.
        off_nominal_ppm: How much faster than the nearest usual rate the device ran, where a reader measured its rate.
        artefacts: Share of the observed samples per class (`hdt_fm.signal.artefacts`); empty for kinds without limits.
        worn_hours: Hours that were observed on the body; None for kinds that cannot tell.
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
    off_nominal_ppm: float | None
    duration_s: float
    starts_after_s: float
    ends_before_s: float
    observed_share: float
    gaps: int
    longest_gap_s: float
    flat_share: float
    clipped_share: float
    repeated_share: float
    artefacts: Mapping[str, float]
    worn_hours: float | None
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
    clocks: tuple[ClockPrint, ...]
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
    signals = tuple(_signal_print(recording, first, last, _moved(recording, visit)) for recording in recordings)
    clocks = between_devices(visit)
    return Fingerprint(
        format=format,
        clock=_clock(visit),
        signals=signals,
        labels=tuple(_label_print(track) for track in visit.labels.values()),
        clocks=clocks,
        warnings=(
            *(text for signal in signals for text in _warnings(signal)),
            *(_shifted(one) for one in clocks if _off(one)),
        ),
    )


def _clock(visit: Visit) -> Literal["UTC, local offset known", "UTC, or local time taken as UTC", "none"]:
    recordings = visit.recordings.values()
    if all(recording.start_ns == 0 for recording in recordings):
        return "none"
    known = all(recording.utc_offset_s is not None for recording in recordings)
    return "UTC, local offset known" if known else "UTC, or local time taken as UTC"


def _moved(recording: Recording, visit: Visit) -> Recording | None:
    """The accelerometer of the same place, if another recording has one."""
    same = (one for one in visit.recordings.values() if look_up_modality(one.modality).kind == "acc")
    return next((one for one in same if one is not recording and one.body_site == recording.body_site), None)


def _signal_print(recording: Recording, first_ns: int, last_ns: int, moved: Recording | None) -> SignalPrint:
    values, observed, rate = recording.values, recording.observed, recording.sampling_rate_hz
    missing = gaps(observed, rate)
    entry = look_up_modality(recording.modality)
    known = entry.kind in LIMITS
    shares = artefacts.find(recording, reference=moved).shares() if known else {}
    hours = float(observed.sum()) / rate / 3600
    typical = np.percentile(values[:, observed], (1, 50, 99)).tolist() if observed.any() else None
    return SignalPrint(
        modality=recording.modality,
        device=recording.device,
        body_site=recording.body_site,
        channels=tuple(channel.name for channel in recording.channels),
        unit=entry.unit,
        source_unit=recording.channels[0].source_unit,
        sampling_rate_hz=rate,
        off_nominal_ppm=off_nominal_ppm(rate),
        duration_s=recording.duration_s,
        starts_after_s=(recording.start_ns - first_ns) / NS_PER_S,
        ends_before_s=(last_ns - recording.end_ns) / NS_PER_S,
        observed_share=1 - missing.share,
        gaps=missing.count,
        longest_gap_s=missing.longest_s,
        flat_share=share_of(flat(values, observed, rate), observed),
        clipped_share=share_of(clipped(values, observed), observed),
        repeated_share=share_of(repeated(values, observed, rate), observed),
        artefacts={name: round(share, 4) for name, share in shares.items()},
        worn_hours=round(hours * (1 - shares["contact"]), 4) if entry.kind in _WORN else None,
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
    if signal.artefacts.get("motion", 0.0) > 0.2:
        found.append(f"{signal.modality}: {signal.artefacts['motion']:.0%} of the samples are movement, not the body")
    if signal.artefacts.get("powerline", 0.0) > 0.05:
        found.append(f"{signal.modality}: {signal.artefacts['powerline']:.0%} of the samples carry the mains")
    if signal.artefacts.get("contact", 0.0) > 0.1:
        why = "without contact" if signal.worn_hours is None else "not worn"
        found.append(f"{signal.modality}: {signal.artefacts['contact']:.0%} of the observed time {why}")
    if signal.polarity == "inverted":
        found.append(f"{signal.modality}: pulses look upside down; set invert: true in the preparation")
    return found


def _off(clock: ClockPrint) -> bool:
    """Whether the interval excludes that the clocks agree to a tenth of a second."""
    return clock.offset_s is not None and abs(clock.offset_s) - (clock.offset_error_s or 0.0) > 0.1


def _shifted(clock: ClockPrint) -> str:
    return f"{clock.pair[0]}: {clock.offset_s:+.2f} s off the clock of {clock.pair[1]} in the middle of the visit"
