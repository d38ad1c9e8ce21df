import numpy as np
import pytest
import wfdb

from data_pipelines.readers.wfdb_record import WfdbRecord
from hdt_fm.schema.errors import ReaderError

SUBJECT = "s" + "e" * 32
S = 1_000_000_000


def read(path):
    return WfdbRecord().read(path, subject=SUBJECT)


def test_leads_become_channels_and_missing_samples_a_mask(fabricate, tmp_path):
    path = fabricate.wfdb_record(tmp_path)
    assert WfdbRecord.detect(path)
    visit = read(path)
    ecg, ppg = visit.recordings["ecg"], visit.recordings["ppg"]
    assert [c.name for c in ecg.channels] == ["II", "V"]
    time = np.arange(1250) / 250
    assert np.allclose(ecg.values, [np.sin(time), np.cos(time)], atol=1e-4)
    assert (~ppg.observed).nonzero()[0].tolist() == list(range(100, 150))
    assert ecg.sampling_rate_hz == 250
    assert ecg.start_ns == 0


def test_signals_that_nobody_knows(fabricate, tmp_path):
    visit = read(fabricate.wfdb_record(tmp_path / "a", sig_name=["II", "Mystery", "PLETH"]))
    assert [c.name for c in visit.recordings["ecg"].channels] == ["II"]
    with pytest.raises(ReaderError, match="X1, Y2, Z3"):
        read(fabricate.wfdb_record(tmp_path / "b", sig_name=["X1", "Y2", "Z3"]))


def test_heart_beats_and_not_rhythm_marks(fabricate, tmp_path):
    path = fabricate.wfdb_record(tmp_path)
    wfdb.wrann("rec", "atr", np.array([50, 300, 500]), symbol=["N", "+", "V"], fs=250, write_dir=str(tmp_path))
    assert read(path).labels["beats"].start_ns.tolist() == [S // 5, 2 * S]


def test_missing_truncated_and_malformed(fabricate, tmp_path):
    path = fabricate.wfdb_record(tmp_path)
    data = path.with_suffix(".dat")
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(ReaderError, match="cannot be read"):
        read(path)
    data.unlink()
    with pytest.raises(ReaderError, match="complete"):
        read(path)
    path.write_text("")
    assert not WfdbRecord.detect(path)
    with pytest.raises(ReaderError, match="no WFDB header"):
        read(path)


@pytest.mark.parametrize("name", ["../secret.dat", "/etc/passwd", "http://x.org/a.dat", "..\\a.dat"])
def test_a_header_that_points_elsewhere_is_not_followed(fabricate, tmp_path, name):
    path = fabricate.wfdb_record(tmp_path)
    path.write_text(path.read_text().replace("rec.dat", name))
    with pytest.raises(ReaderError, match="outside its folder"):
        read(path)


def test_a_rate_of_zero(fabricate, tmp_path):
    path = fabricate.wfdb_record(tmp_path)
    path.write_text(path.read_text().replace("rec 3 250 1250", "rec 3 0 1250"))
    with pytest.raises(ReaderError):
        read(path)


@pytest.mark.real
def test_real_records(real_data):
    folder = real_data / "device_formats" / "wfdb"
    mixed = read(folder / "mixedsignals.hea").recordings
    assert {n: r.sampling_rate_hz for n, r in mixed.items()} == pytest.approx(
        {"ecg": 249.89, "abp": 124.945, "ppg": 124.945, "resp": 62.4725}
    )
    assert mixed["ecg"].values.shape == (3, 57600)
    holter = read(folder / "100.hea")
    assert holter.recordings["ecg"].values[:, 0].tolist() == pytest.approx([-0.145, -0.065])
    assert len(holter.labels["beats"].values) == 2273
    assert read(folder / "03700181.hea").recordings["resp"].start_ns == 776_971_665 * S  # 1994-08-15 17:27:45


@pytest.mark.real
def test_real_record_of_many_segments_keeps_its_gaps(real_data):
    path = real_data / "device_formats" / "wfdb" / "multi-segment" / "s25047" / "s25047-2704-05-04-10-44.hea"
    visit = read(path)
    plain = wfdb.rdrecord(str(path.with_suffix(""))).p_signal
    assert np.array_equal(visit.recordings["ecg"].observed, np.isfinite(plain[:, :2]).all(axis=1))
    assert "3234460_0001" in WfdbRecord.segments(path)
    # 2704 is moved back by two 400-year cycles, to a day of the same name.
    assert visit.recordings["ecg"].start_ns == -2_072_092_541_471_000_000
