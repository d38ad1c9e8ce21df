import runpy
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_pipelines.readers.axivity_cwa import AxivityCwa
from hdt_fm.schema.errors import ReaderError

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fabricate_loggers.py"))))
SUBJECT = "s" + "a" * 32
S = 1_000_000_000


def read(path):
    return AxivityCwa().read(path, subject=SUBJECT)


def change(path, block, spoil):
    """One block of 512 bytes changed, its checksum made right again."""
    data = bytearray(path.read_bytes())
    part = data[1024 + 512 * block : 1536 + 512 * block]
    spoil(part)
    part[510:] = b"\0\0"
    part[510:] = struct.pack("<H", -int(np.frombuffer(bytes(part), "<u2").sum()) & 0xFFFF)
    data[1024 + 512 * block : 1536 + 512 * block] = part
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(("packed", "axes"), [(True, 3), (False, 3), (False, 6), (False, 9)])
def test_samples_in_every_form(tmp_path, packed, axes):
    path = make.cwa(tmp_path / "a.cwa", packed=packed, axes=axes)
    assert AxivityCwa.detect(path)
    visit = read(path)
    acc = visit.recordings["acc"]
    assert np.array_equal(acc.values, (make.steps(acc.values.shape[1]) / 256).T.astype(np.float32))
    assert acc.observed.all()
    assert [c.name for c in acc.channels] == ["x", "y", "z"]
    assert ("gyro" in visit.recordings, "mag" in visit.recordings) == (axes > 3, axes > 6)
    if axes > 3:
        # Code 2 is 8000 / 2^2 degrees a second over 32768 steps.
        assert visit.recordings["gyro"].values == pytest.approx(7 * 2000 / 32768)
    if axes > 6:
        assert visit.recordings["mag"].values == pytest.approx(9 / 16)


def test_the_rate_and_start_are_those_of_the_stamps_not_of_the_setting(tmp_path):
    path = make.cwa(tmp_path / "a.cwa", blocks=40, true_rate_hz=98.9)
    acc = read(path).recordings["acc"]
    clock = AxivityCwa.clock(path)
    assert (clock.nominal_rate_hz, clock.corrections, clock.blocks, clock.lost_blocks) == (100, 0, 40, 0)
    assert clock.drift_ppm == pytest.approx(-11_000, abs=50)
    assert clock.worst_s < 1e-3
    assert acc.sampling_rate_hz == pytest.approx(98.9, rel=1e-5)
    assert abs(acc.start_ns - make.START_S * S) < 1_000_000
    assert acc.utc_offset_s is None


def test_light_and_temperature_once_a_block(tmp_path):
    recordings = read(make.cwa(tmp_path / "a.cwa", blocks=6)).recordings
    assert recordings["device_temp"].values[0, :2] == pytest.approx([260 * 75 / 256 - 50, 261 * 75 / 256 - 50])
    # 341.3 steps a decade: 10 uA through 100 kOhm is 1 V of 3 V at 1024.
    assert recordings["light"].values[0, :3] == pytest.approx(10 ** (np.array([200, 201, 202]) / (1024 / 3)))
    assert recordings["light"].sampling_rate_hz == pytest.approx(98.9 / 120, rel=1e-4)


def test_a_pause_is_a_gap(tmp_path):
    acc = read(make.cwa(tmp_path / "a.cwa", blocks=30, pause_after={9: 5.0})).recordings["acc"]
    gap = np.flatnonzero(~acc.observed)
    assert (gap[0], len(gap)) == (1200, pytest.approx(5 * 98.9, abs=1))
    assert np.array_equal(np.diff(gap), np.ones(len(gap) - 1))
    assert np.array_equal(acc.values[:, acc.observed], (make.steps(3600) / 256).T.astype(np.float32))


def test_a_damaged_block_is_a_gap_and_is_counted(tmp_path, caplog):
    path = make.cwa(tmp_path / "a.cwa", blocks=20)
    data = bytearray(path.read_bytes())
    data[1024 + 512 * 7 + 100] ^= 4
    path.write_bytes(bytes(data))
    acc = read(path).recordings["acc"]
    assert np.flatnonzero(~acc.observed).tolist() == list(range(840, 960))
    assert AxivityCwa.clock(path).lost_blocks == 1
    assert "1 of 20 blocks lost" in caplog.text


def test_a_cut_file_loses_its_last_block_only(tmp_path):
    path = make.cwa(tmp_path / "a.cwa", blocks=5)
    path.write_bytes(path.read_bytes()[:-100])
    assert read(path).recordings["acc"].values.shape == (3, 480)
    assert AxivityCwa.clock(path).lost_blocks == 1


def test_a_short_last_block(tmp_path):
    assert read(make.cwa(tmp_path / "a.cwa", blocks=4, last_count=50)).recordings["acc"].values.shape == (3, 410)
    six = make.cwa(tmp_path / "b.cwa", blocks=4, last_count=11, axes=6, packed=False)
    assert read(six).recordings["gyro"].values.shape == (3, 131)


