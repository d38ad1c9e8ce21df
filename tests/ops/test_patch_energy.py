"""Level and band energies of patches, against sines whose power is known and a double loop."""

import cmath
import math

import pytest
import torch

from hdt_fm.ops.patch_energy import bands_of_patch, by_patch, patch_energy, points_of_patch


def test_a_sine_has_its_power_in_its_band_and_its_mean_as_level():
    # Four cycles a patch of 32 samples, amplitude 3 on a level of 10: |rfft|^2 / n^2 of that line is 3^2 / 4.
    time = torch.arange(64, dtype=torch.float64)
    wave = 10 + 3 * torch.sin(2 * math.pi * 4 * time / 32)
    bands = torch.eye(16)
    patches = patch_energy(wave[None, None], torch.ones(1, 64, dtype=torch.bool), 32, bands)
    assert patches.level[0, :, 0].tolist() == pytest.approx([10.0, 10.0])
    assert patches.energy[0, 0].argmax() == 3
    assert patches.energy[0, 0, 3].item() == pytest.approx(9 / 4, rel=1e-10)
    assert patches.energy[0, 0].sum().item() == pytest.approx(9 / 4, rel=1e-10)


def test_the_definition_by_loops():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, 23, generator=generator, dtype=torch.float64)
    bands = bands_of_patch(7, 2)
    patches = patch_energy(values, torch.ones(2, 23, dtype=torch.bool), 7, bands)
    assert patches.level.shape == (2, 3, 3)
    for window in range(2):
        for patch in range(3):
            cut = values[window, :, 7 * patch : 7 * patch + 7]
            assert patches.level[window, patch].tolist() == pytest.approx(cut.mean(1).tolist())
            power = []
            for k in (1, 2, 3):
                lines = [sum(float(x) * cmath.exp(-2j * math.pi * k * n / 7) for n, x in enumerate(c)) for c in cut]
                power.append(sum(abs(line) ** 2 for line in lines) / 49)
            expected = [sum(float(w) * p for w, p in zip(row, power, strict=True)) for row in bands]
            assert patches.energy[window, patch].tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("points", [1, 2, 3, 5, 16, 128, 1000])
@pytest.mark.parametrize("count", [1, 3, 6])
def test_every_line_is_in_one_band_and_bands_are_means(points, count):
    bands = bands_of_patch(points, count)
    assert bands.shape == (min(count, points // 2), points // 2)
    assert ((bands > 0).sum(0) == 1).all()
    torch.testing.assert_close(bands.sum(1), torch.ones(len(bands)))
    first = [int(row.nonzero()[0]) for row in bands]
    assert first == sorted(first)


def test_a_patch_is_observed_when_all_of_it_is_and_the_rest_is_not_read():
    observed = torch.ones(1, 10, dtype=torch.bool)
    observed[0, 5] = False
    values = torch.zeros(1, 1, 10).masked_fill(~observed[:, None], torch.nan)
    patches = patch_energy(values, observed, 4, bands_of_patch(4, 2))
    assert patches.observed.tolist() == [[True, False]]
    assert torch.isfinite(patches.level).all()
    assert torch.isfinite(patches.energy).all()
    assert by_patch(observed, 4).sum(-1).tolist() == [[4, 3]]


def test_a_slow_signal_has_one_sample_a_patch_and_a_level_alone():
    assert points_of_patch(2.0, 1 / 300) == 1
    assert points_of_patch(2.0, 64.0) == 128
    patches = patch_energy(torch.ones(2, 1, 3), torch.ones(2, 3, dtype=torch.bool), 1, bands_of_patch(1, 6))
    assert patches.level.shape == (2, 3, 1)
    assert patches.energy.shape == (2, 3, 0)
