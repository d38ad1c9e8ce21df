"""Options against confounding: their parts by hand, and a world in which the bias of a naive answer is known.

A level moves by .9 of itself, half a unit up, one unit down where it is treated, and noise; who is high is treated. An
answer for two steps learned from what happened takes for an effect of the second treatment what that treatment saw.
"""

from functools import partial
from inspect import unwrap

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hdt_fm.heads.outcome import Outcome
from hdt_fm.schema.errors import ConfigError, UnknownNameError
from hdt_fm.schema.outcome import Past
from hdt_fm.training import outcomes, propensity
from hdt_fm.training.outcomes import fit_outcome
from hdt_fm.training.propensity import plan_weights

KEPT, DRIFT, EFFECT, STEEP, TIMES = 0.9, 0.5, -1.0, 1.5, 6


def people(count: int, seed: int) -> Past:
    draws = np.random.default_rng(seed)
    level, given = np.zeros((count, TIMES)), np.zeros((count, TIMES, 1))
    level[:, 0] = draws.standard_normal(count)
    for time in range(TIMES):
        given[:, time, 0] = draws.random(count) < chance(level[:, time])
        if time + 1 < TIMES:
            moved = KEPT * level[:, time] + DRIFT + EFFECT * given[:, time, 0]
            level[:, time + 1] = moved + draws.standard_normal(count)
    return Past(torch.from_numpy(level), torch.from_numpy(given).float(), torch.zeros(count, 0))


def chance(level: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-STEEP * level))


def bias_of(mean: np.ndarray) -> float:
    """Of the second treatment's effect: .9 of the noise of the first step in the treated less in the others."""
    noise, weight = np.polynomial.hermite_e.hermegauss(40)
    treated = weight * chance(mean[:, None] + noise)
    other = weight - treated
    apart = (noise * treated).sum(1) / treated.sum(1) - (noise * other).sum(1) / other.sum(1)
    return float(KEPT * apart.mean())


def head_of(horizon: int = 2, **more: object) -> Outcome:
    torch.manual_seed(0)
    return Outcome(**{"treatments": 1, "horizon": horizon, "change": "absolute", "width": 16, **more})  # type: ignore[arg-type]


TRAIN, OTHER, ASKED = people(1000, 0), people(200, 1), people(300, 2)
FIT = {"epochs": 30, "batch_size": 128, "learning_rate": 4e-2, "average": 0.9}
# After the newest step: not treated, then treated or not.
PLANS = [torch.tensor([[0.0], [second]]).expand(300, 2, 1) for second in (1.0, 0.0)]


@pytest.fixture(scope="module")
def fitted():
    found = {}
    for name, option in (
        ("naive", {}),
        ("confused", {"balancing": "domain_confusion"}),
        ("weighed", {"weighting": "propensity"}),
    ):
        head = head_of()
        found[name] = head, fit_outcome(head, TRAIN, OTHER, **FIT, **option)
    return found


def effect(head: Outcome) -> float:
    """Of the second treatment, on the level after it."""
    with torch.no_grad():
        return float((head(ASKED, PLANS[0]) - head(ASKED, PLANS[1]))[:, 1, 0].mean())


KNOWN = bias_of(KEPT * ASKED.level[:, -1].numpy() + DRIFT)


def test_the_naive_answer_is_biased_by_what_is_known(fitted) -> None:
    assert abs(KNOWN - 1.02) < 0.02
    assert effect(fitted["naive"][0]) == pytest.approx(EFFECT + KNOWN, abs=0.3)


def test_the_law_alone_is_not_biased() -> None:
    head = head_of()
    fit_outcome(head, TRAIN, OTHER, epochs=0)
    assert effect(head) == pytest.approx(EFFECT, abs=0.1)


def test_propensity_weights_take_most_of_the_bias_away(fitted) -> None:
    head, history = fitted["weighed"]
    assert abs(effect(head) - EFFECT) < 0.5 * KNOWN
    assert abs(effect(head) - EFFECT) < 0.6 * abs(effect(fitted["naive"][0]) - EFFECT)
    # Of two treatments whose chances go from near 0 to near 1, half of the people's worth is left.
    assert 0.2 < history[0]["effective_share"] < 0.7
    assert all(entry["effective_share"] == history[0]["effective_share"] for entry in history)
    assert "effective_share" not in fitted["naive"][1][0]


def test_played_step_by_step_the_naive_head_is_hardly_biased(fitted) -> None:
    head = fitted["naive"][0]
    states = head.encode(ASKED).take(torch.arange(300), torch.full((300,), TIMES - 1))
    generator = torch.Generator()
    ends = [
        head.play(states, plan, ASKED.traits, draws=50, generator=generator.manual_seed(0))[..., 1].mean()
        for plan in PLANS
    ]
    assert abs(float(ends[0] - ends[1]) - EFFECT) < 0.35 * KNOWN


def test_states_that_hide_who_is_treated_leave_the_bias(fitted) -> None:
    """What the second treatment sees comes after the state, so no state can balance it: this is not fixed."""
    head = fitted["confused"][0]
    assert effect(head) == pytest.approx(effect(fitted["naive"][0]), abs=0.35)
    assert abs(effect(head) - EFFECT) > 0.6 * KNOWN


