"""Doses and effects as a dose head tells them, and credit of a day by hand."""

import math

import numpy as np
import pytest
import torch

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.targets.exposure import DoseTarget, LearnedLaw
from hdt_fm.heads.exposure_dose import ExposureDose
from hdt_fm.layers.accumulators import leaky_by_step
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ExplainError, UnknownNameError
from hdt_fm.schema.series import DAY_S
from hdt_fm.twin.state.exposures import Exposed
from hdt_fm.twin.state.exposures_parts import by_age

NAMES, DAYS, PEOPLE = ("sound", "light", "temp", "pressure", "altitude"), 60, 4
NUMBERS = 5 + 5 + 7


def plain() -> dict[str, object]:
    """All five forms, and a pair."""
    return {
        "format": 1,
        "exposures": list(NAMES),
        "forms": ["hinge", "line", "ramp", "bent", "below"],
        "pairs": [["sound", "temp"]],
        "season": "shared",
        "enough": 0.001,
        "people": 30,
        "noise": 1.0,
        "misfit": 0.5,
        "log_tau": [math.log(one) for one in (3.0, 10.0, 20.0, 1.0, 7.0)],
        "knots": [0.2, -0.3, 0.6, 0.1, 0.0],
        "slopes": [2.0, -1.0, 3.0, 0.5, 1.5, -2.5, 0.7],
        "spread": np.eye(NUMBERS).tolist(),
        "held": [False] * NUMBERS,
        "middle": [0.1, 0.0, 0.2, -0.1, 0.0],
        "chance": [0.01] * 5,
        "unseen": [0.1] * 5,
    }


def courses(seed: int = 0) -> np.ndarray:
    draws = np.random.default_rng(seed)
    found = draws.normal(0, 1.5, (PEOPLE, len(NAMES), DAYS)) + draws.normal(0, 1, (PEOPLE, len(NAMES), 1))
    found[draws.random(found.shape) < 0.2] = np.nan
    return found


def batch_of(found: np.ndarray) -> Batch:
    seen = np.isfinite(found)
    signals = {
        name: Signal(
            torch.from_numpy(np.nan_to_num(found[:, place]))[:, None], torch.from_numpy(seen[:, place]), 1 / 86400
        )
        for place, name in enumerate(NAMES)
    }
    rows = torch.arange(len(found))
    return Batch(NAMES, signals, torch.from_numpy(seen.any(2)), rows, rows.double(), rows)


@pytest.fixture
def target() -> DoseTarget:
    return DoseTarget(LearnedLaw.of(plain()))


def test_doses_and_effects_are_the_heads(target: DoseTarget) -> None:
    head, found = ExposureDose.of(plain()), courses()
    doses, _ = head.dose(found)
    effects, _ = head.effect(found)
    got = target(batch_of(found)).numpy()
    assert np.ptp(effects.value[:, -1]) > 1
    np.testing.assert_allclose(got[:, 1:], doses.value[..., -1], atol=1e-9)
    np.testing.assert_allclose(got[:, 0], effects.value[:, -1], atol=1e-9)


def test_credit_of_a_day_for_a_dose_is_its_share_of_all_that_is_left(target: DoseTarget) -> None:
    found = courses()
    batch = batch_of(found)
    made = attribute(target, batch, target=2, methods=("integrated_gradients",), reference="zero", steps=8)
    left = np.where(np.isfinite(found[:, 1]), np.exp(-np.arange(DAYS - 1, -1, -1) / 10.0), 0.0)
    want = np.nan_to_num(found[:, 1]) * left / left.sum(1, keepdims=True)
    credit = made.find("integrated_gradients").values
    np.testing.assert_allclose(credit["light"][:, 0], want, atol=1e-6)
    assert np.abs(credit["sound"]).max() == 0
    np.testing.assert_allclose(credit["light"].sum((1, 2)), made.output, atol=1e-6)


def test_credit_of_an_effect_adds_up(target: DoseTarget) -> None:
    made = attribute(target, batch_of(courses()), target=0, methods=("integrated_gradients",), steps=64)
    delta = made.find("integrated_gradients").delta
    assert delta is not None
    assert delta.max() < 0.02 * np.abs(made.output - made.reference_output).max()


def test_what_was_never_seen_does_nothing(target: DoseTarget) -> None:
    batch = batch_of(courses())
    with torch.no_grad():
        none = target(batch.without(torch.zeros_like(batch.present)))
        gone = target(batch.over(NAMES[1:]))
    assert none[:, 0].tolist() == [0.0] * PEOPLE
    assert none[0, 1:].tolist() == plain()["middle"]
    assert gone[:, 1].tolist() == [0.1] * PEOPLE


def test_words_that_do_not_fit() -> None:
    with pytest.raises(UnknownNameError, match="wave"):
        LearnedLaw.of({**plain(), "forms": ["wave", "line", "ramp", "bent", "below"]})
    batch = batch_of(courses())
    two = Signal(torch.zeros(PEOPLE, 2, DAYS), batch.signals["sound"].observed, 1 / 86400)
    strange = Batch(("sound",), {"sound": two}, batch.present[:, :1], batch.subject, batch.time_s, batch.window_id)
    with pytest.raises(ExplainError, match="one channel"):
        DoseTarget(LearnedLaw.of(plain()))(strange)


def test_parts_of_the_law_are_what_the_target_says_of_each_exposure_alone(target: DoseTarget) -> None:
    """What `hdt-fm twin show` tells, by the law's own parts, and what is attributed in torch: one and the same."""
    found, law, learned = courses(3), ExposureDose.of(plain()).law, ExposureDose.of(plain()).learned
    with torch.no_grad():
        got = target(batch_of(found)).numpy()
    parts = law.parts(got[:, 1:], learned.middle, learned.fitted.knots, learned.fitted.slopes)
    np.testing.assert_allclose(parts.sum(axis=1), got[:, 0], atol=1e-9)

    def alone(*places: int) -> np.ndarray:
        """A course that stays at the middle dose has it; those of these places are as they were."""
        course = np.repeat(np.repeat(learned.middle[None, :, None], PEOPLE, axis=0), DAYS, axis=2)
        course[:, places] = found[:, places]
        with torch.no_grad():
            out: np.ndarray = target(batch_of(course)).numpy()[:, 0]
        return out

    for place in range(len(NAMES)):
        np.testing.assert_allclose(parts[:, place], alone(place), atol=1e-9)
    np.testing.assert_allclose(parts[:, -1], alone(0, 2) - alone(0) - alone(2), atol=1e-9)
    assert np.abs(parts).max(axis=0).min() > 0.05


def test_parts_of_a_dose_by_age_are_the_credit_of_its_days(target: DoseTarget) -> None:
    found = courses()
    made = attribute(target, batch_of(found), target=2, methods=("integrated_gradients",), reference="zero", steps=8)
    credit = made.find("integrated_gradients").values["light"][:, 0]
    for person in range(PEOPLE):
        last = int(np.flatnonzero(np.isfinite(found[person, 1]))[-1])
        held = leaky_by_step(found[person, 1, :last], np.array([10.0])).arrays()
        kept = Exposed(
            "temperature", last, found[person, 1, last] * DAY_S, float(DAY_S), 0.0, 0.0, found[person, 1, :last]
        )
        ages = by_age(kept, DAYS - 1, 10.0, float(held["total"][-1, 0]), float(held["mass"][-1, 0]))
        want = [part.sum() for part in np.split(credit[person, ::-1], (1, 7))]
        np.testing.assert_allclose(ages.value, want, atol=1e-6)
