import signal
import sys

import numpy as np
import pandas as pd
import pytest

from data_pipelines.readers import _hdf5
from data_pipelines.readers.table import Table
from hdt_fm.schema.errors import ConfigError, ReaderError, UnitError, UnknownNameError

SUBJECT = "s" + "1" * 32
S = 1_000_000_000
MAPPING = """
time: {column: t, unit: ms}
signals:
  acc: {columns: [x, y, z], unit: m/s^2}
  temp: {columns: [skin], unit: kelvin}
labels:
  state: {column: state, kind: class, classes: [sit, walk]}
  meal: {column: carbs, kind: event, unit: g}
missing: [-1]
"""


def read(path, mapping=None):
    return Table(mapping).read(path, subject=SUBJECT)


def rows(times, states=("sit",)):
    lines = ["t,x,y,z,skin,state,carbs"]
    lines += [f"{t},0,9.80665,{i},306.15,{states[i % len(states)]}," for i, t in enumerate(times)]
    return "\n".join(lines) + "\n"


def test_units_clock_gap_and_labels(fabricate, tmp_path):
    start = 1_700_000_000_000
    times = [start + 100 * i for i in [*range(20), *range(50, 60)]]
    text = rows(times, ["sit", "walk", ""]).replace("0,9.80665,4,306.15,walk,", "-1,9.80665,4,306.15,walk,30")
    path = fabricate.table(tmp_path, MAPPING, text)
    assert Table.detect(path)
    visit = read(path)
    acc = visit.recordings["acc"]
    assert (acc.sampling_rate_hz, acc.start_ns, acc.values.shape) == (pytest.approx(10), start * 1_000_000, (3, 60))
    # Sample 4 is -1 in one axis; nothing was recorded from 2 s to 5 s.
    assert (~acc.observed).nonzero()[0].tolist() == [4, *range(20, 50)]
    assert acc.values[:, 3].tolist() == pytest.approx([0, 1, 3 / 9.80665])
    assert acc.values[2, 50] == pytest.approx(20 / 9.80665)
    assert visit.recordings["temp"].values[0, 0] == pytest.approx(33, abs=1e-4)
    state = visit.labels["state"]
    assert state.values[:4].tolist() == [0, 1, 0, 1]
    assert ((state.start_ns[:3] - acc.start_ns) // 1_000_000).tolist() == [0, 100, 300]
    assert visit.labels["meal"].start_ns.tolist() == [acc.start_ns + 400_000_000]


@pytest.mark.parametrize(
    ("start", "first"),
    [
        ("2026-03-05T09:30:00Z", 1_772_703_000),
        ("2026-03-05T10:30:00+01:00", 1_772_703_000),
        ("2026-03-05T10:30:00", 1_772_703_000),
        (1_772_703_000.5, 1_772_703_000.5),
    ],
)
def test_a_table_without_a_time_column(tmp_path, start, first):
    (tmp_path / "a.csv").write_text("ppg\n1\n2\n\n4\n")
    mapping = {
        "signals": {"ppg": {"columns": ["ppg"], "unit": "NU"}},
        "sampling_rate_hz": 25,
        "start": start,
        "utc_offset_s": 3600,
    }
    ppg = read(tmp_path / "a.csv", mapping).recordings["ppg"]
    assert ppg.start_ns == first * S
    assert ppg.utc_offset_s == 3600
    assert (ppg.values.tolist(), ppg.observed.tolist()) == ([[1, 2, 0, 4]], [True, True, False, True])


def test_iso_times_with_offsets_and_without(fabricate, tmp_path):
    mapping = "time: {column: t, unit: iso}\nsignals: {glucose: {columns: [cgm], unit: mmol/L}}\nutc_offset_s: 7200\n"
    aware = "t,cgm\n" + "".join(f"2026-03-05T10:{m:02d}:00+02:00,5.5\n" for m in range(0, 30, 5))
    visit = read(fabricate.table(tmp_path / "a", mapping, aware))
    naive = read(fabricate.table(tmp_path / "b", mapping, aware.replace("+02:00", "")))
    for made in (visit, naive):
        glucose = made.recordings["glucose"]
        assert glucose.start_ns == pd.Timestamp("2026-03-05T08:00:00Z").value
        assert glucose.sampling_rate_hz == pytest.approx(1 / 300)
        assert glucose.values[0].tolist() == pytest.approx([5.5 * 18.0156] * 6, rel=1e-5)


def test_parquet_and_a_folder_of_tables_at_two_rates(tmp_path):
    fast = pd.DataFrame({"t": np.arange(64) / 32, "x": 0.5})
    fast.to_parquet(tmp_path / "fast.parquet")
    (tmp_path / "fast.yaml").write_text("time: {column: t}\nsignals: {ppg: {columns: [x], unit: NU}}\n")
    (tmp_path / "slow.csv").write_text("e\n1\n2\n")
    (tmp_path / "slow.yaml").write_text("sampling_rate_hz: 1\nsignals: {eda: {columns: [e], unit: uS}}\n")
    assert Table.detect(tmp_path)
    visit = read(tmp_path)
    assert {n: r.sampling_rate_hz for n, r in visit.recordings.items()} == {"ppg": pytest.approx(32), "eda": 1}
    (tmp_path / "again.yaml").write_text("sampling_rate_hz: 1\nsignals: {eda: {columns: [e], unit: uS}}\n")
    (tmp_path / "again.csv").write_text("e\n1\n2\n")
    with pytest.raises(ReaderError, match="hold the same thing"):
        read(tmp_path)
    (tmp_path / "fast.parquet").write_bytes((tmp_path / "fast.parquet").read_bytes()[:-40])
    with pytest.raises(ReaderError, match="Parquet file is truncated"):
        read(tmp_path / "fast.parquet")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (("acc:", "akc:"), UnknownNameError, "did you mean 'acc'"),
        (("m/s^2", "furlong"), UnitError, "furlong"),
        (("unit: ms", "unit: hours"), ConfigError, "time.unit"),
        (("missing:", "mising:"), ConfigError, "mising"),
        (("time: {column: t, unit: ms}", ""), ConfigError, "no clock"),
        (("signals:", "signals: ["), ConfigError, "cannot be read"),
        (("[x, y, z]", "[x, y, w]"), ReaderError, "not in the table"),
        (("[sit, walk]", "[sit, run]"), ReaderError, "class that the mapping does not name"),
        (("missing:", "sampling_rate_hz: 0\nmissing:"), ReaderError, "positive number"),
        (("missing:", "sampling_rate_hz: 1\nmissing:"), ReaderError, "does not fit the time"),
        (("m/s^2", "1/64 g"), None, ""),
        (("kelvin", "celsius"), UnitError, "'kelvin'"),
    ],
)
def test_mappings_that_do_not_fit(fabricate, tmp_path, change, error, message):
    path = fabricate.table(tmp_path, MAPPING.replace(*change), rows(range(0, 2000, 100), ["sit", "walk"]))
    if error is None:
        assert read(path)
        return
    with pytest.raises(error, match=message):
        read(path)


