"""One recording made ready for windows: resampled, filtered, turned the right way up."""

from dataclasses import replace

import numpy as np

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.preparation import ModalityPreparation
from hdt_fm.schema.recording import Recording
from hdt_fm.signal.filters import band_filter
from hdt_fm.signal.resample import resample


def prepare(recording: Recording, settings: ModalityPreparation) -> Recording:
    """Resample, filter and, if asked, invert. Nothing of one segment reaches another.

    Raises:
        RecordingError: If the recording has another number of channels than `settings` asks for.
    """
    if recording.values.shape[0] != settings.channels:
        raise RecordingError(
            f"The {recording.modality} recording has another number of channels than the preparation",
            expected=f"{settings.channels} channel(s)",
            got=f"{recording.values.shape[0]}: {', '.join(channel.name for channel in recording.channels)}",
            where=f"preparation.modalities.{recording.modality}.channels",
            fix=f"set channels={recording.values.shape[0]} there, or choose channels in the reader",
        )
    rate = settings.sampling_rate_hz
    values, observed = resample(recording.values, recording.observed, recording.sampling_rate_hz, rate)
    values, observed = band_filter(
        values,
        observed,
        sampling_rate_hz=rate,
        highpass_hz=settings.highpass_hz,
        lowpass_hz=settings.lowpass_hz,
        order=settings.order,
    )
    if settings.invert:
        values = np.where(observed, -values, np.float32(0.0))
    return replace(recording, values=values, observed=observed, sampling_rate_hz=rate)
