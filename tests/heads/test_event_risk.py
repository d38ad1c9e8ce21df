"""Risks within horizons: by hand, never falling, at home with tiny and huge odds, and what a head begins with."""

import numpy as np
import pytest
import torch

from hdt_fm.heads.event_risk import EventRisk
from hdt_fm.layers.hazards import HazardNetwork, within
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.protocols import HeadInput


def inputs_of(batch=6, windows=3, width=5):
    torch.manual_seed(1)
    observed = torch.ones(batch, windows, dtype=torch.bool)
    observed[2] = False
    context = torch.randn(batch, windows, width) * observed[..., None]
    known = torch.randn(batch, 4)
    known[1, 2] = torch.nan
    return HeadInput(context, observed, known=known)


def test_risks_are_one_less_the_product_of_what_is_escaped():
    hazard = torch.tensor([[0.1, 0.5], [0.2, 0.01], [0.3, 0.9]], dtype=torch.float64)
    found = torch.sigmoid(within(torch.logit(hazard)[None]))[0]
    assert found[:, 0].tolist() == pytest.approx([0.1, 1 - 0.9 * 0.8, 1 - 0.9 * 0.8 * 0.7])
    assert found[:, 1].tolist() == pytest.approx([0.5, 1 - 0.5 * 0.99, 1 - 0.5 * 0.99 * 0.1])


def test_tiny_and_huge_odds_stay_numbers_with_slopes():
    hazard = torch.tensor([-1e4, -100.0, -20.0, -5.0, 0.0, 20.0, 1e4])[:, None].repeat(1, 3)[..., None]
    hazard.requires_grad_()
    found = within(hazard)
    found.sum().backward()
    assert found.isfinite().all()
    assert hazard.grad.isfinite().all()
    assert (hazard.grad[2:6] > 0).all()
    # One horizon is its hazard; three equal small ones are three times as likely.
    assert torch.allclose(found[2:6, 0, 0], hazard[2:6, 0, 0], atol=1e-4)
    assert found[2, 2, 0].item() == pytest.approx(-20 + np.log(3), abs=1e-3)


def test_slopes_are_those_of_differences():
    hazard = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(within, (hazard,))


@pytest.mark.parametrize("kind", ["gru", "transformer"])
def test_no_risk_falls_as_the_horizon_grows(kind):
    torch.manual_seed(0)
    head = EventRisk(known=4, in_features=5, horizons=4, events=2, teaching=3, kind=kind, width=16).eval()
    for weight in head.parameters():
        torch.nn.init.normal_(weight, std=1.0)
    said = head(inputs_of())
    assert said.shape == (6, 4, 2)
    assert (said.diff(dim=1) >= 0).all()
    assert said.std() > 1


def test_a_head_begins_with_how_often_events_happen():
    head = EventRisk(known=4, horizons=3, events=2, teaching=1).eval()
    rows = torch.arange(200)
    happened = torch.stack([rows % 10 < part for part in (1, 2, 4)], dim=1).double()[..., None].repeat(1, 1, 3)
    happened[:100, :, 0] = torch.nan
    happened[..., 1] = 0.0
    given = HeadInput(torch.zeros(200, 1, 0), torch.ones(200, 1, dtype=torch.bool), known=torch.randn(200, 4))
    head.learn_scale(given, happened)
    said = torch.sigmoid(head(given))
    assert said[0, :, 0].tolist() == pytest.approx([0.1, 0.2, 0.4], abs=1e-5)
    assert (said[:, :, 1] < 0.002).all()  # never seen, so held at a rate that is not 0
    assert torch.equal(said[0], said[7])


def test_events_that_only_teach_are_learned_and_not_answered():
    head = EventRisk(known=4, horizons=2, events=1, teaching=1, members=1).eval()
    scaled = head.scaled(inputs_of(width=0))
    taught = head.members[0](scaled)
    assert taught.shape == (6, 2, 2)
    assert torch.equal(head(inputs_of(width=0)), taught[..., :1])
    target = torch.zeros(6, 2, 2)
    low = head.member_loss(taught, target)
    target[..., 1] = torch.nan
    alone = head.member_loss(taught, target)
    assert low.item() == pytest.approx(alone.item())  # it begins with the same risk of both
    assert alone.item() == pytest.approx(-torch.log(1 - torch.sigmoid(taught[0, :, 0])).mean().item())
    assert head.member_loss(taught, torch.full_like(target, torch.nan)).item() == 0


