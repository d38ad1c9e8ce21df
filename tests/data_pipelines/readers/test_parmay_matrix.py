import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_pipelines.readers.parmay_matrix import ParmayMatrix
from hdt_fm.schema.errors import ReaderError

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fabricate_loggers.py"))))
SUBJECT = "s" + "c" * 32
S = 1_000_000_000


def read(path):
    return ParmayMatrix().read(path, subject=SUBJECT)


def test_every_part_of_a_packet(tmp_path):
    path = make.matrix(tmp_path / "a.BIN", gyro=True)
    assert ParmayMatrix.detect(path)
    visit = read(path)
    acc, gyro = visit.recordings["acc"], visit.recordings["gyro"]
    # 16 bits span 8 g: 4096 steps a g, 4095.875 above zero.
    expected = np.tile(make.steps(1536) * 16, (8, 1)).T
    assert acc.values == pytest.approx(expected * 8 / np.where(expected < 0, 32768, 32767), abs=1e-6)
    assert (acc.sampling_rate_hz, gyro.sampling_rate_hz) == pytest.approx((25.6, 12.8))
    assert (acc.start_ns, acc.utc_offset_s) == (make.START_S * S, None)
    assert gyro.values[:, 768].tolist() == pytest.approx([101 * 2000 / 32767] * 3)
    assert visit.recordings["temp"].values[0, :4] == pytest.approx([31, 31.1, 31.1, 31.2])
    assert visit.recordings["device_temp"].values[0, :2] == pytest.approx([25, 25.1])
    assert visit.recordings["temp"].sampling_rate_hz == pytest.approx(1 / 30)
    heart = visit.labels["heart_rate"]
    assert heart.values.tolist() == list(range(70, 78))
    assert (heart.end_ns - heart.start_ns == 60 * S).all()


def test_a_second_between_packets_is_rounding_and_ten_are_a_gap(tmp_path):
    acc = read(make.matrix(tmp_path / "a.BIN", pause_after={2: 1})).recordings["acc"]
    assert acc.observed.all()
    acc = read(make.matrix(tmp_path / "b.BIN", pause_after={2: 10})).recordings["acc"]
    gap = np.flatnonzero(~acc.observed)
    assert (gap[0], len(gap)) == (3 * 1536, 256)


def test_a_damaged_packet_is_a_gap_and_is_counted(tmp_path):
    path = make.matrix(tmp_path / "a.BIN")
    data = bytearray(path.read_bytes())
    third = data.index(b"MDTCPACK", data.index(b"MDTCPACK", 540) + 8)
    data[third + 500] ^= 1
    path.write_bytes(bytes(data))
    acc = read(path).recordings["acc"]
    assert np.flatnonzero(~acc.observed).tolist() == list(range(2 * 1536, 3 * 1536))
    assert ParmayMatrix.clock(path).lost_blocks == 1
    assert len(read(path).labels["heart_rate"].values) == 7


def test_what_is_refused(tmp_path):
    path = make.matrix(tmp_path / "a.BIN", packets=3)
    data = path.read_bytes()
    path.write_bytes(data[:600])
    with pytest.raises(ReaderError, match="no whole packet"):
        read(path)
    path.write_bytes(data[:512] + b"MDTX" + data[516:])
    assert not ParmayMatrix.detect(path)
    with pytest.raises(ReaderError, match="no Parmay"):
        read(path)
    first, second = (data.index(b"MDTCPACK", place) for place in (0, 540))
    path.write_bytes(data[:first] + data[second:] + data[first:second])
    with pytest.raises(ReaderError, match="not in order"):
        read(path)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "start_ns", "rate", "size", "first", "norm"),
    [
        ("mtx_100Hz_acc_HR_temp", 1_737_755_054_032_127_000, 102.536281, 40_312, [22880, 22016, -7648], 0.9633),
        ("mtx_25Hz_acc_HR", 1_737_753_720_992_908_000, 25.593949, 25_119, [2764, 2015, -2146], 0.9756),
    ],
)
def test_real_files(real_data, name, start_ns, rate, size, first, norm):
    path = real_data / "device_formats" / "parmay_matrix" / f"{name}.BIN"
    visit = read(path)
    acc = visit.recordings["acc"]
    assert (acc.start_ns, acc.values.shape, acc.observed.all()) == (start_ns, (3, size), True)
    assert acc.sampling_rate_hz == pytest.approx(rate, abs=1e-5)
    # All checksums are right, and the worn device weighs about one g: the layout is understood.
    assert ParmayMatrix.clock(path).lost_blocks == 0
    assert np.median(np.linalg.norm(acc.values, axis=0)) == pytest.approx(norm, abs=1e-3)
    heart = visit.labels["heart_rate"].values.tolist()
    if "temp" in name:
        assert acc.values[:, 0] == pytest.approx([2860 / 32767 * 8, 2752 / 32767 * 8, -956 / 32768 * 8], abs=1e-6)
        warm = visit.recordings["temp"]
        assert warm.values[0, warm.observed] == pytest.approx([28.1, 28.1, 28.2, 28.2, 28.2, 28.1, 28.0])
        assert visit.recordings["device_temp"].values[0, 0] == 22
        assert heart == [74]
    else:
        assert acc.values[:, 0] == pytest.approx([f / (32767 if f > 0 else 32768) * 8 for f in first], abs=1e-6)
        assert heart == [77, 76]
