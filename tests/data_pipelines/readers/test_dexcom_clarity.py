import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from data_pipelines.readers.dexcom_clarity import DexcomClarity
from hdt_fm.schema.errors import ReaderError, UnitError

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fabricate_exports.py"))))
SUBJECT = "s" + "1" * 32
S = 1_000_000_000


def read(path, **more):
    return DexcomClarity(**more).read(path, subject=SUBJECT)


def test_bom_rows_without_a_time_and_words_among_readings(tmp_path):
    visit = read(make.clarity(tmp_path / "a.csv"))
    glucose = visit.recordings["glucose"]
    assert (glucose.start_ns, glucose.sampling_rate_hz) == (make.START_NS, 1 / 300)
    assert glucose.values[0].tolist() == [100, 101, 0, 103, 0, 105]
    assert np.flatnonzero(~glucose.observed).tolist() == [2, 4]
    beyond = visit.labels["glucose_beyond"]
    assert [beyond.classes[int(v)] for v in beyond.values] == ["below_range", "above_range"]
    assert (beyond.end_ns - beyond.start_ns).tolist() == [300 * S] * 2
    found = {name: (t.kind, t.unit, t.values.tolist()) for name, t in visit.labels.items() if t.kind == "event"}
    assert found == {
        "bolus": ("event", "U", [2.5]),
        "long_acting": ("event", "U", [12]),
        "carbs": ("event", "g", [45]),
        "finger_glucose": ("event", "mg/dL", [104]),
    }
    assert visit.labels["bolus"].start_ns.tolist() == [make.START_NS + 660 * S]
    exercise = visit.labels["exercise"]
    assert ([exercise.classes[int(v)] for v in exercise.values], exercise.end_ns - exercise.start_ns) == (
        ["medium"],
        [1800 * S],
    )
    assert "Somebody" not in str(visit)


def test_local_time_with_an_offset(tmp_path):
    glucose = read(make.clarity(tmp_path / "a.csv"), utc_offset_s=-7 * 3600).recordings["glucose"]
    assert (glucose.start_ns, glucose.utc_offset_s) == (make.START_NS + 7 * 3600 * S, -7 * 3600)


def test_two_exports_of_overlapping_spans_are_one(tmp_path):
    (tmp_path / "one").mkdir()
    make.clarity(tmp_path / "one" / "a.csv")
    text = make.clarity(tmp_path / "one" / "b.csv").read_text().splitlines()
    extra = "40,2026-03-05T10:00:00,EGV,,,,iPhone G6,120,,,,"
    (tmp_path / "one" / "b.csv").write_text("\n".join([*text, extra]) + "\n")
    visit = read(tmp_path / "one")
    assert visit.recordings["glucose"].values[0].tolist() == [100, 101, 0, 103, 0, 105, 120]
    assert visit.labels["bolus"].values.tolist() == [2.5]


def test_units_by_the_header_and_by_what_a_body_does(tmp_path):
    rows = [f"{i},2026-03-05T09:{10 + 5 * i}:00,EGV,,,,x,{v},,,," for i, v in enumerate((5.5, 6, 20, "Low"))]
    glucose = read(make.clarity(tmp_path / "a.csv", rows, unit="mmol/L")).recordings["glucose"]
    assert glucose.values[0, :2].tolist() == pytest.approx([5.5 * 18.0156, 6 * 18.0156])
    assert glucose.channels[0].source_unit == "mmol/L"
    with pytest.raises(UnitError, match="they look like 'mmol/L'"):
        read(make.clarity(tmp_path / "a.csv", [row.replace(",20,", ",7,") for row in rows]))
    with pytest.raises(UnitError, match="they look like 'mg/dL'"):
        read(
            make.clarity(
                tmp_path / "a.csv", [r.replace(",5.5,", ",99,").replace(",6,", ",98,") for r in rows], "mmol/L"
            )
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace(",103,", ",secret,"), "no number"),
        (lambda t: t.replace("T09:30:00", "T25:30:00"), "another form"),
        (lambda t: t.replace("EGV", "XXX"), "no sensor glucose"),
        (lambda t: t.replace(",EGV,,,,iPhone G6,103", ",EGV"), "number of columns"),
        (lambda t: t.replace("(mg/dL)", ""), "does not say the unit"),
        (lambda t: t.replace("Event Type", "Events"), "no header line"),
        (lambda t: t.replace("iPhone", "iPhone\udce4"), "no UTF-8"),
    ],
)
def test_files_that_were_edited(tmp_path, change, message):
    path = make.clarity(tmp_path / "a.csv")
    path.write_text(change(path.read_text()), errors="surrogateescape")
    with pytest.raises(ReaderError, match=message) as caught:
        read(path)
    assert "secret" not in str(caught.value)


def test_the_real_sample(real_data):
    path = real_data / "device_formats" / "dexcom_clarity" / "test_file.csv"
    assert DexcomClarity.detect(path)
    assert DexcomClarity.detect(path.parent)
    glucose = read(path).recordings["glucose"]
    assert glucose.start_ns == pd.Timestamp("2016-10-24T11:24:17Z").value
    assert glucose.values.shape == (1, 2280)
    assert glucose.values[0, :6].tolist() == [103, 102, 100, 98, 94, 95]
    # Every reading has a place of its own, and none is lost.
    frame = pd.read_csv(path, skiprows=range(1, 12))
    assert int(glucose.observed.sum()) == len(frame) == 2148
    assert glucose.values[0, glucose.observed].tolist() == frame["Glucose Value (mg/dL)"].tolist()
