"""Artefacts and noise cancelling as settings of a preparation: off by default, the same in `prepare` and `cut`."""

import numpy as np
import pytest
from pydantic import ValidationError

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.preparation import ArtefactSettings, ModalityPreparation, NoiseCancelling, Preparation
from hdt_fm.schema.recording import Visit
from hdt_fm.signal.adaptive_noise import Canceller
from hdt_fm.signal.filters import band_filter
from hdt_fm.signal.prepare import prepare, prepare_beside
from hdt_fm.signal.pulse import heart_rate
from hdt_fm.signal.windows import cut

S = 1_000_000_000
PPG = {"sampling_rate_hz": 64, "highpass_hz": 0.4, "lowpass_hz": 8}
SECONDS = 120


@pytest.fixture(scope="module")
def visit(signals):
    """Still for a minute, then steps that the pulse follows; the strap is loose for 10 s before that."""
    generator = np.random.default_rng(3)
    pulse = signals.ppg(SECONDS, generator, bpm=75)
    axes = signals.still_acc(SECONDS, generator)
    axes[:, 60 * 32 :] += signals.steps(60, generator, hz=1.8)
    # The pulse lags the steps by a sample of the accelerometer and hears the third axis most.
    heard = np.repeat(np.roll(axes, 1, axis=1).T @ [0.3, -0.5, 1.0], 2)
    pulse[60 * 64 :] += 300 * (heard - heard[: 50 * 64].mean())[60 * 64 :]
    pulse[20 * 64 : 30 * 64] = generator.normal(0, 0.2, 10 * 64)
    recordings = {
        "ppg": signals.recording("ppg", pulse),
        # The accelerometer's clock began a quarter of a second later.
        "acc": signals.recording("acc", axes[:, 8:], start_ns=signals.T0 + S // 4),
    }
    return Visit(signals.SUBJECT, recordings)


def preparation(**more):
    return Preparation(window_s=10, hop_s=10, modalities={"ppg": {**PPG, **more}})


def test_what_is_not_asked_for_is_not_written(visit):
    """The digest of a folder is taken over this text: it must be what it was before the settings existed."""
    text = '{"sampling_rate_hz":64.0,"highpass_hz":0.4,"lowpass_hz":8.0,"order":4,"channels":1,"invert":false}'
    assert ModalityPreparation(**PPG).model_dump_json() == text
    asked = ModalityPreparation(**PPG, causal=True, artefacts={}, cancel_noise={"taps": 4})
    assert ModalityPreparation.model_validate_json(asked.model_dump_json()) == asked
    assert set(asked.model_dump()) == {*ModalityPreparation(**PPG).model_dump(), "causal", "artefacts", "cancel_noise"}
    assert preparation().model_dump(mode="json")["modalities"]["ppg"] == ModalityPreparation(**PPG).model_dump()
    windows = cut(visit, preparation())
    assert (windows.artefacts, windows.cancelled, windows.pulse_quality) == ({}, {}, {})


def test_artefacts_lower_the_quality_and_by_setting_what_is_observed(visit):
    plain, judged, hidden = (
        cut(visit, preparation(**more)) for more in ({}, {"artefacts": {}}, {"artefacts": {"lowers": "observed"}})
    )
    assert np.array_equal(judged.signals["ppg"], plain.signals["ppg"])
    assert judged.present.all()
    # Windows 2 (loose) and 6 to 11 (steps) are bad, 0, 1, 3, 4 are clean.
    assert judged.quality[[2, 8], 0].tolist() == [0, 0]
    assert judged.quality[[0, 1, 3, 4], 0].min() > 0.97
    assert plain.quality[[2, 8], 0].tolist() == [1, 1]
    assert judged.artefacts["ppg"]["contact"][2] > 0.95
    assert judged.artefacts["ppg"]["motion"][8] == 1
    assert judged.artefacts["ppg"]["motion"][[0, 1, 3, 4]].max() == 0
    # Hidden samples leave those windows, and say so by their absence.
    kept = ((hidden.starts_ns - plain.starts_ns[0]) // (10 * S)).tolist()
    assert kept == [0, 1, 3, 4, 5]
    assert (plain.dropped, judged.dropped, hidden.dropped) == (0, 0, 7)


def test_lost_contact_is_hidden_before_the_filter_and_movement_after_it(visit, signals):
    ppg, acc = visit.recordings["ppg"], visit.recordings["acc"]
    settings = ModalityPreparation(**PPG, artefacts={"lowers": "observed"})
    ready = prepare_beside(ppg, settings, visit.recordings)
    assert not ready.recording.observed[21 * 64 : 29 * 64].any()
    assert not ready.recording.observed[62 * 64 :].any()
    assert (ready.recording.values[:, ~ready.recording.observed] == 0).all()
    # As if the device had said itself that it had no contact.
    honest = signals.recording("ppg", ppg.values, observed=~ready.artefacts.masks["contact"])
    alone = prepare(honest, ModalityPreparation(**PPG))
    seen = ready.recording.observed
    assert np.array_equal(ready.recording.values[:, seen], alone.values[:, seen])
    assert acc.observed.all()


def test_masks_follow_to_another_rate(signals):
    values = signals.ppg(60, np.random.default_rng(0))
    values[2000:2007] = values[2500:2503] = 90.0  # at a rail
    settings = ModalityPreparation(**{**PPG, "sampling_rate_hz": 25}, artefacts={"lowers": "observed"})
    ready = prepare_beside(signals.recording("ppg", values), settings, {})
    mask = ready.artefacts.any
    assert mask.nonzero()[0].tolist() == [*range(2000, 2007), *range(2500, 2503)]
    # A prepared sample goes where one of the read samples that it shares time with is masked.
    begin = np.arange(len(ready.recording.observed)) * 64 / 25
    wanted = [mask[int(one) : int(np.ceil(one + 64 / 25))].any() for one in begin.tolist()]
    assert np.array_equal(~ready.recording.observed, wanted)


def test_noise_is_cancelled_as_the_canceller_does_it(visit):
    settings = ModalityPreparation(**PPG, invert=True, cancel_noise={})
    ready = prepare_beside(visit.recordings["ppg"], settings, visit.recordings)
    without = prepare(visit.recordings["ppg"], ModalityPreparation(**PPG, invert=True))
    assert np.array_equal(ready.cancelled.raw, without.values)
    still = slice(0, 58 * 64)
    assert ready.recording.values[:, still].tobytes() == without.values[:, still].tobytes()
    assert not ready.cancelled.gain[still].any()
    # By hand: both through one filter, the reference beginning 16 samples later, and before it nothing is touched.
    acc = prepare(visit.recordings["acc"], ModalityPreparation(**{**PPG, "channels": 3}))
    pulse = -without.values[0, 16:]
    by_hand = Canceller(NoiseCancelling(), sampling_rate_hz=64.0).block(pulse, acc.values[:, : len(pulse)])
    assert np.array_equal(ready.recording.values[0, 16:], -by_hand.values)
    moved = slice(90 * 64, None)
    assert ready.recording.values[0, moved].std() < 0.5 * without.values[0, moved].std()


def test_windows_hold_cleaned_raw_and_gain(visit):
    both = {"ppg": PPG, "ppg_wrist": {**PPG, "source": "ppg", "cancel_noise": {}, "artefacts": {}}}
    windows = cut(visit, Preparation(window_s=10, hop_s=10, modalities=both))
    plain = cut(visit, preparation())
    assert windows.present.all()
    assert np.array_equal(windows.signals["ppg"], plain.signals["ppg"])
    assert list(windows.cancelled) == ["ppg_wrist"]
    assert windows.cancelled["ppg_wrist"][:5].max() == 0
    assert windows.cancelled["ppg_wrist"][9:].min() == 1
    assert np.array_equal(windows.signals["ppg_wrist"][:5], plain.signals["ppg"][:5])
    assert windows.signals["ppg_wrist"][9:].std() < 0.5 * plain.signals["ppg"][9:].std()
    # How clear the pulse is, before and after: the same where nothing was touched, and clearer where steps were.
    before, after = windows.pulse_quality["ppg_wrist"].T
    assert np.array_equal(before[:5], after[:5])
    assert before[[0, 1, 3, 4]].min() > 0.8
    raw = heart_rate(windows.signals["ppg"][:, 0].astype(np.float64), 64.0)
    clean = heart_rate(windows.signals["ppg_wrist"][:, 0].astype(np.float64), 64.0)
    assert np.array_equal(before, raw.quality)
    assert np.array_equal(after, clean.quality)
    assert np.abs(clean.bpm[9:] - 75).max() < 3 < np.abs(raw.bpm[9:] - 75).min()
    # Quality is that of the recording which it was made from.
    assert windows.quality[:, 1].tolist() == cut(visit, preparation(artefacts={})).quality[:, 0].tolist()


def test_a_modality_is_made_from_its_own_kind_alone():
    with pytest.raises(ConfigError, match="another kind"):
        Preparation(window_s=10, hop_s=10, modalities={"ppg": {**PPG, "source": "acc"}})
    with pytest.raises(ConfigError, match="did you mean 'ppg'"):
        Preparation(window_s=10, hop_s=10, modalities={"ppg": {**PPG, "source": "pgp"}})


def test_without_a_reference_nothing_is_cancelled_and_nobody_is_told_otherwise(visit):
    alone = Visit(visit.subject, {"ppg": visit.recordings["ppg"]})
    windows = cut(alone, preparation(cancel_noise={}))
    assert windows.cancelled == {}
    assert np.array_equal(windows.signals["ppg"], cut(alone, preparation()).signals["ppg"])


def test_the_future_does_not_reach_a_causal_preparation(signals, visit):
    settings = ModalityPreparation(**PPG, causal=True, cancel_noise={})
    at = 100 * 64
    later = visit.recordings["ppg"].values.copy()
    later[:, at:] = 77
    one = prepare_beside(visit.recordings["ppg"], settings, visit.recordings).recording
    other = prepare_beside(signals.recording("ppg", later), settings, visit.recordings).recording
    assert one.values[:, :at].tobytes() == other.values[:, :at].tobytes()
    assert one.values[:, at:].tobytes() != other.values[:, at:].tobytes()


def test_a_causal_filter_is_one_pass_of_the_other():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(2, 4000)).astype(np.float32) + 5
    seen = np.ones(4000, dtype=bool)
    seen[2000:2010] = False
    values[:, ~seen] = 0
    settings = {"sampling_rate_hz": 50.0, "highpass_hz": 0.5, "lowpass_hz": 8.0, "order": 2}
    once, kept = band_filter(values, seen, **settings, causal=True)
    assert np.array_equal(kept, seen)
    assert np.abs(once[:, 0]).max() < 1e-6  # begins as if the first value had always been there
    # Forwards, then backwards by hand: away from the edges it is the zero-phase filter.
    back, _ = band_filter(np.ascontiguousarray(once[:, 1999::-1]), seen[:2000], **settings, causal=True)
    twice, _ = band_filter(values, seen, **settings)
    assert np.abs(back[:, ::-1] - twice[:, :2000])[:, 500:1500].max() < 1e-3


@pytest.mark.parametrize(
    "wrong",
    [
        {"highpass_hz": None, "cancel_noise": {}},
        {"sampling_rate_hz": 12, "lowpass_hz": 5, "cancel_noise": {}},
        {"cancel_noise": {"method": "kalman"}},
        {"cancel_noise": {"taps": 0}},
        {"artefacts": {"classes": ["noise"]}},
        {"artefacts": {"classes": []}},
        {"artefacts": {"lowers": "everything"}},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValidationError):
        ModalityPreparation(**{**PPG, **wrong})


def test_a_reference_that_is_no_modality_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'acc'"):
        NoiseCancelling(reference="accc")
    with pytest.raises(ConfigError, match="did you mean 'acc'"):
        ArtefactSettings(reference="accc")
