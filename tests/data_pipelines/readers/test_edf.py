import edfio
import numpy as np
import pytest

from data_pipelines.readers.edf import Annotation, Edf, read_annotations
from hdt_fm.schema.errors import ReaderError

SUBJECT = "s" + "f" * 32
S = 1_000_000_000


def read(path):
    return Edf().read(path, subject=SUBJECT)


def test_labels_units_and_rates(fabricate, tmp_path):
    path = fabricate.edf(tmp_path / "a.edf")
    assert Edf.detect(path)
    visit = read(path)
    assert set(visit.recordings) == {"ecg", "temp"}
    ecg = visit.recordings["ecg"]
    assert (ecg.sampling_rate_hz, ecg.values.shape, ecg.observed.all()) == (100, (1, 1000), True)
    assert np.allclose(ecg.values[0], np.linspace(-1, 1, 1000), atol=1e-4)
    assert visit.recordings["temp"].values[0, 0] == pytest.approx(33, abs=1e-3)


def test_the_pause_of_a_discontinuous_file_is_a_gap(fabricate, tmp_path):
    ecg = read(fabricate.edf(tmp_path / "a.edf", discontinuous=True)).recordings["ecg"]
    assert ecg.values.shape == (1, 1500)
    assert (~ecg.observed).nonzero()[0].tolist() == list(range(300, 800))
    assert ecg.values[0, 800] == pytest.approx(np.linspace(-1, 1, 1000)[300], abs=1e-4)


def test_records_that_go_back_in_time(fabricate, tmp_path):
    path = fabricate.edf(tmp_path / "a.edf", discontinuous=True)
    path.write_bytes(path.read_bytes().replace(b"+12\x14", b"+02\x14"))
    with pytest.raises(ReaderError, match="not in order"):
        read(path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d[: len(d) - 300],
        lambda d: d[:200],
        lambda d: d[:236] + b"ten     " + d[244:],
        lambda d: d[:244] + b"0       " + d[252:],
        lambda d: d[:252] + b"999 " + d[256:],
        lambda d: d[:168] + b"99.99.99" + d[176:],
    ],
    ids=["truncated", "header cut", "records not a number", "duration 0", "too many signals", "no such day"],
)
def test_headers_that_do_not_comply(fabricate, tmp_path, spoil):
    path = fabricate.edf(tmp_path / "a.edf")
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ReaderError):
        read(path)


def test_another_file_under_the_name(tmp_path):
    (tmp_path / "a.edf").write_bytes(b"PK\x03\x04 something else")
    assert not Edf.detect(tmp_path / "a.edf")
    with pytest.raises(ReaderError, match="no EDF or BDF"):
        read(tmp_path / "a.edf")


@pytest.mark.real
def test_real_files(real_data):
    folder = real_data / "device_formats" / "edf_bdf"
    one = read(folder / "test_utf8.edf").recordings["eeg"]
    assert (one.sampling_rate_hz, one.values.shape, one.start_ns) == (128, (1, 89344), 1_579_838_756_394_531_000)
    many = read(folder / "mne_test.bdf").recordings["eeg"]
    # Channel Fp1 begins at 14660.58 uV: a DC-coupled amplifier.
    assert many.values[0, 0] == pytest.approx(14660.582, abs=1e-2)
    assert many.sampling_rate_hz == 2048
    assert read(folder / "mne_test.edf").recordings["eeg"].values.shape == (136, 3072)
    with pytest.raises(ReaderError, match="squarewave"):
        read(folder / "test_generator.edf")


def test_only_the_signals_that_are_named(fabricate, tmp_path):
    path = fabricate.edf(tmp_path / "night.edf")
    assert list(Edf(only=["Temp skin"]).read(path, subject=SUBJECT).recordings) == ["temp"]
    with pytest.raises(ReaderError, match=r"lacks a signal(.|\n)*EEG C3(.|\n)*ECG II, Temp skin"):
        Edf(only=["Temp skin", "EEG C3"]).read(path, subject=SUBJECT)


def test_annotations_come_with_the_start_that_they_count_from(fabricate, tmp_path):
    path = fabricate.edf(tmp_path / "night.edf")
    _, found = read_annotations(path)
    assert found == (Annotation(0.0, None, "start"),)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ReaderError, match="does not comply"):
        read_annotations(path)
    other = tmp_path / "notes.edf"
    other.write_text("no EDF")
    with pytest.raises(ReaderError, match="no EDF or BDF"):
        read_annotations(other)


@pytest.mark.parametrize("kept", [100, 256, 700, -1, -300])
def test_truncated_files_are_named_as_such(fabricate, tmp_path, kept):
    path = fabricate.edf(tmp_path / "night.edf")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ReaderError, match=r"does not comply|no EDF"):
        read(path)


@pytest.mark.parametrize("extension", ["edf", "bdf"])
def test_numbers_are_scaled_as_the_library_does(tmp_path, extension):
    generator = np.random.default_rng(4)
    kind, signal = (edfio.Edf, edfio.EdfSignal) if extension == "edf" else (edfio.Bdf, edfio.BdfSignal)
    made = [
        signal(generator.normal(0, 40, 512), 256, label="EEG Cz", physical_dimension="uV", physical_range=(-317, 205)),
        signal(generator.normal(0, 1, 512), 256, label="ECG", physical_dimension="mV", physical_range=(-7, 9)),
    ]
    path = tmp_path / f"a.{extension}"
    kind(made).write(path)
    visit, there = read(path), (edfio.read_edf if extension == "edf" else edfio.read_bdf)(path)
    for name, theirs in zip(("eeg", "ecg"), there.signals, strict=True):
        assert np.allclose(visit.recordings[name].values[0], theirs.data, rtol=1e-6, atol=1e-6)


@pytest.mark.real
def test_a_bdf_that_strict_readers_reject_is_safe_to_read(real_data):
    """Its header leaves fields empty that the standard asks for; sizes, ranges and samples are all there."""
    path = real_data / "device_formats" / "edf_bdf" / "mne_test.bdf"
    eeg = read(path).recordings["eeg"]
    there = {signal.label: signal.data for signal in edfio.read_bdf(path).signals}
    for channel, values in zip(eeg.channels, eeg.values, strict=True):
        assert np.allclose(values, there[channel.name], rtol=1e-6)
    assert (len(eeg.channels), eeg.observed.all()) == (64, True)
