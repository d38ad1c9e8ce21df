"""Windows of nobody: wandering noise at a modality's usual level, for what a model must know of typical windows."""

from collections.abc import Sequence

import numpy as np
import torch

from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.shard import ModalityColumn
from hdt_fm.schema.usual_scale import usual_scale


def made_up_windows(columns: Sequence[ModalityColumn], windows: int, seed: int) -> Batch:
    """Noise whose power falls with frequency, as that of bodies does (1 / f), in each modality's unit; all observed."""
    signals = {}
    for number, column in enumerate(column for column in columns if column.name != STATIC):
        center, scale = usual_scale(column.name)
        generator = np.random.default_rng([seed, number])
        lines = np.fft.rfft(generator.normal(size=(windows, column.channels, column.samples)))
        lines[..., 1:] /= np.sqrt(np.arange(1, lines.shape[-1]))
        wave = np.fft.irfft(lines, n=column.samples)
        wave /= wave.std(axis=-1, keepdims=True) + 1e-12
        values = torch.from_numpy((center + scale * wave).astype(np.float32))
        observed = torch.ones(windows, column.samples, dtype=torch.bool)
        signals[column.name] = Signal(values, observed, column.sampling_rate_hz)
    number_of = torch.arange(windows)
    return Batch(
        modalities=tuple(signals),
        signals=signals,
        present=torch.ones(windows, len(signals), dtype=torch.bool),
        subject=number_of,
        time_s=number_of.double() * 3600.0,
        window_id=number_of,
    )
