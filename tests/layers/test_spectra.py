"""Spectra of patches: in closed form, their scale, their gradients."""

import math

import pytest
import torch

from hdt_fm.layers.spectra import POWER_FLOOR, PatchSpectra, log_spectrum
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
    spectra = PatchSpectra(patch_s=1.0, points=16)
    waveform, observed = torch.randn(40, 2, 64), torch.ones(40, 64, dtype=torch.bool)
    other = waveform.clone()
    observed[:20, 16:20] = False
    waveform[:20, :, 16:32] = 0.0
    other[:20, :, 16:32] = 9.0
    spectra.calibrate(waveform, observed, 16.0)
    learned = spectra.standardise.center.clone()
    spectra.calibrate(other, observed, 16.0)
    assert torch.equal(spectra.standardise.center, learned)
    spectra.calibrate(other, torch.ones_like(observed), 16.0)
    assert not torch.equal(spectra.standardise.center, learned)


def test_a_calibrated_spectrum_has_unit_scale():
    torch.manual_seed(0)
    spectra = PatchSpectra(patch_s=1.0, points=16)
    waveform, observed = torch.randn(200, 1, 64), torch.ones(200, 64, dtype=torch.bool)
    spectra.calibrate(waveform, observed, 16.0)
    lines = spectra.standardise(log_spectrum(waveform.reshape(-1, 16), spectra.taper))
    torch.testing.assert_close(lines.mean(0), torch.zeros(9), atol=1e-4, rtol=0)
    torch.testing.assert_close(lines.std(0), torch.ones(9), atol=1e-4, rtol=0)