def test_raw_counts_called_g(fabricate, tmp_path):
    """An E4's counts (64 to 1 g) mapped as g: most samples are beyond what a body can do."""
    mapping = "sampling_rate_hz: 32\nsignals: {acc: {columns: [x, y, z], unit: g}}\n"
    counts = np.random.default_rng(0).normal([2, 10, 63], 3, size=(200, 3)).round()
    with pytest.raises(UnitError, match="'1/64 g'"):
        read(fabricate.table(tmp_path, mapping, fabricate.csv_text("x,y,z", counts)))


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0, 100, 50, 150], "does not rise"),
        ([0, 0, 0, 0], "positive number"),
        ([0, 100, "", 300], "does not rise"),
        ([0], "One sample"),
        ([0, 100, 200, 10**15], "does not fit the time"),
    ],
)
def test_times_that_cannot_be(fabricate, tmp_path, times, message):
    with pytest.raises(ReaderError, match=message):
        read(fabricate.table(tmp_path, MAPPING, rows(times)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (rows([0, 100, 200]).replace("9.80665,1,", "fell secretly,1,"), "no number"),
        (rows([0, 100, 200]) + "1,2\n", "number of columns"),
        (rows([]), "no rows"),
        ("", "file is empty"),
    ],
)
def test_tables_that_are_none(fabricate, tmp_path, text, message):
    with pytest.raises(ReaderError, match=message) as caught:
        read(fabricate.table(tmp_path, MAPPING, text))
    assert "secretly" not in str(caught.value)


