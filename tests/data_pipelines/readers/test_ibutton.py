import runpy
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from data_pipelines.readers.ibutton import Ibutton
from hdt_fm.schema.errors import ReaderError

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fabricate_loggers.py"))))
SUBJECT = "s" + "f" * 32
S = 1_000_000_000


def read(path, **arguments):
    return Ibutton(**arguments).read(path, subject=SUBJECT)


def test_a_mission(tmp_path):
    path = make.ibutton(tmp_path / "a.csv")
    assert Ibutton.detect(path)
    temp = read(path).recordings["temp"]
    # 22:00 on 28 February in Singapore.
    assert (temp.start_ns, temp.utc_offset_s, temp.sampling_rate_hz) == (
        1_709_128_800 * S,
        28_800,
        pytest.approx(1 / 300),
    )
    assert temp.values[0, :3] == pytest.approx([30, 30.0625, 30.125])
    assert temp.observed.all()
    assert list(read(path, modality="device_temp").recordings) == ["device_temp"]


def test_a_zone_of_several_meanings_is_kept_as_local(tmp_path):
    temp = read(make.ibutton(tmp_path / "a.csv", zone="CST")).recordings["temp"]
    assert (temp.start_ns, temp.utc_offset_s) == (1_709_157_600 * S, None)


def test_fahrenheit(tmp_path):
    path = make.ibutton(tmp_path / "a.csv", unit="F")
    path.write_text(path.read_text().replace(",F,3", ",F,9"))
    assert read(path).recordings["temp"].values[0, 0] == pytest.approx((90 - 32) * 5 / 9)


def test_an_hour_of_summer_time_is_allowed(tmp_path):
    path = make.ibutton(tmp_path / "a.csv", day=datetime(2024, 2, 28, 12))
    text = path.read_text()
    for minute in range(0, 60, 5):
        text = text.replace(f"2/28/24 1:{minute:02d}:00 PM", f"2/28/24 2:{minute:02d}:00 PM")
    path.write_text(text.replace("2/28/24 2:10:00 PM,C,31.6250", "2/28/24 3:10:00 PM,C,31.6250"))
    assert read(path).recordings["temp"].values.shape == (1, 30)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2/28/24 10:10:00 PM", "2/28/24 10:11:00 PM", "one after the other"),
        ("2/28/24 10:10:00 PM,C,30.1250\n", "", "one after the other"),
        ("2/28/24 10:10:00 PM,C,30.1250", "2/28/24 10:10", "(?s)no sample.*line 9"),
        ("2/28/24 10:10:00 PM,C", "2/28/24 10:10:00 PM,F", "more than one unit"),
        ("Every 300", "Every few", "(?s)incomplete.*Sample Rate"),
        ("Wed Feb 28", "Wed Foo 28", "first sample cannot be read"),
        ("Date/Time,Unit,Value", "Date/Time,Value", "header is incomplete"),
        ("1-Wire", "2-Wire", "no export of an iButton"),
    ],
)
def test_broken_exports(tmp_path, old, new, message):
    path = make.ibutton(tmp_path / "a.csv")
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ReaderError, match=message):
        read(path)


@pytest.mark.real
def test_real_files(real_data):
    found = {}
    for path in sorted((real_data / "device_formats" / "ibutton_ds1922l").iterdir()):
        temp = read(path).recordings["temp"]
        assert (temp.utc_offset_s, temp.observed.all()) == (28_800, True)
        found[path.name[:6]] = (temp.start_ns // S, temp.values.shape[1], round(float(temp.values[0, 0]), 3))
    assert found == {
        "esse02": (1_708_394_761, 2364, 27.944),
        "esse07": (1_708_397_221, 2055, 27.271),
        "esse09": (1_708_916_701, 2601, 30.418),
    }
