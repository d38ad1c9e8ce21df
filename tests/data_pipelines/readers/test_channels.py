import numpy as np
import pytest

from data_pipelines.readers._channels import RawSignal, modality_of, to_recordings
from data_pipelines.readers._grid import place_nearest
from data_pipelines.readers._recordings import datetime_to_ns, make_recording
from hdt_fm.schema.errors import ReaderError
from hdt_fm.schema.recording import recording_arrays

SUBJECT = "s" + "2" * 32


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("ECG II", "ecg"),
        ("MLII", "ecg"),
        ("avr", "ecg"),
        ("V5", "ecg"),
        ("i", "ecg"),
        ("Pleth", "ppg"),
        ("RESP", "resp"),
        ("Resp oro-nasal", "resp"),
        ("ART", "abp"),
        ("EEG Fpz-Cz", "eeg"),
        ("Fp1", "eeg"),
        ("EMG submental", "emg"),
        ("Temp rectal", "temp"),
        ("SaO2", "spo2"),
        ("EOG horizontal", "eog"),
        ("Event marker", None),
        ("Status", None),
        ("ecgx", None),
    ],
)
def test_names(name, modality):
    assert modality_of(name, 100.0) == modality


def test_a_wave_once_a_minute_is_a_number():
    assert modality_of("RESP", 1 / 60) is None
    assert modality_of("SpO2", 1 / 60) == "spo2"


def test_signals_that_differ_from_their_first_are_left_out_and_units_are_spelt_as_ours():
    make = lambda name, unit, rate, size: RawSignal(name, unit, rate, np.full(size, 30.0))
    signals = [
        make("Temp hand", "degC", 4.0, 8),
        make("Temp foot", "degC", 4.0, 8),
        make("Temp room", "degC", 1.0, 2),
        make("EEG Cz", "µV", 128.0, 9),
    ]
    found = to_recordings(signals, start_ns=0, subject=SUBJECT, device="x", where="file")
    assert [c.name for c in found["temp"].channels] == ["Temp hand", "Temp foot"]
    assert found["temp"].channels[0].source_unit == "celsius"
    assert found["eeg"].values.shape == (1, 9)


def test_dates_of_another_millennium_keep_their_weekday():
    from datetime import datetime

    far = datetime(2704, 5, 4, 10, 44, 18, 529_000)
    moved = datetime_to_ns(far)
    assert moved == datetime_to_ns(datetime(1904, 5, 4, 10, 44, 18, 529_000))
    assert far.weekday() == datetime(1904, 5, 4).weekday()
    assert datetime_to_ns(None) == 0
    assert datetime_to_ns(datetime(1, 5, 4)) == datetime_to_ns(datetime(2001, 5, 4))
    assert datetime_to_ns(datetime(2024, 1, 1)) == 1_704_067_200_000_000_000


@pytest.mark.parametrize(("modality", "unit"), [("temp", "kelvin"), ("ecg", "uV"), ("ppg", "NU"), ("eda", "uS")])
def test_arrays_are_those_of_the_schema(modality, unit):
    """Piece by piece as in one go: gaps, what no body can do, what is not finite, and what is said to be missing."""
    generator = np.random.default_rng(3)
    values = generator.normal(300 if unit == "kelvin" else 5, 3, size=(3, 70_001))
    values[:, generator.integers(0, 70_001, 500)] = np.nan
    values[1, [5, 69_000]] = [np.inf, -np.inf]
    missing = generator.random(70_001) < 0.01
    scale = {"channels": ("a", "b", "c"), "sampling_rate_hz": 10.0, "start_ns": 0, "subject": SUBJECT, "device": "x"}
    found = make_recording(values, modality=modality, unit=unit, where="file", missing=missing, **scale)
    arrays, observed = recording_arrays(values, modality=modality, unit=unit, missing=missing)
    assert np.array_equal(found.observed, observed)
    assert np.allclose(found.values, arrays, rtol=1e-6)
    values[2, 7] = 1e300
    assert not make_recording(values, modality=modality, unit=unit, where="file", **scale).observed[7]


def test_numbers_of_a_converter_are_calibrated_once():
    signal = RawSignal("ECG II", "mV", 100.0, np.array([-20, 0, 10, 300], dtype=np.int16), calibration=(0.5, 20.0))
    found = to_recordings([signal], start_ns=0, subject=SUBJECT, device="x", where="file")
    assert found["ecg"].values.tolist() == [[0, 10, 15, 0]]
    assert found["ecg"].observed.tolist() == [True, True, True, False]


def test_grid_for_samples_at_whole_seconds():
    placed, rate = place_nearest(np.array([0.0, 60, 60, 120, 300]), np.arange(5.0)[:, np.newaxis], where="file")
    assert rate == pytest.approx(1 / 60)
    assert np.array_equal(placed[:, 0], [0, 1, 3, np.nan, np.nan, 4], equal_nan=True)
    with pytest.raises(ReaderError, match="too far"):
        place_nearest(np.array([0.0, 1, 4e9]), np.zeros((3, 1)), where="file")
    with pytest.raises(ReaderError, match="do not rise"):
        place_nearest(np.array([0.0, 2, 1]), np.zeros((3, 1)), where="file")
