"""Quantiles that do not cross and their loss: hand numbers and symmetries."""

import math

import pytest
import torch

from hdt_fm.ops.quantiles import forecast_loss, middle_of, rising


def test_the_middle_stays_and_the_others_step_away():
    step = math.log(math.expm1(2.0))  # softplus of it is 2
    raw = torch.tensor([[step, 5.0, step, step]])
    assert rising(raw, 1)[0].tolist() == pytest.approx([3.0, 5.0, 7.0, 9.0])


def test_any_numbers_become_rising_ones():
    found = rising(torch.randn(50, 3, 9) * 20, 4)
    assert (found.diff(dim=-1) >= 0).all()
    assert torch.isfinite(found).all()


def test_the_middle_is_nearest_to_the_median():
    assert middle_of((0.1, 0.5, 0.9)) == 1
    assert middle_of((0.2, 0.45, 0.6, 0.9)) == 1


def test_the_loss_by_hand():
    # Mean off by 2: 4. Quantile .1 is 3 below the truth: .3; quantile .9 is 1 above it: .1. Mean .2, times 4.
    output = torch.tensor([[[8.0, 7.0, 11.0]]])
    assert float(forecast_loss(output, torch.tensor([[10.0]]), (0.1, 0.9))) == pytest.approx(4 + 4 * 0.2)


def test_unknown_targets_have_no_say_and_no_gradient():
    output = torch.randn(6, 2, 4, requires_grad=True)
    target = torch.randn(6, 2)
    target[3:, 1] = torch.nan
    levels = (0.1, 0.5, 0.9)
    forecast_loss(output, target, levels).backward()
    assert (output.grad[3:, 1] == 0).all()
    known = torch.cat((output[:3].reshape(-1, 1, 4), output[3:, :1]))
    truth = torch.cat((target[:3].reshape(-1, 1), target[3:, :1]))
    assert torch.allclose(forecast_loss(output, target, levels), forecast_loss(known, truth, levels))
    assert forecast_loss(output, torch.full((6, 2), torch.nan), levels) == 0
