import importlib.util
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.readers.opensignals import Opensignals
from hdt_fm.schema.errors import ReaderError

SUBJECT = "s" + "b" * 32
S = 1_000_000_000


def _fabricate():
    spec = importlib.util.spec_from_file_location("fabricate_signals", Path(__file__).with_name("fabricate_signals.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _fabricate()


def read(tmp_path, text):
    path = made.write(tmp_path / "a.txt", text)
    assert Opensignals.detect(path)
    return Opensignals().read(path, subject=SUBJECT)


def rows(count, *values):
    return [(k % 16, *values) for k in range(count)]


def test_published_transfer_functions(tmp_path):
    visit = read(tmp_path, made.opensignals(rows(40, 768, 256, 33)))
    # (768 / 1024 - 0.5) * 3.3 V / 1100 = 0.75 mV; 256 / 1024 * 3.3 / 0.132 = 6.25 uS.
    assert visit.recordings["ecg"].values[0, 0] == pytest.approx(0.75)
    assert visit.recordings["eda"].values[0, 0] == pytest.approx(6.25)
    assert visit.recordings["resp"].values[0, 0] == 33
    ecg = visit.recordings["ecg"]
    assert (ecg.sampling_rate_hz, ecg.values.shape, ecg.start_ns) == (100, (1, 40), 1_780_297_427_290_000_000)
    assert "20:16" not in repr(visit)


def test_lost_frames_are_a_gap(tmp_path):
    kept = [row for k, row in enumerate(rows(40, 512, 256, 33)) if not 18 <= k < 25]
    ecg = read(tmp_path, made.opensignals(kept)).recordings["ecg"]
    assert (~ecg.observed).nonzero()[0].tolist() == list(range(18, 25))


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"device": "biosignalsplux"}, ["resp"]),
        ({"device": "bitalino"}, ["ecg", "resp"]),
        ({"resolution": (4, 10)}, ["resp"]),
        ({"sensors": ("LUX", "EDA", "BVP")}, ["eda", "ppg"]),
    ],
)
def test_a_sensor_without_a_transfer_function_is_left_out(tmp_path, changes, left):
    visit = read(tmp_path, made.opensignals(rows(40, 512, 256, 33), **changes))
    assert sorted(visit.recordings) == left
    with pytest.raises(ReaderError, match=r"brought to a unit(.|\n)*ECG"):
        read(tmp_path, made.opensignals(rows(40, 512), sensors=("ECG",), resolution=(4, 16), device="biosignalsplux"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (made.opensignals(rows(5, 1024, 256, 33)), "larger than its resolution"),
        (made.opensignals([*rows(5, 512, 256, 33), (5, 512)]), "number of columns"),
        (made.opensignals([*rows(5, 512, 256, 33), (5, 512, "x", 1)]), "no number"),
        (made.opensignals([(1, 512, 256, 33)] * 5), "do not count up"),
        (made.opensignals([]), "no sample"),
        (made.opensignals(rows(5, 512, 256, 33), rate=0), "positive number"),
        (made.opensignals(rows(5, 512, 256, 33)).replace('"column"', '"columns"'), "no JSON object"),
        (made.opensignals(rows(5, 512, 256, 33)).replace("# EndOfHeader", "#"), "no JSON object"),
    ],
)
def test_files_that_are_none(tmp_path, text, message):
    with pytest.raises(ReaderError, match=message):
        read(tmp_path, text)


@pytest.mark.real
def test_real_file(real_data):
    path = real_data / "device_formats" / "opensignals_bitalino" / "SampleECG.txt"
    ecg = Opensignals().read(path, subject=SUBJECT).recordings["ecg"]
    assert (ecg.sampling_rate_hz, ecg.values.shape, ecg.observed.all()) == (1000, (1, 22350), True)
    # 496 of 1024: (496 / 1024 - 0.5) * 3.3 / 1100 V.
    assert ecg.values[0, 0] == pytest.approx(-0.046875)
    assert np.abs(ecg.values).max() < 1.5
    assert ecg.start_ns == 1_465_628_627_290_000_000
