import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from data_pipelines.readers.fitbit_json import FitbitJson
from hdt_fm.schema.errors import ReaderError

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fabricate_exports.py"))))
SUBJECT = "s" + "1" * 32
S = 1_000_000_000


def read(path, **more):
    return FitbitJson(**more).read(path, subject=SUBJECT)


def test_series_in_utc_and_nights_in_local_time(tmp_path):
    folder = make.fitbit(tmp_path / "a")
    visit = read(folder)
    heart = visit.recordings["heart_rate"]
    # Samples of confidence 0 do not count; each place is the mean of three samples.
    assert (heart.start_ns, heart.values[0].tolist()) == (make.START_NS, [0, 64, 67])
    assert heart.observed.tolist() == [False, True, True]
    assert read(folder, min_confidence=0).recordings["heart_rate"].values[0].tolist() == [61, 64, 67]
    steps = visit.recordings["steps"]
    assert (steps.values[0].tolist(), steps.observed.tolist()) == ([0, 10, 0, 30], [True, True, False, True])
    assert visit.recordings["energy"].values[0].tolist() == [1.5] * 3
    night = visit.labels["sleep_stage_local"]
    assert night.start_ns[0] == pd.Timestamp("2026-03-05T23:30Z").value
    known = read(folder, utc_offset_s=3600)
    assert known.labels["sleep_stage"].start_ns[0] == pd.Timestamp("2026-03-05T22:30Z").value
    assert known.recordings["heart_rate"].start_ns == make.START_NS
    assert known.recordings["heart_rate"].utc_offset_s == 3600


def test_files_of_several_days_are_one_recording(tmp_path):
    folder = make.fitbit(tmp_path / "a")
    text = (folder / "steps-2026-03-05.json").read_text()
    (folder / "steps-2026-03-06.json").write_text(text.replace("03/05/26", "03/06/26"))
    steps = read(folder, step_s=60).recordings
    assert steps["steps"].values.shape == (1, 1444)
    assert steps["steps"].values[0, 1440:].tolist() == [0, 10, 0, 30]
    assert steps["heart_rate"].values[0].tolist() == [65.5]


def test_folders_of_the_archive(tmp_path):
    make.fitbit(tmp_path / "Physical Activity")
    assert FitbitJson.detect(tmp_path)
    assert set(read(tmp_path).recordings) == {"heart_rate", "steps", "energy"}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("heart_rate", lambda t: t[:-40], "not whole JSON"),
        ("heart_rate", lambda t: t.replace("03/05/26", "33/05/26"), "another form"),
        ("steps", lambda t: t.replace('"10"', "NaN"), "not whole JSON"),
        ("steps", lambda t: t.replace('"10"', '"ten"'), "is no number"),
        ("sleep", lambda t: t.replace("600", "-600"), "has no length"),
        ("heart_rate", lambda t: "[" * 100_000 + t, "No file"),
    ],
)
def test_files_that_were_edited(tmp_path, name, change, message):
    path = make.fitbit(tmp_path / "a") / f"{name}-2026-03-05.json"
    path.write_text(change(path.read_text()))
    if message == "No file":  # no longer begins as the format does
        assert not FitbitJson.detect(path)
        message = "not whole JSON"
    with pytest.raises(ReaderError, match=message):
        read(path)


def test_a_name_that_says_nothing(tmp_path):
    path = tmp_path / "what.json"
    path.write_text(json.dumps([{"dateTime": "03/05/26 09:30:00", "value": "1"}]))
    with pytest.raises(ReaderError, match="known kind"):
        read(path)


def test_the_real_sample(real_data):
    folder = real_data / "device_formats" / "fitbit_json"
    assert all(FitbitJson.detect(path) for path in (folder, *folder.iterdir()))
    visit = read(folder)
    heart, steps, energy = (visit.recordings[name] for name in ("heart_rate", "steps", "energy"))
    assert heart.start_ns == steps.start_ns == energy.start_ns == pd.Timestamp("1995-06-24T16:00Z").value
    # 16:00:10 to :20 have confidence 0; 69 at :30; 75, 77, 77 at :45, :50, :55.
    assert heart.values[0, :4].tolist() == pytest.approx([0, 0, 69, 229 / 3])
    # 16:05 and 16:07 are not in the file.
    assert steps.observed[:9].tolist() == [True] * 5 + [False, True, False, True]
    assert steps.values[0, 17:22].tolist() == [7, 44, 12, 58, 79]
    assert energy.values[0, :2].tolist() == pytest.approx([1.48, 1.48])
    assert len(visit.labels["sleep_stage_local"].values) == 22
    single = [read(path) for path in sorted(folder.iterdir())]
    assert [{*one.recordings, *one.labels} for one in single] == [
        {"energy"},
        {"heart_rate"},
        {"sleep_stage_local"},
        {"steps"},
    ]
