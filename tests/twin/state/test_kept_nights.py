"""Nights that a twin keeps: in order, each once, two years of them."""

import numpy as np
import pytest

from hdt_fm.twin.alert.report import watch
from hdt_fm.twin.alert.settings import AlertSettings
from hdt_fm.twin.nights.night import Nights
from hdt_fm.twin.state.kept_nights import MOST, with_nights
from hdt_fm.twin.state.tracks import Counts

FIRST = np.datetime64("2026-01-01")


def nights(places, values=None, names=("resting_heart_rate",), devices=None):
    values = 60.0 + np.asarray(places, dtype=np.float64) % 7 if values is None else np.asarray(values, dtype=np.float64)
    return Nights(FIRST + np.asarray(places), values.reshape(len(places), -1), names, devices)


def test_newer_ones_are_added_and_the_newest_is_taken_again():
    kept, counts = with_nights(None, nights([0, 1, 3], [60, 61, 50]))
    assert counts == Counts(new=3)
    # The night of day 3 was cut short; day 1 is told otherwise, day 2 came too late, day -1 is before all.
    found, counts = with_nights(kept, nights([-1, 0, 1, 2, 3, 4], [59, 60, 90, 62, 63, 64]))
    assert counts == Counts(new=1, known=1, differing=1, late=1, before=1)
    assert ((found.dates - FIRST).astype(int)).tolist() == [0, 1, 3, 4]
    assert found.values[:, 0].tolist() == [60, 61, 63, 64]


def test_another_indicator_and_a_device():
    kept, _ = with_nights(None, nights([0, 1]))
    found, _ = with_nights(kept, nights([2], [[14.0, 66.0]], ("breathing_rate", "resting_heart_rate"), ("band",)))
    assert found.names == ("resting_heart_rate", "breathing_rate")
    np.testing.assert_array_equal(found.values, [[60, np.nan], [61, np.nan], [66, 14]])
    assert found.devices == ("", "", "band")


def test_two_years_are_kept():
    found, counts = with_nights(None, nights(range(MOST + 40)))
    assert (len(found.dates), counts) == (MOST, Counts(new=MOST, before=40))
    found, _ = with_nights(found, nights([MOST + 40]))
    assert (len(found.dates), found.dates[-1] - found.dates[0]) == (MOST, np.timedelta64(MOST - 1, "D"))


@pytest.mark.parametrize("step", [1, 13])
def test_alerts_are_those_of_the_whole_table(step):
    draws = np.random.default_rng(4)
    values = 60 + np.cumsum(draws.normal(0, 0.3, 90)) * 0.2 + draws.normal(0, 1.5, 90)
    values[70:76] += 9.0
    whole, kept = nights(range(90), values), None
    for first in range(0, 90, step):
        # Each export begins a few nights before.
        places = list(range(max(0, first - 4), min(first + step, 90)))
        kept, _ = with_nights(kept, nights(places, values[places]))
    settings = AlertSettings()
    one, other = watch(whole, settings), watch(kept, settings)
    assert other.state == one.state
    assert [alert.words() for alert in other.alerts] == [alert.words() for alert in one.alerts] != []
