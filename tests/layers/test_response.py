"""The personal law against regression by hand, closed forms, and people whose numbers are known."""

import math
from inspect import unwrap

import numpy as np
import pytest
import torch

from hdt_fm.layers.response import Known, PersonalResponse
from hdt_fm.layers.shared_law import posterior
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.outcome import Past


def simulated(
    people: int = 300, steps: int = 40, *, seed: int = 0, change: str = "absolute"
) -> tuple[Past, np.ndarray]:
    """People under the law itself: two treatments, the first with a half-life of 4 steps, the second gone at once."""
    rng = np.random.default_rng(seed)
    traits = (rng.random((people, 1)) < 0.5).astype(float)
    size = np.array([2.0, -0.02, -1.0, 3.0]) if change == "absolute" else np.array([0.05, -0.01, -0.02, 0.1])
    own = size * (1 + 0.3 * rng.standard_normal((people, 4)))
    own[:, 3] += size[3] * traits[:, 0]
    given = np.where(rng.random((people, steps, 2)) < 0.3, rng.uniform(0.5, 2, (people, steps, 2)), 0.0)
    level, held = np.zeros((people, steps)), np.zeros(people)
    level[:, 0] = rng.uniform(80, 120, people)
    noise = (0.5 if change == "absolute" else 0.01) * rng.standard_normal((people, steps))
    for step in range(steps - 1):
        held = held * 0.5 ** (1 / 4) + given[:, step, 0]
        term = level[:, step] if change == "absolute" else np.log(level[:, step])
        moved = own[:, 0] + own[:, 1] * term + own[:, 2] * held + own[:, 3] * given[:, step, 1] + noise[:, step]
        level[:, step + 1] = level[:, step] + moved if change == "absolute" else level[:, step] * (1 + moved)
    parts = torch.from_numpy(level), torch.from_numpy(given).float(), torch.from_numpy(traits).float()
    return Past(*parts), own


def fitted(change: str = "absolute", **more: object) -> tuple[PersonalResponse, Past, np.ndarray]:
    past, own = simulated(change=change)
    law = PersonalResponse(treatments=2, traits=1, change=change, **more)  # type: ignore[arg-type]
    law.learn(past)
    return law, past, own


def doses_of(law: PersonalResponse, known: Known) -> np.ndarray:
    return (known.mean[..., 2:] / law.unit[2:]).numpy()


def test_posterior_is_that_of_numbers_stacked_by_hand() -> None:
    rng = np.random.default_rng(0)
    rows, told = rng.standard_normal((5, 3)), rng.standard_normal(5)
    start, noise = rng.standard_normal(3), 0.3
    root = rng.standard_normal((3, 3))
    spread = root @ root.T
    tensors = [torch.from_numpy(values) for values in (rows.T @ rows, rows.T @ told, start, spread)]
    mean, doubt = posterior(*tensors, torch.tensor(noise, dtype=torch.float64))
    # Conditioning of a joint normal of numbers and changes: another way to the same.
    across = spread @ rows.T
    whole = rows @ across + noise * np.eye(5)
    assert mean.numpy() == pytest.approx(start + across @ np.linalg.solve(whole, told - rows @ start))
    assert doubt.numpy() == pytest.approx(spread - across @ np.linalg.solve(whole, across.T))
    still = posterior(tensors[0], tensors[1], tensors[2], torch.zeros_like(tensors[3]), torch.tensor(noise).double())
    assert still[0].numpy() == pytest.approx(start)
    assert not still[1].any()


@pytest.mark.parametrize("change", ["absolute", "relative"])
def test_it_finds_rates_noise_and_peoples_own_numbers(change: str) -> None:
    law, past, own = fitted(change)
    lives = law.half_lives
    assert float(lives[0]) == pytest.approx(4.0, rel=0.1)
    assert float(lives[1]) < 0.3
    assert math.sqrt(law.noise) == pytest.approx(0.5 if change == "absolute" else 0.01, rel=0.1)
    assert (law.prior[1, 3] / law.unit[3]).item() == pytest.approx(3.0 if change == "absolute" else 0.1, rel=0.15)
    found = doses_of(law, law.watch(past))[:, -1]
    for dose in range(2):
        assert np.corrcoef(found[:, dose], own[:, 2 + dose])[0, 1] > 0.95


def test_few_people_and_a_far_start_lead_to_the_same_rates() -> None:
    past, _ = simulated(people=30, steps=15)
    law = PersonalResponse(treatments=2, traits=1, change="absolute", half_lives=[(900.0,), (900.0,)])
    law.learn(past)
    assert float(law.half_lives[0]) == pytest.approx(4.0, rel=0.4)
    assert float(law.half_lives[1]) < 0.4


