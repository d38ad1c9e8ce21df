"""Records that stop coming: the ratio by hand, the bound, and people who log as people do."""

import json
import math

import numpy as np
import pytest

from hdt_fm.twin.drift.silence import Silence


def learned(counts: list[int], per_year: float = 0.1) -> Silence:
    one = Silence(per_year=per_year)
    for count in counts:
        assert not one.add(count)
    return one


def test_the_ratio_by_hand():
    one = learned([2, 4] * 14)
    one.add(0)
    # Usual 3 a day; days differ by 28/27 of a squared record, of which a Poisson count would have 3.
    assert one.height == pytest.approx(0.8 * 3 / 0.5)
    one.add(4)
    assert one.height == pytest.approx(max(0.0, 4.8 + (4 * math.log(0.2) + 2.4) / 0.5))
    assert one.limit == pytest.approx(math.log(3652.5))


def test_who_logs_regularly_is_missed_after_two_days_and_who_logs_wildly_later():
    for counts, days in (([3, 3, 4, 3] * 7, 2), ([0, 0, 6, 8] * 7, 12)):
        one = learned(counts)
        waited = 1
        while not one.add(0):
            waited += 1
        assert waited == days
        assert one.days == days


def test_false_alarms_stay_within_the_bound():
    draw = np.random.default_rng(0)
    alarms = days = 0
    for _ in range(20):
        one = learned(draw.poisson(3.0, 28).tolist(), per_year=1.0)
        for count in draw.poisson(3.0, 365).tolist():
            days += 1
            if one.add(count):
                alarms += 1
                one.height = 0.0
    assert alarms / (days / 365.25) < 1.0


def test_a_record_that_hardly_ever_came_is_not_missed():
    one = learned([0, 0, 0, 1] * 7)
    assert not any(one.add(0) for _ in range(400))


def test_it_goes_on_from_its_state_and_learns_anew():
    one, other = learned([3] * 28), Silence(per_year=0.1)
    one.add(0)
    other.restore(json.loads(json.dumps(one.state())))
    assert one.add(0) == other.add(0)
    assert other.height == one.height
    other.clear()
    assert other.state() == Silence(per_year=0.1).state()
