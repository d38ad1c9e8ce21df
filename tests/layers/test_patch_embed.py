"""Tokens of patches: the spectrum in closed form, its scale, its gradients."""

import math

import pytest
import torch

from hdt_fm.layers.patch_embed import POWER_FLOOR, PatchEmbed, SlowSpectrum, log_spectrum
from hdt_fm.layers.standardise import MIN_SCALE, Standardise

FLAT = torch.ones(32)


def test_a_sine_is_one_line_whatever_its_phase():
    time = torch.arange(32, dtype=torch.float64) / 32
    for phase in (0.0, 0.7, 2.0):
        lines = log_spectrum(3 * torch.sin(2 * math.pi * 5 * time + phase), FLAT.double())
        # |sum 3 sin(...) exp(...)|^2 / 32 = (3 * 16)^2 / 32
        expected = torch.full((17,), math.log(POWER_FLOOR), dtype=torch.float64)
        expected[5] = math.log(72 + POWER_FLOOR)
        torch.testing.assert_close(lines, expected, atol=1e-6, rtol=0)


def test_line_zero_is_the_squared_mean_and_does_not_leak():
    lines = log_spectrum(torch.full((32,), 2.0), FLAT)
    assert lines[0] == pytest.approx(math.log(4 + POWER_FLOOR))
    assert lines[1:].exp() == pytest.approx(POWER_FLOOR, rel=1e-4)


def test_gradients_are_finite_where_there_is_no_power():
    points = torch.zeros(2, 32, requires_grad=True)
    log_spectrum(points, FLAT).sum().backward()
    assert torch.isfinite(points.grad).all()


def test_standardise_is_the_identity_until_it_has_learned_and_stays_put_in_training():
    layer, rows = Standardise(3), torch.tensor([[1.0, 5.0, 0.0], [3.0, 5.0, 4.0]])
    assert torch.equal(layer(rows), rows)
    layer.learn(rows[:1])
    assert torch.equal(layer(rows), rows)
    layer.learn(rows)
    expected = torch.tensor([[-1.0, 0.0, -1.0], [1.0, 0.0, 1.0]]) / math.sqrt(2)
    torch.testing.assert_close(layer(rows), expected)
    assert layer.scale[1] == pytest.approx(MIN_SCALE)
    before = layer(rows)
    layer.train()(torch.randn(50, 3))
    assert torch.equal(layer(rows), before)
    assert set(layer.state_dict()) == {"center", "scale"}


def test_calibration_uses_whole_patches_only():
    torch.manual_seed(0)
    embed = PatchEmbed(patch_s=1.0, points=16, width=8)
    waveform, observed = torch.randn(40, 2, 64), torch.ones(40, 64, dtype=torch.bool)
    other = waveform.clone()
    observed[:20, 16:20] = False
    waveform[:20, :, 16:32] = 0.0
    other[:20, :, 16:32] = 9.0
    embed.calibrate(waveform, observed, 16.0)
    learned = embed.standardise.center.clone()
    embed.calibrate(other, observed, 16.0)
    assert torch.equal(embed.standardise.center, learned)
    embed.calibrate(other, torch.ones_like(observed), 16.0)
    assert not torch.equal(embed.standardise.center, learned)


def test_a_calibrated_spectrum_has_unit_scale():
    torch.manual_seed(0)
    embed = PatchEmbed(patch_s=1.0, points=16, width=8)
    waveform, observed = torch.randn(200, 1, 64), torch.ones(200, 64, dtype=torch.bool)
    embed.calibrate(waveform, observed, 16.0)
    lines = embed.standardise(log_spectrum(waveform.reshape(-1, 16), embed.taper))
    torch.testing.assert_close(lines.mean(0), torch.zeros(9), atol=1e-4, rtol=0)
    torch.testing.assert_close(lines.std(0), torch.ones(9), atol=1e-4, rtol=0)


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


def test_a_slow_spectrum_is_the_mean_of_patches_by_what_was_observed():
    torch.manual_seed(0)
    slow, waveform = SlowSpectrum(patch_s=4.0, points=64), torch.randn(3, 2, 128)
    observed = torch.ones(3, 128, dtype=torch.bool)
    observed[1, 64:] = False
    observed[2] = False
    waveform = torch.where(observed[:, None], waveform, 0.0)
    lines = slow(waveform, observed, 16.0)
    assert lines.shape == (3, slow.lines)
    one = slow(waveform[:1, :, :64], observed[:1, :64], 16.0), slow(waveform[:1, :, 64:], observed[:1, 64:], 16.0)
    torch.testing.assert_close(lines[:1], (one[0] + one[1]) / 2, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(lines[1:2], slow(waveform[1:2, :, :64], observed[1:2, :64], 16.0), atol=1e-5, rtol=1e-5)
    assert (lines[2] == 0).all()
    assert not list(slow.parameters())


def test_a_slow_spectrum_is_calibrated_by_whole_patches():
    slow, waveform = SlowSpectrum(patch_s=4.0, points=16), 0.1 * torch.randn(50, 1, 128)
    observed = torch.ones(50, 128, dtype=torch.bool)
    observed[::2, 70] = False
    waveform[::2, :, 64:] = 50.0
    slow.calibrate(waveform, observed, 16.0)
    assert slow.standardise.center.max() < 0
