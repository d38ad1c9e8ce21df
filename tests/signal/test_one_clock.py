"""Devices of a visit on one clock: what moves, what stays, and what is said of it."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.recording import Channel, Recording, Visit
from hdt_fm.signal.one_clock import on_one_clock
from hdt_fm.signal.windows import cut

SUBJECT, RATE, START = "s" + "1" * 32, 32.0, 1_700_000_000 * 10**9
MINUTES, LATE_S = 20, 2.5


def recording(name, values, site, *, start=START):
    return Recording(
        modality=name,
        values=np.atleast_2d(values).astype(np.float32),
        observed=np.ones(np.atleast_2d(values).shape[1], bool),
        sampling_rate_hz=RATE,
        start_ns=start,
        channels=tuple(Channel(f"c{k}", "g") for k in range(len(np.atleast_2d(values)))),
        subject=SUBJECT,
        device=f"device_{site}",
        body_site=site,
    )


@pytest.fixture(scope="module")
def visit():
    """The wrist's clock is 2.5 s behind; its pulse and its movement are late together. A patch has no movement."""
    generator = np.random.default_rng(0)
    count = round(MINUTES * 60 * RATE)
    bursts = np.repeat(generator.random(count // 256 + 1) < 0.5, 256)[:count]
    felt = np.convolve(generator.normal(size=count), np.ones(6) / 6, "same") * bursts

    def worn(seed):
        return np.stack([felt, felt / 2, 1 + 0 * felt]) + np.random.default_rng(seed).normal(0, 0.005, (3, count))

    early = START - round(LATE_S * 1e9)
    pulse = np.sin(np.arange(count) / 5)
    return Visit(
        SUBJECT,
        {
            "acc_chest": recording("acc_chest", worn(1), "chest"),
            "acc": recording("acc", worn(2), "wrist", start=early),
            "ppg": recording("ppg", pulse, "wrist", start=early),
            "temp": recording("temp", pulse, "arm"),
        },
    )


def test_a_device_moves_as_a_whole_and_the_reference_stays(visit):
    found = on_one_clock(visit, "acc_chest")
    for name in ("acc", "ppg"):
        assert found.fits[name].offset_s == pytest.approx(LATE_S, abs=0.05)
        assert (found.visit.recordings[name].start_ns - START) / 1e9 == pytest.approx(0, abs=0.05)
    assert found.visit.recordings["acc_chest"] is visit.recordings["acc_chest"]
    assert "acc_chest" not in found.fits


def test_a_device_that_cannot_be_compared_stays_and_says_why(visit):
    found = on_one_clock(visit, "acc_chest")
    assert found.fits["temp"].offset_s is None
    assert "no movement" in found.fits["temp"].reason
    assert found.visit.recordings["temp"] == visit.recordings["temp"]
    assert on_one_clock(visit, "gyro").visit is visit  # who did not wear the reference is taken as recorded


def test_windows_are_cut_on_the_one_clock(visit):
    rates = {name: ModalityPreparation(sampling_rate_hz=RATE, channels=c) for name, c in (("acc_chest", 3), ("acc", 3))}
    plain = Preparation(window_s=8, hop_s=8, modalities=rates)
    aligned = cut(visit, plain.model_copy(update={"align_to": "acc_chest"}))
    assert aligned.clocks["acc"].offset_s == pytest.approx(LATE_S, abs=0.05)
    assert cut(visit, plain).clocks == {}

    def together(windows):
        one, other = windows.signals["acc_chest"][:, 0], windows.signals["acc"][:, 0]
        both = windows.present.all(axis=1)
        return np.corrcoef(one[both].ravel(), other[both].ravel())[0, 1]

    assert together(aligned) > 0.9
    assert abs(together(cut(visit, plain))) < 0.2


def test_what_is_not_asked_for_is_not_written():
    rates = {"acc": ModalityPreparation(sampling_rate_hz=RATE, channels=3)}
    plain = Preparation(window_s=8, hop_s=8, modalities=rates)
    assert "align_to" not in plain.model_dump()
    assert plain.model_copy(update={"align_to": "acc"}).model_dump()["align_to"] == "acc"
    with pytest.raises(ConfigError, match="movement"):
        Preparation(window_s=8, hop_s=8, modalities=rates, align_to="ppg")


def test_values_are_only_moved_in_time(visit):
    found = on_one_clock(visit, "acc_chest").visit.recordings["ppg"]
    assert np.array_equal(found.values, visit.recordings["ppg"].values)
    assert replace(found, start_ns=0).sampling_rate_hz == RATE
