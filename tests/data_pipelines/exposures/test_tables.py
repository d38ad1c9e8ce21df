"""Text tables of exposures: heads and their units, days of people, one person's tables of each shape; wrong ones."""

import gzip

import numpy as np
import pytest

from data_pipelines.exposures.tables.heads import exposure_columns
from data_pipelines.exposures.tables.one import of_days, read_one
from data_pipelines.exposures.tables.people import read_people
from hdt_fm.schema.errors import ReaderError, RecordingError, UnitError, UnknownNameError

NAN = np.nan
DAY = 86_400.0
FIRST = 20_454  # 2026-01-01


def near(expected):
    return pytest.approx(expected, nan_ok=True)


@pytest.fixture
def write(tmp_path):
    def written(text, name="t.csv"):
        (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
        return tmp_path / name

    return written


@pytest.mark.parametrize(
    ("head", "kind", "scale", "offset"),
    [
        ("ozone [ppb]", "ozone", 1.96, 0),
        ("Ozone (ug/m3)", "ozone", 1, 0),
        ("temperature_celsius", "temperature", 1, 0),
        ("Temperature [°F]", "temperature", 5 / 9, -160 / 9),
        ("PM2.5", "pm2_5", 1, 0),
        ("pm2_5_mg_m3", "pm2_5", 1e3, 0),
        ("pressure hPa", "pressure", 1, 0),
        ("diet_energy_kj", "diet_energy", 1 / 4.184, 0),
        ("humidity [1]", "humidity", 100, 0),
        ("time-outdoors [h]", "time_outdoors", 60, 0),
        ("rain_mm_per_hour", "rain", 1, 0),
    ],
)
def test_heads_name_the_exposure_and_its_unit(head, kind, scale, offset):
    (column,) = exposure_columns(["person", "date", head, "mood"]).values()
    assert (column.kind, column.head) == (kind, head)
    assert (column.scale, column.offset) == near((scale, offset))


def test_units_that_heads_do_not_say():
    assert exposure_columns(["ozone"], units={"ozone": "ppb"})["ozone"].scale == 1.96


@pytest.mark.parametrize(
    ("heads", "units", "error", "words"),
    [
        (["ozon"], {}, UnknownNameError, "did you mean 'ozone'"),
        (["ozone [ppm]"], {}, UnitError, "'ppm' is not known"),
        (["ozone", "ozone [ppb]"], {}, ReaderError, "Two columns are of ozone"),
        (["mood"], {}, ReaderError, "no column of an exposure"),
        (["ozone"], {"no2": "ppb"}, UnknownNameError, "Unknown exposure 'no2'"),
    ],
)
def test_heads_that_are_refused(heads, units, error, words):
    with pytest.raises(error, match=words):
        exposure_columns(heads, units=units)


def test_days_of_people_in_any_order(write):
    table = read_people(
        write(
            "date;person;ozone [ppb];rain_mm_per_hour;Sleep;shoes\n2026-01-03;b;10;;7,5;1\n2026-01-01;b;;0,5;8;1\n"
            "2026-01-02;a;20;;;1\n"
        ),
        outcome="sleep",
    )
    a, b = table.people
    assert (a.group, a.first_day, b.group, b.first_day) == ("0", FIRST + 1, "1", FIRST)
    assert b.exposures["ozone"].tolist() == near([NAN, NAN, 19.6])
    assert b.exposures["rain"].tolist() == near([12, NAN, NAN])
    assert b.outcomes["sleep"].tolist() == near([8, NAN, 7.5])
    assert a.outcomes["sleep"].tolist() == near([NAN])
    assert table.notes == ("1 column(s) of the table were not used",)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("person,date,y\na,2026-01-01,1\n", ReaderError, "no column of an exposure"),
        ("person,ozone,y\na,1,1\n", ReaderError, "no column date"),
        ("date,ozone,y\n2026-01-01,1,1\n", ReaderError, "whose rows"),
        ("person,date,ozone,x\na,2026-01-01,1,1\n", UnknownNameError, "Unknown column 'y'"),
        ("person,date,ozone,y\na,2026-01-01,1,1\na,2026-01-01,1,1\n", ReaderError, "A date comes twice"),
        ("person,date,ozone,y\na,01/02/2026,1,1\n", ReaderError, "cannot be read"),
        ("person,date,ozone,y\na,2026-02-30,1,1\n", ReaderError, "cannot be read"),
        ("person,date,ozone,y\na,1026-01-01,1,1\na,2026-01-01,1,1\n", ReaderError, "a life is long"),
        ("person,date,temperature,y\na,2026-01-01,280,1\n", UnitError, "Most numbers of temperature"),
        ("person,date,ozone,y\na,2026-01-01,lots,1\n", ReaderError, "no number"),
        ("person,date,ozone,y\n", ReaderError, "no rows"),
        ("person,date,ozone,y\na,2026-01-01,1\n", ReaderError, "another number of columns"),
        ("person,date,ozone,ozone,y\na,2026-01-01,1,1,1\n", ReaderError, "Two columns are of ozone|one name"),
    ],
)
def test_tables_of_people_that_are_refused_tell_nobody(write, text, error, words):
    with pytest.raises(error, match=words) as found:
        read_people(write(text), outcome="y")
    assert "280" not in str(found.value)
    assert "lots" not in str(found.value)