def test_without_a_mapping(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    assert not Table.detect(tmp_path / "a.csv")
    with pytest.raises(ReaderError, match=r"\.yaml of the same name"):
        read(tmp_path / "a.csv")


DATED = "time: {column: t, unit: date%s}\nsignals: {glucose: {columns: [cgm], unit: mg/dL}}\n"


def dated(fabricate, tmp_path, texts, more=""):
    text = "t,cgm\n" + "".join(f"{t},{100 + k}\n" for k, t in enumerate(texts))
    return read(fabricate.table(tmp_path, DATED % more, text)).recordings["glucose"]


def test_byte_order_mark(tmp_path):
    """Spreadsheets write three bytes before the first name, which are no part of it."""
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + b"ppg,x\n1,2\n3,4\n")
    mapping = {"signals": {"ppg": {"columns": ["ppg"], "unit": "NU"}}, "sampling_rate_hz": 25}
    assert read(tmp_path / "a.csv", mapping).recordings["ppg"].values.tolist() == [[1, 3]]


def test_day_first_dates(fabricate, tmp_path):
    texts = [f"05/03/2026 10:{m:02d}" for m in range(0, 30, 5)]
    march = dated(fabricate, tmp_path / "a", texts, ", day_first: true")
    may = dated(fabricate, tmp_path / "b", texts, ", day_first: false")
    assert march.start_ns == pd.Timestamp("2026-03-05T10:00Z").value
    assert may.start_ns == pd.Timestamp("2026-05-03T10:00Z").value
    assert march.sampling_rate_hz == pytest.approx(1 / 300)
    with pytest.raises(ReaderError, match=r"could be two days(.|\n)*day_first"):
        dated(fabricate, tmp_path / "c", texts)


@pytest.mark.parametrize("texts", [("12/03/2026 10:00", "13/03/2026 10:00"), ("03/12/2026 10:00", "03/13/2026 10:00")])
def test_a_day_past_the_twelfth_tells_the_order(fabricate, tmp_path, texts):
    assert dated(fabricate, tmp_path, texts).start_ns == pd.Timestamp("2026-03-12T10:00Z").value


def test_twelve_hour_clocks(fabricate, tmp_path):
    texts = ["4/12/2026 11:30:00 AM", "4/12/2026 12:00:00 PM", "4/12/2026 12:30:00 PM", "4/12/2026 1:00:00 PM"]
    glucose = dated(fabricate, tmp_path / "a", texts, ", day_first: false")
    assert glucose.start_ns == pd.Timestamp("2026-04-12T11:30Z").value
    assert (glucose.sampling_rate_hz, glucose.values.tolist()) == (pytest.approx(1 / 1800), [[100, 101, 102, 103]])
    midnight = ["13-4-2026 11:30pm", "14-4-2026 12:00am"]
    assert dated(fabricate, tmp_path / "b", midnight).start_ns == pd.Timestamp("2026-04-13T23:30Z").value
    # Without am and pm, noon lies before eleven o'clock.
    with pytest.raises(ReaderError, match="does not rise"):
        dated(fabricate, tmp_path / "c", [t[:-3] for t in texts], ", day_first: false")


def test_dates_of_a_form_that_is_named(fabricate, tmp_path):
    more = ', format: "%d %b %Y %I:%M %p"'
    glucose = dated(fabricate, tmp_path, ["05 Mar 2026 09:30 PM", "05 Mar 2026 09:35 PM"], more)
    assert glucose.start_ns == pd.Timestamp("2026-03-05T21:30Z").value


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["13/03/2026 10:00", "03/14/2026 10:00"], "past twelve in both places"),
        (["13/03/2026 10:00", "14/03/2026"], "another form"),
        (["13/03/2026 10:00", "14.03.2026 10:00"], "another form"),
        (["13/03/2026 25:00", "14/03/2026 10:00"], "another form"),
        (["soon", "later"], "another form"),
        (["13/03/2026 10:00", ""], "time is missing"),
    ],
)
def test_dates_that_cannot_be_told(fabricate, tmp_path, texts, message):
    with pytest.raises(ReaderError, match=message) as caught:
        dated(fabricate, tmp_path, texts)
    assert "13/03" not in str(caught.value)


def test_local_dates_are_moved_to_utc(fabricate, tmp_path):
    mapping = (DATED % ", day_first: true") + "utc_offset_s: 7200\n"
    text = "t,cgm\n05/03/2026 01:00,100\n05/03/2026 01:05,101\n"
    glucose = read(fabricate.table(tmp_path, mapping, text)).recordings["glucose"]
    assert (glucose.start_ns, glucose.utc_offset_s) == (pd.Timestamp("2026-03-04T23:00Z").value, 7200)


HDF5_MAPPING = """
time: {column: clock, unit: ms}
signals:
  acc: {columns: ["watch/acc[0]", "watch/acc[1]", "watch/acc[2]"], unit: g}
  ppg: {columns: ["log[green]"], unit: NU}
labels:
  state: {column: state, kind: class, classes: [sit, walk]}
"""


