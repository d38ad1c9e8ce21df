import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_pipelines.readers.actigraph import Actigraph
from hdt_fm.schema.errors import ReaderError

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fabricate_loggers.py"))))
SUBJECT = "s" + "d" * 32
S = 1_000_000_000
AUGUST = 1_471_296_900  # 2016-08-15 21:35:00


def read(path, **arguments):
    return Actigraph(**arguments).read(path, subject=SUBJECT)


def test_counts_by_the_bits_of_the_mode(tmp_path):
    path = make.actigraph_csv(tmp_path / "a.csv")
    assert Actigraph.detect(path)
    visit = read(path)
    counts = visit.recordings["counts"]
    assert [c.name for c in counts.channels] == ["axis1", "axis2", "axis3"]
    # Of ten seconds, so six times as many a minute.
    assert counts.values[:, 2].tolist() == [12, 600, 1200]
    assert (counts.sampling_rate_hz, counts.start_ns, counts.utc_offset_s) == (0.1, AUGUST * S, None)
    assert visit.recordings["steps"].values[0, 0] == pytest.approx(6)
    assert visit.recordings["light"].values[0, 0] == 50
    posture = visit.labels["posture"]
    assert posture.classes[int(posture.values[0])] == "standing"
    assert (posture.end_ns - posture.start_ns == 10 * S).all()


@pytest.mark.parametrize(
    ("mode", "kinds"), [(0, {"counts"}), (1, {"counts", "steps"}), (12, {"counts"}), (17, {"counts", "steps", "light"})]
)
def test_other_modes(tmp_path, mode, kinds):
    assert set(read(make.actigraph_csv(tmp_path / "a.csv", mode=mode)).recordings) == kinds


def test_names_instead_of_a_mode(tmp_path):
    path = make.actigraph_csv(tmp_path / "a.csv", mode=13, names="axis1,axis2,axis3,steps")
    assert read(path).recordings["counts"].values[0, 3] == pytest.approx(18)
    path.write_text(path.read_text().replace("axis1,axis2,axis3,steps", "axis1,axis2"))
    with pytest.raises(ReaderError, match="columns are not those"):
        read(path)


@pytest.mark.parametrize(
    ("said", "start", "download", "dates", "day"),
    [
        ("dd/MM/yyyy", "09-12-2017", "10-12-2017", "auto", "2017-12-09"),
        ("M/d/yyyy", "09-12-2017", "10-12-2017", "auto", "2017-09-12"),
        ("", "09-12-2017", "09-19-2017", "auto", "2017-09-12"),
        ("", "09-12-2017", "09-11-2017", "day_first", "2017-12-09"),
        ("dd/MM/yyyy", "09-12-2017", "09-19-2017", "month_first", "2017-09-12"),
        ("yyyy-MM-dd", "2017-12-09", "2017-12-10", "auto", "2017-12-09"),
    ],
)
def test_day_and_month(tmp_path, said, start, download, dates, day):
    path = make.actigraph_csv(tmp_path / "a.csv", date_format=said, start=start, download=download)
    begin = read(path, dates=dates).recordings["counts"].start_ns
    assert np.datetime64(begin, "ns").astype("datetime64[D]") == np.datetime64(day)


@pytest.mark.parametrize(
    ("said", "download", "message"),
    [
        ("", "09-11-2017", "not clear"),
        ("dd/MM/yyyy", "09-19-2017", "(?s)not clear.*dates='day_first'"),
        ("", "13-19-2017", "neither"),
    ],
)
def test_dates_that_are_not_clear_are_refused(tmp_path, said, download, message):
    path = make.actigraph_csv(tmp_path / "a.csv", date_format=said, start="09-12-2017", download=download)
    with pytest.raises(ReaderError, match=message):
        read(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Mode = 61", "Mode = 63", "(?s)mode has columns.*63"),
        ("Mode = 61", "Mode = 13", "columns are not those"),
        ("Epoch Period", "Epoch", "(?s)lacks a line.*Epoch Period"),
        ("00:00:10", "00:00:00", "no length"),
        ("3,100,200", "3,abc,200", "no number"),
        ("3,100,200", "3,200", "wrong number of columns"),
        ("\n----", "\nxxxx", "10 header lines"),
    ],
)
def test_broken_tables(tmp_path, old, new, message):
    path = make.actigraph_csv(tmp_path / "a.csv")
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ReaderError, match=message):
        read(path)


