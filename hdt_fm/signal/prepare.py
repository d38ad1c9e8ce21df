"""One recording made ready for windows: resampled, filtered, cleaned if asked, turned the right way up."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.preparation import ArtefactClass, ModalityPreparation, NoiseCancelling
from hdt_fm.schema.recording import NS_PER_S, Recording
from hdt_fm.signal.adaptive_noise import Canceller
from hdt_fm.signal.artefacts import Artefacts, find
from hdt_fm.signal.coarsen import coarsen
from hdt_fm.signal.filters import band_filter
from hdt_fm.signal.normalise import after_own_start
from hdt_fm.signal.resample import resample
from hdt_fm.signal.segments import runs

# Where the sensor measured nothing of the body, the filter must not see what it wrote; elsewhere it must see all, as
# each cut costs it a start.
_BEFORE_THE_FILTER: tuple[ArtefactClass, ...] = ("contact", "dropout")
_AFTER_THE_FILTER: tuple[ArtefactClass, ...] = ("motion", "saturation", "powerline")


@dataclass(frozen=True)
class Cancellation:
    """What noise cancelling did, on the prepared recording's clock.

    Attributes:
        raw: The signal as it would be without, (channel, time), filtered and turned the right way up, not yet scaled.
        gain: Share of the estimate that was taken out, over time; 0 where nothing was touched.
    """

    raw: Float32[np.ndarray, "channel time"]
    gain: Float32[np.ndarray, " time"]


@dataclass(frozen=True)
class Prepared:
    """A prepared recording and what was found on the way.

    Attributes:
        recording: Ready to be cut.
        artefacts: On the clock of the recording as it was read; None when not asked for.
        cancelled: None when not asked for, or when the visit has no reference.
    """

    recording: Recording
    artefacts: Artefacts | None = None
    cancelled: Cancellation | None = None


def prepare(recording: Recording, settings: ModalityPreparation) -> Recording:
    """As `prepare_beside`, of a recording that nothing was recorded beside."""
    return prepare_beside(recording, settings, {}).recording


def prepare_beside(recording: Recording, settings: ModalityPreparation, beside: Mapping[str, Recording]) -> Prepared:
    """Find artefacts, resample, filter, cancel noise, invert and scale, as asked. No segment reaches into another.

    Args:
        beside: Recordings of the same visit, in which the references of `settings` are looked up. Without a reference
            movement is told by the signal alone, and nothing is cancelled.

    Raises:
        RecordingError: If the recording has another number of channels than `settings` asks for.
        UnknownNameError: If artefacts are asked for in a kind of which none are known.
    """
    if recording.values.shape[0] != settings.channels:
        raise RecordingError(
            f"The {recording.modality} recording has another number of channels than the preparation",
            expected=f"{settings.channels} channel(s)",
            got=f"{recording.values.shape[0]}: {', '.join(channel.name for channel in recording.channels)}",
            where=f"preparation.modalities.{recording.modality}.channels",
            fix=f"set channels={recording.values.shape[0]} there, or choose channels in the reader",
        )
    artefacts = None
    if settings.artefacts is not None:
        reference = beside.get(settings.artefacts.reference or "")
        artefacts = find(recording, classes=settings.artefacts.classes, reference=reference)
    hides = artefacts is not None and settings.artefacts is not None and settings.artefacts.lowers == "observed"
    measured = recording
    if hides and artefacts is not None:
        measured = _without(recording, artefacts.of(_BEFORE_THE_FILTER))
    ready = _filtered(measured, settings)
    cancelled = None
    if settings.cancel_noise is not None and settings.cancel_noise.reference in beside:
        ready, cancelled = _cancelled(ready, settings, settings.cancel_noise, beside[settings.cancel_noise.reference])
    if settings.invert:
        ready = replace(ready, values=np.where(ready.observed, -ready.values, np.float32(0.0)))
        cancelled = cancelled and replace(cancelled, raw=np.where(ready.observed, -cancelled.raw, np.float32(0.0)))
    if hides and artefacts is not None:
        late = _on_clock(artefacts.of(_AFTER_THE_FILTER), recording.sampling_rate_hz, ready)
        ready = _without(ready, late)
        cancelled = cancelled and replace(cancelled, raw=np.where(ready.observed, cancelled.raw, np.float32(0.0)))
    if settings.own_start_s is not None:
        ready = after_own_start(ready, settings.own_start_s)
    return Prepared(recording=ready, artefacts=artefacts, cancelled=cancelled)


def _filtered(recording: Recording, settings: ModalityPreparation) -> Recording:
    rate = settings.sampling_rate_hz
    values, observed, had = recording.values, recording.observed, recording.sampling_rate_hz
    if settings.resampling == "filter":
        values, observed = resample(values, observed, had, rate)
    elif not math.isclose(had, rate, rel_tol=1e-9):
        values, observed = coarsen(values, observed, had, rate, settings.resampling)
    values, observed = band_filter(
        values,
        observed,
        sampling_rate_hz=rate,
        highpass_hz=settings.highpass_hz,
        lowpass_hz=settings.lowpass_hz,
        order=settings.order,
        causal=settings.causal,
    )
    return replace(recording, values=values, observed=observed, sampling_rate_hz=rate)


def _cancelled(
    ready: Recording, settings: ModalityPreparation, noise: NoiseCancelling, reference: Recording
) -> tuple[Recording, Cancellation]:
    """Every channel of every stretch that both were recorded in; a stretch begins with a new canceller."""
    rate = settings.sampling_rate_hz
    heard = _filtered(reference, settings)
    # The reference's sample nearest in time: half a sample is a fraction of what its taps span.
    shift = round((ready.start_ns - heard.start_ns) / NS_PER_S * rate)
    at = np.arange(len(ready.observed)) + shift
    inside = (at >= 0) & (at < len(heard.observed))
    at = np.clip(at, 0, len(heard.observed) - 1)
    both = ready.observed & inside & heard.observed[at]
    values, gain = ready.values.copy(), np.zeros(len(both), dtype=np.float32)
    for start, stop in runs(both):
        beside = heard.values[:, at[start:stop]]
        for channel in range(len(values)):
            canceller = Canceller(noise, sampling_rate_hz=rate, axes=len(beside))
            cleaned = canceller.block(ready.values[channel, start:stop], beside)
            values[channel, start:stop] = cleaned.values
            gain[start:stop] = np.maximum(gain[start:stop], cleaned.gain)
    return replace(ready, values=values), Cancellation(raw=ready.values, gain=gain)


def _on_clock(mask: Bool[np.ndarray, " time"], from_hz: float, ready: Recording) -> Bool[np.ndarray, " new_time"]:
    """Samples of a prepared recording that share time with a masked sample of the one that was read."""
    scale = ready.sampling_rate_hz / from_hz
    found = np.zeros_like(ready.observed)
    for start, stop in runs(mask):
        found[int(start * scale) : int(np.ceil(stop * scale))] = True
    return found


def _without(recording: Recording, hidden: Bool[np.ndarray, " time"]) -> Recording:
    observed = recording.observed & ~hidden
    return replace(recording, values=np.where(observed, recording.values, np.float32(0.0)), observed=observed)
