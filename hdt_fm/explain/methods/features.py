"""Features of perturbations: which samples change together, each with an id of its own."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hdt_fm.explain.explanation import segment_of


def feature_ids(shapes: Sequence[tuple[int, ...]], segments: int, *, device: torch.device | str) -> list[Tensor]:
    """One id per (modality, channel, segment), no id twice: Captum joins features of equal id across tensors."""
    masks, first = [], 0
    for channels, samples in shapes:
        index = torch.from_numpy(segment_of(samples, segments)).to(device)
        count = int(index[-1]) + 1
        ids = first + index[None] + count * torch.arange(channels, device=device)[:, None]
        masks.append(ids[None].contiguous())
        first += count * channels
    return masks


def shared_out(effect: Tensor, seen: Tensor, mask: Tensor) -> Tensor:
    """Captum writes an effect on each sample of a feature; shared out over the observed ones, a sum is the effect."""
    index = (mask - mask.min()).expand_as(effect).reshape(len(effect), -1)
    count = torch.zeros(len(effect), int(index.max()) + 1, device=effect.device, dtype=torch.float64)
    count.scatter_add_(1, index, seen.reshape(len(effect), -1).double())
    return effect.double() / count.gather(1, index).reshape(effect.shape).clamp(min=1)