def test_one_wrong_stamp_moves_nothing(tmp_path):
    path = make.cwa(tmp_path / "a.cwa", blocks=20)
    change(path, 8, lambda b: b.__setitem__(slice(14, 18), struct.pack("<I", make.cwa_stamp(make.START_S + 3600))))
    acc = read(path).recordings["acc"]
    assert acc.observed.all()
    assert acc.values.shape == (3, 2400)


def test_exponents_by_hand(tmp_path):
    path = make.cwa(tmp_path / "a.cwa", blocks=3)
    # x = -1 << 3, y = 511 << 3 (beyond the range of 16 g would be 4096), z = -512 << 1.
    words = struct.pack("<II", 3 << 30 | 0 << 20 | 511 << 10 | 0x3FF, 1 << 30 | 0x200 << 20)
    change(path, 0, lambda b: b.__setitem__(slice(30, 38), words))
    values = read(path).recordings["acc"].values[:, :2] * 256
    assert values.T.tolist() == [[-8, 4088, 0], [0, 0, -1024]]


def test_what_is_refused(tmp_path):
    path = make.cwa(tmp_path / "a.cwa", blocks=6)
    whole = path.read_bytes()
    change(path, 3, lambda b: b.__setitem__(24, 0x4B))
    with pytest.raises(ReaderError, match="settings of the device change"):
        read(path)
    path.write_bytes(whole)
    for block in range(6):
        change(path, block, lambda b: b.__setitem__(25, 0x51))
    with pytest.raises(ReaderError, match="not known"):
        read(path)
    path.write_bytes(whole[:1024] + whole[2048:] + whole[1024:2048])
    with pytest.raises(ReaderError, match="not in order of time"):
        read(path)
    path.write_bytes(whole[:1100])
    with pytest.raises(ReaderError, match="no whole block"):
        read(path)
    path.write_bytes(b"nothing")
    assert not AxivityCwa.detect(path)
    with pytest.raises(ReaderError, match="no CWA file"):
        read(path)


def test_a_still_sensor_without_gravity_is_not_believed(tmp_path):
    """Some AX6 stored the two sensors in each other's place for seconds."""
    path = make.cwa(tmp_path / "a.cwa", blocks=10, axes=6, packed=False)
    for block in (0, 1):
        swapped = np.tile(np.array([0, 0, 2048, 7, 7, 7], "<i2"), 40).tobytes()
        change(path, block, lambda b, swapped=swapped: b.__setitem__(slice(30, 510), swapped))
    visit = read(path)
    for name in ("acc", "gyro"):
        assert np.flatnonzero(~visit.recordings[name].observed).tolist() == list(range(80))


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "start_ns", "rate", "size", "hidden", "first"),
    [
        ("ax3", 1_551_178_505_988_604_000, 98.86214, 17_400, 0, [0.328125, 0.984375, 0.203125]),
        ("ax6", 1_577_135_046_685_510_000, 99.02902, 11_320, 640, None),
    ],
)
def test_real_files(real_data, name, start_ns, rate, size, hidden, first):
    path = real_data / "device_formats" / "axivity" / f"{name}_testfile.cwa"
    assert AxivityCwa.detect(path)
    recordings = read(path).recordings
    acc = recordings["acc"]
    assert (acc.start_ns, acc.values.shape) == (start_ns, (3, size))
    assert acc.sampling_rate_hz == pytest.approx(rate, abs=1e-4)
    assert (~acc.observed).sum() == hidden
    clock = AxivityCwa.clock(path)
    assert (clock.corrections, clock.lost_blocks, clock.worst_s < 0.011) == (0, 0, True)
    if first:
        assert acc.values[:, 0].tolist() == first
        assert recordings["device_temp"].values[0, 1] == pytest.approx(26.46484375)
    # At rest most of the time.
    assert np.median(np.linalg.norm(acc.values[:, acc.observed], axis=0)) == pytest.approx(1, abs=0.05)


@pytest.mark.real
@pytest.mark.parametrize("name", ["ax3", "ax6"])
def test_real_files_against_another_implementation(real_data, name):
    skdh_io = pytest.importorskip("skdh.io")
    path = real_data / "device_formats" / "axivity" / f"{name}_testfile.cwa"
    theirs = skdh_io.ReadCwa().predict(file=str(path))
    ours = read(path).recordings
    for kind, key in (("acc", "accel"), ("gyro", "gyro")):
        if kind in ours:
            seen = ours[kind].observed
            assert np.abs(ours[kind].values.T[seen] - theirs[key][seen]).max() < 1e-5
    times = ours["acc"].start_ns / S + np.arange(len(theirs["time"])) / ours["acc"].sampling_rate_hz
    # They interpolate between stamps that jitter by a sample.
    assert np.abs(times - theirs["time"]).max() < 0.02
