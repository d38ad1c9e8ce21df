"""Patches against a plain loop, a straight line, and other rates of the same signal."""

import math

import numpy as np
import pytest
import torch

from hdt_fm.layers.patches import patches, points_of


def loop_points(values, observed, from_hz, to_hz, count):
    """The definition, one point at a time."""
    ratio, samples = from_hz / to_hz, len(values)
    reach = max(1.0, ratio)
    out, share = np.zeros(count), np.zeros(count)
    for k in range(count):
        center = (k + 0.5) * ratio - 0.5
        weight = np.maximum(0, 1 - np.abs(np.arange(samples) - center) / reach)
        seen = weight * observed
        if seen.sum() > 0:
            out[k] = (seen * np.where(observed, values, 0)).sum() / seen.sum()
            share[k] = seen.sum() / weight.sum()
    return out, share


@pytest.mark.parametrize(
    ("from_hz", "to_hz", "samples"), [(64.0, 32.0, 130), (4.0, 32.0, 9), (125.0, 32.0, 251), (31.3, 7.7, 64)]
)
def test_points_are_those_of_the_loop(from_hz, to_hz, samples):
    generator = np.random.default_rng(0)
    values = generator.normal(size=(2, 3, samples))
    observed = generator.random((2, samples)) < 0.7
    count = math.ceil(samples / from_hz * to_hz)
    got, share = points_of(torch.tensor(values), torch.tensor(observed), from_hz, to_hz, count)
    for row in range(2):
        for channel in range(3):
            expected, expected_share = loop_points(values[row, channel], observed[row], from_hz, to_hz, count)
            np.testing.assert_allclose(got[row, channel], expected, atol=1e-12)
            np.testing.assert_allclose(share[row], expected_share, atol=1e-12)


@pytest.mark.parametrize("rate_hz", [16.0, 32.0, 50.0, 125.0])
def test_a_straight_line_stays_a_line_at_any_rate(rate_hz):
    time_s = (torch.arange(round(4 * rate_hz), dtype=torch.float64) + 0.5) / rate_hz
    observed = torch.ones(1, len(time_s), dtype=torch.bool)
    got, share = patches(time_s[None, None], observed, rate_hz, 1.0, 16)
    expected = (torch.arange(64, dtype=torch.float64) + 0.5) / 16
    assert got.shape == (1, 1, 4, 16)
    # A hat over a whole number of samples keeps a line; over a broken one it bends by a part of a sample.
    atol = 1e-9 if rate_hz <= 16 or rate_hz % 16 == 0 else 0.01 / 16
    # The first and last point lean on samples of one side only.
    torch.testing.assert_close(got.flatten()[2:-2], expected[2:-2], atol=atol, rtol=0)
    torch.testing.assert_close(share, torch.ones(1, 4, dtype=torch.float64))


def test_equal_rates_are_cut_without_a_change():
    values = torch.randn(2, 3, 40)
    got, _ = patches(values, torch.ones(2, 40, dtype=torch.bool), 8.0, 2.5, 20)
    assert torch.equal(got, values.reshape(2, 3, 2, 20))


def test_no_sample_is_skipped_when_many_become_one():
    values = torch.zeros(64, 1, 64)
    values[torch.arange(64), 0, torch.arange(64)] = 1.0
    got, _ = patches(values, torch.ones(64, 64, dtype=torch.bool), 64.0, 1.0, 4)
    assert (got.sum((1, 2, 3)) > 0).all()


def test_share_counts_what_was_observed_and_not_what_lies_past_the_end():
    observed = torch.ones(1, 25, dtype=torch.bool)
    observed[0, 5:10] = False
    got, share = patches(torch.full((1, 1, 25), 3.0), observed, 10.0, 1.0, 10)
    torch.testing.assert_close(share, torch.tensor([[0.5, 1.0, 0.5]]))
    assert (got[0, 0, 0, 5:] == 0).all()


def test_rounding_makes_no_extra_patch():
    got, _ = patches(torch.zeros(1, 1, 6144), torch.ones(1, 6144, dtype=torch.bool), 102.4, 0.1, 4)
    assert got.shape[2] == 600
