"""The meal law with slopes: the courses that a what-if plays, and what an effect rests on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.targets.meal_law import NUMBERS
from hdt_fm.explain.targets.plan import BASAL_MEAN, PlanTarget
from hdt_fm.layers import meal_law
from hdt_fm.layers.meal_courses import boards, courses
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ExplainError
from hdt_fm.schema.lives import Lives, Plans

MINUTES, SHARE, NOW = (30, 60, 120), 0.6, 100
STEPS, TIME = 24, 124
WHO = (7, 4, 9)


def numbers(people: int = 3, seed: int = 0) -> np.ndarray:
    start = np.array([meal_law.START[name] for name in meal_law.NUMBERS])
    return start + 0.1 * np.random.default_rng(seed).normal(size=(people, len(start)))


def lives(seed: int = 0) -> Lives:
    """Three people; the newest reading of the second is 10 minutes old, and the third has none for an hour."""
    draws = np.random.default_rng(seed)
    carbs, bolus = np.zeros((3, TIME)), np.zeros((3, TIME))
    carbs[:, 20:NOW:60] = draws.uniform(20, 60, (3, 2))
    bolus[:, 19:NOW:60] = draws.uniform(2, 6, (3, 2))
    glucose = 130 + 20 * draws.normal(size=(3, TIME))
    glucose[1, NOW - 1 : NOW + 1] = glucose[2, NOW - 12 : NOW + 1] = np.nan
    change = draws.normal(0, 0.02, (3, TIME))
    change[:, NOW:] = 0.0
    basal = np.array([0.8, 1.0, 1.2])
    return Lives(
        person=np.array(WHO),
        glucose_mg_dl=glucose,
        bolus_units=bolus,
        carbs_g=carbs,
        basal_units_per_hour=basal,
        basal_change_units=change,
    )


def tables() -> tuple[np.ndarray, np.ndarray]:
    """The plan and the other: U and g of each step."""
    plan, other = np.zeros((2, STEPS)), np.zeros((2, STEPS))
    plan[0, 0], plan[1, 2], other[0, 3] = 5.0, 40.0, 1.0
    return plan, other


def batch_of(record: Lives, plan: np.ndarray) -> Batch:
    """What was taken up to now, and the plan from there on."""
    taken = np.stack([record.bolus_units, record.carbs_g])
    taken[:, :, NOW:] = plan[:, None]
    known = np.isfinite(record.glucose_mg_dl) & (np.arange(TIME) <= NOW)
    assert record.basal_change_units is not None
    rate = 12 * record.basal_change_units + record.basal_units_per_hour[:, None]
    every, now = np.ones((3, TIME), dtype=bool), np.broadcast_to(np.arange(TIME) < NOW, (3, TIME)).copy()
    of = {
        "glucose": (record.glucose_mg_dl, known),
        "bolus": (taken[0], every),
        "carbs": (taken[1], every),
        "insulin_rate": (rate, now),
    }
    signals = {
        name: Signal(torch.from_numpy(np.nan_to_num(values))[:, None], torch.from_numpy(seen), 1 / 300)
        for name, (values, seen) in of.items()
    }
    rows = torch.tensor(WHO)
    labels = {BASAL_MEAN: torch.from_numpy(record.basal_units_per_hour)}
    return Batch(
        tuple(signals), signals, torch.ones(3, 4, dtype=torch.bool), torch.tensor(WHO), rows.double(), rows, labels
    )


def target_of(other: np.ndarray) -> PlanTarget:
    return PlanTarget(torch.from_numpy(numbers()), WHO, share=SHARE, minutes=MINUTES, against=torch.from_numpy(other))


def test_an_effect_is_the_one_that_a_what_if_plays() -> None:
    record, (plan, other) = lives(), tables()
    both = np.stack([plan, other])
    asked = Plans(
        life=np.arange(3),
        time=np.full(3, NOW),
        units=np.repeat(both[None, :, 0], 3, axis=0),
        grams=np.repeat(both[None, :, 1], 3, axis=0),
        contrasts=((0, 1),),
        minutes=MINUTES,
    )
    course = courses(numbers(), record, boards(numbers(), record), asked, SHARE)
    want = course[:, 0] - course[:, 1]
    got = target_of(other)(batch_of(record, plan)).numpy()
    assert np.abs(want).min() > 1
    np.testing.assert_allclose(got, want, atol=1e-3)
    assert NUMBERS == meal_law.NUMBERS


def test_a_plan_against_itself_changes_nothing() -> None:
    plan, _ = tables()
    assert target_of(plan)(batch_of(lives(), plan)).abs().max() == 0


def test_slopes_are_the_numeric_ones() -> None:
    plan, other = tables()
    batch, target = batch_of(lives(), plan), target_of(other)

    def effect(name: str, values: torch.Tensor) -> torch.Tensor:
        signals = {**batch.signals, name: replace(batch.signals[name], values=values)}
        return target(replace(batch, signals=signals))[0, 2]

    for name, places in (("bolus", (19, 79, NOW)), ("carbs", (80, NOW + 2)), ("glucose", (NOW,))):
        values = batch.signals[name].values.requires_grad_()
        (slope,) = torch.autograd.grad(effect(name, values), values)
        for place in places:
            step = torch.zeros_like(values)
            step[0, 0, place] = 1e-4
            numeric = ((effect(name, values + step) - effect(name, values - step)) / 2e-4).item()
            assert slope[0, 0, place].item() == pytest.approx(numeric, abs=1e-5), (name, place)


def test_entries_of_the_plan_have_their_sign_and_all_adds_up() -> None:
    plan, _ = tables()
    # Against zero, which is nothing taken; readings and basal rates of zero are no body's.
    batch = batch_of(lives(), plan).over(("bolus", "carbs"))
    target = target_of(np.zeros((2, STEPS)))
    found = attribute(target, batch, target=1, methods=("integrated_gradients",), reference="zero", steps=16, path=0)
    change = found.output - found.reference_output
    assert np.abs(found.reference_output).max() < 1e-9
    made = found.find("integrated_gradients")
    assert made.delta is not None
    assert (made.delta <= 0.005 * np.abs(change)).all()
    assert (made.values["bolus"][:, 0, NOW] < 0).all()
    assert (made.values["carbs"][:, 0, NOW + 2] > 0).all()
    # What was taken before moves both courses, and so the difference little.
    before = sum(np.abs(made.values[name][:, 0, :NOW]).sum(1) for name in ("bolus", "carbs"))
    planned = sum(np.abs(made.values[name][:, 0, NOW:]).sum(1) for name in ("bolus", "carbs"))
    assert (before < 0.5 * planned).all()


def test_records_that_do_not_fit() -> None:
    plan, other = tables()
    batch, target = batch_of(lives(), plan), target_of(other)
    strange = replace(batch, window_id=torch.tensor([7, 4, 1]))
    with pytest.raises(ExplainError, match="no numbers for a window"):
        target(strange)
    coarse = {**batch.signals, "carbs": replace(batch.signals["carbs"], sampling_rate_hz=1 / 900)}
    with pytest.raises(ExplainError, match="one each 15 min"):
        target(replace(batch, signals=coarse))
    short = {
        name: replace(s, values=s.values[..., :20], observed=s.observed[:, :20]) for name, s in batch.signals.items()
    }
    with pytest.raises(ExplainError, match="no record before it"):
        target(replace(batch, signals=short))
