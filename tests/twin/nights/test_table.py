"""A table of nights: read in any order of rows, refused in words that say what was expected and never a value."""

import numpy as np
import pytest

from hdt_fm.schema.errors import HdtError, ReaderError, UnitError, UnknownNameError
from hdt_fm.twin.nights.table import is_night_table, read_night_table

TABLE = """date,resting_heart_rate,hrv,device
2026-03-07,61.5,,watch
2026-03-05,60,45,ring
2026-03-06,NA,44,
"""


@pytest.fixture
def table(tmp_path):
    """text -> path of a table that holds it."""

    def written(text, name="nights.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return written


def test_rows_are_sorted_and_gaps_are_nan(table):
    found = read_night_table(table(TABLE))
    assert [str(date) for date in found.nights.dates] == ["2026-03-05", "2026-03-06", "2026-03-07"]
    assert found.nights.names == ("resting_heart_rate", "hrv")
    np.testing.assert_array_equal(found.nights.values, [[60, 45], [np.nan, 44], [61.5, np.nan]])
    assert found.nights.devices == ("ring", "", "watch")
    assert (found.unused, found.implausible) == ((), 0)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Date;Resting Heart Rate;mood\n2026-03-05;61,5;3\n", "nights.csv"),
        ("﻿DATE\trhr\tmood\r\n2026-03-05\t61.5\t3\r\n", "nights.tsv"),
        ('date,"resting_hr",mood\n2026-03-05,"61.5",3\n\n', "nights.txt"),
    ],
)
def test_other_ways_to_write_it(table, text, name):
    path = table(text, name)
    assert is_night_table(path)
    found = read_night_table(path)
    assert found.nights.names == ("resting_heart_rate",)
    assert found.nights.values.tolist() == [[61.5]]
    assert found.unused == ("mood",)


def test_columns_can_be_asked_for(table):
    path = table("date,rhr,mood,breathing_rate\n2026-03-05,60,3,15\n")
    assert read_night_table(path).nights.names == ("resting_heart_rate", "respiratory_rate")
    assert read_night_table(path, indicators=["mood", "respiratory_rate"]).nights.names == ("mood", "respiratory_rate")
    with pytest.raises(UnknownNameError, match="did you mean 'mood'"):
        read_night_table(path, indicators=["moods"])
    for name in ("date", "id"):
        with pytest.raises(UnknownNameError):
            read_night_table(path, indicators=[name])


def test_what_no_body_has_was_not_measured(table):
    found = read_night_table(
        table("date,rhr,steps\n2026-03-05,0,0\n2026-03-06,300,900\n2026-03-07,60,800\n2026-03-08,61,1\n")
    )
    np.testing.assert_array_equal(found.nights.values, [[np.nan, np.nan], [np.nan, 900], [60, 800], [61, 1]])
    assert found.implausible == 3
    for column, value in (("spo2", 0.97), ("skin_temperature", 93.0), ("resting_heart_rate", 1.1)):
        with pytest.raises(UnitError, match="cannot be in"):
            read_night_table(table(f"date,{column}\n2026-03-05,{value}\n2026-03-06,{value}\n"))


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", ReaderError, "no rows"),
        ("night,rhr\n1,60\n", ReaderError, "no column date"),
        ("date,mood\n2026-03-05,3\n", ReaderError, "no column that is known"),
        ("date,resting_heart_rte\n2026-03-05,60\n", UnknownNameError, "did you mean 'resting_heart_rate'"),
        ("date,rhr\n", ReaderError, "no rows"),
        ("date,rhr\n2026-03-05,60\n2026-03-05,61\n", ReaderError, "A date comes twice"),
        ("date,rhr\n05.03.2026,60\n", ReaderError, "line 2"),
        ("date,rhr\n2026-02-30,60\n", ReaderError, "YYYY-MM-DD"),
        ("date,rhr\n2026-03-05,sixty\n", ReaderError, "column rhr, line 2"),
        ("date,rhr\n2026-03-05,inf\n", ReaderError, "no number"),
        ('date,rhr\n2026-03-05,"61,5"\n', ReaderError, "no number"),
        ("date,rhr,hrv\n2026-03-05,60\n", ReaderError, "wrong number of cells"),
        ("date,rhr,rhr\n2026-03-05,60,61\n", ReaderError, "Two columns have one name"),
        ("date,rhr,resting_hr\n2026-03-05,60,61\n", ReaderError, "Two columns are of resting_heart_rate"),
        (b"date,rhr\n2026-03-05,\xff\n", ReaderError, "UTF-8"),
        ("date,rhr\n2026-03-05," + "6" * 200_000 + "\n", ReaderError, "The table is damaged"),
    ],
)
def test_a_table_that_cannot_be_read(table, text, error, words):
    with pytest.raises(error, match=words) as caught:
        read_night_table(table(text))
    assert caught.value.fix or caught.value.expected
    assert "sixty" not in str(caught.value)
    assert "05.03.2026" not in str(caught.value)


def test_two_people_are_refused_until_one_is_chosen(table):
    path = table("id,date,rhr\nzoe,2026-03-05,60\nadam,2026-03-05,70\nzoe,2026-03-06,61\n")
    with pytest.raises(ReaderError, match="several people") as caught:
        read_night_table(path)
    assert "got: 2 people" in str(caught.value)
    assert "zoe" not in str(caught.value)
    assert read_night_table(path, person=0).nights.values.tolist() == [[70]]
    assert read_night_table(path, person=1).nights.values.tolist() == [[60], [61]]
    for person in (-1, 2):
        with pytest.raises(ReaderError, match="no such person"):
            read_night_table(path, person=person)
    one = table("subject_id,date,rhr\nzoe,2026-03-05,60\n")
    assert read_night_table(one).unused == ()
    with pytest.raises(ReaderError, match="no such person"):
        read_night_table(one, person=1)


@pytest.mark.parametrize("text", ["", "\n", "time,rhr\n1,60\n", "date,mood\n2026-03-05,1\n", b"\xff\xfe\x00date,rhr"])
def test_other_files_are_no_night_tables(table, text):
    assert not is_night_table(table(text))
    assert not is_night_table(table(TABLE, "nights.json"))


def test_a_huge_file_is_refused(table, monkeypatch):
    monkeypatch.setattr("hdt_fm.twin.nights.cells.MAX_BYTES", 10)
    with pytest.raises(HdtError, match="too large"):
        read_night_table(table(TABLE))
