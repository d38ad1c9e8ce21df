"""What a reference explains, taken out of a signal: adaptive, causal, sample by sample, behind a gate.

The reference is an accelerometer's axes or what a microphone heard. Both sides must have gone through the same filter,
so that a path from the one into the other stays a path. Nothing is delayed: a sample is answered at once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32
from numpy.lib.stride_tricks import sliding_window_view

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.preparation import NoiseCancelling
from hdt_fm.signal.coherence import BAND_HZ, coherence

SPAN_S = 12.0  # what the gate looks back on: eleven segments of 2 s, half overlapping
MOTION_S = 2.0  # what "moving" looks back on
DECIDE_S = 1.0
RAMP_S = 0.5  # the gate opens and closes so slowly that it leaves no step
MEMORY_S = 16.0  # of RLS: forgetting .999 at 64 Hz, which measured best
STEP = 0.02  # of NLMS: larger follows faster and harms more (7.9 dB at .02, 3.5 at .1)
RIDGE, RIDGE_S = 1e-3, 8.0  # of the mean power of the reference; what the ridge looks back on
# RLS forgets only while its inverse correlation stays below this multiple of its start, since what the reference
# does not excite would grow without bound.
_WIND_UP = 1e4


@dataclass(frozen=True)
class Cancelled:
    """A stretch after cancellation.

    Attributes:
        values: Cleaned; the very same numbers as `raw` where `gain` is 0.
        raw: As it came in.
        gain: Share of the estimate that was taken out, 0 (gate shut) to 1.
        estimate: What the reference explains, whether it was taken out or not; 0 where it was not asked.
        coherence: The gate's last answer at each sample; 0 until it has seen `SPAN_S`.
    """

    values: Float32[np.ndarray, " time"]
    raw: Float32[np.ndarray, " time"]
    gain: Float32[np.ndarray, " time"]
    estimate: Float32[np.ndarray, " time"]
    coherence: Float32[np.ndarray, " time"]


class Canceller:
    """One signal's state; `block` and `step` may be mixed at will and give the bytes of one call.

    Each second it decides from the past alone. Moving: RMS of the reference over the last 2 s is over the floor (its
    largest axis). Open: moving, and the coherence over the last 12 s is over its threshold. Weights adapt while moving
    and rest otherwise; the estimate is taken out while open. Without the gate it always adapts and takes out.

    Args:
        settings: See `NoiseCancelling`.
        sampling_rate_hz: Of signal and reference, at least 16 Hz.
        axes: Channels of the reference.

    Raises:
        RecordingError: If the rate does not hold the band in which coherence is asked.
    """

    def __init__(self, settings: NoiseCancelling, *, sampling_rate_hz: float, axes: int = 3) -> None:
        if sampling_rate_hz < 2 * BAND_HZ[1]:
            raise RecordingError(
                "The signal is sampled too slowly to cancel motion in it",
                expected=f"{2 * BAND_HZ[1]:g} Hz or more",
                got=f"{sampling_rate_hz:g} Hz",
                where="preparation.modalities.<name>.sampling_rate_hz",
            )
        self.settings = settings
        self.moving = self.open = not settings.gated
        self._rate, self._axes = sampling_rate_hz, axes
        self._past = np.zeros((1 + axes, round(SPAN_S * sampling_rate_hz)))
        self._seen = 0
        self._between = round(DECIDE_S * sampling_rate_hz)
        self._until = self._between
        self._ramp_size = max(1, round(RAMP_S * sampling_rate_hz))
        self._ramp = 0 if settings.gated else self._ramp_size
        self._coherence = 0.0
        size = axes * settings.taps
        self._weights: np.ndarray = np.zeros(size)
        self._start = 1.0 / settings.motion_floor**2
        self._inverse = self._start * np.eye(size)
        self._outer = np.empty((size, size))
        self._kept = self._forgetting = 1.0 - 1.0 / (MEMORY_S * sampling_rate_hz)
        self._adapt: Callable[[np.ndarray, np.ndarray], np.ndarray] = {
            "rls": self._rls, "nlms": self._nlms, "ridge": self._apply
        }[settings.method]  # fmt: skip

    def step(self, sample: float, reference: Float[np.ndarray, " axis"]) -> float:
        """Answer one sample."""
        block = self.block(np.array([sample], dtype=np.float32), np.asarray(reference, dtype=np.float32)[:, None])
        return float(block.values[0])

    def block(self, signal: Float32[np.ndarray, " time"], reference: Float32[np.ndarray, "axis same"]) -> Cancelled:
        """Answer the next samples.

        Raises:
            RecordingError: If signal and reference differ in length, or the reference has another number of channels.
        """
        if reference.shape != (self._axes, len(signal)):
            raise RecordingError(
                "Signal and reference do not fit",
                expected=f"a reference of shape {(self._axes, len(signal))}",
                got=f"{reference.shape}",
                fix="resample the reference to the signal's rate, and cut both to the same time",
            )
        gain, estimate, coherent = np.zeros((3, len(signal)))
        at = 0
        while at < len(signal):
            part = slice(at, min(len(signal), at + self._until))
            estimate[part], gain[part] = self._part(signal[part], reference[:, part])
            coherent[part] = self._coherence
            self._until -= part.stop - at
            at = part.stop
            if self._until == 0:
                self._decide()
        values = np.where(gain > 0, signal - gain * estimate, signal)
        return Cancelled(
            values=values.astype(np.float32),
            raw=signal,
            gain=gain.astype(np.float32),
            estimate=estimate.astype(np.float32),
            coherence=coherent.astype(np.float32),
        )

    def _part(self, signal: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Estimate and gain of samples among which nothing is decided."""
        count, taps = len(signal), self.settings.taps
        rows = np.concatenate([self._past[:, self._past.shape[1] - (taps - 1) :], [signal, *reference]], axis=1)
        # (time, axis * tap), contiguous, so that each row's sums do not depend on how many rows came together.
        delayed = sliding_window_view(rows[1:], taps, axis=1).transpose(1, 0, 2).reshape(count, -1)
        target = rows[0, taps - 1 :]
        self._past = np.concatenate([self._past, rows[:, taps - 1 :]], axis=1)[:, -self._past.shape[1] :]
        self._seen += count
        direction = 1 if self.open else -1
        ramp = np.clip(self._ramp + direction * np.arange(1, count + 1), 0, self._ramp_size)
        if self.moving:
            estimate = self._adapt(delayed, target)
        else:
            estimate = self._apply(delayed, target) if self._ramp else np.zeros(count)
        self._ramp = int(ramp[-1])
        return estimate, ramp / self._ramp_size

    def _decide(self) -> None:
        self._until = self._between
        recent = self._past[1:, -round(MOTION_S * self._rate) :]
        moved = float(np.sqrt((recent**2).mean(axis=1)).max()) > self.settings.motion_floor
        full = self._seen >= self._past.shape[1]
        self._coherence = coherence(self._past[0], self._past[1:], self._rate) if full and moved else 0.0
        if self.settings.gated:
            self.moving = moved
            self.open = moved and self._coherence > self.settings.min_coherence
        if self.settings.method == "ridge" and full and self.moving:
            self._solve()
        wound_up = np.trace(self._inverse) > _WIND_UP * self._start * len(self._inverse)
        self._kept = 1.0 if wound_up else self._forgetting

    def _apply(self, delayed: np.ndarray, target: np.ndarray) -> np.ndarray:
        estimate: np.ndarray = (delayed * self._weights).sum(axis=1)
        return estimate

    def _nlms(self, delayed: np.ndarray, target: np.ndarray) -> np.ndarray:
        weights, estimate, least = self._weights, np.empty(len(target)), 1.0 / self._start
        for at, row in enumerate(delayed):
            estimate[at] = said = weights.dot(row)
            weights += (STEP * (target[at] - said) / (least + row.dot(row))) * row
        return estimate

    def _rls(self, delayed: np.ndarray, target: np.ndarray) -> np.ndarray:
        weights, inverse, outer, estimate = self._weights, self._inverse, self._outer, np.empty(len(target))
        kept = self._kept
        for at, row in enumerate(delayed):
            gained = inverse.dot(row)
            estimate[at] = said = weights.dot(row)
            share = kept + row.dot(gained)
            weights += ((target[at] - said) / share) * gained
            # Of equal factors, so that rounding keeps it symmetric.
            gained *= share**-0.5
            np.multiply(gained[:, None], gained, out=outer)
            inverse -= outer
            if kept != 1.0:
                inverse *= 1.0 / kept
        return estimate

    def _solve(self) -> None:
        """Ridge weights of the last `RIDGE_S`, for the samples that follow."""
        taps, past = self.settings.taps, self._past[:, -round(RIDGE_S * self._rate) :]
        delayed = sliding_window_view(past[1:], taps, axis=1).transpose(1, 0, 2)
        delayed = delayed.reshape(delayed.shape[0], -1)
        moments = delayed.T @ delayed
        moments[np.diag_indices_from(moments)] += RIDGE * np.trace(moments) / len(moments) + 1e-12
        self._weights = np.linalg.solve(moments, delayed.T @ past[0, taps - 1 :])
