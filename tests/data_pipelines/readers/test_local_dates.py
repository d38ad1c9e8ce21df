import pytest

from data_pipelines.readers._local_dates import day_number, order_of, second_of_day, seconds
from hdt_fm.schema.errors import ReaderError


@pytest.mark.parametrize(
    ("dates", "order"),
    [
        (["23/11/2019"], "day_first"),
        (["2/20/2019"], "month_first"),
        (["3/4/2019", "4/4/2019"], "day_first"),
        (["4/3/19", "4/4/19"], "month_first"),
        (["31.12.2019", "1.1.2020"], "day_first"),
        (["2019-04-03"], "day_first"),
        (["3/3/2019"], "day_first"),
    ],
)
def test_the_order_that_only_one_reading_allows(dates, order):
    assert order_of(dates, "auto", in_a_row=True, where="dates") == order


def test_the_order_that_is_not_clear_or_not_there():
    with pytest.raises(ReaderError, match="not clear"):
        order_of(["3/4/2019"], "auto", in_a_row=True, where="dates")
    # Two dates of a header need not be days after each other.
    with pytest.raises(ReaderError, match="not clear"):
        order_of(["3/4/2019", "4/4/2019"], "auto", in_a_row=False, where="dates")
    with pytest.raises(ReaderError, match="neither"):
        order_of(["13/4/2019", "4/13/2019"], "auto", in_a_row=True, where="dates")
    assert order_of(["3/4/2019"], "month_first", in_a_row=True, where="dates") == "month_first"
    with pytest.raises(ReaderError, match="dates with the day first"):
        order_of(["4/13/2019"], "day_first", in_a_row=True, where="dates")


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("00:00:00", 0),
        ("23:59:59", 86_399),
        ("12:05:00 AM", 300),
        ("12:05:00 PM", 43_500),
        ("1:00 p.m.", 46_800),
        ("9:08:07.25", 32_887.25),
    ],
)
def test_clock_times(text, second):
    assert second_of_day(text, where="time") == second


@pytest.mark.parametrize("text", ["24:00:00", "13:00:00 PM", "0:30 AM", "1:60:00", "noon", "", "1:2:3"])
def test_no_clock_times(text):
    with pytest.raises(ReaderError, match="no time"):
        second_of_day(text, where="time")


def test_days_and_rows():
    assert day_number("1/3/1970", "day_first", where="date") == 59
    assert day_number("1/3/1970", "month_first", where="date") == 2
    with pytest.raises(ReaderError, match="no day"):
        day_number("30/2/2020", "day_first", where="date")
    assert seconds(["2/1/70", "1/1/1970"], ["00:00:01", "1:00"], "day_first", where="row").tolist()[1] == 3600