def test_confusion_hides_the_assignment() -> None:
    """States that may be anything linear in the level: near even odds only where confusion is asked for."""
    level, treated = TRAIN.level[:, :1].float(), TRAIN.given[:, 0]
    found = []
    for strength in (0.0, 1.0):
        head = head_of()
        enter = torch.nn.Linear(1, 16)
        optimiser = torch.optim.Adam([*enter.parameters(), *head.propensity.parameters()], lr=0.02)
        for _ in range(200):
            optimiser.zero_grad()
            outcomes._confusion(head, enter(level), treated, strength).backward()
            optimiser.step()
        with torch.no_grad():
            found.append(F.binary_cross_entropy_with_logits(head.propensity(enter(level)), treated).item())
    # Log 2 is what even odds cost.
    assert found[0] < 0.59
    assert 0.63 < found[1] < 0.7


def test_confusion_teaches_each_its_own() -> None:
    """The classifier's slope is that of telling who is treated, the states' that of even odds, times the strength."""
    head = head_of()
    hidden = torch.randn(5, 16, requires_grad=True)
    treated = torch.tensor([[0.0], [1.0], [1.0], [0.0], [1.0]])
    loss = outcomes._confusion(head, hidden, treated, 0.7)
    loss.backward()
    odds = head.propensity(hidden.detach())
    told = F.binary_cross_entropy_with_logits(odds, treated)
    even = F.binary_cross_entropy_with_logits(odds, torch.full_like(odds, 0.5))
    assert loss.item() == pytest.approx((told + 0.7 * even).item(), rel=1e-5)
    (weights,) = torch.autograd.grad(told, head.propensity.weight)
    torch.testing.assert_close(head.propensity.weight.grad, weights)
    other = hidden.detach().requires_grad_()
    again = head.propensity(other)
    (states,) = torch.autograd.grad(0.7 * F.binary_cross_entropy_with_logits(again, torch.full_like(again, 0.5)), other)
    torch.testing.assert_close(hidden.grad, states)


def test_weights_are_nearly_the_true_ones() -> None:
    head = head_of()
    head.learn(TRAIN)
    digest = head.history_digest()
    weights = plan_weights(head, TRAIN, OTHER, seed=0)
    assert head.history_digest() == digest
    level, treated = OTHER.level.numpy(), OTHER.given[..., 0].numpy() > 0
    usual = propensity._usual(TRAIN)[:, 0].numpy()
    before = np.concatenate([np.zeros((200, 1), dtype=bool), treated[:, :-1]], axis=1)
    odds = [np.where(treated, one, 1 - one) for one in (usual[before.astype(int)], chance(level))]
    true = odds[0] / odds[1]
    mine = weights.judged[:, :-1, 0].numpy()
    assert np.corrcoef(np.log(mine).ravel(), np.log(true[:, :-1]).ravel())[0, 1] > 0.95
    two = weights.judged[:, :-2, 1].numpy()
    assert np.corrcoef(np.log(two).ravel(), np.log(true[:, :-2] * true[:, 1:-1]).ravel())[0, 1] > 0.95
    # What the treated and the others have in their levels beforehand is alike once weighed.
    level, treated, mine = TRAIN.level[:, :-1].numpy(), TRAIN.given[:, :-1, 0].numpy() > 0, weights.learned[:, :-1, 0]
    plain = level[treated].mean() - level[~treated].mean()
    apart = np.average(level[treated], weights=mine[treated]) - np.average(level[~treated], weights=mine[~treated])
    assert abs(apart) < 0.35 * plain
    assert float(weights.learned[:, :-2, 1].mean()) == pytest.approx(1.0, abs=1e-5)
    whole = weights.learned[:, :-2, 1].double()
    share = float(whole.sum() ** 2 / (whole**2).sum() / whole.numel())
    assert weights.effective_share == pytest.approx(share, rel=1e-4)


def test_ratios_are_multiplied_along_plans_by_hand() -> None:
    ratio = torch.tensor([[0.0, np.log(2.0), np.log(3.0), np.log(5.0)]])
    found = propensity._along_plans(ratio, 3)[0]
    assert found.flatten().tolist() == pytest.approx([1, 2, 6, 2, 6, 30, 3, 15, 15, 5, 5, 5])


def test_usual_treatment_and_who_counts_by_hand() -> None:
    given = torch.tensor([[1.0, 0, 1, 1], [0, 1, 1, 1]])[..., None]
    level = torch.tensor([[1.0, 2, 3, 4], [1, 2, torch.nan, torch.nan]])
    past = Past(level, given, torch.zeros(2, 0))
    # The second person's last known level is the second: only the first treatment leads to anything.
    assert propensity._before_the_end(past).tolist() == [[True, True, True, False], [True, False, False, False]]
    # After none: 1, 0 (the first steps) and 1; after one: 0.
    assert propensity._usual(past)[:, 0].tolist() == pytest.approx([2 / 3, propensity.LEAST_SHARE])
    asked = propensity._asked(past, 2)
    assert asked[0].tolist() == [[True, True], [True, True], [True, False], [False, False]]
    assert asked[1].tolist() == [[True, False], [False, False], [False, False], [False, False]]


