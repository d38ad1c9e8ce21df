"""Tokens of patches and slow rhythms of windows."""

import math

import torch

from hdt_fm.layers.patch_embed import PatchEmbed, slow_rhythms
from hdt_fm.layers.spectra import PatchSpectra


def test_a_strong_rhythm_gives_the_same_spectrum_token_at_any_phase():
    torch.manual_seed(0)
    embed = PatchEmbed(patch_s=1.0, points=32, width=8).double()
    with torch.no_grad():
        embed.waveform.weight.zero_()
    time = torch.arange(32, dtype=torch.float64) / 32
    waves = [torch.sin(2 * math.pi * 4 * time + phase) for phase in (0.0, 1.0, 2.5)]
    waves.append(torch.sin(2 * math.pi * 7 * time))
    tokens, _ = embed(torch.stack(waves)[:, None], torch.ones(4, 32, dtype=torch.bool), 32.0)
    distance = (tokens - tokens[:1]).flatten(1).norm(dim=1)
    assert (distance[1:3] < 0.05 * distance[3]).all()


def test_slow_rhythms_are_the_mean_of_patches_by_what_was_observed():
    torch.manual_seed(0)
    spectra, waveform = PatchSpectra(patch_s=4.0, points=64), torch.randn(3, 2, 128)

    def slow(*window):
        _, lines, share = spectra(*window)
        return slow_rhythms(lines, share)

    observed = torch.ones(3, 128, dtype=torch.bool)
    observed[1, 64:] = False
    observed[2] = False
    waveform = torch.where(observed[:, None], waveform, 0.0)
    lines = slow(waveform, observed, 16.0)
    assert lines.shape == (3, spectra.lines)
    one = slow(waveform[:1, :, :64], observed[:1, :64], 16.0), slow(waveform[:1, :, 64:], observed[:1, 64:], 16.0)
    torch.testing.assert_close(lines[:1], (one[0] + one[1]) / 2, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(lines[1:2], slow(waveform[1:2, :, :64], observed[1:2, :64], 16.0), atol=1e-5, rtol=1e-5)
    assert (lines[2] == 0).all()
    assert not list(spectra.parameters())