def hdf5(folder, **changes):
    h5py = pytest.importorskip("h5py")
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / "walk.h5", "w") as file:
        file["clock"] = np.arange(50, dtype=np.int64) * 40
        file["watch/acc"] = np.arange(150, dtype=np.int16).reshape(50, 3) / 150
        file["log"] = np.array([(k, 2 * k) for k in range(50)], dtype=[("red", "f4"), ("green", "f4")])
        file.create_dataset("state", data=["sit", "walk"] * 25, dtype=h5py.string_dtype())
        for name, change in changes.items():
            del file[name]
            change(file, name, h5py)
    (folder / "walk.yaml").write_text(HDF5_MAPPING)
    return folder / "walk.h5"


def test_hdf5(tmp_path):
    path = hdf5(tmp_path)
    assert Table.detect(path)
    visit = read(path)
    acc = visit.recordings["acc"]
    assert (acc.sampling_rate_hz, acc.values.shape) == (pytest.approx(25), (3, 50))
    assert acc.values[:, 7].tolist() == pytest.approx([21 / 150, 22 / 150, 23 / 150])
    assert visit.recordings["ppg"].values[0, :3].tolist() == [0, 2, 4]
    assert visit.labels["state"].values[:3].tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "clock",
            lambda f, n, h: f.__setitem__(n, h.ExternalLink("/etc/passwd", "/clock")),
            "points to something else",
        ),
        ("clock", lambda f, n, h: f.__setitem__(n, h.SoftLink("/log")), "points to something else"),
        (
            "clock",
            lambda f, n, h: f.create_dataset(n, (50,), "f8", external=[("/etc/passwd", 0, 400)]),
            "in other files",
        ),
        ("clock", lambda f, n, h: f.create_dataset(n, (1 << 40,), "f8", chunks=(1 << 16,)), "too large"),
        ("clock", lambda f, n, h: f.__setitem__(n, np.arange(49)), "different lengths"),
        ("clock", lambda f, n, h: f.create_group(n), "not a group"),
        ("clock", lambda f, n, h: f.__setitem__(n, [b"x"] * 50), "numbers"),
        ("clock", lambda f, n, h: f.create_dataset(n, (50,), h.vlen_dtype(np.int32)), "numbers"),
        ("clock", lambda f, n, h: f.__setitem__("clok", [1]), "a dataset of the file"),
        ("log", lambda f, n, h: f.__setitem__(n, np.zeros((50, 2, 2))), "one or two axes"),
        ("watch/acc", lambda f, n, h: f.__setitem__(n, np.zeros((50, 2))), r"from watch/acc\[0\] to \[1\]"),
        ("state", lambda f, n, h: f.__setitem__(n, np.arange(50)), "texts"),
    ],
)
def test_hdf5_that_is_not_plain(tmp_path, name, change, message):
    with pytest.raises(ReaderError, match=message):
        read(hdf5(tmp_path, **{name: change}))


def test_hdf5_that_takes_for_ever_is_stopped_and_the_next_is_read(tmp_path, monkeypatch):
    path = hdf5(tmp_path)
    read(path)
    process = _hdf5._worker[1]
    # A worker that stands still cannot answer, however short the wait.
    process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(_hdf5, "LIMIT_S", 0.1)
    with pytest.raises(ReaderError, match="reading it was stopped"):
        read(path)
    assert process.poll() is not None
    monkeypatch.undo()
    assert set(read(path).recordings) == {"acc", "ppg"}


def test_hdf5_cut_off_and_without_the_package(tmp_path, monkeypatch):
    path = hdf5(tmp_path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ReaderError, match="HDF5 file is truncated"):
        read(path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ConfigError, match="h5py"):
        read(path)


@pytest.mark.real
def test_a_real_table_without_a_time_column(real_data):
    mapping = {
        "sampling_rate_hz": 100,
        "signals": {
            "ecg": {"columns": ["ECG"], "unit": "mV"},
            "eda": {"columns": ["EDA"], "unit": "uS"},
            "ppg": {"columns": ["Photosensor"], "unit": "NU"},
            "resp": {"columns": ["RSP"], "unit": "NU"},
        },
    }
    path = real_data / "device_formats" / "neurokit_csv" / "bio_100Hz.csv"
    assert not Table.detect(path)
    found = read(path, mapping).recordings
    assert {name: r.values.shape for name, r in found.items()} == dict.fromkeys(found, (1, 15_000))
    assert [float(r.values[0, 0]) for r in found.values()] == pytest.approx(
        [-0.015869, 13.196868, 5, 0.778931], abs=1e-5
    )
