import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.readers.xdf import Xdf
from hdt_fm.schema.errors import ConfigError, HdtError, ReaderError, UnitError

pytest.importorskip("pyxdf")

SUBJECT = "s" + "d" * 32
S = 1_000_000_000
START_NS = 1_772_699_400 * S  # 2026-03-05T08:30:00Z


def _fabricate():
    spec = importlib.util.spec_from_file_location("fabricate_signals", Path(__file__).with_name("fabricate_signals.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _fabricate()


def read(tmp_path, data, **arguments):
    path = made.write(tmp_path / "a.xdf", data)
    assert Xdf.detect(path)
    return Xdf(**arguments).read(path, subject=SUBJECT)


def numbers(count, channels=1):
    return np.arange(count * channels, dtype=np.float32).reshape(count, channels) % 97


def test_streams_become_modalities_by_their_metadata(tmp_path):
    eeg = [("Cz", "EEG", "microvolts"), ("Pz", "EEG", "microvolts"), ("Status", "TRIG", "")]
    acc = [("x", "", "m/s^2"), ("y", "", "m/s^2"), ("z", "", "m/s^2")]
    times, slow = 100 + np.arange(500) / 250, 100.5 + np.arange(50) / 50
    marks = [100.25, 101.0, 101.5]
    data = made.xdf(
        made.xdf_header(1, kind="EEG", rate=250, channels=eeg),
        made.xdf_header(2, kind="Accelerometer", rate=50, channels=acc),
        made.xdf_header(3, kind="Markers", rate=0, form="string", count=1),
        made.xdf_header(4, kind="Gaze", rate=50, count=2),
        made.xdf_samples(1, times, numbers(500, 3)),
        made.xdf_samples(2, slow, np.full((50, 3), 9.80665)),
        made.xdf_samples(3, marks, ["go", "stop", "go"]),
        made.xdf_samples(4, slow, numbers(50, 2)),
    )
    visit = read(tmp_path, data)
    assert set(visit.recordings) == {"eeg", "acc"}
    eeg, acc = visit.recordings["eeg"], visit.recordings["acc"]
    assert [(c.name, c.source_unit) for c in eeg.channels] == [("Cz", "uV"), ("Pz", "uV")]
    assert (eeg.sampling_rate_hz, eeg.start_ns) == (250, START_NS)
    assert np.array_equal(eeg.values, numbers(500, 3).T[:2])
    assert (acc.sampling_rate_hz, acc.start_ns) == (50, START_NS + S // 2)
    assert np.allclose(acc.values, 1)
    marks = visit.labels["marks"]
    assert [marks.classes[int(v)] for v in marks.values] == ["go", "stop", "go"]
    assert ((marks.start_ns - START_NS) // 1_000_000).tolist() == [250, 1000, 1500]


def one_stream(times, *offsets, rate=100, **more):
    return made.xdf(
        made.xdf_header(1, kind="ECG", rate=rate, channels=[("II", "ECG", "mV")]),
        made.xdf_samples(1, times, numbers(len(times)) / 97),
        *(made.xdf_offset(1, *offset) for offset in offsets),
        **more,
    )


def test_a_clock_that_was_reset_leaves_a_gap_of_the_true_length(tmp_path):
    """For 60 s the stream's clock is 1000 s behind the recorder's; then it is restarted, and goes on 30 s later."""
    before, after = 5000 + np.arange(6000) / 100, 5 + np.arange(6000) / 100
    ticks = np.arange(0, 60, 5)
    data = one_stream(
        np.concatenate([before, after]),
        *((float(t + 5000), 1000.0) for t in ticks),
        *((float(t + 5), 6085.0) for t in ticks),
    )
    visit = read(tmp_path, data)
    ecg = visit.recordings["ecg"]
    assert ecg.sampling_rate_hz == 100
    gap = (~ecg.observed).nonzero()[0]
    assert (gap[0], gap[-1], len(gap)) == (6000, 8999, 3000)
    assert ecg.values[0, 9000] == pytest.approx(numbers(6001)[6000, 0] / 97)
    resets = visit.labels["clock_resets_ecg"]
    assert ((resets.start_ns - ecg.start_ns) / S).tolist() == pytest.approx([90], abs=1e-3)


@pytest.mark.parametrize(("drift", "rate"), [(20e-6, 100), (200e-6, 100 * (1 + 200e-6))])
def test_drift_is_told_and_past_50_ppm_believed(tmp_path, drift, rate):
    times = 100 + np.arange(20_000) / (100 * (1 + drift))
    visit = read(tmp_path, one_stream(times))
    assert visit.recordings["ecg"].sampling_rate_hz == pytest.approx(rate, rel=1e-9)
    told = visit.labels["clock_drift_ecg"]
    assert (told.values.tolist(), told.unit) == (pytest.approx([drift * 1e6], rel=1e-3), "ppm")


def test_a_stream_without_a_unit_is_not_guessed(tmp_path):
    times = 100 + np.arange(300) / 100
    bare = lambda kind: made.xdf(
        made.xdf_header(1, kind=kind, rate=100, count=1), made.xdf_samples(1, times, numbers(300)), started=None
    )
    with pytest.raises(ReaderError, match="does not say its unit"):
        read(tmp_path, bare("EEG"))
    assert read(tmp_path, bare("EEG"), units={"eeg": "mV"}).recordings["eeg"].values[0, 1] == 1000
    ppg = read(tmp_path, bare("PPG")).recordings["ppg"]
    assert (ppg.start_ns, ppg.values[0, 2]) == (0, 2)
    with pytest.raises(UnitError, match="furlong"):
        Xdf(units={"eeg": "furlong"})
    with pytest.raises(ReaderError, match=r"stands for a modality(.|\n)*Gaze"):
        read(tmp_path, bare("Gaze"))


TIMES = 100 + np.arange(300) / 100
WHOLE = one_stream(TIMES)
BOMB = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbb">]><info>&b;</info>'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (WHOLE[:-100], "behind the end of the file"),
        (WHOLE[: WHOLE.find(b"\x04", 200)] + b"\x07", "no known form|behind the end"),
        (WHOLE + made.xdf_samples(9, [1.0], numbers(1)), "belongs to no stream"),
        (WHOLE + made.xdf_samples(1, [1.0], numbers(1), claim=1 << 30), "more samples than it can"),
        (WHOLE + made.xdf_chunk(7, b"what?"), "no known kind"),
        (WHOLE + made.xdf_chunk(4, b"\0" * 8), "no stream|wrong size"),
        (WHOLE + made.xdf_header(2, kind="EEG", rate=1, count=10**9), "number or format of channels"),
        (WHOLE + made.xdf_chunk(2, b"\x05\0\0\0" + BOMB), "not to be trusted"),
        (WHOLE + made.xdf_samples(1, [1e300], numbers(1)), "times that cannot be"),
        (made.xdf(), "no stream of numbers"),
    ],
)
def test_files_that_are_broken_or_hostile(tmp_path, data, message):
    with pytest.raises(ReaderError, match=message):
        read(tmp_path, data)


def test_without_the_package_it_says_which(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyxdf", None)
    with pytest.raises(ConfigError, match="pyxdf"):
        read(tmp_path, WHOLE)
    assert not Xdf.detect(made.write(tmp_path / "b.xdf", "something else"))


@pytest.mark.real
def test_real_files(real_data):
    folder = real_data / "device_formats" / "xdf"
    with pytest.raises(HdtError, match="does not say its unit"):
        Xdf().read(folder / "clock_resets.xdf", subject=SUBJECT)
    visit = Xdf(units={"eeg": "uV"}).read(folder / "clock_resets.xdf", subject=SUBJECT)
    eeg = visit.recordings["eeg"]
    # The stream says 100 Hz; its clock was set anew after 138 s, and samples went on 274 s later.
    assert eeg.sampling_rate_hz == pytest.approx(92.9344, abs=1e-4)
    assert eeg.values.shape == (8, 53267)
    assert eeg.values[:2, 0].tolist() == pytest.approx([0.14180787, 0.462874])
    gaps = np.flatnonzero(np.diff(np.concatenate([[True], eeg.observed, [True]]).astype(int)))
    lengths = np.diff(gaps)[::2]
    assert lengths.max() == 25452
    assert sorted(lengths)[-2] == 1
    assert len(visit.labels["clock_resets_eeg"].values) == 1
    assert visit.labels["clock_drift_eeg"].values[0] == pytest.approx(-70656.3, abs=0.1)
    assert len(visit.labels["marks"].values) == 175
    small = Xdf(units={"eeg": "uV"}).read(folder / "minimal.xdf", subject=SUBJECT).recordings["eeg"]
    assert (small.sampling_rate_hz, small.values[:, 0].tolist()) == (10, [192, 255, 238])
