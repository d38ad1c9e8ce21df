"""The usual: hand numbers, its past alone, and what it keeps."""

import json

import numpy as np
import pytest

from hdt_fm.schema.errors import ConfigError
from hdt_fm.twin.drift.usual import KEPT, LAG_DAYS, LEARN_DAYS, MOST_SDS, Usual


def told(values: list[float]) -> list[float]:
    one = Usual(("x",))
    return [one.add({"x": value})["x"] for value in values]


def test_own_sds_by_hand():
    first = [float(value) for value in range(LEARN_DAYS)]
    found = told([*first, 20.0, np.nan, 90.0])
    assert np.isnan(found[:LEARN_DAYS]).all()
    past = np.arange(28.0)
    # Places .05, .25, .75, .95 of 27 are 1, 7, 20, 26.
    level, spread = np.clip(past, 1, 26).mean(), max(13 / 1.349, 0.7 * past.std())
    assert found[28] == pytest.approx((20 - level) / spread)
    assert np.isnan(found[29])
    assert found[30] == MOST_SDS


def test_a_day_is_judged_by_days_that_are_old():
    draw = np.random.default_rng(0)
    values = draw.normal(size=80).tolist()
    other = values.copy()
    other[50:] = [value + 9 for value in values[50:]]
    first, second = told(values), told(other)
    assert first[:50] == pytest.approx(second[:50], nan_ok=True)
    # What came at 50 makes nothing usual for two weeks.
    by_hand = Usual(("x",))
    for value in values[:50]:
        by_hand.add({"x": value})
    assert second[50 + LAG_DAYS - 1] == MOST_SDS
    assert first[49] == pytest.approx(told(values[: 49 - LAG_DAYS] + [0.0] * LAG_DAYS + [values[49]])[49])


def test_what_is_kept_does_not_grow_and_can_be_written_down():
    draw = np.random.default_rng(1)
    one = Usual(("x", "y"))
    for value in draw.normal(size=150):
        one.add({"x": float(value)})
    kept = json.loads(json.dumps(one.state()))
    assert len(kept["days"]) == one.kept == KEPT
    other = Usual(("x", "y"))
    other.restore(kept)
    assert other.add({"x": 1.0})["x"] == one.add({"x": 1.0})["x"]
    one.keep(30)
    assert one.learned
    assert one.state()["days"] == kept["days"][-29:] + one.state()["days"][-1:]
    one.keep(0)
    assert not one.learned


def test_a_number_that_a_file_lacks_was_not_known():
    draw = np.random.default_rng(2)
    old, new = Usual(("gone", "x")), Usual(("x", "y"))
    for value in draw.normal(size=40):
        old.add({"x": float(value), "gone": 1.0})
    new.restore(json.loads(json.dumps(old.state())))
    told = new.add({"x": 0.4, "y": 3.0})
    assert told["x"] == old.add({"x": 0.4})["x"]
    assert np.isnan(told["y"])


def test_other_numbers_speak():
    with pytest.raises(ConfigError, match="is of other numbers"):
        Usual(("x",)).restore(Usual(("y",)).state())
