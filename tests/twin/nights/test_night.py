"""Nights keep their contract, and bad ones say what is wrong without a person's values."""

import numpy as np
import pytest

from hdt_fm.schema.errors import RecordingError, ShapeError
from hdt_fm.twin.nights.night import Nights, weekdays

DATES = np.array(["2026-03-01", "2026-03-02", "2026-03-05"], dtype="datetime64[D]")
VALUES = np.array([[61.5], [62.5], [63.5]])


def test_missing_dates_become_nights_without_data():
    every = Nights(DATES, VALUES, ("hrv",), ("a", "", "b")).on_calendar()
    assert every.dates.tolist()[0].isoformat() == "2026-03-01"
    assert len(every.dates) == 5
    np.testing.assert_array_equal(every.values[:, 0], [61.5, 62.5, np.nan, np.nan, 63.5])
    assert every.devices == ("a", "", "", "", "b")
    assert every.changes().tolist() == [False, False, False, False, True]


def test_an_unknown_device_is_no_change():
    nights = Nights(DATES, VALUES, ("hrv",), ("a", "", "a"))
    assert not nights.changes().any()
    assert not Nights(DATES, VALUES, ("hrv",)).changes().any()


@pytest.mark.parametrize(
    ("dates", "values", "names", "devices", "error", "says"),
    [
        (DATES.astype("datetime64[s]"), VALUES, ("hrv",), None, ShapeError, "wrong type"),
        (DATES[:2], VALUES, ("hrv",), None, ShapeError, "do not fit"),
        (DATES, VALUES, ("hrv", "steps"), None, ShapeError, "do not fit"),
        (DATES, VALUES[:, :0], (), None, ShapeError, "do not fit"),
        (DATES, VALUES, ("hrv",), ("a",), ShapeError, "Devices"),
        (DATES[::-1], VALUES, ("hrv",), None, RecordingError, "do not rise"),
        (DATES[[0, 0, 1]], VALUES, ("hrv",), None, RecordingError, "do not rise"),
        (DATES[:0], VALUES[:0], ("hrv",), None, RecordingError, "no night"),
        (DATES, np.repeat(VALUES, 2, axis=1), ("hrv", "hrv"), None, RecordingError, "name each"),
        (DATES, VALUES + np.inf, ("hrv",), None, RecordingError, "infinite"),
        (
            np.array(["1875-01-01", "2020-01-01", "2020-01-02"], "datetime64[D]"),
            VALUES,
            ("hrv",),
            None,
            RecordingError,
            "span",
        ),
    ],
)
def test_bad_nights_speak_and_tell_no_values(dates, values, names, devices, error, says):
    with pytest.raises(error, match=says) as found:
        Nights(dates, values, names, devices)
    assert "61.5" not in str(found.value)
    assert "2026" not in str(found.value)


def test_a_week_has_seven_days():
    days = weekdays(np.arange("1969-12-20", "1970-01-20", dtype="datetime64[D]"))
    assert set(days.tolist()) == set(range(7))
    np.testing.assert_array_equal(days[7:], days[:-7])


def test_some_of_the_indicators():
    nights = Nights(DATES, np.arange(9.0).reshape(3, 3), ("hrv", "steps", "spo2"), ("a", "", "b"))
    found = nights.only("spo2", "hrv")
    assert found.names == ("spo2", "hrv")
    np.testing.assert_array_equal(found.values, [[2, 0], [5, 3], [8, 6]])
    np.testing.assert_array_equal(found.dates, DATES)
    assert found.devices == nights.devices
