import runpy
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from data_pipelines.readers.levels import Levels
from hdt_fm.schema.errors import ReaderError, UnitError

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fabricate_exports.py"))))
SUBJECT = "s" + "1" * 32
S = 1_000_000_000


def read(path):
    return Levels().read(path, subject=SUBJECT)


def test_readings_direct_reads_and_the_local_offset(tmp_path):
    visit = read(make.levels(tmp_path / "a.csv"))
    glucose = visit.recordings["glucose"]
    assert (glucose.start_ns, glucose.utc_offset_s, glucose.sampling_rate_hz) == (make.START_NS, -25_200, 1 / 900)
    assert glucose.values[0].tolist() == [100 + i for i in range(6)]
    assert visit.labels["scan_glucose"].values.tolist() == [111]
    assert visit.labels["utc_offset"].values.tolist() == [-25_200]
    assert "Body" not in str(visit)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: t.replace("T02:30:00", "T02:30:00x"), ReaderError, "another form"),
        (lambda t: t.replace("2026-03-05T02:30", "2026-03-07T02:30"), ReaderError, "further apart"),
        (lambda t: t.replace(",10", ",1"), UnitError, "cannot be in 'mg/dL'"),
        (lambda t: t.replace("timeseries", "directRead"), ReaderError, "no sensor glucose"),
    ],
)
def test_files_that_were_edited(tmp_path, change, error, message):
    path = make.levels(tmp_path / "a.csv")
    path.write_text(change(path.read_text()))
    with pytest.raises(error, match=message):
        read(path)


def test_the_real_sample(real_data):
    path = real_data / "device_formats" / "levels" / "levels.csv"
    visit = read(path)
    glucose = visit.recordings["glucose"]
    assert (glucose.start_ns, glucose.utc_offset_s) == (pd.Timestamp("2021-06-20T19:09:59Z").value, -25_200)
    assert (glucose.values.shape, glucose.values[0, :5].tolist()) == ((1, 1334), [106, 106, 102, 102, 106])
    frame = pd.read_csv(path, skiprows=1)
    stored = frame[frame["Type of Reading"] == "timeseries"].sort_values("Time (UTC)", kind="stable")
    lost = stored["Time (UTC)"].duplicated().sum() + (len(stored) - stored["Time (UTC)"].duplicated().sum())
    assert lost - int(glucose.observed.sum()) <= 12
    assert len(visit.labels["scan_glucose"].values) == 142
