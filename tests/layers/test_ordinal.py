"""Ordered classes: probabilities by hand, losses against plain differences of sigmoids, and what never crosses."""

import math

import pytest
import torch

from hdt_fm.layers.ordinal import LEAST_STEP, OrdinalNetwork, class_loss, class_probabilities
from hdt_fm.schema.errors import ConfigError


def network(**more):
    torch.manual_seed(0)
    return OrdinalNetwork(**{"in_features": 5, "horizons": 3, "outcomes": 2, "classes": 4, "width": 8, **more}).eval()


def test_probabilities_by_hand():
    # At least 1 with odds of 1 to 1, at least 2 with odds of 1 to 3.
    log_odds = torch.tensor([0.0, -math.log(3)], dtype=torch.float64)
    assert class_probabilities(log_odds).tolist() == pytest.approx([0.5, 0.25, 0.25])
    for target, share in ((0.0, 0.5), (1.0, 0.25), (2.0, 0.25)):
        assert class_loss(log_odds, torch.tensor(target)).item() == pytest.approx(-math.log(share))


def test_losses_are_those_of_differences_of_sigmoids():
    torch.manual_seed(0)
    log_odds = torch.randn(7, 2, 3, dtype=torch.float64).sort(dim=-1, descending=True).values
    target = torch.arange(14).reshape(7, 2).double() % 4
    shares = class_probabilities(log_odds).gather(-1, target.long()[..., None])[..., 0]
    torch.testing.assert_close(class_loss(log_odds, target), -shares.log())
    log_odds.requires_grad_()
    assert torch.autograd.gradcheck(lambda some: class_loss(some, target), (log_odds,))


def test_far_from_even_odds_losses_stay_numbers():
    log_odds = torch.tensor([[400.0, 390.0], [-390.0, -400.0], [1e-9, 0.0], [200.0, -200.0]], requires_grad=True)
    loss = class_loss(log_odds, torch.tensor([1.0, 1.0, 1.0, 1.0]))
    loss.sum().backward()
    # sigmoid(400) - sigmoid(390) is exp(-390), which no single number holds; its logarithm does.
    assert loss[0].item() == pytest.approx(390.0, rel=1e-5)
    assert loss[1].item() == pytest.approx(390.0, rel=1e-5)
    assert loss[2].item() == pytest.approx(-math.log(LEAST_STEP / 4), rel=1e-3)
    assert loss[3].item() == pytest.approx(0.0, abs=1e-6)
    assert log_odds.grad.isfinite().all()


def test_what_is_unknown_teaches_nothing():
    log_odds = torch.tensor([[0.5, -1.0], [2.0, 1.0]], requires_grad=True)
    loss = class_loss(log_odds, torch.tensor([torch.nan, 2.0]))
    loss.sum().backward()
    assert loss[0].item() == 0
    assert (log_odds.grad[0] == 0).all()
    assert (log_odds.grad[1] != 0).any()


def test_classes_never_cross_and_no_horizon_falls_whatever_the_weights():
    found = network()
    for weight in found.parameters():
        torch.nn.init.normal_(weight, std=3.0)
    said = found(torch.randn(50, 5))
    assert said.shape == (50, 3, 2, 3)
    assert (said.diff(dim=-1) < 0).all()
    assert (said.diff(dim=1) >= 0).all()
    assert (class_probabilities(said.double()) > 0).all()
    assert said.std() > 1


def test_odds_are_proportional():
    """Between two moments the log-odds of every class move by the same."""
    found = network(horizons=1)
    torch.nn.init.normal_(found.leave.weight)
    said = found(torch.randn(2, 5))[:, 0]
    moved = said[1] - said[0]
    assert moved.abs().min() > 1e-3
    torch.testing.assert_close(moved, moved[:, :1].expand_as(moved))


def test_it_begins_with_the_rates_that_it_is_told():
    found = network(classes=3)
    rate = torch.tensor([[[0.1, 0.01], [0.3, 0.2]], [[0.2, 0.02], [0.4, 0.2]], [[0.3, 0.1], [0.5, 0.21]]])
    found.begin_at(rate)
    torch.testing.assert_close(torch.sigmoid(found(torch.randn(4, 5))), rate.expand(4, 3, 2, 2), atol=1e-6, rtol=1e-5)
    # Two grades that came equally often stay apart by the least step.
    found.begin_at(torch.full((3, 2, 2), 0.1))
    assert (found.cuts.diff(dim=-1) > LEAST_STEP).all()
    assert torch.sigmoid(-found.cuts).flatten().tolist() == pytest.approx([0.1] * 12, rel=2e-3)


def test_two_classes_are_a_logistic_regression():
    found = network(classes=2)
    assert found.cuts.shape == (3, 2, 1)
    log_odds, target = torch.randn(9, 1), torch.arange(9).float() % 2
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(log_odds[:, 0], target, reduction="none")
    torch.testing.assert_close(class_loss(log_odds, target), wanted)


@pytest.mark.parametrize("wrong", [{"classes": 1}, {"outcomes": 0}, {"width": 0}])
def test_what_cannot_be_built_is_refused(wrong):
    with pytest.raises(ConfigError, match="ordinal network cannot be built"):
        network(**wrong)
