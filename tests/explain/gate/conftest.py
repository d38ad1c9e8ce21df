"""A model that finds what was planted, with weights set by hand, and the windows that it reads."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hdt_fm.schema.batch import Batch, Signal

HUMP = 9


def make_planted(windows: int = 6, *, seed: int = 0) -> tuple[Batch, Tensor, Tensor]:
    """One hump (up or down, the label) a window in the ppg, a slope in one of two channels of the acc, and noise.

    Returns the batch, (window,) the label, and (window,) where the hump begins.
    """
    generator = torch.Generator().manual_seed(seed)
    label = (torch.arange(windows) % 2).float()
    ppg, acc = (0.2 * torch.randn(windows, c, t, generator=generator) for c, t in ((1, 96), (2, 48)))
    places = torch.randint(4, 96 - HUMP - 4, (windows,), generator=generator)
    for k, place in enumerate(places.tolist()):
        ppg[k, 0, place : place + HUMP] += (2 * label[k] - 1) * 2.0 * torch.hann_window(HUMP)
    acc[:, 1] += torch.randn(windows, 1, generator=generator) * torch.linspace(-1, 1, 48)
    seen = {96: torch.ones(windows, 96, dtype=torch.bool), 48: torch.ones(windows, 48, dtype=torch.bool)}
    signals = {"ppg": Signal(ppg, seen[96], 32.0), "acc": Signal(acc, seen[48], 16.0)}
    row = torch.arange(windows)
    return (
        Batch(tuple(signals), signals, torch.ones(windows, 2, dtype=torch.bool), row, row.float(), row),
        label,
        places,
    )


class Finder(nn.Module):
    """Output 0: whether a hump goes up or down, wherever it is. Output 1: the slope of the second channel of acc."""

    def __init__(self) -> None:
        super().__init__()
        self.hump, self.slope = nn.Conv1d(1, 2, HUMP, bias=False), nn.Conv1d(2, 1, 48, bias=False)
        self.head = nn.Linear(3, 2)
        with torch.no_grad():
            window = torch.hann_window(HUMP)
            self.hump.weight.copy_(torch.stack([window, -window])[:, None])
            self.slope.weight.copy_(torch.stack([torch.zeros(48), torch.linspace(-1, 1, 48)])[None] / 4)
            self.head.weight.copy_(torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]]))
            self.head.bias.zero_()

    def forward(self, batch: Batch) -> Tensor:
        ppg, acc = (batch.signals[name].values for name in ("ppg", "acc"))
        parts = [nn.functional.softplus(self.hump(ppg)).square().logsumexp(-1), self.slope(acc)[..., 0]]
        return self.head(torch.cat(parts, dim=1))


class Constant(nn.Module):
    """The same answer to everything, with a weight to randomise."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor([[3.0, 4.0]]))

    def forward(self, batch: Batch) -> Tensor:
        return self.level.expand(len(batch), 2)


@pytest.fixture
def planted() -> Batch:
    return make_planted()[0]


@pytest.fixture
def finder() -> Finder:
    return Finder()


@pytest.fixture
def constant() -> Constant:
    return Constant()


@pytest.fixture
def new_planted() -> Callable[..., tuple[Batch, Tensor, Tensor]]:
    return make_planted


@pytest.fixture
def draw() -> np.random.Generator:
    return np.random.default_rng(0)
