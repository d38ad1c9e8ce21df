"""What is in a file: format, rates, units, gaps, and signs of trouble, before anything is built from it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from data_pipelines.readers import choose
from hdt_fm.schema.modalities import modality as look_up_modality
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Recording
from hdt_fm.signal.filters import band_filter
from hdt_fm.signal.quality import MIN_STILL_RATE_HZ, clipped, flat, gaps, polarity, share_of

# Reading needs a subject; nothing of it is shown.
_NOBODY = "s" + "0" * 32
_PULSES = ("ppg", "abp")
_CLEAR_SKEW = 0.1


@dataclass(frozen=True)
class SignalPrint:
    """One modality. `typical` holds the 1st, 50th and 99th percentile of the observed samples of all channels;
    `plausible` is the range outside which samples were not taken as observed, if the modality has one."""

    modality: str
    channels: tuple[str, ...]
    unit: str
    source_unit: str
    sampling_rate_hz: float
    duration_s: float
    observed_share: float
    gaps: int
    longest_gap_s: float
    flat_share: float
    clipped_share: float
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
    signals = tuple(_signal_print(recording) for recording in visit.recordings.values())
    return Fingerprint(
        format=name,
        signals=signals,
        labels=tuple(_label_print(track) for track in visit.labels.values()),
        warnings=tuple(warning for signal in signals for warning in _warnings(signal)),
    )


def _signal_print(recording: Recording) -> SignalPrint:
    values, observed, rate = recording.values, recording.observed, recording.sampling_rate_hz
    missing = gaps(observed, rate)
    entry = look_up_modality(recording.modality)
    typical = np.percentile(values[:, observed], (1, 50, 99)).tolist() if observed.any() else None
    return SignalPrint(
        modality=recording.modality,
        channels=tuple(channel.name for channel in recording.channels),
        unit=entry.unit,
        source_unit=recording.channels[0].source_unit,
        sampling_rate_hz=rate,
        duration_s=recording.duration_s,
        observed_share=1 - missing.share,
        gaps=missing.count,
        longest_gap_s=missing.longest_s,
        flat_share=share_of(flat(values, observed, rate), observed),
        clipped_share=share_of(clipped(values, observed), observed),
        typical=tuple(round(value, 4) for value in typical) if typical else None,
        plausible=entry.plausible if np.isfinite(entry.plausible).all() else None,
        polarity=_polarity(recording) if entry.kind in _PULSES else None,
    )


def _polarity(recording: Recording) -> Literal["upright", "inverted", "unclear"]:
    rate = recording.sampling_rate_hz
    if rate < 20:
        return "unclear"
    values, observed = band_filter(
        recording.values, recording.observed, sampling_rate_hz=rate, highpass_hz=0.5, lowpass_hz=8.0, order=2
    )
    skew = polarity(values, observed)
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
    if signal.clipped_share > 0.01:
        found.append(f"{signal.modality}: {signal.clipped_share:.1%} of the samples stay at an extreme (clipped?)")
    # Slow, coarse signals such as skin temperature stand still for seconds without fault.
    if signal.flat_share > 0.2 and signal.sampling_rate_hz >= MIN_STILL_RATE_HZ:
        found.append(f"{signal.modality}: {signal.flat_share:.0%} of the samples stand still (off the body?)")
    if signal.polarity == "inverted":
        found.append(f"{signal.modality}: pulses look upside down; set invert: true in the preparation")
    return found
