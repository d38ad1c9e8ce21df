import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from data_pipelines.readers.libreview import Libreview
from hdt_fm.schema.errors import ReaderError, UnitError

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fabricate_exports.py"))))
SUBJECT = "s" + "1" * 32
S = 1_000_000_000


def read(path, **more):
    return Libreview(**more).read(path, subject=SUBJECT)


def starts(times, **more):
    def made(tmp_path):
        return read(make.libre(tmp_path / "a.csv", times), **more).recordings["glucose"].start_ns

    return made


def test_stored_readings_scans_and_doses(tmp_path):
    visit = read(make.libre(tmp_path / "a.csv"))
    glucose = visit.recordings["glucose"]
    # 12-hour clock: 01:15 PM is 13:15.
    assert glucose.start_ns == pd.Timestamp("2026-03-12T13:15Z").value
    assert (glucose.sampling_rate_hz, glucose.values[0, [0, 4, 8]].tolist()) == (1 / 900, [90, 91, 92])
    assert int(glucose.observed.sum()) == 6
    found = {name: (t.unit, t.values.tolist()) for name, t in visit.labels.items()}
    assert found == {
        "scan_glucose": ("mg/dL", [90]),
        "finger_glucose": ("mg/dL", [90]),
        "bolus": ("U", [3.5]),
        "carbs": ("g", [30]),
    }
    assert "private" not in str(visit)


def test_day_first_dates_are_told_by_a_day_above_12(tmp_path):
    times = [f"{day:02d}/03/2026 {hour:02d}:00" for day in (12, 13) for hour in range(3)]
    assert starts(times)(tmp_path) == pd.Timestamp("2026-03-12T00:00Z").value
    times = [f"03-{day:02d}-2026 12:{minute:02d} AM" for day in (12, 13) for minute in (0, 15)]
    assert starts(times)(tmp_path) == pd.Timestamp("2026-03-12T00:00Z").value


@pytest.mark.parametrize(
    ("form", "first"), [("0{day}-06-2026 10:00", "2026-06-04"), ("06-0{day}-2026 10:00", "2026-06-04")]
)
def test_dates_up_to_the_12th_are_told_by_days_that_follow(tmp_path, form, first):
    times = [form.format(day=day) for day in (4, 5, 6, 7)]
    assert starts(times)(tmp_path) == pd.Timestamp(f"{first}T10:00Z").value


def test_dates_that_could_be_either_way_are_asked_for(tmp_path):
    times = [f"04-06-2026 {hour:02d}:00" for hour in range(4)]
    with pytest.raises(ReaderError, match="dates='day_first'"):
        starts(times)(tmp_path)
    assert starts(times, dates="day_first")(tmp_path) == pd.Timestamp("2026-06-04T00:00Z").value
    assert starts(times, dates="month_first")(tmp_path) == pd.Timestamp("2026-04-06T00:00Z").value
    with pytest.raises(ReaderError, match="both above 12"):
        starts(["13-01-2026 10:00", "01-13-2026 10:15"])(tmp_path)


def test_units_decimal_commas_and_ends_of_the_range(tmp_path):
    times = [f"13-03-2026 10:{minute:02d}" for minute in (0, 15, 30, 45)]
    path = make.libre(tmp_path / "a.csv", times, "mmol/L", ['"5,5"', 6, "LO", "HI"])
    path.write_text(path.read_text().replace(',1,,"5,5"', ',1,,"4,9"').replace(',"5,5",\n', ",6.1,\n"))
    visit = read(path)
    assert visit.recordings["glucose"].values[0].tolist() == pytest.approx([5.5 * 18.0156, 6 * 18.0156, 0, 0])
    assert visit.recordings["glucose"].observed.tolist() == [True, True, False, False]
    assert visit.labels["glucose_beyond"].values.tolist() == [0, 1]
    assert visit.labels["scan_glucose"].values.tolist() == pytest.approx([4.9 * 18.0156])
    with pytest.raises(UnitError, match="they look like 'mmol/L'"):
        read(make.libre(tmp_path / "a.csv", times, "mg/dL", [5.5, 6, 7, 8]))


def test_two_sensors_mixed_into_one_file(tmp_path):
    times = [f"13-03-2026 10:{minute:02d}" for minute in range(0, 60, 15)]
    shifted = [f"13-03-2026 10:{minute:02d}" for minute in range(7, 60, 15)]
    with pytest.raises(ReaderError, match="closer together"):
        read(
            make.libre(
                tmp_path / "a.csv", sorted([*times, *shifted] * 2)[::1] + [f"14-03-2026 {h:02d}:00" for h in range(20)]
            )
        )


def test_the_real_sample(real_data):
    path = real_data / "device_formats" / "freestyle_libreview" / "glucose.csv"
    assert Libreview.detect(path)
    visit = read(path)
    glucose = visit.recordings["glucose"]
    # 05-30-2021 04:59 PM, month first: it ends on 07-20.
    assert glucose.start_ns == pd.Timestamp("2021-05-30T16:59Z").value
    assert (glucose.values.shape, int(glucose.observed.sum())) == ((1, 4860), 3562)
    assert glucose.values[0, :5].tolist() == [69, 66, 62, 60, 62]
    frame = pd.read_csv(path, skiprows=1)
    stored = frame[frame["Record Type"] == 0].copy()
    stored["at"] = pd.to_datetime(stored["Device Timestamp"], format="%m-%d-%Y %I:%M %p")
    kept = glucose.values[0, glucose.observed]
    assert kept.tolist() == stored.sort_values("at", kind="stable")["Historic Glucose mg/dL"].tolist()
    # No reading is moved by more than 3/4 of a step.
    places = glucose.start_ns + np.flatnonzero(glucose.observed) * 900 * S
    moved = places - stored.sort_values("at")["at"].dt.as_unit("ns").astype("int64").to_numpy()
    assert np.abs(moved).max() <= 675 * S
    assert len(visit.labels["scan_glucose"].values) == 317