def test_what_a_person_shows_sharpens_and_never_reads_ahead() -> None:
    law, past, own = fitted()
    known = law.watch(past)
    off = ((doses_of(law, known)[..., 1] - own[:, None, 3]) ** 2).mean(axis=0)
    assert off[0] > off[5] > off[15] > off[39]
    doubt = known.doubt.diagonal(dim1=-2, dim2=-1)
    assert (doubt.diff(dim=1) <= 1e-5 * doubt[:, :1]).all()
    later = Past(past.level.clone(), past.given.clone(), past.traits)
    later.level[:, 21:] += 50.0
    later.given[:, 20:] += 1.0
    after = law.watch(later)
    for one, other in zip(vars(known).values(), vars(after).values(), strict=True):
        assert torch.equal(one[:, :21], other[:, :21])
        assert not torch.equal(one[:, 22:], other[:, 22:])


def test_no_event_is_the_mean_of_people_alike() -> None:
    law, past, _ = fitted()
    known = law.watch(past)
    expected = torch.cat([torch.ones_like(past.traits), past.traits], dim=1).double() @ law.prior
    assert torch.allclose(known.mean[:, 0].double(), expected, atol=1e-5)


def certain(known: Known) -> Known:
    return Known(known.level, known.held, known.mean, torch.zeros_like(known.doubt))


@pytest.mark.parametrize("change", ["absolute", "relative"])
def test_a_plan_is_played_by_the_law(change: str) -> None:
    law, past, _ = fitted(change)
    known = law.watch(past).take(torch.tensor([3]), torch.tensor([20]))
    plan = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]])
    rolled = law.roll(certain(known), plan)
    own = (known.mean[0].double() / law.unit).numpy()
    level, held = float(known.level[0]), known.held[0].double().numpy()
    for step in range(3):
        held = held * law.keep.numpy() + plan[0, step].numpy()
        term = (level if change == "absolute" else math.log(level)) - float(law.term_center)
        moved = own[0] + own[1] * term / float(law.term_scale) + own[2:] @ held
        level = level + moved if change == "absolute" else level * (1 + moved)
        assert float(rolled.level[0, step]) == pytest.approx(level, rel=1e-4)
    assert (rolled.spread.diff(dim=1) > 0).all()


@pytest.mark.parametrize("change", ["absolute", "relative"])
def test_mean_and_spread_of_a_plan_are_those_of_drawn_people(change: str) -> None:
    """With doubt so large that means of levels are not the levels of means."""
    law, past, _ = fitted(change)
    known = law.watch(past.take(slice(0, 1))).take(torch.tensor([0]), torch.tensor([2]))
    size = 0.08 if change == "relative" else 3.0
    doubt = torch.diag(torch.tensor([0.1, 0.03, 0.3, 1.0]) * size).square()[None]
    known = Known(known.level, known.held, known.mean, doubt)
    plan = torch.tensor([[[1.0, 2.0], [0.0, 2.0], [0.0, 2.0], [0.0, 0.0]]])
    rng, count = np.random.default_rng(0), 40_000
    drawn = torch.from_numpy(rng.multivariate_normal(known.mean[0].double(), doubt[0].double(), size=count)).float()
    level, held, ends = known.level.expand(count), known.held.expand(count, -1), []
    for step in range(4):
        one = certain(Known(level, held, drawn, doubt.expand(count, -1, -1)))
        rolled = law.roll(one, plan[:, step : step + 1].expand(count, -1, -1))
        noise = math.sqrt(law.noise) * torch.from_numpy(rng.standard_normal(count)).float()
        noise = noise * level if change == "relative" else noise
        level, held = rolled.level[:, 0] + noise, rolled.held[:, 0]
        ends.append(level.double().numpy())
    found = law.roll(known, plan)
    means, spreads = np.mean(ends, axis=1), np.std(ends, axis=1)
    plain = law.roll(certain(known), plan).level[0].numpy()
    assert abs(found.level[0].numpy() - means).max() < 0.02 * spreads[-1]
    if change == "relative":
        assert abs(plain - means).max() > 0.04 * spreads[-1]
    assert found.spread[0].numpy() == pytest.approx(spreads, rel=0.1)