def test_losses_are_counted_in_those_of_the_mere_rates():
    """Who says the rate itself has a loss of 1, for a rare event as for a common one."""
    head = EventRisk(known=4, horizons=2, events=2, members=1).eval()
    rows = torch.arange(1000)
    happened = torch.stack([rows % 100 < part for part in (1, 2, 40, 50)], dim=1).double().reshape(1000, 2, 2)
    given = HeadInput(torch.zeros(1000, 1, 0), torch.ones(1000, 1, dtype=torch.bool), known=torch.randn(1000, 4))
    head.learn_scale(given, happened)
    rate = torch.logit(happened.mean(0)).float().expand(1000, 2, 2)
    for horizon in range(2):
        for event in range(2):
            alone = torch.full_like(happened, torch.nan)
            alone[:, horizon, event] = happened[:, horizon, event]
            assert head.member_loss(rate, alone.float()).item() == pytest.approx(1.0, abs=1e-4)
    assert "weight" not in head.state_dict()


def test_members_are_averaged_in_log_odds():
    torch.manual_seed(0)
    head = EventRisk(known=4, in_features=5, horizons=2, events=1, members=3, width=16).eval()
    for member in head.members:
        torch.nn.init.normal_(member.network.leave.weight)
    scaled = head.scaled(inputs_of())
    each = torch.stack([member(scaled) for member in head.members])
    assert each.std(0).min() > 0
    assert torch.allclose(head(inputs_of()), each.mean(0))


def test_a_line_moves_log_odds_of_each_horizon_and_event_by_itself():
    """By hand, and no risk is held to be smaller than 1e-4 before it is moved; a fresh head moves nothing."""
    head = EventRisk(known=4, horizons=2, events=2, members=1).eval()
    said = torch.tensor([[[-2.0, 0.5], [-1.0, 3.0]], [[-40.0, 0.0], [40.0, 0.0]]])
    held = said.clamp(-9.21024, 9.21024)
    assert torch.allclose(head.calibrated(said), held, atol=1e-5)
    head.slope.copy_(torch.tensor([[0.5, 1.0], [2.0, 1.0]]))
    head.start.copy_(torch.tensor([[0.0, -1.0], [3.0, 0.0]]))
    wanted = [[[-1.0, -0.5], [1.0, 3.0]], [[-4.60512, -1.0], [21.42048, 0.0]]]
    assert torch.allclose(head.calibrated(said), torch.tensor(wanted), atol=1e-5)
    assert {"slope", "start"} <= set(head.state_dict())


def test_what_it_must_be_told_is_kept_as_it_was_given():
    given = {"known": 4, "horizons": 1, "events": 1, "asked": {"modality": "glucose"}}
    head = EventRisk(**given, described=[{"name": "low", "threshold": 70.0, "below": True}])
    assert (head.asked, head.described) == (given["asked"], [{"name": "low", "threshold": 70.0, "below": True}])
    assert (EventRisk(known=4, horizons=1, events=1).asked, EventRisk(known=4, horizons=1, events=1).described) == (
        {},
        [],
    )


def test_what_cannot_be_built_or_asked_is_refused():
    with pytest.raises(ConfigError, match="risk of events cannot be built"):
        EventRisk(known=4, horizons=1, events=1, members=0)
    with pytest.raises(ConfigError, match="hazard network"):
        HazardNetwork(in_features=3, horizons=1, events=0)
    head = EventRisk(known=4, horizons=1, events=1)
    with pytest.raises(ShapeError, match="features of the moment"):
        head(HeadInput(torch.zeros(2, 1, 0), torch.ones(2, 1, dtype=torch.bool)))
