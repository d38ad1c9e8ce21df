import numpy as np
import pytest

from data_pipelines.readers._channels import RawSignal, modality_of, to_recordings
from data_pipelines.readers._recordings import datetime_to_ns

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
    assert datetime_to_ns(datetime(2024, 1, 1)) == 1_704_067_200_000_000_000
