"""Models and inputs changed on purpose: random weights from the head down, noise too small to see, a small delay."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from hdt_fm.schema.batch import Batch
from hdt_fm.schema.modalities import STATIC, modality


def randomised(model: nn.Module, *, stages: int, generator: torch.Generator) -> Iterator[tuple[str, nn.Module]]:
    """Copies of a model whose weights become random from the last registered module down, `stages` times.

    Each weight is drawn anew with its own mean and spread, so that sizes stay and structure goes.
    """
    twin = deepcopy(model)
    leaves = [(name, part) for name, part in twin.named_modules() if any(True for _ in part.parameters(recurse=False))]
    leaves.reverse()
    groups = [group for group in np.array_split(np.arange(len(leaves)), min(stages, len(leaves))) if len(group)]
    for group in groups:
        for k in group:
            for weight in leaves[k][1].parameters(recurse=False):
                _redraw(weight, generator)
        yield f"down to {leaves[group[-1]][0] or 'the whole model'}", twin


@torch.no_grad()
def _redraw(weight: Tensor, generator: torch.Generator) -> None:
    noise = torch.randn(weight.shape, generator=generator).to(weight)
    if weight.numel() == 1:
        weight.copy_(weight.abs() * noise)
    else:
        weight.copy_(weight.mean() + weight.std() * noise)


def noisy(batch: Batch, *, share: float, generator: torch.Generator) -> Batch:
    """The batch with Gaussian noise of a share of each channel's own spread on its observed samples; facts about a
    person stay, since half a step towards another level is nobody."""
    signals = dict(batch.signals)
    for name, signal in batch.signals.items():
        if name == STATIC:
            continue
        seen = signal.observed[:, None]
        clean = signal.values.masked_fill(~seen, torch.nan).detach()
        spread = (clean - clean.nanmean(-1, keepdim=True)).square().nanmean(-1, keepdim=True).sqrt().nan_to_num()
        # Of amounts given at moments each is changed in its own size: where nothing was given, nothing is added.
        spread = signal.values if modality(name).given else spread
        draw = torch.randn(signal.values.shape, generator=generator).to(signal.values)
        signals[name] = replace(signal, values=torch.where(seen, signal.values + share * spread * draw, signal.values))
    return replace(batch, signals=signals)


def delayed(batch: Batch, *, delay_s: float) -> tuple[Batch, dict[str, int]]:
    """The batch with every signal later by as many samples as the delay is, and how many those are.

    A signal of which the delay is less than half a sample stays: it lies no further from the others than it could have
    before. The first samples are held, since what came before the window is not known.
    """
    signals, moved = dict(batch.signals), {}
    for name, signal in batch.signals.items():
        samples = signal.values.shape[-1]
        moved[name] = 0 if name == STATIC else min(round(delay_s * signal.sampling_rate_hz), samples - 1)
        if moved[name]:
            index = (torch.arange(samples, device=signal.values.device) - moved[name]).clamp(min=0)
            signals[name] = replace(signal, values=signal.values[..., index], observed=signal.observed[:, index])
    return replace(batch, signals=signals), moved
