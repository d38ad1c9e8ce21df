"""Hiding on purpose: whole modalities, so that the encoder learns to do without, and stretches, to be told again."""

import math
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.modalities import STATIC

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


def hide_stretches(batch: Batch, *, share: float, stretch_s: float, generator: torch.Generator) -> Batch:
    """Make a share of each window unobserved in stretches, each modality on its own draws.

    A window is laid out in stretches of `stretch_s` from its start (the last may be shorter); of each modality
    round(share * stretches) of them are hidden, never all of them. A modality whose observed samples would all be
    gone is left as it was. Nothing is made absent: `present` stays.

    What is drawn hangs on the generator and the shape of `present` alone; the draws are made on the generator's
    device, so a CPU generator gives the same on all.

    Raises:
        ConfigError: If `share` is not in [0, 1) or `stretch_s` is not positive.
    """
    if not 0 <= share < 1 or not stretch_s > 0:
        raise ConfigError(
            "Stretches cannot be hidden",
            where="training.hide",
            expected="0 <= share < 1 and stretch_s > 0",
            got=f"share {share}, stretch_s {stretch_s}",
        )
    if share == 0 or not batch.signals:
        return batch
    duration_s = max(signal.values.shape[-1] / signal.sampling_rate_hz for signal in batch.signals.values())
    # The small number keeps 60.000001 s from having one stretch more than 60 s.
    stretches = max(1, math.ceil(duration_s / stretch_s - 1e-6))
    hidden = min(round(share * stretches), stretches - 1)
    draws = torch.rand((*batch.present.shape, stretches), generator=generator, device=generator.device)
    gone = (draws.argsort(-1).argsort(-1) < hidden).to(batch.present.device)
    signals = {
        name: _without_stretches(signal, gone[:, batch.modalities.index(name)], stretch_s)
        for name, signal in batch.signals.items()
    }
    return replace(batch, signals=signals)


def _without_stretches(signal: Signal, gone: Bool[Tensor, "batch stretch"], stretch_s: float) -> Signal:
    clock_s = torch.arange(signal.values.shape[-1], device=gone.device, dtype=torch.float64) / signal.sampling_rate_hz
    which = torch.floor(clock_s / stretch_s + 1e-6).long().clamp(max=gone.shape[1] - 1)
    left = signal.observed & ~gone[:, which]
    observed = torch.where(left.any(1, keepdim=True), left, signal.observed)
    values = torch.where(observed[:, None], signal.values, torch.zeros_like(signal.values))
    return replace(signal, values=values, observed=observed)


def hide_end(batch: Batch, *, end_s: float) -> Batch:
    """Make the last `end_s` of each signal unobserved; `present` stays, and facts about people, which have no time."""
    if end_s <= 0:
        return batch
    signals = dict(batch.signals)
    for name, signal in batch.signals.items():
        if name != STATIC:
            kept = signal.values.shape[-1] - round(end_s * signal.sampling_rate_hz)
            before = torch.arange(signal.values.shape[-1], device=signal.values.device) < kept
            values = torch.where(before, signal.values, torch.zeros_like(signal.values))
            signals[name] = replace(signal, values=values, observed=signal.observed & before)
    return replace(batch, signals=signals)