def test_a_daily_table_of_one_person(write):
    found = read_one(
        write("day,temperature,light [klux]\n2026-01-03,-3,\n2026-01-01,900,0.5\n2026-01-02,4,1\n", "t.csv.gz")
    )
    warmth, light = found.exposures
    assert (warmth.kind, warmth.start_s[0] / DAY, warmth.length_s.tolist()) == ("temperature", FIRST, [DAY] * 3)
    # 900 degrees are none of anybody's.
    assert warmth.values.tolist() == near([NAN, 4, -3])
    assert light.values.tolist() == near([500, 1000, NAN])
    assert found.notes == ("taken as not known, since it cannot be: 1 of temperature",)


def test_spans_and_readings(write):
    (noise,) = read_one(
        write("start,end,noise\n2026-01-02 06:00,2026-01-02 18:30,55\n2026-01-01T12:00,2026-01-02T06:00:00,40\n")
    ).exposures
    assert ((noise.start_s / DAY - FIRST) * 24).tolist() == near([12, 30])
    assert (noise.length_s / 3600).tolist() == near([18, 12.5])
    (noise,) = read_one(
        write("time,noise\n2026-01-01 10:30,50\n2026-01-01 10:00,40\n2026-01-01 10:45,\n2026-01-01 14:00,60\n")
    ).exposures
    # Half an hour since the one before, an hour at most; one that is not known stands for nothing.
    assert noise.values.tolist() == [40, 50, 60]
    assert (noise.length_s / 60).tolist() == near([60, 30, 60])


def test_diaries_and_logs_go_through_their_sub_models(write):
    diary = read_one(write("time,text\n2026-01-01 08:00,bread 100 g\n2026-01-01 19:00,rice 100 g\n"))
    assert {one.kind: one.values[0] for one in diary.exposures}["diet_carbs"] == near(76)
    macros = read_one(
        write(
            "time,carbs_g,protein_g,fat_g\n2026-01-01 08:00,50,10,5\n2026-01-01 19:00,30,10,\n2026-01-02 09:00,1,1,1\n"
        )
    )
    assert np.isnan({one.kind: one.values for one in macros.exposures}["diet_fat"]).all()
    log = read_one(
        write(
            "start,end,contact,who\n2026-01-01 10:00,2026-01-01 10:30,call,x\n"
            "2026-01-03 10:00,2026-01-03 11:00,visit,y\n"
        )
    )
    assert log.exposures[0].values.tolist() == [30, 0, 60]
    assert "silence" in log.notes[0]
    stays = read_one(
        write("start,end,place\n2026-01-01 00:00,2026-01-01 18:00,home\n2026-01-01 18:00,2026-01-02 00:00,park\n")
    )
    assert {one.kind: one.values[0] for one in stays.exposures}["time_outdoors"] == near(360)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("person,date,ozone\na,2026-01-01,1\nb,2026-01-01,1\n", ReaderError, "several people"),
        ("date,ozone\n2026-01-01,1\n2026-01-01,2\n", ReaderError, "A date comes twice"),
        ("time,ozone\n2026-01-01 10:00,1\n2026-01-01 10:00,2\n", ReaderError, "A time comes twice"),
        ("date,ozone\n0001-01-01,1\n0001-01-02,2\n", ReaderError, "before anybody alive was born"),
        ("time,ozone\n2026-01-01T10:00Z,1\n", ReaderError, "without an offset"),
        ("time,rain\n2026-01-01 10:00,1\n", ReaderError, "is an amount"),
        ("start,end,rain_mm_per_hour\n2026-01-01 10:00,2026-01-01 11:00,1\n", ReaderError, "is an amount"),
        ("ozone\n1\n", ReaderError, "does not say when"),
        ("contact\ncall\n", ReaderError, "does not say when"),
        ("start,end,contact\n2026-01-01 10:00,2026-01-01 09:00,call\n", ReaderError, "ends before it begins"),
        (
            "start,end,ozone\n2026-01-01 10:00,2026-01-01 12:00,1\n2026-01-01 11:00,2026-01-01 13:00,1\n",
            RecordingError,
            "overlap",
        ),
        ("start,end,ozone\n2026-01-01 10:00,2026-01-01 10:00,1\n", RecordingError, "a length"),
    ],
)
def test_tables_of_one_person_that_are_refused(write, text, error, words):
    with pytest.raises(error, match=words):
        read_one(write(text))


def test_one_of_several_people_is_taken_by_number(write):
    path = write("id,date,ozone\nz,2026-01-01,1\na,2026-01-01,2\n")
    assert read_one(path, person=1).exposures[0].values.tolist() == [1]
    with pytest.raises(ReaderError, match="no such person"):
        read_one(path, person=2)


def test_days_in_a_row():
    one = of_days("ozone", 3, np.array([1.0, NAN]))
    assert (one.start_s / DAY).tolist() == [3, 4]
    assert one.values.tolist() == near([1, NAN])