def test_doses_fade_by_hand_and_several_rates_may_stand_for_one() -> None:
    law = PersonalResponse(treatments=2, half_lives=[(1.0, 2.0), (1.0,)])
    given = torch.tensor([[[4.0, 0.0], [0.0, 8.0], [0.0, 0.0]]])
    root = 0.5**0.5
    assert law.held(given)[0].numpy() == pytest.approx(np.array([[4, 4, 0], [2, 4 * root, 8], [1, 2, 4]]))


def test_levels_at_a_limit_teach_nothing() -> None:
    past, _ = simulated()
    cut = Past(past.level.clamp(max=100.0), past.given, past.traits)
    law = PersonalResponse(treatments=2, traits=1, change="absolute", limits=(-math.inf, 100.0))
    change, counts = law._changes(cut.level)
    inside = (cut.level[:, :-1] < 100) & (cut.level[:, 1:] < 100)
    assert torch.equal(counts, inside)
    assert 0.05 < inside.double().mean() < 0.95
    assert not change[~counts].any()


def test_unknown_levels_are_bridged_and_teach_nothing() -> None:
    law, past, _ = fitted()
    gap = Past(past.level.clone(), past.given, past.traits)
    gap.level[:, 10:13] = torch.nan
    known = law.watch(gap)
    assert torch.equal(known.level[:, 12].double(), past.level[:, 9].float().double())
    late = Past(past.level.clone(), past.given, past.traits)
    late.level[:, :4] = torch.nan
    known_late = law.watch(late)
    assert (known_late.level[:, :4] == known_late.level[0, 0]).all()
    assert float(known_late.level[0, 0]) == pytest.approx(float(past.level.mean()), rel=0.01)
    assert torch.equal(known_late.level[:, 4], known.level[:, 4])
    assert torch.equal(known.mean[:, 10], known.mean[:, 13])
    assert not torch.equal(known.mean[:, 13], known.mean[:, 14])


def test_without_personal_numbers_the_law_says_that_nothing_changes() -> None:
    past, _ = simulated()
    law = PersonalResponse(treatments=2, traits=1, change="absolute", law="none")
    law.learn(past)
    known = law.watch(past).take(torch.arange(5), torch.full((5,), 7))
    rolled = law.roll(known, torch.ones(5, 4, 2))
    assert torch.equal(rolled.level, known.level[:, None].expand(5, 4))
    spread = past.level.diff(dim=1).std()
    assert rolled.spread[0].numpy() == pytest.approx(float(spread) * np.sqrt([1, 2, 3, 4]), rel=1e-4)


def test_without_the_level_changes_do_not_go_with_it() -> None:
    law, past, _ = fitted(law="no level")
    known = law.watch(past).take(torch.arange(5), torch.full((5,), 20))
    higher = Known(known.level + 30, known.held, known.mean, known.doubt)
    one, other = law.roll(known, torch.ones(5, 4, 2)), law.roll(higher, torch.ones(5, 4, 2))
    assert torch.allclose(other.level - one.level, torch.tensor(30.0), atol=1e-3)
    assert torch.equal(one.spread, other.spread)
    assert float(law.half_lives[1]) < 0.3


def test_what_is_gone_stays_gone() -> None:
    law, past, _ = fitted("relative")
    known = law.watch(past).take(torch.tensor([0]), torch.tensor([5]))
    gone = Known(torch.zeros(1), known.held, known.mean, known.doubt)
    assert not law.roll(gone, torch.ones(1, 6, 2)).level.any()


def test_mistakes_are_told() -> None:
    with pytest.raises(ConfigError, match="cannot be built"):
        PersonalResponse(treatments=2, half_lives=[(1.0,)])
    with pytest.raises(ConfigError, match="cannot be built"):
        PersonalResponse(treatments=1, half_lives=[()])
    with pytest.raises(ConfigError, match="law 'some'"):
        unwrap(PersonalResponse.__init__)(PersonalResponse(treatments=1), treatments=1, law="some")
    with pytest.raises(ConfigError, match="cannot be built"):
        unwrap(PersonalResponse.__init__)(PersonalResponse(treatments=1), treatments=1, change="square")
    past, _ = simulated(people=5)
    law = PersonalResponse(treatments=2, traits=1)
    with pytest.raises(ShapeError, match="A dose is unknown"):
        law.watch(Past(past.level, past.given * torch.nan, past.traits))
    with pytest.raises(ShapeError, match="A level is below 0"):
        law.learn(Past(-past.level, past.given, past.traits))
    with pytest.raises(ShapeError, match="Nothing is known to have changed"):
        law.learn(Past(torch.full_like(past.level, torch.nan), past.given, past.traits))