@pytest.mark.parametrize("kind", [0, 26, 27])
def test_raw_samples_of_each_kind(tmp_path, kind):
    path = make.gt3x(tmp_path / "a.gt3x", make.gt3x_log(kind=kind))
    assert Actigraph.detect(path)
    visit = read(path)
    acc = visit.recordings["acc"]
    assert np.array_equal(acc.values, (make.steps(600) / 256).T.astype(np.float32))
    # The log is in local time, four hours behind UTC.
    assert (acc.sampling_rate_hz, acc.start_ns, acc.utc_offset_s) == (30, (make.START_S + 14_400) * S, -14_400)
    assert visit.recordings["light"].values[0].tolist() == [100, 110]
    wear = visit.labels["wear"]
    assert [wear.classes[int(v)] for v in wear.values] == ["worn", "not worn"]


def test_an_odd_number_of_packed_samples(tmp_path):
    """At 35 Hz the last nibble of a second is padding."""
    path = make.gt3x(tmp_path / "a.gt3x", make.gt3x_log(rate=35), rate=35)
    assert np.array_equal(read(path).recordings["acc"].values, (make.steps(700) / 256).T.astype(np.float32))


def test_missing_and_damaged_seconds_are_gaps(tmp_path, caplog):
    log = bytearray(make.gt3x_log(without=(5, 6)))
    log[log.index(make.gt3x_packed(make.steps(420)[390:, [1, 0, 2]])) + 3] ^= 8
    path = make.gt3x(tmp_path / "a.gt3x", bytes(log) + b"\0\0\0", zone="")
    acc = read(path).recordings["acc"]
    assert np.flatnonzero(~acc.observed).tolist() == [*range(150, 210), *range(390, 420)]
    assert acc.utc_offset_s is None
    assert "blocks lost" in caplog.text


def test_the_scale_of_the_parameters(tmp_path):
    # The vendor's example: 0x09400000 is 256.
    log = make.gt3x_record(21, make.START_S, bytes.fromhex("0000370000004009")) + make.gt3x_log()
    path = make.gt3x(tmp_path / "a.gt3x", log)
    import zipfile

    with zipfile.ZipFile(path) as archive:
        info = archive.read("info.txt").decode().replace("Acceleration Scale: 256.0", "").replace("MOS2X", "QQQ")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("info.txt", info)
        archive.writestr("log.bin", log)
    assert read(path).recordings["acc"].values[2, 0] == pytest.approx(250 / 256)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("info.txt", info)
        archive.writestr("log.bin", make.gt3x_log())
    with pytest.raises(ReaderError, match="how many steps a g"):
        read(path)


def test_raw_files_that_are_refused(tmp_path):
    path = make.gt3x(tmp_path / "a.gt3x", calibration_json='{"isCalibrated": false}')
    with pytest.raises(ReaderError, match="not calibrated"):
        read(path)
    path = make.gt3x(tmp_path / "b.gt3x", make.gt3x_record(6, 1, b"{}"))
    with pytest.raises(ReaderError, match="no second of acceleration"):
        read(path)
    path.write_bytes(path.read_bytes()[:50])
    assert Actigraph.detect(path)
    with pytest.raises(ReaderError, match="truncated or damaged"):
        read(path)


@pytest.mark.parametrize("kind", [0, 26, 27])
def test_raw_samples_against_another_implementation(tmp_path, kind):
    reader = pytest.importorskip("pygt3x.reader")
    path = make.gt3x(tmp_path / "a.gt3x", make.gt3x_log(kind=kind))
    with reader.FileReader(str(path)) as theirs:
        table = theirs.to_pandas()
    ours = read(path).recordings["acc"]
    assert np.abs(table[["X", "Y", "Z"]].to_numpy().T - ours.values).max() < 1e-6
    assert float(table.index[0]) == pytest.approx(ours.start_ns / S - 14_400)


@pytest.mark.real
def test_real_files(real_data):
    folder = real_data / "device_formats" / "actigraph"
    visit = read(folder / "ActiGraph61.csv")
    counts = visit.recordings["counts"]
    assert (counts.start_ns, counts.sampling_rate_hz, counts.values.shape) == (AUGUST * S, 0.2, (3, 990))
    assert (counts.values[:, 0] / 12).tolist() == pytest.approx([325, 85, 176])
    assert visit.recordings["steps"].values.sum() / 12 == pytest.approx(253)
    assert np.bincount(visit.labels["posture"].values.astype(int)).tolist() == [631, 59, 4, 296]
    # Its header says day/month of dates that are month-day; its column of times tells.
    other = read(folder / "ActiGraph13_timestamps_headers.csv")
    counts = other.recordings["counts"]
    assert (counts.start_ns, counts.sampling_rate_hz, counts.values.shape) == (1_505_228_400 * S, 1, (3, 1000))
    assert (counts.values[:, 1] / 60).tolist() == pytest.approx([44, 9, 0])
    assert other.recordings["steps"].values.sum() / 60 == pytest.approx(442)
