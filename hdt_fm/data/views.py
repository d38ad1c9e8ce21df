"""Seeded augmentation of signals: a batch -> a view of it."""

from dataclasses import replace

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.modalities import STATIC


class Augment:
    """Amplitude scale, Gaussian noise and one hidden stretch per window, each modality on its own draws.

    What is drawn hangs on (seed, step, modality) alone: not on the device, on other calls or on global state.

    Args:
        seed: Of the run.
        amplitude: Deviations from the window's mean are multiplied by exp(u), u uniform in +-amplitude.
        noise: Standard deviation of added noise, in units of the window's own standard deviation.
        time_mask: Longest share of a window that is made unobserved, from 0 up to (not including) 1.
    """

    def __init__(self, seed: int, *, amplitude: float = 0.1, noise: float = 0.02, time_mask: float = 0.1) -> None:
        if min(amplitude, noise, time_mask) < 0 or time_mask >= 1:
            raise ConfigError("An augmentation strength is out of range", expected="0 or more; time_mask below 1")
        self.seed, self.amplitude, self.noise, self.time_mask = seed, amplitude, noise, time_mask

    def apply(self, batch: Batch, step: int) -> Batch:
        """The view of `batch` for this step; absent and unobserved samples stay zero and unobserved.

        Facts about people (`static`) stay as they are: they have no amplitude and no stretch of time.
        """
        signals = {
            name: signal if name == STATIC else self._view(signal, self._generator(step, batch.modalities.index(name)))
            for name, signal in batch.signals.items()
        }
        return replace(batch, signals=signals)

    def _generator(self, step: int, modality: int) -> torch.Generator:
        # Hashed, so that nearby seeds and steps do not give nearby generator states.
        word = np.random.SeedSequence([self.seed, step, modality]).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(word) >> 1)

    def _view(self, signal: Signal, generator: torch.Generator) -> Signal:
        values, device = signal.values, signal.values.device
        size, _, time = values.shape
        gain, length, start = torch.rand(3, size, generator=generator).to(device)
        mean, spread = _moments(signal)
        scale = rearrange(torch.exp((2 * gain - 1) * self.amplitude), "batch -> batch 1 1")
        values = mean + (values - mean) * scale
        if self.noise:
            noise = torch.randn(values.shape, generator=generator).to(device, values.dtype)
            values = values + noise * spread * self.noise
        width = torch.floor(length * self.time_mask * time)
        first = torch.floor(start * (time - width + 1))
        clock = torch.arange(time, device=device)
        hidden = (clock >= first[:, None]) & (clock < (first + width)[:, None])
        observed = signal.observed & ~hidden
        values = torch.where(observed[:, None, :], values, torch.zeros_like(values))
        return replace(signal, values=values, observed=observed)


def _moments(signal: Signal) -> tuple[Float[Tensor, "batch channel 1"], Float[Tensor, "batch channel 1"]]:
    """Mean and standard deviation per window and channel over observed samples; 0 where there are none."""
    weight = signal.observed[:, None, :].to(signal.values.dtype)
    count = weight.sum(dim=2, keepdim=True).clamp(min=1)
    mean = (signal.values * weight).sum(dim=2, keepdim=True) / count
    square = ((signal.values - mean).square() * weight).sum(dim=2, keepdim=True) / count
    return mean, square.sqrt()
