"""Modality dropout: hide whole modalities so that the encoder learns to do without."""

import torch
from jaxtyping import Bool
from torch import Tensor

from hdt_fm.schema.batch import Batch

MIN_KEPT = 2


def drop_modalities(batch: Batch, *, probability: float, generator: torch.Generator) -> Batch:
    """Make each present modality of each window absent with `probability`, alone of all others.

    A window that had two modalities or more keeps at least two (a pair to contrast); one that had a single
    modality keeps it. The draws are made on the generator's device, so a CPU generator gives the same on all.
    """
    draws = torch.rand(batch.present.shape, generator=generator, device=generator.device).to(batch.present.device)
    return batch.without(_kept(batch.present, draws, probability))


def _kept(present: Bool[Tensor, "batch modality"], draws: Tensor, probability: float) -> Bool[Tensor, "batch modality"]:
    kept = present & (draws >= probability)
    ranked = torch.where(present, draws, -torch.ones_like(draws))
    best = ranked.topk(min(MIN_KEPT, present.shape[1]), dim=1).indices
    return kept | (torch.zeros_like(present).scatter(1, best, True) & present)
