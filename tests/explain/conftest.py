"""Small models with a known answer, and batches whose axes all differ in size."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hdt_fm.schema.batch import Batch, Signal

CHANNELS, SAMPLES, RATES = (
    {"ppg": 1, "acc": 3, "temp": 2},
    {"ppg": 40, "acc": 20, "temp": 5},
    {"ppg": 8.0, "acc": 4.0, "temp": 1.0},
)


def make_batch(windows: int = 4, *, names: tuple[str, ...] = ("ppg", "acc", "temp"), seed: int = 0) -> Batch:
    """All modalities everywhere, all observed; values differ in scale from modality to modality."""
    generator = torch.Generator().manual_seed(seed)
    signals = {}
    for k, name in enumerate(names):
        values = 2.0 * k + (1 + k) * torch.randn(windows, CHANNELS[name], SAMPLES[name], generator=generator)
        signals[name] = Signal(values, torch.ones(windows, SAMPLES[name], dtype=torch.bool), RATES[name])
    row = torch.arange(windows)
    return Batch(names, signals, torch.ones(windows, len(names), dtype=torch.bool), row, row.float(), row)


class Linear(nn.Module):
    """Output k = sum over modalities, channels and samples of weight_k * value; the map is known exactly."""

    def __init__(self, batch: Batch, *, targets: int = 2, seed: int = 1) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weights = nn.ParameterDict(
            {
                name: nn.Parameter(torch.randn(targets, *signal.values.shape[1:], generator=generator))
                for name, signal in batch.signals.items()
            }
        )

    def forward(self, batch: Batch) -> Tensor:
        parts = [torch.einsum("bct,kct->bk", s.values, self.weights[n]) for n, s in batch.signals.items()]
        return torch.stack(parts).sum(0)


@pytest.fixture
def batch() -> Batch:
    return make_batch()


@pytest.fixture
def linear(batch: Batch) -> Linear:
    return Linear(batch)


@pytest.fixture
def new_batch() -> Callable[..., Batch]:
    return make_batch


@pytest.fixture
def new_linear() -> Callable[..., nn.Module]:
    return Linear
