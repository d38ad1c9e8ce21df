import importlib.util
from pathlib import Path

import pytest

from data_pipelines.readers.biosppy_text import BiosppyText
from hdt_fm.schema.errors import ReaderError, UnitError

SUBJECT = "s" + "9" * 32


def _fabricate():
    spec = importlib.util.spec_from_file_location("fabricate_signals", Path(__file__).with_name("fabricate_signals.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _fabricate()


def read(tmp_path, text, **arguments):
    path = made.write(tmp_path / "a.txt", text)
    assert BiosppyText.detect(path)
    return BiosppyText(**arguments).read(path, subject=SUBJECT)


def test_columns_rate_and_date(tmp_path):
    text = made.biosppy("PPG\tResp\tMarker", ["1\t5\t0", "2\t6\t0", "3\t7\t0"], Date="2026-03-05T09:30:00")
    visit = read(tmp_path, text)
    assert visit.recordings["ppg"].values.tolist() == [[1, 2, 3]]
    assert visit.recordings["resp"].values.tolist() == [[5, 6, 7]]
    assert visit.recordings["ppg"].sampling_rate_hz == 100
    assert visit.recordings["ppg"].start_ns == 1_772_703_000 * 10**9


def test_numbers_of_a_converter_are_not_taken_for_millivolts(tmp_path):
    text = made.biosppy("ECG", ["2044.0", "2050.0"])
    with pytest.raises(ReaderError, match="does not say the unit"):
        read(tmp_path, text)
    with pytest.raises(UnitError, match="cannot be in 'mV'"):
        read(tmp_path, text, units={"ecg": "mV"})
    ecg = read(tmp_path, made.biosppy("ECG", ["0.5", "1.0"]), units={"ecg": "mV"}).recordings["ecg"]
    assert ecg.values.tolist() == [[0.5, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (made.biosppy(rate="fast"), "positive number"),
        (made.biosppy(rate="-1"), "positive number"),
        (made.biosppy(labels=""), "names no column"),
        (made.biosppy(rows=["1", "2\t3"]), "number of columns"),
        (made.biosppy(rows=["1", "secret"]), "line 6"),
        (made.biosppy(rows=[]), "empty"),
        (made.biosppy(labels="Marker"), "stands for a modality"),
    ],
)
def test_files_that_are_none(tmp_path, text, message):
    with pytest.raises(ReaderError, match=message) as caught:
        read(tmp_path, text)
    assert "secret" not in str(caught.value)


@pytest.mark.real
def test_real_files(real_data):
    folder = real_data / "device_formats" / "biosppy_text"
    got = {}
    for path in sorted(folder.iterdir()):
        try:
            found = BiosppyText().read(path, subject=SUBJECT).recordings
            got[path.stem] = {name: (r.values.shape[1], float(r.values[0, 0])) for name, r in found.items()}
        except ReaderError as error:
            got[path.stem] = error.problem
    refused = "The file does not say the unit of its numbers"
    assert got == {
        "ecg": refused,
        "eda": refused,
        "emg": refused,
        "ppg": {"ppg": (20000, 2065)},
        "resp": {"resp": (60000, 2094)},
    }
