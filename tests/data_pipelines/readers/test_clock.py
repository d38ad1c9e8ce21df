"""Dates as vendors write them, against pandas and Python's own calendar."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from data_pipelines.readers._clock import local_ns, local_seconds, local_to_utc_ns, seconds_with_offset
from hdt_fm.schema.errors import ReaderError

MOMENTS = [
    datetime(1999, 12, 31, 23, 59, 59),
    datetime(2000, 2, 29),
    datetime(2024, 2, 29, 12),
    datetime(2100, 3, 1, 0, 5),
]
MOMENTS += [datetime(2026, 1, 1) + timedelta(hours=37 * k, minutes=11 * k) for k in range(300)]
SECONDS = [int(m.replace(tzinfo=UTC).timestamp()) for m in MOMENTS]


@pytest.mark.parametrize("as_column", [list, pa.array])
@pytest.mark.parametrize(
    ("form", "order", "to"),
    [
        ("%Y-%m-%dT%H:%M:%S", "auto", 1),
        ("%Y-%m-%d %H:%M:%S.250", "auto", 1),
        ("%m/%d/%Y %I:%M:%S %p", "auto", 1),
        ("%d.%m.%Y %H:%M", "auto", 60),
        ("%d-%m-%Y %I:%M %p", "day_first", 60),
        ("%m/%d/%y %H:%M:%S", "month_first", 1),
        ("%Y/%m/%d", "auto", 86_400),
    ],
)
def test_every_form_gives_the_moment_it_was_made_from(form, order, to, as_column):
    keep = [i for i, m in enumerate(MOMENTS) if "%y" not in form or m.year < 2069]
    texts = [MOMENTS[i].strftime(form) for i in keep]
    found = local_seconds(as_column(texts), where="t", order=order)
    assert found.tolist() == [SECONDS[i] // to * to for i in keep]


def test_single_digits_as_in_american_tables():
    texts = ["4/12/2016 12:00:00 AM", "4/12/2016 1:05:00 PM", "12/31/2016 12:30:00 PM"]
    expected = pd.to_datetime(texts, format="%m/%d/%Y %I:%M:%S %p").as_unit("s").astype("int64")
    assert local_seconds(texts, where="t").tolist() == expected.tolist()
    assert local_seconds(pa.array(texts), where="t").tolist() == expected.tolist()


@pytest.mark.parametrize("as_column", [list, pa.array])
def test_fractions_of_a_second(as_column):
    texts = ["05/03/2026, 09:30:00.25", "13/03/2026, 09:30:01.75"]
    expected = pd.to_datetime(texts, format="%d/%m/%Y, %H:%M:%S.%f").as_unit("ns").astype("int64").tolist()
    assert local_ns(as_column(texts), where="t").tolist() == expected
    assert local_seconds(as_column(texts), where="t").tolist() == [t // 10**9 for t in expected]
    mixed = as_column(["2026-03-05 09:30:00.123456789", "2026-03-05 09:30:01"])
    assert (local_ns(mixed, where="t") - local_ns(as_column(["2026-03-05 09:30"]), where="t")).tolist() == [
        123_456_789,
        10**9,
    ]


def day_and_month(text, **more):
    moment = datetime.fromtimestamp(int(local_seconds(text, where="dates", **more)[0]), UTC)
    return moment.day, moment.month


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["23/11/2019"], (23, 11)),
        (["2/20/2019"], (20, 2)),
        (["3/4/2019", "4/4/2019"], (3, 4)),
        (["4/3/19", "4/4/19"], (3, 4)),
        (["31.12.2019", "1.1.2020"], (31, 12)),
        (["2019-04-03"], (3, 4)),
        (["3/3/2019"], (3, 3)),
        (["1/2/2026 10:00", "3/2/2026 10:00", "2/2/2026 10:00"], (1, 2)),
    ],
)
def test_the_order_that_only_one_reading_allows(texts, expected):
    assert day_and_month(texts) == expected


def test_the_order_that_is_not_clear_or_not_there():
    with pytest.raises(ReaderError, match=r"(?s)not clear.*dates='day_first'"):
        local_seconds(["3/4/2019"], where="dates")
    # Dates that are not those of rows need not be days after each other.
    with pytest.raises(ReaderError, match=r"(?s)could be two days.*say it so"):
        local_seconds(["3/4/2019", "4/4/2019"], where="dates", strict=True, fix="say it so")
    with pytest.raises(ReaderError, match="past twelve in both places"):
        local_seconds(["13/4/2019", "4/13/2019"], where="dates")
    assert day_and_month(["3/4/2019"], order="month_first") == (4, 3)
    with pytest.raises(ReaderError, match="dates with the day first") as caught:
        local_seconds(["4/13/2019"], where="dates", order="day_first")
    assert "4/13" not in str(caught.value)


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
@pytest.mark.parametrize("as_column", [list, pa.array])
def test_clock_times(text, second, as_column):
    assert local_ns(as_column([f"1970-01-02 {text}"]), where="time").tolist() == [(86_400 + second) * 10**9]


@pytest.mark.parametrize("texts", [["13/03/2026 10:00", "14/03/2026"], ["13/03/2026", "14.03.2026"]])
def test_a_strict_column_is_of_one_form(texts):
    assert len(local_seconds(texts, where="t")) == 2
    with pytest.raises(ReaderError, match="another form"):
        local_seconds(texts, where="t", strict=True)
    with pytest.raises(ReaderError, match="another form"):
        local_seconds(["13/03.2026"], where="t")


def test_offsets():
    texts = [f"2026-03-05 09:30:00 {offset}" for offset in ("+0000", "-0700", "+0545", "+1400")]
    seconds, offsets = seconds_with_offset(texts, where="t")
    assert seconds.tolist() == [int(datetime.strptime(t, "%Y-%m-%d %H:%M:%S %z").timestamp()) for t in texts]
    assert offsets.tolist() == [0, -25_200, 20_700, 50_400]
    assert local_to_utc_ns(np.array([0]), None).tolist() == [0]
    assert local_to_utc_ns(np.array([0]), 3600).tolist() == [-3_600_000_000_000]


@pytest.mark.parametrize(
    "text",
    [
        *("2026-02-30 10:00:00", "2026-13-01 10:00:00", "2026-01-01 24:00:00", "2026-01-01 10:60:00"),
        *("3/5/2026 13:00 PM", "1826-01-01 10:00:00", "2026-01-01 0:00 AM", "noon", ""),
        *("2026-01-01T10:00:00+05:00", "2026-01-01 10:00:00 x", "2026-01-01 13:00:00 PM", "2026-01-01 1:2:3"),
    ],
)
@pytest.mark.parametrize("as_column", [list, pa.array])
def test_times_that_do_not_exist(text, as_column):
    with pytest.raises(ReaderError, match="another form") as caught:
        local_seconds(as_column([text]), where="t", order="month_first")
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["2026-02-30 10:00:00 +0000", "2026-02-03 10:00:00 +1500", "2026-02-03T10:00:00 +0000"]
)
def test_times_with_offset_that_do_not_exist(text):
    with pytest.raises(ReaderError, match="another form"):
        seconds_with_offset(["2026-02-03 10:00:00 +0000", text], where="t")


def test_a_row_that_differs_from_the_first_is_read_or_refused():
    texts = ["2026-03-05 09:30:00", "2026-03-05X09:30:00"]
    with pytest.raises(ReaderError, match="another form"):
        local_seconds(pa.array(texts), where="t")
    assert (
        local_seconds(pa.array(["2026-03-05 09:30:00", "2026-3-05T09:30:00 "]), where="t").tolist() == [1772703000] * 2
    )
    with pytest.raises(ReaderError, match="another form"):
        local_seconds(pa.array(["2026-03-05 09:30:00", None]), where="t")
