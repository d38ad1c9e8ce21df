"""Features of perturbations: which samples change together, each with an id of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hdt_fm.explain.binding import Run
from hdt_fm.explain.explanation import segment_of

# Most features of a modality for methods whose cost or error grows with how many there are.
COARSE = 30


def feature_ids(shapes: Sequence[tuple[int, ...]], segments: int, *, device: torch.device | str) -> list[Tensor]:
    """One id per (modality, channel, segment), no id twice: Captum joins features of equal id across tensors."""
    return _ids(shapes, [segments] * len(shapes), device)


@dataclass(frozen=True)
class Features:
    """What can change in one window.

    Attributes:
        ids: Per modality (1, channel, time), 0 to `count` - 1 over all modalities.
        live: Samples that belong to a feature; the others are as in the reference, carry some id, and earn nothing.
        count: How many; 0 where the window is its own reference.
    """

    ids: tuple[Tensor, ...]
    live: tuple[Tensor, ...]
    count: int

    @classmethod
    def of(cls, one: Run, segments: int) -> "Features":
        """Coarse features of a run of one window: those that differ from the reference, numbered without a gap."""
        shapes = [tuple(values.shape[1:]) for values in one.inputs]
        ids = _ids(shapes, [max(1, min(segments, COARSE // shape[0])) for shape in shapes], one.rows.device)
        moved = [ins != ref for ins, ref in zip(one.inputs, one.references, strict=True)]
        alive = torch.cat([mask[change].unique() for mask, change in zip(ids, moved, strict=True)])
        number = torch.full((int(ids[-1].max()) + 1,), -1, device=alive.device)
        number[alive] = torch.arange(len(alive), device=alive.device)
        new = [number[mask] for mask in ids]
        return cls(tuple(mask.clamp(min=0) for mask in new), tuple(mask >= 0 for mask in new), len(alive))

    def share_out(self, one: Run, effects: Sequence[Tensor]) -> list[Tensor]:
        """An effect written on each sample of its feature, shared out over those that were observed."""
        kept = zip(effects, one.observed, self.ids, self.live, strict=True)
        return [shared_out(effect, seen & live, mask).masked_fill(~live, 0.0) for effect, seen, mask, live in kept]

    def spread_out(self, one: Run, effects: Tensor) -> list[Tensor]:
        """As `share_out`, of one number for each feature."""
        return self.share_out(one, [effects[mask] for mask in self.ids])


def shared_out(effect: Tensor, seen: Tensor, mask: Tensor) -> Tensor:
    """Captum writes an effect on each sample of a feature; shared out over the observed ones, a sum is the effect."""
    index = (mask - mask.min()).expand_as(effect).reshape(len(effect), -1)
    count = torch.zeros(len(effect), int(index.max()) + 1, device=effect.device, dtype=torch.float64)
    count.scatter_add_(1, index, seen.reshape(len(effect), -1).double())
    return effect.double() / count.gather(1, index).reshape(effect.shape).clamp(min=1)


def _ids(shapes: Sequence[tuple[int, ...]], segments: Sequence[int], device: torch.device | str) -> list[Tensor]:
    masks, first = [], 0
    for (channels, samples), most in zip(shapes, segments, strict=True):
        index = torch.from_numpy(segment_of(samples, most)).to(device)
        count = int(index[-1]) + 1
        ids = first + index[None] + count * torch.arange(channels, device=device)[:, None]
        masks.append(ids[None].contiguous())
        first += count * channels
    return masks
