import importlib.util
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.readers.ishne import Ishne
from hdt_fm.schema.errors import ReaderError

SUBJECT = "s" + "8" * 32
S = 1_000_000_000
VALUES = np.arange(512).reshape(256, 2) - 200


def _fabricate():
    spec = importlib.util.spec_from_file_location("fabricate_signals", Path(__file__).with_name("fabricate_signals.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _fabricate()


def read(path):
    assert Ishne.detect(path)
    return Ishne().read(path, subject=SUBJECT)


def test_leads_scale_and_start(tmp_path):
    values = VALUES.copy()
    values[7, 1] = -32768
    visit = read(made.write(tmp_path / "a.ecg.gz", made.ishne(values)))
    ecg = visit.recordings["ecg"]
    assert [c.name for c in ecg.channels] == ["II", "V2"]
    assert (ecg.sampling_rate_hz, ecg.start_ns) == (128, 1_772_705_107 * S)
    # 2000 and 1000 nV a step.
    assert np.allclose(ecg.values[:, 100], [0 * 0.002, 1 * 0.001])
    assert (~ecg.observed).nonzero()[0].tolist() == [7]
    assert not any(secret in repr(visit) for secret in ("Ann", "Nobody", "secret-id"))


def test_beats_beside_it(tmp_path):
    path = made.write(tmp_path / "a.ecg", made.ishne(VALUES))
    made.write(tmp_path / "a.txt", "00000000\n0.250    X\n0.500    N\n1.25    V\n")
    beats = read(path).labels["beats"]
    assert ((beats.start_ns - 1_772_705_107 * S) / S).tolist() == [0.5, 1.25]
    made.write(tmp_path / "a.txt", "00000000\n0.5 N\n99.0 N\n")
    with pytest.raises(ReaderError, match="do not fit the recording"):
        read(path)
    made.write(tmp_path / "a.txt", "00000000\nthe patient slept\n")
    with pytest.raises(ReaderError, match="no list of beats") as caught:
        read(path)
    assert "slept" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (made.ishne(VALUES)[:-2], "fewer samples"),
        (made.ishne(VALUES)[:300], "cut off"),
        (made.ishne(VALUES, leads=40), "cannot be"),
        (made.ishne(VALUES, samples=-1), "cannot be"),
        (made.ishne(VALUES, rate=0), "positive number"),
        (made.ishne(VALUES, steps=(0, 1)), "without a resolution"),
        (made.ishne(VALUES)[:208] + b"\x09" + made.ishne(VALUES)[209:], "wrong checksum"),
    ],
)
def test_files_that_are_broken(tmp_path, data, message):
    with pytest.raises(ReaderError, match=message):
        read(made.write(tmp_path / "a.ecg", data))


@pytest.mark.real
def test_real_file(real_data):
    visit = read(real_data / "device_formats" / "holter" / "holter.ecg.gz")
    ecg = visit.recordings["ecg"]
    assert (ecg.sampling_rate_hz, ecg.values.shape) == (128, (3, 597376))
    assert ecg.values[0, 0] == pytest.approx(-205 * 2441e-6)
    assert ecg.start_ns == 1_565_345_100 * S
    assert len(visit.labels["beats"].values) == 4768
