"""The worst class within a span: by hand, with gaps, and where it is not asked."""

import numpy as np
import pytest

from hdt_fm.schema.series import Series
from hdt_fm.signal.moments import moments_of
from hdt_fm.signal.severity import severity_within

STEP, START, PLACE = 300.0, 1_700_006_400.0, 60
LOW = (lambda values: values < 70, lambda values: values < 54)
HIGH = (lambda values: values > 180, lambda values: values > 250)


def told(at, unread=()):
    """Classes at `PLACE`, half an hour and an hour ahead, of a course of 100 mg/dL with these readings in it."""
    values, seen = np.full(120, 100.0, dtype=np.float32), np.ones(120, dtype=bool)
    seen[list(unread)] = False
    for place, value in at.items():
        values[PLACE + place] = value
    one = Series(values, seen, STEP, START, 0, 0)
    moments = moments_of([one], context_s=3600.0, horizons_s=(1800.0, 3600.0))
    found = severity_within(moments, [one], (LOW, HIGH))
    assert found.shape == (len(moments), 2, 2)
    return found[moments.place == PLACE][0]


@pytest.mark.parametrize(
    ("at", "low", "high"),
    [
        ({}, [0, 0], [0, 0]),
        ({1: 69}, [1, 1], [0, 0]),
        ({3: 65, 6: 50}, [2, 2], [0, 0]),
        ({3: 65, 7: 50}, [1, 2], [0, 0]),
        ({2: 50, 9: 65, 10: 181}, [2, 2], [0, 1]),
        ({12: 251, 13: 40}, [0, 0], [0, 2]),
        ({-1: 50}, [0, 0], [0, 0]),
    ],
)
def test_the_worst_reading_of_the_span_counts(at, low, high):
    assert told(at).T.tolist() == [low, high]


def test_what_is_there_now_is_not_asked():
    found = told({0: 65, 3: 50, 4: 260})
    assert np.isnan(found[:, 0]).all()
    assert found[:, 1].tolist() == [2, 2]


def test_a_worse_grade_may_have_passed_unread():
    """Half of the readings are missing: a mild low was seen, a severe one may have been missed; a severe one is one."""
    gap = range(PLACE + 3, PLACE + 10)
    assert np.isnan(told({1: 65}, gap)[:, 0]).all()
    assert told({1: 50}, gap)[:, 0].tolist() == [2, 2]
    # Half an hour holds too few readings even to say none; the hour too.
    assert np.isnan(told({}, gap)).all()
