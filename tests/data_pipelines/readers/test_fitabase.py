import gzip
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from data_pipelines.readers._persons import HoldsPeople
from data_pipelines.readers.fitabase import Fitabase
from hdt_fm.schema.errors import ReaderError

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fabricate_exports.py"))))
SUBJECT = "s" + "1" * 32
S = 1_000_000_000

TWO = ("1503960366", "1624580081")


def read(path, **more):
    return Fitabase(**more).read(path, subject=SUBJECT)


def test_minutes_hours_nights_and_weight_of_one_person(tmp_path):
    """Across midnight on a 12-hour clock: 11 PM, then 12 AM."""
    visit = read(make.fitabase(tmp_path / "a"))
    steps = visit.recordings["steps"]
    assert (steps.start_ns, steps.sampling_rate_hz) == (pd.Timestamp("2026-03-05T23:00Z").value, 1 / 60)
    assert steps.values[0].tolist() == [*range(60), *range(60)]
    energy = visit.recordings["energy"]
    assert (energy.values[0].tolist(), energy.sampling_rate_hz) == ([1, 1, 1], 1 / 3600)
    active = visit.labels["activity_intensity"]
    assert [active.classes[int(v)] for v in active.values] == ["light", "sedentary"] * 2
    assert (active.end_ns - active.start_ns).tolist() == [1800 * S] * 4
    # The export holds each night twice.
    assert (visit.labels["minutes_asleep"].values.tolist(), visit.labels["minutes_in_bed"].unit) == ([400], "min")
    weight = visit.labels["weight"]
    assert weight.start_ns.tolist() == [pd.Timestamp("2026-03-05T23:59:59Z").value]
    assert (weight.values.tolist(), weight.unit) == ([70.5], "kg")


def test_several_people_are_refused_listed_and_chosen(tmp_path):
    path = make.fitabase(tmp_path / "a", TWO)
    with pytest.raises(ReaderError, match="2 people") as caught:
        read(path)
    assert not any(person in str(caught.value) for person in TWO)
    assert Fitabase.people(path) == TWO
    assert isinstance(Fitabase(), HoldsPeople)
    assert read(path, person=TWO[1]).recordings["steps"].values[0, :3].tolist() == [1, 2, 3]
    with pytest.raises(ReaderError, match="not in the export") as caught:
        read(path, person="150396036")
    assert "150396036" not in str(caught.value)


def test_narrow_tables_gzip_heart_rate_sleep_and_mets(tmp_path):
    tables = {
        "minuteStepsNarrow_merged.csv": [
            "Id,ActivityMinute,Steps",
            "7,4/12/2026 12:00:00 PM,5",
            "7,4/12/2026 12:02:00 PM,7",
        ],
        "heartrate_seconds_merged.csv": [
            "Id,Time,Value",
            *(f"7,4/12/2026 12:00:{5 * i:02d} PM,{60 + i}" for i in range(6)),
        ],
        "minuteSleep_merged.csv": [
            "Id,date,value,logId",
            *(f"7,4/12/2026 1:0{i}:30 AM,{1 if i < 3 else 3},9" for i in range(5)),
        ],
        "minuteMETsNarrow_merged.csv": ["Id,ActivityMinute,METs", "7,4/12/2026 12:00:00 PM,12"],
    }
    for name, lines in tables.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress("\r\n".join(lines).encode()))
    visit = read(tmp_path)
    assert visit.recordings["steps"].values[0].tolist() == [5, 0, 7]
    assert visit.recordings["steps"].observed.tolist() == [True, False, True]
    assert visit.recordings["heart_rate"].values[0].tolist() == [61, 64]
    assert visit.recordings["met"].values[0].tolist() == pytest.approx([1.2])
    sleep = visit.labels["sleep_stage"]
    assert [sleep.classes[int(v)] for v in sleep.values] == ["asleep", "wake"]
    assert ((sleep.end_ns - sleep.start_ns) // S).tolist() == [180, 120]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("3/5/2026", "31/5/2026"), "another form"),
        (lambda t: t.replace("11:00:00 PM", "13:00:00 PM"), "another form"),
        (lambda t: t.replace(",59\n", "\n"), "number of columns"),
        (lambda t: t.replace(",58,", ",secret,"), "no number"),
    ],
)
def test_tables_that_were_edited(tmp_path, change, message):
    path = make.fitabase(tmp_path / "a") / "minuteStepsWide_merged.csv"
    path.write_text(change(path.read_text()))
    with pytest.raises(ReaderError, match=message) as caught:
        read(path.parent)
    assert "secret" not in str(caught.value)


def test_a_table_without_anything_of_use(tmp_path):
    (tmp_path / "hourlyIntensities_merged.csv").write_text("Id,ActivityHour,TotalIntensity\n7,4/12/2026 1:00:00 PM,3\n")
    with pytest.raises(ReaderError, match="nothing of use"):
        read(tmp_path)


def test_the_real_sample(real_data):
    folder = real_data / "device_formats" / "fitbit_fitabase"
    assert Fitabase.detect(folder)
    assert all(Fitabase.detect(file) for file in folder.iterdir())
    people = Fitabase.people(folder)
    assert len(people) == 33
    with pytest.raises(ReaderError, match="33 people"):
        read(folder)
    visit = read(folder, person=people[0])
    steps = visit.recordings["steps"]
    assert (steps.start_ns, steps.values.shape) == (pd.Timestamp("2016-04-13T00:00Z").value, (1, 43_140))
    assert steps.values[0, :6].tolist() == [4, 16, 0, 0, 0, 9]
    # The sum of a day's minutes is the day's total of another table.
    daily = pd.read_csv(folder / "dailyActivity_merged.csv", dtype={"Id": str})
    total = daily[(daily["Id"] == people[0]) & (daily["ActivityDate"] == "4/13/2016")]["TotalSteps"].item()
    assert steps.values[0, :1440].sum() == total
    assert visit.recordings["energy"].values[0, 0] * 60 == pytest.approx(81)
    assert (len(visit.labels["minutes_asleep"].values), len(visit.labels["weight"].values)) == (25, 2)
    assert np.isfinite(visit.labels["activity_intensity"].values).all()


def test_each_real_table_alone_is_read_or_refused_with_a_reason(real_data):
    holds = {
        "dailyActivity_merged.csv": {"steps", "energy"},
        "hourlyCalories_merged.csv.gz": {"energy"},
        "hourlySteps_merged.csv.gz": {"steps"},
        "minuteStepsWide_merged.csv.gz": {"steps"},
        "minuteIntensitiesWide_merged.csv.gz": {"activity_intensity"},
        "sleepDay_merged.csv": {"minutes_asleep", "minutes_in_bed"},
        "weightLogInfo_merged.csv": {"weight", "body_fat"},
    }
    folder = real_data / "device_formats" / "fitbit_fitabase"
    for path in sorted(folder.iterdir()):
        person = Fitabase.people(path)[0]
        if path.name in holds:
            visit = read(path, person=person)
            assert {*visit.recordings, *visit.labels} == holds.pop(path.name)
        else:
            assert path.name == "hourlyIntensities_merged.csv.gz"
            with pytest.raises(ReaderError, match="nothing of use"):
                read(path, person=person)
    assert not holds
