"""A linear model whose map is known exactly: what a method scores where nothing is left to chance but itself."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hdt_fm.explain.fitness.measure import Asked, Plot, explained, noise_of
from hdt_fm.explain.fitness.planted import STRETCH, Planted
from hdt_fm.explain.fitness.train import Taught
from hdt_fm.explain.methods import METHODS
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.manifest import ModelConfig

ARCHITECTURE = "known linear model"


class KnownLinear(nn.Module):
    """Adds up the samples of one stretch of one channel, each with the same weight; the other class loses the same."""

    def __init__(self, modality: str, weight: Tensor) -> None:
        super().__init__()
        self.modality = modality
        self.weight = nn.Parameter(weight)

    def forward(self, batch: Batch) -> Tensor:
        signal = batch.signals[self.modality]
        seen = torch.where(signal.observed[:, None], signal.values, 0.0)
        total = (seen * self.weight).sum((1, 2))
        return torch.stack((-total, total), dim=1)


def measure_linear(
    config: ModelConfig, methods: Sequence[str] | None = None, *, asked: Asked | None = None
) -> list[Plot]:
    """Every method on known linear models of noise with the signals of a config, one for each seed."""
    asked = asked or Asked()
    names = tuple(METHODS) if methods is None else tuple(methods)
    plots = []
    for seed in asked.seeds:
        generator = torch.Generator().manual_seed(seed)
        modality = config.modalities[seed % len(config.modalities)].name
        batch = noise_of(config)(asked.windows, generator, modality)
        signal = batch.signals[modality]
        windows, channels, samples = signal.values.shape
        weight = torch.zeros(channels, samples)
        channel = int(torch.randint(0, channels, (1,), generator=generator))
        first = int(torch.randint(0, samples - round(STRETCH * samples) + 1, (1,), generator=generator))
        weight[channel, first : first + round(STRETCH * samples)] = 1.0
        truth = (weight > 0) & signal.observed[:, None]
        own = torch.full((windows,), channel)
        planted = Planted(batch, "linear", modality, torch.zeros_like(own), truth, own)
        plot = Plot(ARCHITECTURE, "linear", seed, modality, 1.0, 0)
        plots.append(explained(plot, Taught(KnownLinear(modality, weight), 1.0, 0), planted, names, asked))
    return plots
