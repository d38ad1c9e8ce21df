"""The rate in the middle of shares, against shares whose middle is known."""

import pytest
import torch

from hdt_fm.schema.rhythm import RhythmFound, middle_hz

HZ = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([1, 1, 1, 1, 1], 0.3),
        ([0, 0, 0, 1, 0], 0.4),
        ([1, 1, 0, 0, 0], 0.15),
        # Half of all lies below the last quarter of the second line's step, 0.15 to 0.25.
        ([1, 4, 1, 1, 1], 0.225),
        # One far line cannot pull it as it pulls a mean (0.24).
        ([3, 4, 0, 0, 2], 0.1875),
        ([9, 0, 0, 0, 1], 0.1 + 0.1 * (0.5 / 0.9 - 0.5)),
        ([1, 0, 0, 0, 9], 0.5 - 0.1 * (0.5 / 0.9 - 0.5)),
    ],
)
def test_half_of_the_shares_lie_on_each_side(shares, expected):
    log = torch.tensor(shares, dtype=torch.float64).log()[None]
    assert middle_hz(log, HZ.double()).item() == pytest.approx(expected, abs=1e-7)
    # Shares need not add up to 1, and turning the band round turns the middle round.
    assert middle_hz(log + 3, HZ.double()).item() == pytest.approx(expected, abs=1e-7)
    assert middle_hz(log.flip(-1), HZ.double()).item() == pytest.approx(0.6 - expected, abs=1e-7)


def test_it_can_be_differentiated_and_stays_in_the_band():
    log = torch.randn(50, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 20
    log.requires_grad_(True)
    middle = middle_hz(log, HZ.double())
    assert ((middle >= HZ[0]) & (middle <= HZ[-1])).all()
    middle.sum().backward()
    assert log.grad is not None
    assert log.grad.isfinite().all()


def test_windows_without_the_modality_have_no_rate():
    log = torch.zeros(2, 5)
    log[1] = torch.nan
    rate = RhythmFound(HZ, log).per_minute()
    assert rate[0].item() == pytest.approx(18)
    assert rate[1].isnan()
