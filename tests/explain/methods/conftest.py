"""Models that every method can be asked about: one that bends and mixes modalities, one that has layers over time."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hdt_fm.schema.batch import Batch


class Curved(nn.Module):
    """tanh of a weighted sum of all samples, plus the product of two modalities' sums: order and place matter."""

    def __init__(self, batch: Batch, *, seed: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weights = nn.ParameterDict(
            {
                n: nn.Parameter(0.2 * torch.randn(s.values.shape[1:], generator=generator))
                for n, s in batch.signals.items()
            }
        )

    def forward(self, batch: Batch) -> Tensor:
        sums = [(s.values * self.weights[n]).sum((1, 2)) for n, s in batch.signals.items()]
        return (torch.stack(sums).sum(0).tanh() + 0.3 * sums[0].sin() * sums[-1].tanh())[:, None]


class Pointwise(nn.Module):
    """An encoder in the layout of our transformers: channels merged, blocks over (row, place, width)."""

    def __init__(self, channels: int, *, width: int, stride: int, generator: torch.Generator) -> None:
        super().__init__()
        self.stride = stride
        self.enter = nn.Parameter(torch.randn(channels, width, generator=generator))
        self.blocks = nn.ModuleList([nn.Identity()])

    def forward(self, values: Tensor) -> Tensor:
        patches = values.unflatten(-1, (-1, self.stride)).mean(-1)
        return self.blocks[-1](torch.einsum("bcp,cw->bpw", patches, self.enter))


class Layered(nn.Module):
    """Encoders by modality name, then a weighted sum over places and components: Grad-CAM is known exactly."""

    def __init__(self, batch: Batch, *, width: int = 6, stride: int = 5, seed: int = 2) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.encoders = nn.ModuleDict()
        self.readout = nn.ParameterDict()
        for name, signal in batch.signals.items():
            channels, samples = signal.values.shape[1:]
            self.encoders[name] = Pointwise(channels, width=width, stride=stride, generator=generator)
            self.readout[name] = nn.Parameter(torch.randn(2, samples // stride, width, generator=generator))

    def forward(self, batch: Batch) -> Tensor:
        parts = [
            torch.einsum(
                "bpw,kpw->bk", self.encoders[n](torch.where(s.observed[:, None], s.values, 0.0)), self.readout[n]
            )
            for n, s in batch.signals.items()
        ]
        return torch.stack(parts).sum(0)


@pytest.fixture
def curved(batch: Batch) -> Curved:
    return Curved(batch)


@pytest.fixture
def layered(batch: Batch) -> Layered:
    return Layered(batch)


@pytest.fixture
def model_for(batch: Batch, model_of: Callable[[str, Batch], nn.Module]) -> Callable[[str], nn.Module]:
    """A model that a method accepts and that is not linear where the method can tell."""
    return lambda method: model_of(method, batch)


@pytest.fixture
def model_of() -> Callable[[str, Batch], nn.Module]:
    """The same for windows of another make."""

    def find(method: str, batch: Batch) -> nn.Module:
        if method in ("grad_cam", "layer_activation"):
            return Layered(batch)
        if method == "deep_lift":
            return Rectified(batch)
        return Curved(batch)

    return find


class Rectified(nn.Module):
    """One hidden layer of rectifiers over all samples."""

    def __init__(self, batch: Batch, *, seed: int = 4) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        size = sum(signal.values[0].numel() for signal in batch.signals.values())
        self.first, self.bend, self.second = nn.Linear(size, 7), nn.ReLU(), nn.Linear(7, 2)
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=generator) / weight.shape[-1] ** 0.5

    def forward(self, batch: Batch) -> Tensor:
        flat = torch.cat([signal.values.flatten(1) for signal in batch.signals.values()], 1)
        return self.second(self.bend(self.first(flat)))
