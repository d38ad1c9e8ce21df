import numpy as np
import pytest

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.preparation import ModalityPreparation
from hdt_fm.schema.recording import Channel, Recording
from hdt_fm.signal.prepare import prepare


def recording(values, observed=None, rate=32.0, modality="ppg"):
    observed = np.ones(values.shape[1], dtype=bool) if observed is None else observed
    return Recording(
        modality=modality,
        channels=tuple(Channel(f"c{i}", "au") for i in range(len(values))),
        sampling_rate_hz=rate,
        start_ns=1_700_000_000_250_000_000,
        values=np.where(observed, values, 0).astype(np.float32),
        observed=observed,
        subject="s" + "a" * 32,
        device="bench",
        body_site="wrist",
    )


def test_another_number_of_channels_is_refused_and_named():
    with pytest.raises(RecordingError, match=r"2: c0, c1") as caught:
        prepare(recording(np.zeros((2, 64))), ModalityPreparation(sampling_rate_hz=32, channels=3))
    assert "channels=2" in str(caught.value)


def test_resampled_then_filtered_then_inverted():
    time = np.arange(32 * 60) / 32
    slow, fast = np.sin(2 * np.pi * 1.5 * time), np.sin(2 * np.pi * 12 * time)
    settings = ModalityPreparation(sampling_rate_hz=64, highpass_hz=0.5, lowpass_hz=4, invert=True)
    prepared = prepare(recording((5 + slow + fast)[None]), settings)
    assert prepared.sampling_rate_hz == 64
    assert prepared.start_ns == 1_700_000_000_250_000_000
    truth = -np.sin(2 * np.pi * 1.5 * np.arange(64 * 60) / 64)
    assert np.abs(prepared.values[0] - truth)[640:-640].max() < 0.01


def test_gap_is_kept_and_holds_zeros_after_inversion():
    observed = np.ones(32 * 20, dtype=bool)
    observed[200:300] = False
    prepared = prepare(
        recording(np.full((1, 640), 3.0), observed), ModalityPreparation(sampling_rate_hz=32, invert=True)
    )
    assert np.array_equal(prepared.observed, observed)
    assert (prepared.values[0, observed] == -3).all()
    assert (prepared.values[0, ~observed] == 0).all()
