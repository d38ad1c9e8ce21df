import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_pipelines.readers.withings import Withings
from hdt_fm.schema.errors import ReaderError

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fabricate_loggers.py"))))
SUBJECT = "s" + "1" * 32
S = 1_000_000_000
NIGHT = 1_603_573_200  # 2020-10-24 23:00 two hours ahead of UTC
HEART = "raw_sleep-monitor_hr.csv"


def read(path):
    return Withings().read(path, subject=SUBJECT)


def test_a_folder_is_one_visit(tmp_path):
    folder = make.withings(tmp_path / "a")
    assert Withings.detect(folder)
    visit = read(folder)
    heart = visit.recordings["heart_rate"]
    # The rows are not in order, and four minutes lie between them.
    assert (heart.start_ns, heart.utc_offset_s, heart.sampling_rate_hz) == (NIGHT * S, 7200, pytest.approx(1 / 60))
    assert heart.values[0].tolist() == [58, 0, 0, 0, 0, 60, 61, 62]
    assert np.flatnonzero(~heart.observed).tolist() == [1, 2, 3, 4]
    assert visit.recordings["resp_rate"].values[0, -1] == 16
    stage = visit.labels["sleep_stage"]
    assert [stage.classes[int(v)] for v in stage.values] == ["awake", "light", "deep", "rem"]
    assert (stage.start_ns // S - NIGHT).tolist() == [0, 300, 360, 420]
    assert visit.labels["snoring"].values.tolist() == [0, 0, 0, 100]
    # The clock went back an hour in that night.
    deep = visit.labels["night_deep_sleep"]
    assert (deep.start_ns[0], deep.end_ns[0], deep.values.tolist(), deep.unit) == (
        NIGHT * S,
        (NIGHT + 30_600) * S,
        [6000],
        "s",
    )
    assert visit.labels["night_heart_rate"].values.tolist() == [58]


def test_single_tables_and_english(tmp_path):
    folder = make.withings(tmp_path / "a")
    assert list(read(folder / HEART).recordings) == ["heart_rate"]
    text = (folder / "sleep.csv").read_text()
    english = (
        text.replace("von,bis", "from,to")
        .replace("leicht", "light")
        .replace("tief", "deep")
        .replace("wach (", "awake (")
    )
    (tmp_path / "nights.csv").write_text(english.replace("Aufwachen", "wake up"))
    assert Withings.detect(tmp_path / "nights.csv")
    assert set(read(tmp_path / "nights.csv").labels) == set(read(folder / "sleep.csv").labels)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (HEART, "[60,61,62]", "[60,61]", "do not fit each other"),
        (HEART, "[60,61,62]", "__import__('os')", "no list"),
        (HEART, '"[60,60,60]"', '"[60,60,90]"', "(?s)stand for a minute"),
        (HEART, "+02:00", "", "with an offset"),
        (HEART, "[58]", "", "no list"),
        (HEART, ",[58]", "", "wrong number of columns"),
        (HEART, "duration", "length", "other columns"),
        ("raw_sleep-monitor_sleep-state.csv", "[0]", "[4]", "sleep state is not known"),
        ("sleep.csv", "6000", "many", "no number"),
        ("sleep.csv", "2020-10-25T06", "2020-10-24T06", "ends before"),
    ],
)
def test_broken_tables(tmp_path, name, old, new, message):
    path = make.withings(tmp_path / "a") / name
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ReaderError, match=message):
        read(path)


def test_other_tables_are_not_taken(tmp_path):
    (tmp_path / "raw_sleep-monitor_hr.csv").write_text("a,b\n1,2\n")
    assert not Withings.detect(tmp_path / "raw_sleep-monitor_hr.csv")
    assert not Withings.detect(tmp_path)
    with pytest.raises(ReaderError, match="no table of a Withings"):
        read(make.ibutton(tmp_path / "other.csv"))


@pytest.mark.real
def test_real_files(real_data):
    visit = read(real_data / "device_formats" / "withings_sleep")
    heart = visit.recordings["heart_rate"]
    # Files begin with the last night.
    assert (heart.start_ns, heart.utc_offset_s, heart.values.shape) == (1_602_374_640 * S, 7200, (1, 19_230))
    seen = heart.values[0, heart.observed]
    assert (seen[:4].tolist(), heart.observed.sum(), seen.min(), seen.max()) == ([52, 61, 65, 66], 3957, 43, 87)
    assert np.bincount(visit.labels["sleep_stage"].values.astype(int)).tolist() == [880, 2437, 854, 692]
    assert visit.labels["night_deep_sleep"].values[:2].tolist() == [5340, 9900]
