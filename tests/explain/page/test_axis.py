"""Time in the unit that fits, short numbers, printed units: against hand-written ones."""

import pytest

from hdt_fm.explain.page.axis import TimeAxis, printed_unit, short


@pytest.mark.parametrize(
    ("window_s", "words", "ticks"),
    [
        (60.0, "60 s", (0, 10, 20, 30, 40, 50, 60)),
        (10.0, "10 s", (0, 2, 4, 6, 8, 10)),
        (0.8, "0.8 s", (0, 0.2, 0.4, 0.6, 0.8)),
        (600.0, "10 min", (0, 2, 4, 6, 8, 10)),
        (5400.0, "90 min", (0, 15, 30, 45, 60, 75, 90)),
        (86400.0, "24 h", (0, 4, 8, 12, 16, 20, 24)),
        (14 * 86400.0, "14 days", (0, 7, 14)),
    ],
)
def test_time_is_told_in_the_unit_that_fits(window_s: float, words: str, ticks: tuple[float, ...]) -> None:
    axis = TimeAxis.of(window_s)
    assert axis.words == words
    assert axis.ticks == ticks


def test_a_span_is_in_the_same_unit() -> None:
    assert TimeAxis.of(86400.0).span(0.25, 0.5) == "6 to 12 h"
    assert TimeAxis.of(60.0).span(0.0, 1 / 120) == "0 to 0.5 s"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1234.4, "1234"),
        (36.52, "36.5"),
        (120.0, "120"),
        (-0.01234, "−0.0123"),
        (1e-7, "1.00e-07"),
        (2.5e7, "2.50e+07"),
        (float("nan"), "not known"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert short(value) == text


def test_units_are_printed_as_people_write_them() -> None:
    assert [printed_unit(one) for one in ("au", "1", "celsius", "uS", "mg/dL")] == ["a.u.", "", "°C", "µS", "mg/dL"]
