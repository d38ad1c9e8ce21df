"""The law and the decoder as one head: whole in a state dict, and no decoder moves an effect."""

import numpy as np
import pytest
import torch

from hdt_fm.heads.meal_response import MealResponse
from hdt_fm.heads.plan_response import PlanResponse, quantiles
from hdt_fm.layers import meal_law
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.lives import Lives, Plans
from hdt_fm.schema.registry import build

MINUTES = (60, 120)


def lives(people: int = 4, seed: int = 0) -> Lives:
    generator = np.random.default_rng(seed)
    numbers = np.tile([meal_law.START[name] for name in meal_law.NUMBERS], (people, 1))
    carbs = np.zeros((people, 600))
    carbs[:, 90::70] = generator.uniform(20, 60, size=carbs[:, 90::70].shape)
    bolus = carbs / 12 * np.exp(0.4 * generator.normal(size=carbs.shape))
    glucose = meal_law.play(numbers, bolus.T, carbs.T)[:-1].T + 3 * generator.normal(size=carbs.shape)
    basal = generator.uniform(0.5, 1.5, people)
    return Lives(
        person=np.arange(people),
        glucose_mg_dl=glucose,
        bolus_units=bolus,
        carbs_g=carbs,
        basal_units_per_hour=basal,
    )


def plans() -> Plans:
    units, grams = np.zeros((2, 2, 4)), np.zeros((2, 2, 4))
    units[:, 0, 0], grams[:, 0, 2] = 4.0, 30.0
    return Plans(
        life=np.array([0, 1]),
        time=np.array([300, 400]),
        units=units,
        grams=grams,
        contrasts=((0, 1),),
        minutes=MINUTES,
    )


@pytest.fixture(scope="module")
def head() -> PlanResponse:
    found = build("heads", "plan_response", {"known": 3, "in_features": 5, "minutes": list(MINUTES), "width": 8})
    found.learn_law(lives(seed=0), lives(seed=1))
    return found


def test_the_law_of_the_head_is_the_one_that_was_learned(head: PlanResponse) -> None:
    alone = MealResponse(minutes=MINUTES)
    alone.learn(lives(seed=0), lives(seed=1))
    told = lives(seed=2)
    asked = plans()
    mine, theirs = (law.answer(told, told, asked) for law in (head.law, alone))
    assert np.array_equal(mine.level, theirs.level)
    assert np.array_equal(mine.low, theirs.low)


def test_a_state_dict_holds_all_of_it(head: PlanResponse) -> None:
    other = PlanResponse(known=3, in_features=5, minutes=MINUTES, width=8)
    with pytest.raises(ConfigError, match="Nothing was learned yet"):
        _ = other.law
    other.load_state_dict(head.state_dict())
    assert {name: value.tolist() for name, value in other.law.arrays().items()} == {
        name: value.tolist() for name, value in head.law.arrays().items()
    }


def test_the_decoder_moves_all_plans_alike(head: PlanResponse) -> None:
    told, asked = lives(seed=2), plans()
    numbers = head.law.own(told, told.person)
    course = head.law.courses(numbers, told, asked)
    said = np.random.default_rng(0).normal(size=(2, 2, 1 + len(head.levels)))
    under = quantiles(course, said)
    assert under.shape == (2, 2, 2, 1 + len(head.levels))
    effect = (under[:, 0] - under[:, 1])[..., 0]
    assert effect == pytest.approx(course[:, 0] - course[:, 1], abs=1e-9)
    assert (np.abs(effect) > 1).all()


def test_what_is_trained_is_counted(head: PlanResponse) -> None:
    weights = sum(value.numel() for value in head.decoder.parameters())
    assert head.trainable > weights
    assert all(value.requires_grad for value in head.parameters())


@pytest.mark.parametrize("minutes", [[], [7], [60, 30], [30, 30]])
def test_minutes_must_rise_in_steps(minutes: list[int]) -> None:
    with pytest.raises(ConfigError, match="rising minutes"):
        PlanResponse(known=3, minutes=minutes)


def test_a_head_without_a_sensor_gap_learns_from_every_third_reading() -> None:
    whole = lives(seed=0)
    every_third = np.where(np.arange(600) % 3 == 0, whole.glucose_mg_dl, np.nan)
    coarse = Lives(**{**vars(whole), "glucose_mg_dl": every_third})
    law = MealResponse(minutes=MINUTES)
    law.learn(coarse, Lives(**{**vars(lives(seed=1)), "glucose_mg_dl": lives(seed=1).glucose_mg_dl}))
    asked, numbers = plans(), law.own(coarse, coarse.person)
    effect = np.diff(law.courses(numbers, coarse, asked), axis=1)
    fine = MealResponse(minutes=MINUTES)
    fine.learn(whole, lives(seed=1))
    wanted = np.diff(fine.courses(fine.own(whole, whole.person), whole, asked), axis=1)
    assert effect == pytest.approx(wanted, abs=0.25 * np.abs(wanted).max())
    assert torch.isfinite(torch.from_numpy(effect)).all()
