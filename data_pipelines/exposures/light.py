"""Light at the wrist, as recorded -> the day's light, and how long it was bright."""

import numpy as np

from data_pipelines.exposures._told import DAY_S, Days, Whose
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.exposure import Exposure
from hdt_fm.schema.recording import NS_PER_S, Recording


class Light:
    """The day's light on the scale on which eyes and clocks follow it, and the time above a threshold.

    Units: `light` lux, as 10^(mean of log10(1 + lux)) - 1: a plain mean would be an hour of sun alone;
        `time_outdoors` min above `bright_lux`.
    Lossy: The colour of the light and its course over the day. Indoor light is seldom above 1,000 lux and daylight
        seldom below, so the time above stands for time outdoors; sleeves and dark seasons make it too small.
    Source: The 1,000 lux line is that of studies of children's eyes that wore light sensors (Read et al. 2014,
        Optometry and Vision Science 91; Dharani et al. 2012, Ophthalmic Epidemiology 19).

    Args:
        bright_lux: The line.
        least_known: A day with less of it recorded is unknown.
    """

    gives = ("light", "time_outdoors")

    def __init__(self, *, bright_lux: float = 1_000.0, least_known: float = 0.8) -> None:
        self._bright, self._least = bright_lux, least_known

    def __call__(self, recording: Recording, whose: Whose) -> tuple[Exposure, ...]:
        """A value a day, days by the recording's local clock (UTC where it knows no offset).

        Raises:
            ReaderError: If the recording is none of light.
        """
        if recording.modality != "light":
            raise ReaderError("The recording is none of light", expected="modality light", got=recording.modality)
        begin_s = recording.start_ns / NS_PER_S + (recording.utc_offset_s or 0)
        days = Days.of([(begin_s, begin_s + recording.duration_s)])
        times = begin_s + np.arange(recording.values.shape[1]) / recording.sampling_rate_hz
        at = days.index(times)[recording.observed]
        lux = recording.values[0, recording.observed].astype(np.float64)
        counts = np.bincount(at, minlength=days.count)
        logs = np.bincount(at, weights=np.log10(1 + np.maximum(lux, 0)), minlength=days.count)
        bright = np.bincount(at, weights=lux > self._bright, minlength=days.count)
        known = counts >= self._least * DAY_S * recording.sampling_rate_hz
        level = 10 ** (logs / np.maximum(counts, 1)) - 1
        minutes = bright / recording.sampling_rate_hz / 60
        return tuple(
            days.exposure(kind, np.where(known, value, np.nan), whose)
            for kind, value in zip(self.gives, (level, minutes), strict=True)
        )
