"""How likely quantiles say an event is: by hand, and against normal quantiles."""

from statistics import NormalDist

import numpy as np
import pytest

from hdt_fm.metrics.events import EVENTS, Event, risk_of

LOW = Event("low", 100.0, below=True)
LEVELS = tuple(np.round(np.arange(0.1, 0.95, 0.1), 1).tolist())


def test_risk_follows_the_quantiles():
    quantiles = np.array([[80.0, 100.0, 120.0], [200.0, 220.0, 240.0]])
    risk = risk_of(quantiles, (0.1, 0.5, 0.9), LOW)
    assert risk[0] == pytest.approx(0.5)
    assert 0 < risk[1] < 0.01
    high = risk_of(quantiles, (0.1, 0.5, 0.9), Event("high", 230.0, below=False))
    assert high[1] == pytest.approx(0.3)


@pytest.mark.parametrize("threshold", [60.0, 100.0, 119.0, 140.0, 161.0, 200.0])
def test_it_is_near_the_distribution_that_the_quantiles_are_of(threshold):
    normal = NormalDist(140.0, 25.0)
    quantiles = np.array([[normal.inv_cdf(level) for level in LEVELS]])
    below = risk_of(quantiles, LEVELS, Event("below", threshold, below=True))
    above = risk_of(quantiles, LEVELS, Event("above", threshold, below=False))
    assert below[0] == pytest.approx(normal.cdf(threshold), abs=0.02)
    assert below + above == pytest.approx(1.0)


def test_it_rises_with_the_threshold_and_ends_at_0_and_1():
    quantiles = np.array([[80.0, 100.0, 120.0]])
    ladder = np.arange(-300.0, 500.0, 10.0).tolist()
    found = [risk_of(quantiles, (0.1, 0.5, 0.9), Event("x", at, below=True))[0] for at in ladder]
    assert np.all(np.diff(found) >= 0)
    assert (found[0], found[-1]) == pytest.approx((0.0, 1.0), abs=1e-6)
    # Equal quantiles are no division by nothing.
    assert risk_of(np.full((1, 3), 90.0), (0.1, 0.5, 0.9), LOW)[0] == pytest.approx(1.0, abs=1e-6)


def test_an_event_is_beyond_its_threshold_and_not_at_it():
    below, above = EVENTS["glucose"]
    values = np.array([69.9, 70.0, 180.0, 180.1])
    assert below.of(values).tolist() == [True, False, False, False]
    assert above.of(values).tolist() == [False, False, False, True]