def test_a_weight_of_two_is_a_row_twice() -> None:
    head = head_of()
    head.learn(TRAIN)
    moments = torch.tensor([[0], [1], [2]])
    states, answered, target, _ = outcomes._ask(head, TRAIN.take(slice(0, 3)), moments)
    target[1, 1] = torch.nan
    twice = torch.tensor([0, 1, 1, 2, 2, 2])
    again = head.answer(states.take(twice), TRAIN.given[:3][twice, :2])  # any plan: replaced below
    repeated = type(answered)(type(answered.law)(*(some[twice] for some in vars(answered.law).values())), again.raw)
    repeated.raw.data.copy_(answered.raw[twice])
    weight = torch.tensor([1.0, 2.0, 3.0])[:, None].expand(3, 2)
    wanted = head.loss(repeated, target[twice])
    torch.testing.assert_close(head.loss(answered, target, weight), wanted)
    assert head.loss(answered, target, weight * 0).item() == 0


@pytest.mark.parametrize("change", ["absolute", "relative"])
def test_advancing_by_a_step_is_encoding_a_longer_past(change: str) -> None:
    """What one step adds by itself is what reading everything again says, numbers of a person and limits included."""
    draws = np.random.default_rng(0)
    level = torch.from_numpy(np.exp(draws.normal(size=(40, 9)).cumsum(axis=1) * 0.2) * 5)
    level[:8, -1] = 20.0  # at the upper limit: nothing is learned from it
    given = torch.from_numpy(draws.uniform(0, 2, (40, 9, 2)) * (draws.random((40, 9, 2)) < 0.5)).float()
    past = Past(level.clamp(max=20.0), given, torch.from_numpy(draws.normal(size=(40, 1))).float())
    head = head_of(treatments=2, traits=1, change=change, limits=(0.0, 20.0))
    head.learn(past)
    everybody, last = torch.arange(40), torch.full((40,), 8)
    whole = head.encode(past)
    wanted = whole.take(everybody, last)
    found = head.advance(whole.take(everybody, last - 1), given[:, 7], past.level[:, 8].float(), past.traits)
    torch.testing.assert_close(found.hidden, wanted.hidden, atol=2e-4, rtol=1e-3)
    for mine, theirs in zip(vars(found.known).values(), vars(wanted.known).values(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-4, rtol=2e-3)


def test_played_the_law_is_its_own_closed_form() -> None:
    """A linear law's mean and spread by Monte Carlo are those that `roll` gives at once: the law is G-computation."""
    head = head_of(horizon=4)
    head.learn(TRAIN)
    states = head.encode(ASKED).take(torch.arange(3), torch.full((3,), 4))
    plan = torch.tensor([1.0, 0.0, 1.0, 1.0])[None, :, None].expand(3, 4, 1)
    draws = head.play(states, plan, ASKED.traits[:3], draws=4000, generator=torch.Generator().manual_seed(0))
    law = head.answer(states, plan).law
    assert draws.shape == (4000, 3, 4)
    assert draws.mean(0).numpy() == pytest.approx(law.level.numpy(), abs=0.12)
    assert draws.std(0).numpy() == pytest.approx(law.spread.numpy(), rel=0.08)
    again = head.play(states, plan, ASKED.traits[:3], draws=4000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(draws, again)


def test_levels_that_are_played_stay_between_the_limits() -> None:
    head = head_of(horizon=3, limits=(-0.5, 0.5))
    head.learn(TRAIN)
    states = head.encode(ASKED).take(torch.arange(5), torch.full((5,), 4))
    draws = head.play(states, torch.zeros(5, 3, 1), ASKED.traits[:5], draws=20, generator=torch.Generator())
    assert draws.min() == -0.5
    assert draws.max() == 0.5


def test_mistakes_are_told() -> None:
    fit = partial(unwrap(fit_outcome), head_of(), ASKED, OTHER)
    with pytest.raises(UnknownNameError, match="Unknown balancing 'propensity'"):
        fit(balancing="propensity")
    with pytest.raises(UnknownNameError, match="Unknown weighting 'inverse'"):
        fit(weighting="inverse")
    with pytest.raises(ConfigError, match="loss takes no weights"):
        plan_weights(torch.nn.Linear(1, 1), ASKED, OTHER, seed=0)
    with pytest.raises(ConfigError, match="cannot be played so often"):
        unwrap(type(head_of()).play)(head_of(), None, PLANS[0], ASKED.traits, draws=3, generator=torch.Generator())
    head = head_of(features=1)
    featured = Past(ASKED.level, ASKED.given, ASKED.traits, torch.zeros(300, TIMES, 1))
    head.learn(featured)
    states = head.encode(featured).take(torch.arange(2), torch.tensor([1, 1]))
    with pytest.raises(ConfigError, match="cannot be played"):
        head.advance(states, torch.zeros(2, 1), torch.zeros(2), torch.zeros(2, 0))
