"""Waveforms by hand numbers, levels kept, unobserved samples without influence."""

import numpy as np
import torch

from hdt_fm.layers.input_scale import FLAT_SHARE, InputScale, observed_moments


def test_moments_are_those_of_numpy_on_what_was_observed():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, 11, generator=generator, dtype=torch.float64) + 1e4
    observed = torch.rand(2, 11, generator=generator) < 0.6
    mean, variance = observed_moments(values, observed)
    for row in range(2):
        kept = values[row][:, observed[row]].numpy()
        np.testing.assert_allclose(mean[row], kept.mean(1), rtol=1e-12)
        np.testing.assert_allclose(variance[row], kept.var(1), rtol=1e-9)


def test_weighted_moments_are_those_of_numpy_and_equal_weights_change_nothing():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 2, 11, generator=generator, dtype=torch.float64) + 1e4
    observed = torch.rand(3, 11, generator=generator) < 0.6
    observed[2] = False
    weight = torch.rand(3, 11, generator=generator, dtype=torch.float64) * observed
    mean, variance = observed_moments(torch.where(observed[:, None], values, torch.nan), observed, weight)
    for row in range(2):
        kept, own = values[row][:, observed[row]].numpy(), weight[row][observed[row]].numpy()
        center = np.average(kept, axis=1, weights=own)
        np.testing.assert_allclose(mean[row], center, rtol=1e-12)
        np.testing.assert_allclose(
            variance[row], np.average((kept - center[:, None]) ** 2, axis=1, weights=own), rtol=1e-9
        )
    assert not mean[2].any()
    assert not variance[2].any()
    for alike, plain in zip(
        observed_moments(values, observed, 7.0 * observed.double()), observed_moments(values, observed), strict=True
    ):
        torch.testing.assert_close(alike, plain)


def test_waveform_and_summary_by_hand():
    values = torch.tensor([[[1.0, 3.0, 99.0]]])
    observed = torch.tensor([[True, True, False]])
    waveform, summary = InputScale(center=1.0, scale=2.0)(values, observed)
    spread = (1 + (FLAT_SHARE * 2) ** 2) ** 0.5
    torch.testing.assert_close(waveform, torch.tensor([[[-1 / spread, 1 / spread, 0.0]]]))
    torch.testing.assert_close(summary[0, 0, 0], torch.asinh(torch.tensor(0.5)))
    torch.testing.assert_close(summary[0, 0, 1], torch.log(torch.tensor(0.5)), atol=1e-5, rtol=0)


def test_a_shift_moves_only_the_level():
    values = torch.randn(2, 3, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    observed = torch.ones(2, 50, dtype=torch.bool)
    scale = InputScale(center=0.0, scale=1.0)
    (wave, summary), (shifted_wave, shifted) = scale(values, observed), scale(values + 7, observed)
    torch.testing.assert_close(wave, shifted_wave)
    torch.testing.assert_close(summary[..., 1], shifted[..., 1])
    assert (shifted[..., 0] - summary[..., 0] > 1).all()


def test_flat_empty_and_nan_windows_stay_finite_with_finite_gradients():
    values = torch.ones(3, 2, 6)
    values[2, :, 3:] = torch.nan
    values.requires_grad_()
    observed = torch.ones(3, 6, dtype=torch.bool)
    observed[1], observed[2, 3:] = False, False
    waveform, summary = InputScale(center=0.0, scale=1.0)(values, observed)
    assert torch.equal(summary[1], torch.zeros(2, 2))
    (waveform.sum() + summary.sum()).backward()
    assert torch.isfinite(waveform).all()
    assert torch.isfinite(values.grad).all()


def test_a_constant_training_signal_does_not_divide_by_zero():
    waveform, summary = InputScale(center=5.0, scale=0.0)(torch.randn(1, 1, 9), torch.ones(1, 9, dtype=torch.bool))
    assert torch.isfinite(waveform).all()
    assert torch.isfinite(summary).all()
