"""The share of the law's effect that a record shows, where it is known: by people whom a known part of it moves."""

import numpy as np
import pytest

from hdt_fm.cli.plan_evidence import evidence_of
from hdt_fm.heads.meal_response import MealResponse
from hdt_fm.layers import meal_law
from hdt_fm.schema.lives import Lives
from hdt_fm.twin.what_if.evidence import own_share

MINUTES = (60, 120, 240)
DAYS = 30
START = np.array([meal_law.START[name] for name in meal_law.NUMBERS])


@pytest.fixture(scope="module")
def law() -> MealResponse:
    """One whose numbers are everybody's, so surely that no record moves them."""
    learned = {
        "basal_center": np.array(0.0),
        "by_trait": np.stack([START, np.zeros_like(START)]),
        "spread": 1e-12 * np.eye(len(START)),
        "noise": np.array(10.0),
        "memory": np.array(0.9),
        "repeats": np.array(1.0),
        "share": np.array(1.0),
        "level_sd": np.ones(len(MINUTES)),
        "effect_sd": np.full((2, len(MINUTES)), 0.1),
    }
    return MealResponse.of(learned, minutes=MINUTES)


def record(true: float, minutes_ahead: int, days: int = DAYS) -> Lives:
    """Three meals a day, dosed for so long before; the law's effect comes by this part of it, and 3 mg/dL of noise."""
    generator = np.random.default_rng(0)
    units, grams = np.zeros((1, days * 288)), np.zeros((1, days * 288))
    for day in range(days):
        for hour in (7, 12, 18):
            step = day * 288 + hour * 12 + int(generator.integers(-6, 7))
            grams[0, step + minutes_ahead // 5] = meal = 55 * np.exp(0.4 * generator.normal())
            units[0, step] = meal / 12 * np.exp(0.3 * generator.normal())
    numbers = START[None]
    with_them, without = (meal_law.play(numbers, part * units.T, part * grams.T)[:-1].T for part in (1.0, 0.0))
    glucose = without + true * (with_them - without) + 3 * generator.normal(size=units.shape)
    return Lives(
        person=np.zeros(1, dtype=np.int64),
        glucose_mg_dl=glucose,
        bolus_units=units,
        carbs_g=grams,
        basal_units_per_hour=np.ones(1),
    )


@pytest.mark.parametrize("minutes_ahead", [0, 10])
@pytest.mark.parametrize("true", [1.0, 0.5, 0.0])
def test_the_share_is_what_the_record_shows(law: MealResponse, true: float, minutes_ahead: int) -> None:
    """None where glucose does not move: the law alone shows nothing."""
    found = own_share(evidence_of(law, record(true, minutes_ahead)))
    assert found.share == pytest.approx(true, abs=0.15)
    assert found.low <= true + 0.1
    assert found.high >= true - 0.1


def test_rows_stand_in_order_of_time_and_only_where_readings_are(law: MealResponse) -> None:
    whole = record(1.0, 0, days=10)
    found = evidence_of(law, whole)
    assert (np.diff(found.day) >= 0).all()
    assert len(found.day) == (whole.carbs_g[0, :-48] > 0).sum()
    gone = whole.glucose_mg_dl.copy()
    gone[:, : 4 * 288] = np.nan
    less = evidence_of(law, Lives(**{**vars(whole), "glucose_mg_dl": gone}))
    assert len(less.day) == (whole.carbs_g[0, 4 * 288 : -48] > 0).sum()
