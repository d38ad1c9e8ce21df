"""What still acts, and what is planned, by hand."""

import numpy as np
import pytest

from hdt_fm.schema.series import Series
from hdt_fm.signal.moments import moments_of
from hdt_fm.signal.treatments import DECAYS_S, RATE_SPANS_S, acting, planned

STEP, START = 300.0, 1_000_000 * 300.0
HORIZONS = (1800.0, 3600.0, 7200.0)


def glucose(subject=0):
    values = np.linspace(90, 200, 600).astype(np.float32)
    return Series(values, np.ones(600, dtype=bool), STEP, START, subject, subject, utc_offset_s=3600.0)


def treatment(doses, size=600, start_s=START, subject=0, observed=None):
    values = np.zeros(size, dtype=np.float32)
    for place, amount in doses.items():
        values[place] = amount
    seen = np.ones(size, dtype=bool) if observed is None else observed
    return Series(np.where(seen, values, 0).astype(np.float32), seen, STEP, start_s, subject, subject)


@pytest.fixture
def moments():
    return moments_of([glucose()], context_s=3 * 3600.0, horizons_s=HORIZONS)


def test_amounts_decay(moments):
    found = acting(moments, {"bolus": [treatment({100: 4.0})]})
    after = (moments.place - 100) * STEP
    for column, span in enumerate(DECAYS_S):
        assert np.allclose(found[:, column], np.where(after >= 0, 4 * np.exp(-after / span), 0), atol=1e-6)
    assert np.allclose(found[:, 4], 4.0 * ((after >= 0) & (after < 1800)))
    assert np.allclose(found[:, 5], 4.0 * ((after >= 0) & (after < 86_400)))


def test_rates_are_means_over_what_is_known(moments):
    rate = Series(np.full(600, 0.8, dtype=np.float32), np.ones(600, dtype=bool), STEP, START, 0, 0)
    assert np.allclose(acting(moments, {"insulin_rate": [rate]}), 0.8)


def test_treatments_stand_in_order_of_name_whatever_the_order_they_came_in(moments):
    one, other = [treatment({90: 1.0})], [treatment({95: 30.0})]
    assert np.array_equal(
        acting(moments, {"carbs": other, "bolus": one}), acting(moments, {"bolus": one, "carbs": other})
    )
    assert acting(moments, {"carbs": other, "bolus": one})[:, len(RATE_SPANS_S) + 5].max() == 30


def test_unknown_is_not_zero(moments):
    seen = np.zeros(600, dtype=bool)
    seen[200:300] = True
    found = acting(moments, {"bolus": [treatment({}, observed=seen)]})
    inside = (moments.place >= 200) & (moments.place < 300)
    assert np.array_equal(found[inside], np.zeros((inside.sum(), 6)))
    assert np.isnan(found[~inside]).all()
    assert np.isnan(acting(moments, {"bolus": [treatment({100: 4.0}, subject=1)]})).all()
    assert acting(moments, {}).shape == (len(moments), 0)


def test_nothing_later_is_read_and_the_grids_need_not_meet(moments):
    # A treatment's grid that lies two minutes off: what it holds at a place was given by then.
    off = {"bolus": [treatment({100: 4.0}, start_s=START + 120.0)]}
    found = acting(moments, off)[:, 5]
    assert (found[moments.place <= 100] == 0).all()
    assert (found[(moments.place > 100) & (moments.place < 300)] == 4).all()


def test_a_plan_is_what_is_taken_between_horizons(moments):
    doses = {100: 1.0, 103: 2.0, 108: 4.0, 115: 8.0, 130: 16.0}
    found = planned(moments, {"bolus": [treatment(doses)]})
    for row, place in enumerate(moments.place):
        for column, (low, high) in enumerate(((0, 6), (6, 12), (12, 24))):
            hand = sum(amount for at, amount in doses.items() if place + low < at <= place + high)
            if place + high < 600:
                assert found[row, column] == hand
            else:
                assert np.isnan(found[row, column])
