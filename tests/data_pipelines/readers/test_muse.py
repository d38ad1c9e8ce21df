import importlib.util
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.readers.muse import Muse
from hdt_fm.schema.errors import ReaderError

SUBJECT = "s" + "a" * 32
START = 1_600_000_000


def _fabricate():
    spec = importlib.util.spec_from_file_location("fabricate_signals", Path(__file__).with_name("fabricate_signals.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _fabricate()


def read(path):
    assert Muse.detect(path)
    return Muse().read(path, subject=SUBJECT)


def test_electrodes_clock_and_gap(tmp_path):
    index = np.array([*range(256), *range(512, 1024)])
    text = "\ufeff" + made.muse(np.round(START + index / 256, 3))
    eeg = read(made.write(tmp_path / "a.csv.gz", text)).recordings["eeg"]
    assert [c.name for c in eeg.channels] == ["TP9", "AF7", "AF8", "TP10"]
    assert (eeg.sampling_rate_hz, eeg.start_ns, eeg.values.shape) == (256, START * 10**9, (4, 1024))
    assert (~eeg.observed).nonzero()[0].tolist() == list(range(256, 512))
    assert eeg.values[:, 513].tolist() == [10 * c + 257 % 7 for c in range(4)]


def test_a_clock_that_is_off_is_measured(tmp_path):
    ppg = read(made.write(tmp_path / "a.csv", made.muse(START + np.arange(6400) / 64.1, "PPG1,PPG2,PPG3")))
    assert ppg.recordings["ppg"].sampling_rate_hz == pytest.approx(64.1, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (made.muse([0, 1, 2, 1]), "do not rise"),
        (made.muse(np.arange(50) / 128), "do not fit the headband's rate"),
        (made.muse([]), "no sample"),
        (made.muse(np.arange(50) / 256) + "1,2\n", "number of columns"),
        (made.muse(np.arange(50) / 256).replace(",12,", ",twelve,"), "no number"),
    ],
)
def test_files_that_are_none(tmp_path, text, message):
    with pytest.raises(ReaderError, match=message):
        read(made.write(tmp_path / "a.csv", text))


def test_a_mapping_beside_it_takes_the_file_over(tmp_path):
    path = made.write(tmp_path / "a.csv", made.muse([0, 1]))
    assert Muse.detect(path)
    made.write(tmp_path / "a.yaml", "signals: {}")
    assert not Muse.detect(path)
    assert not Muse.detect(made.write(tmp_path / "b.csv", "timestamps,X,Y,Z\n1,2,3,4\n"))


@pytest.mark.real
def test_real_file(real_data):
    eeg = read(real_data / "device_formats" / "muse_eeg" / "eeg_muse_example.csv.gz").recordings["eeg"]
    assert (eeg.sampling_rate_hz, eeg.values.shape, eeg.observed.all()) == (256, (4, 28932), True)
    assert eeg.values[:, 0].tolist() == pytest.approx([-34.668, -31.738, -34.668, -23.438])
    assert eeg.start_ns == 1_606_398_309_680_000_000
