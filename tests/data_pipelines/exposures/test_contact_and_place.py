"""Company and places against sums by hand."""

import numpy as np
import pytest

from data_pipelines.exposures._told import DAY_S, Event, Whose
from data_pipelines.exposures.contact import Contact
from data_pipelines.exposures.place import Place
from hdt_fm.schema.errors import ReaderError

H = 3600.0
WHOSE = Whose(0, 0)
TWO_DAYS = [(0.0, 2 * DAY_S)]


def values(model, events, watched=TWO_DAYS):
    return [one.values.tolist() for one in model(events, watched, WHOSE)]


def test_minutes_in_company_by_hand():
    events = [
        Event("work", 9 * H, 8 * H),  # 8 h at 0.5
        Event("call", 12 * H, 0.5 * H, who="a"),  # half an hour of it counts in full
        Event("message", 20 * H, who="b"),
        Event("message", 20 * H + 5, who="b"),
        Event("visit", 23 * H, 2 * H, who="c"),  # an hour on each day; met on the first
        Event("home", DAY_S + 3 * H, 20 * H),
    ]
    minutes, people = values(Contact(), events)
    assert minutes == pytest.approx([7.5 * 60 * 0.5 + 30 + 2 * 0.5 + 60, 60])
    assert people == [3, 0]


def test_a_quiet_day_is_zero_and_an_unwatched_one_unknown():
    watched = [(0.0, DAY_S), (DAY_S, DAY_S + 12 * H)]
    minutes, people = values(Contact(), [], watched)
    assert minutes == pytest.approx([0, np.nan], nan_ok=True)
    assert people == pytest.approx([0, np.nan], nan_ok=True)


def test_a_day_has_1440_minutes_of_company_at_most():
    events = [Event("visit", 0.0, DAY_S), Event("call", H, H), *(Event("message", 2 * H + i) for i in range(9))]
    assert values(Contact(), events)[0] == [1440, 0]


def test_company_can_be_set_anew():
    events = [Event("club", 0.0, 2 * H)]
    with pytest.raises(ReaderError, match="call, message, or one of: entertainment"):
        values(Contact(), events)
    assert values(Contact(company={"club": 0.25}), events)[0] == [30, 0]


def test_places_by_hand():
    events = [
        Event("home", 0.0, 12 * H),
        Event("work", 12 * H, 6 * H),
        Event("park", 18 * H, 6 * H),
        Event("home_office", DAY_S, DAY_S),
    ]
    at_home, outdoors, variety = values(Place(), events)
    assert at_home == pytest.approx([720, 1440])
    assert outdoors == pytest.approx([360, 0])
    # Shares of a half and two quarters: 1.5 bits.
    assert variety == pytest.approx([1.5 * np.log(2), 0])


def test_a_day_that_stays_hardly_tell_of_is_unknown_whatever_was_watched():
    found = values(Place(), [Event("home", 0.0, 15 * H), Event("home", DAY_S, 20 * H)])
    for one in found:
        assert np.isnan(one[0])
    assert found[0][1] == pytest.approx(20 * 60)
    assert values(Place(least_known=0.6), [Event("home", 0.0, 15 * H)])[0][0] == pytest.approx(900)


def test_nobody_is_in_two_places():
    with pytest.raises(ReaderError, match="one place at a time"):
        values(Place(), [Event("home", 0.0, 2 * H), Event("work", H, H)])
