"""The outcome head: nothing of the future in an answer, what it starts as, what is kept still, units, limits."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hdt_fm.heads.outcome import Outcome
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.outcome import OutcomeHead, Past


def past_of(people: int = 7, steps: int = 11, *, seed: int = 0, features: int = 0) -> Past:
    draws = torch.Generator().manual_seed(seed)
    level = 100 * (0.05 * torch.randn(people, steps, generator=draws)).cumsum(1).exp()
    given = (torch.rand(people, steps, 2, generator=draws) < 0.4).float() * 2
    more = torch.randn(people, steps, features, generator=draws) if features else None
    return Past(level.double(), given, torch.rand(people, 3, generator=draws), more)


def stirred(past: Past, **more: object) -> Outcome:
    """A head whose every weight matters."""
    torch.manual_seed(1)
    head = Outcome(treatments=2, horizon=5, traits=3, width=8, **more)  # type: ignore[arg-type]
    head.learn(past)
    torch.nn.init.normal_(head.decoder.leave.weight, std=0.3)
    return head.eval()


def test_it_follows_the_protocol() -> None:
    assert isinstance(Outcome(treatments=2, horizon=5), OutcomeHead)


def test_it_starts_as_the_law_with_normal_quantiles() -> None:
    past = past_of()
    head = Outcome(treatments=2, horizon=5, traits=3, levels=(0.05, 0.5, 0.9))
    head.learn(past)
    states = head.encode(past).take(torch.arange(7), torch.full((7,), 10))
    answered = head.answer(states, past.given[:, :5])
    assert torch.allclose(answered.values[..., 0], answered.law.level)
    assert answered.raw[2, 3, 1:].tolist() == pytest.approx([-1.6449, 0.0, 1.2816], abs=1e-3)


def test_the_future_of_a_plan_changes_nothing_before_it() -> None:
    past = past_of()
    head = stirred(past)
    plan = past.given[:, :5]
    before = head(past, plan)
    for step in range(1, 5):
        other = plan.clone()
        other[:, step:] += 1.0
        after = head(past, other)
        assert torch.equal(after[:, :step], before[:, :step])
        assert (after[:, step] != before[:, step]).any(dim=-1).all()


def test_states_know_nothing_of_their_steps_treatments_or_of_later() -> None:
    past = past_of(features=4)
    head = stirred(past, features=4)
    before = head.encode(past)
    assert past.features is not None
    later = Past(past.level.clone(), past.given.clone(), past.traits, past.features.clone())
    later.level[:, 7:] *= 1.5
    later.given[:, 6:] += 1.0
    assert later.features is not None
    later.features[:, 7:] += 1.0
    after = head.encode(later)
    assert torch.equal(before.hidden[:, :7], after.hidden[:, :7])
    assert not torch.isclose(before.hidden[:, 7], after.hidden[:, 7]).all()


def test_the_newest_steps_own_treatments_are_not_read() -> None:
    past = past_of()
    head = stirred(past)
    other = Past(past.level, past.given.clone(), past.traits)
    other.given[:, -1] += 3.0
    assert torch.equal(head(past, past.given[:, :3]), head(other, past.given[:, :3]))


def test_the_edit_reaches_every_step_after_it() -> None:
    past = past_of()
    head = stirred(past)
    none = torch.zeros(7, 4, 2)
    one = none.clone()
    one[:, 1, 0] = 2.0
    moved = (head(past, one) - head(past, none))[..., 0]
    assert not moved[:, 0].any()
    assert (moved[:, 1:] != 0).all()


def test_a_longer_plan_only_adds_steps() -> None:
    past = past_of()
    head = stirred(past)
    assert torch.allclose(head(past, past.given[:, :8])[:, :3], head(past, past.given[:, :3]), atol=1e-4)


@pytest.mark.parametrize("change", ["relative", "absolute"])
def test_another_unit_of_the_level_gives_the_same_answer_in_it(change: str) -> None:
    past = past_of()
    answers = []
    for unit in (1.0, 18.0):
        scaled = Past(past.level / unit, past.given, past.traits)
        answers.append(stirred(scaled, change=change)(scaled, past.given[:, :5]) * unit)
    assert torch.allclose(answers[0], answers[1], rtol=2e-3)


def test_quantiles_never_cross() -> None:
    past = past_of(people=50)
    out = stirred(past)(past, past.given[:, :5])
    assert (out[..., 1:].diff(dim=-1) >= 0).all()


def test_loss_by_hand() -> None:
    past = past_of(people=2)
    head = Outcome(treatments=2, horizon=5, traits=3, levels=(0.5,))
    head.learn(past)
    states = head.encode(past).take(torch.arange(2), torch.full((2,), 10))
    answered = head.answer(states, past.given[:, :2])
    mean, spread = answered.law.level.detach(), answered.law.spread.detach()
    target = torch.full((2, 2), math.nan)
    target[0, 0], target[1, 1] = mean[0, 0] + 2 * spread[0, 0], mean[1, 1] - spread[1, 1]
    # Squares 4 and 1; pinball at the median is half the distance, times four.
    assert head.loss(answered, target).item() == pytest.approx(((4 + 4) + (1 + 2)) / 2, rel=1e-4)
    assert int(head.missed(answered, target).isnan().sum()) == 2
    assert head.missed(answered, target)[0, 0].item() == pytest.approx(2.0, rel=1e-4)
    assert head.loss(answered, target * torch.nan).item() == 0.0


def test_a_target_at_a_limit_asks_for_no_more_than_the_limit() -> None:
    past = past_of()
    head = Outcome(treatments=2, horizon=5, traits=3, limits=(0.0, 107.0))
    head.learn(past)
    states = head.encode(past).take(torch.arange(7), torch.full((7,), 10))
    answered = head.answer(states, past.given[:, :1])
    mean = answered.values[..., 0].detach()
    high = head.response.limits[1]
    target = torch.full_like(mean, high)
    assert 0 < int((mean >= high).sum()) < 7
    assert torch.equal(head.missed(answered, target).isnan(), mean >= high)


def test_reversed_gradient_against_numeric_ones() -> None:
    head = stirred(past_of())
    hidden = torch.randn(4, 8, dtype=torch.float64, requires_grad=True)
    head.double()
    given = torch.tensor([[0.0, 1.0]] * 4, dtype=torch.float64)

    def odds_loss(values: torch.Tensor, reverse: float) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(head.assignment(values, reverse=reverse), given)

    (back,) = torch.autograd.grad(odds_loss(hidden, 0.7), hidden)
    numeric = torch.zeros_like(hidden)
    for row in range(4):
        for column in range(8):
            step = torch.zeros_like(hidden)
            step[row, column] = 1e-5
            ends = odds_loss(hidden + step, 0.7), odds_loss(hidden - step, 0.7)
            numeric[row, column] = (ends[0] - ends[1]) / 2e-5
    # The value goes forward as it is, its gradient back times -0.7; the classifier's own weights learn as they should.
    assert torch.allclose(back, -0.7 * numeric, atol=1e-8)
    assert numeric.abs().max() > 1e-3
    assert torch.equal(odds_loss(hidden, 0.7), odds_loss(hidden, 0.0))
    weights = head.propensity.weight
    plain, reversed_ = (torch.autograd.grad(odds_loss(hidden, reverse), weights)[0] for reverse in (0.0, 0.7))
    assert torch.equal(plain, reversed_)


def test_digest_and_trainable_share() -> None:
    head = stirred(past_of())
    digest = head.history_digest()
    assert head.trainable_share == 1.0
    head.edit_only()
    still = sum(value.numel() for value in head.history.parameters())
    assert head.trainable_share == pytest.approx(1 - still / sum(value.numel() for value in head.parameters()))
    assert head.history_digest() == digest
    with torch.no_grad():
        head.history.weight_hh_l0[0, 0] += 1e-6
    assert head.history_digest() != digest


def test_weights_and_what_was_learned_travel_together() -> None:
    past = past_of()
    head = stirred(past)
    other = Outcome(treatments=2, horizon=5, traits=3, width=8)
    other.load_state_dict(head.state_dict())
    assert torch.equal(other.eval()(past, past.given[:, :5]), head(past, past.given[:, :5]))


def test_mistakes_are_told() -> None:
    past = past_of()
    with pytest.raises(ConfigError, match="a horizon of 1 or more"):
        Outcome(treatments=2, horizon=0)
    head = stirred(past)
    with pytest.raises(ShapeError, match="The plan does not fit"):
        head(past, torch.zeros(7, 3, 4))
    with pytest.raises(ShapeError, match="The past does not fit"):
        head.encode(Past(past.level, past.given, past.traits[:, :1]))
    with pytest.raises(ShapeError, match="A dose is unknown"):
        head.encode(Past(past.level, torch.full_like(past.given, np.nan), past.traits))
