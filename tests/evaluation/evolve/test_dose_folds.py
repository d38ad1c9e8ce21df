"""Folds of people on real outcomes: a share in closed form, people on one side, floors where there is room for them."""

import numpy as np
import pytest

from hdt_fm.evaluation.evolve.dose import DoseModel, Followed, Told
from hdt_fm.evaluation.evolve.dose_folds import LEAST_PEOPLE, METRIC, OURS, explained
from hdt_fm.schema.errors import SplitError

PEOPLE = 12


def world(days, seed=0, noise=1.0):
    """The outcome is the day's exposure, a level of each person's own, a season, and noise of a known size."""
    rng = np.random.default_rng(seed)
    exposures = rng.normal(size=(PEOPLE, 1, days))
    day = rng.integers(0, 365, (PEOPLE, 1)) + np.arange(days, dtype=np.float64)
    season = 3 * np.cos(2 * np.pi * day / 365.25)
    outcome = 5 * rng.normal(size=(PEOPLE, 1)) + season + exposures[:, 0] + noise * rng.normal(size=(PEOPLE, days))
    return Followed(exposures, outcome, day)


def saying(factor):
    return DoseModel(lambda train: Told(lambda exposures, day: factor * exposures[:, 0], 1), "ours")


def share(result, model=OURS):
    return result.find(model, METRIC)


@pytest.mark.parametrize(("factor", "noise"), [(1.0, 1.0), (1.0, 2.0), (0.5, 1.0), (-1.0, 1.0)])
def test_the_share_is_that_of_the_closed_form(factor, noise):
    found = explained("y", world(250, noise=noise), saying(factor), group=np.arange(PEOPLE))
    row = share(found)
    # Of an outcome with variance 1 + noise^2, f x misses (1 - f)^2 + noise^2.
    assert row.value == pytest.approx(100 * (1 - ((1 - factor) ** 2 + noise**2) / (1 + noise**2)), abs=4, rel=0.05)
    assert row.low < row.value < row.high
    assert row.n == PEOPLE
    # The day itself is what acts: the floor that has it is as good as can be, that of a month knows little.
    assert share(found, "same day").value == pytest.approx(100 / (1 + noise**2), abs=4)
    assert share(found, "30-day mean").value < 10
    assert share(found, "same day").columns["ours_minus_this"] == pytest.approx(
        row.value - share(found, "same day").value
    )


def test_a_model_that_says_nothing_explains_nothing_where_floors_stand_beside():
    silent = DoseModel(lambda train: Told(lambda exposures, day: np.full(day.shape, np.nan), 0), "ours")
    assert share(explained("y", world(250), silent, group=np.arange(PEOPLE))).value == pytest.approx(0, abs=1e-9)


def test_nobody_who_is_asked_has_taught():
    followed, taught, asked = world(250), [], []

    def fit(train):
        taught.append({float(one) for one in train.day[:, 0]})
        return Told(lambda exposures, day: asked.append({float(one) for one in day[:, 0]}) or exposures[:, 0], 1)

    group = np.repeat(np.arange(PEOPLE // 2), 2)
    explained("y", followed, DoseModel(fit, "ours"), group=group, folds=3)
    assert len(taught) == len(asked) == 3
    pairs = [set(followed.day[group == one, 0].tolist()) for one in np.unique(group)]
    for train, test in zip(taught, asked, strict=True):
        assert not train & test
        assert all(pair <= train or pair <= test for pair in pairs)


def test_a_short_record_has_no_floors_and_no_days_of_which_ours_cannot_know():
    followed = world(100)

    def half(exposures, day):
        return np.where(np.arange(100) < 50, np.nan, exposures[:, 0])

    found = explained("y", followed, DoseModel(lambda train: Told(half, 1), "ours"), group=np.arange(PEOPLE))
    assert [row.model for row in found.rows] == [OURS]
    assert found.protocol["days"] == PEOPLE * 50
    assert share(found).value == pytest.approx(50, abs=7)
    assert len(explained("y", followed, saying(1.0), group=np.arange(PEOPLE), folds=LEAST_PEOPLE).rows) == 1


def test_fewer_people_than_folds_are_refused():
    with pytest.raises(SplitError, match="cannot be dealt"):
        explained("y", world(40), saying(1.0), group=np.arange(PEOPLE), folds=PEOPLE + 1)
