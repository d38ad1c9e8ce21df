import numpy as np
import pytest
import wfdb

from data_pipelines.readers._wfdb_header import read_header
from data_pipelines.readers._wfdb_signals import read_signals
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


def test_heart_beats_and_rhythms(fabricate, tmp_path):
    path = fabricate.wfdb_record(tmp_path)
    marks = [(10, "+", "(N"), (50, "N", ""), (300, "+", "(AFIB"), (400, "+", "he fell"), (500, "V", ""), (600, "~", "")]
    samples, symbols, notes = (list(one) for one in zip(*marks, strict=True))
    wfdb.wrann("rec", "atr", np.array(samples), symbol=symbols, aux_note=notes, fs=250, write_dir=str(tmp_path))
    labels = read(path).labels
    assert labels["beats"].start_ns.tolist() == [S // 5, 2 * S]
    rhythm = labels["rhythm"]
    assert [rhythm.classes[int(v)] for v in rhythm.values] == ["N", "AFIB"]
    # The last one holds until the record ends, at 5 s.
    assert (rhythm.start_ns / S).tolist() == [0.04, 1.2]
    assert (rhythm.end_ns / S).tolist() == [1.2, 5]


def test_marks_far_apart_and_cut_off(fabricate, tmp_path):
    path = fabricate.wfdb_record(tmp_path)
    atr = tmp_path / "rec.atr"
    far = np.array([5, 2000, 400_000])
    wfdb.wrann("rec", "atr", far, symbol=["N", "N", "N"], fs=250, write_dir=str(tmp_path))
    assert read(path).labels["beats"].start_ns.tolist() == (far * (S // 250)).tolist()
    atr.write_bytes(atr.read_bytes()[:-2])
    with pytest.raises(ReaderError, match="annotations cannot be read"):
        read(path)


@pytest.mark.parametrize("form", ["16", "24", "32", "61", "80", "160", "212"])
def test_formats_as_the_library_reads_them(tmp_path, form):
    """Two samples a frame of one signal, an offset, another baseline, and the number that means nothing."""
    bits = {"16": 16, "61": 16, "160": 16, "24": 24, "32": 32, "80": 8, "212": 12}[form]
    generator = np.random.default_rng(int(form))
    wfdb.wrsamp(
        "rec",
        fs=100,
        units=["mV", "NU"],
        sig_name=["II", "PLETH"],
        e_d_signal=[generator.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, n) for n in (301 * 2, 301)],
        samps_per_frame=[2, 1],
        fmt=["16" if form in ("61", "160") else form] * 2,
        adc_gain=[3.7, 0.01],
        baseline=[5, -9],
        write_dir=str(tmp_path),
    )
    path = tmp_path / "rec.hea"
    # The library does not write these two; the same bytes are other numbers in them.
    if form in ("61", "160"):
        path.write_text(path.read_text().replace("rec.dat 16", f"rec.dat {form}"))
    header = read_header(path)
    ours, frames = read_signals(path, header)
    theirs = wfdb.rdrecord(str(tmp_path / "rec"), smooth_frames=False)
    assert frames == 301
    for mine, other in zip(ours, theirs.e_p_signal, strict=True):
        assert np.array_equal(mine.values, other, equal_nan=True)


def test_skewed_signals_are_put_right(fabricate, tmp_path):
    path = fabricate.wfdb_record(tmp_path)
    straight = read(path).recordings["ppg"]
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace("rec.dat 16", "rec.dat 16:7")
    path.write_text("\n".join(lines) + "\n")
    skewed = read(path).recordings["ppg"]
    theirs = wfdb.rdrecord(str(path.with_suffix(""))).p_signal[:, 2]
    assert np.array_equal(skewed.observed, np.isfinite(theirs))
    assert np.array_equal(skewed.values[0, :-7], straight.values[0, 7:])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rec 3 250 999999999999", "promises more samples"),
        ("rec 3 250 1260", "cut off"),
        ("rec 9 250 1250", "fewer lines"),
        ("rec 3 1e-9 1250", "for centuries"),
        ("rec 3 2.5.0 1250", "rate or the date"),
        ("rec 3 250 1250 10:00:00 31/02/2026", "rate or the date"),
    ],
)
def test_headers_that_lie(fabricate, tmp_path, line, message):
    path = fabricate.wfdb_record(tmp_path)
    path.write_text(path.read_text().replace("rec 3 250 1250", line))
    with pytest.raises(ReaderError, match=message):
        read(path)


@pytest.mark.real
def test_all_real_records_as_the_library_reads_them(real_data):
    """Single and of many segments, at several rates, compressed, MAT: header, length and every sample."""
    folder = real_data / "device_formats" / "wfdb"
    paths = [p for p in sorted(folder.rglob("*.hea")) if "layout" not in p.name]
    assert len(paths) == 29
    for path in paths:
        header = read_header(path)
        signals, frames = read_signals(path, header)
        theirs = wfdb.rdrecord(str(path.with_suffix("")), smooth_frames=False)
        values = theirs.e_p_signal if theirs.e_p_signal is not None else list(theirs.p_signal.T)
        assert [s.name for s in signals] == list(theirs.sig_name)
        assert [s.unit for s in signals] == list(theirs.units)
        assert (header.start, frames) == (theirs.base_datetime, theirs.sig_len)
        assert all(np.array_equal(a.values, b, equal_nan=True) for a, b in zip(signals, values, strict=True))


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
    assert holter.labels["rhythm"].classes == ("N",)
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
