"""Artefacts are found where they were planted, told apart, and not found in clean signals."""

import numpy as np
import pytest

from hdt_fm.schema.errors import UnknownNameError
from hdt_fm.signal.artefact_limits import LIMITS
from hdt_fm.signal.artefacts import Artefacts, find
from hdt_fm.signal.mains import folded
from hdt_fm.signal.segments import runs

SECONDS = 300


@pytest.mark.parametrize("kind", sorted(LIMITS))
def test_a_clean_signal_has_none(signals, kind):
    for seed in range(3):
        clean = signals.recording(kind, signals.CLEAN[kind](SECONDS, np.random.default_rng(seed)))
        assert find(clean).any.mean() == 0


def test_slow_and_fast_hearts_are_no_artefact(signals):
    for bpm in (38, 150):
        for kind in ("ppg", "ecg"):
            clean = signals.recording(kind, signals.CLEAN[kind](SECONDS, np.random.default_rng(1), bpm))
            assert find(clean).any.mean() < 0.005


def planted(signals, kind, name, seed=0):
    """A recording and where the artefact is."""
    generator = np.random.default_rng(seed)
    rate = signals.RATES[kind]
    values = np.atleast_2d(signals.CLEAN[kind](SECONDS, generator)).copy()
    length = {"motion": 8, "contact": 10, "saturation": 6, "dropout": 2, "powerline": 10}[name]
    length = 15 if (kind, name) == ("acc", "dropout") else length
    truth = signals.stretches(SECONDS, rate, 4, length, generator)
    time, spread = np.arange(len(truth)) / rate, values.std()
    for number, (start, stop) in enumerate(runs(truth)):
        part = slice(start, stop)
        if name == "motion" and kind in ("eda", "temp"):
            # A loose sensor: the level jumps up and down every second.
            values[:, part] += {"eda": 3.0, "temp": 1.5}[kind] * (np.floor(time[part]) % 2)
        elif name == "motion":
            values[:, part] += 6 * spread * np.sin(2 * np.pi * 1.3 * time[part])
        elif name == "contact":
            level = {"eda": 0.01, "temp": 24.0}.get(kind, 0.0)
            values[:, part] = level + generator.normal(0, 0.003 if level else 0.01 * spread, (1, stop - start))
        elif name == "dropout":
            # A device writes zeros, or its last sample again.
            values[:, part] = 0 if number % 2 else values[:, start - 1 : start]
        elif name == "powerline":
            values[:, part] += 0.25 * spread * np.sin(2 * np.pi * 50 * time[part] + 0.3)
        elif kind == "eda":
            values[:, part] = 60.0
        else:
            values[:, part] += {"ppg": 400.0, "ecg": 9.0, "acc": 3.0}[kind] * np.sin(2 * np.pi * 0.7 * time[part])
    if name == "saturation" and kind != "eda":
        rail = {"ppg": 200.0, "ecg": 5.0, "acc": 2.0}[kind]
        values = np.clip(values, -rail, rail)
        truth = (np.abs(values) == rail).any(axis=0)
    return signals.recording(kind, values), truth


@pytest.mark.parametrize(
    ("kind", "name", "precision", "recall"),
    [
        ("ppg", "motion", 0.9, 0.9),
        ("ppg", "contact", 0.9, 0.95),
        ("ppg", "saturation", 0.95, 0.95),
        ("ppg", "dropout", 0.95, 0.95),
        ("ppg", "powerline", 0.8, 0.95),
        ("ecg", "motion", 0.9, 0.9),
        ("ecg", "contact", 0.9, 0.95),
        ("ecg", "saturation", 0.95, 0.95),
        ("ecg", "dropout", 0.95, 0.95),
        ("ecg", "powerline", 0.8, 0.95),
        ("eda", "motion", 0.75, 0.95),
        ("eda", "contact", 0.95, 0.95),
        ("eda", "saturation", 0.95, 0.95),
        ("temp", "motion", 0.75, 0.95),
        ("temp", "contact", 0.95, 0.95),
        ("acc", "saturation", 0.95, 0.95),
        ("acc", "dropout", 0.95, 0.95),
    ],
)
def test_planted_artefacts_are_found_and_named(signals, kind, name, precision, recall):
    found_precision, found_recall, others = [], [], []
    for seed in range(3):
        recording, truth = planted(signals, kind, name, seed)
        found = find(recording)
        hit = signals.scores(found.masks[name], truth)
        found_precision.append(hit[0])
        found_recall.append(hit[1])
        # A saturated swing is a movement too; else one cause has one name.
        alike = {name, "motion"} if name == "saturation" else {name}
        others.append(found.of([other for other in found.masks if other not in alike]).mean())
    assert np.mean(found_precision) >= precision
    assert np.mean(found_recall) >= recall
    assert max(others) < 0.01


def test_with_an_accelerometer_less_is_needed_and_steps_are_motion_at_once(signals):
    generator = np.random.default_rng(4)
    pulse = signals.ppg(SECONDS, generator)
    moving = signals.still_acc(SECONDS, generator)
    weak, walk = slice(60 * 32, 80 * 32), slice(200 * 32, 220 * 32)
    moving[:, weak] += 0.07 * np.sin(np.arange(20 * 32) / 3)
    moving[:, walk] += 0.4 * np.sin(np.arange(20 * 32) / 3)
    pulse[60 * 64 : 80 * 64] *= 2.2  # within what a pulse does, unless the wrist moves
    ppg = signals.recording("ppg", pulse)
    # The accelerometer began five seconds earlier.
    early = np.concatenate([signals.still_acc(5, generator), moving], axis=1)
    acc = signals.recording("acc", early, start_ns=signals.T0 - 5_000_000_000)
    assert find(ppg).masks["motion"].mean() < 0.01
    found = find(ppg, reference=acc).masks["motion"]
    truth = np.zeros(len(found), dtype=bool)
    truth[60 * 64 : 80 * 64] = truth[200 * 64 : 220 * 64] = True
    precision, recall = signals.scores(found, truth)
    assert precision > 0.9
    assert recall > 0.9


def test_a_sensor_that_hangs_loose_while_its_wearer_walks_has_lost_contact(signals):
    generator = np.random.default_rng(6)
    pulse = signals.ppg(SECONDS, generator)
    loose = slice(100 * 64, 120 * 64)
    pulse[loose] = generator.normal(0, 0.2, 20 * 64)
    walk = signals.recording("acc", signals.still_acc(SECONDS, generator) + signals.steps(SECONDS, generator))
    found = find(signals.recording("ppg", pulse), reference=walk)
    assert found.masks["contact"][loose].mean() > 0.95
    assert not (found.masks["motion"] & found.masks["contact"]).any()
    assert found.masks["motion"][: 95 * 64].all()


def test_hours_on_a_table_are_not_worn(signals):
    generator = np.random.default_rng(0)
    values = signals.still_acc(4 * 3600, generator, rate=4.0)
    values[:, : 3600 * 4] += generator.normal(0, 0.1, (3, 3600 * 4))
    values[:, -3600 * 4 :] += generator.normal(0, 0.1, (3, 3600 * 4))
    off = find(signals.recording("acc", values, rate=4.0)).masks["contact"]
    assert [(start / 4 / 3600, stop / 4 / 3600) for start, stop in runs(off)] == [(1.0, 3.0)]


def test_a_level_that_a_body_cannot_have_is_kept_out_by_kind(signals):
    cold = signals.recording("temp_chest", np.full((1, 400), 20.0), rate=4.0)
    assert find(cold).masks["contact"].all()
    with pytest.raises(UnknownNameError, match="glucose"):
        find(signals.recording("glucose", np.full((1, 40), 100.0), rate=1.0))


def test_what_was_not_measured_is_no_artefact_and_spoils_no_neighbour(signals):
    generator = np.random.default_rng(2)
    values = signals.ppg(SECONDS, generator) + 5000
    observed = np.ones(len(values), dtype=bool)
    observed[5000:9000] = False
    found = find(signals.recording("ppg", values, observed=observed))
    assert not found.any.any()


def test_only_the_classes_that_were_asked_for(signals):
    recording, _ = planted(signals, "ppg", "contact")
    assert tuple(find(recording, classes=("dropout", "contact")).masks) == ("contact", "dropout")


def test_shares_by_hand():
    seen = np.array([1, 1, 1, 1, 0, 1, 1, 1, 1, 0], dtype=bool)
    motion, contact = np.zeros((2, 10), dtype=bool)
    motion[2:4] = contact[3] = contact[5] = True
    found = Artefacts(masks={"motion": motion, "contact": contact}, observed=seen)
    assert found.shares() == {"motion": 0.25, "contact": 0.25}
    assert found.any.nonzero()[0].tolist() == [2, 3, 5]
    by_window = found.by_window(np.array([-2, 0, 3, 8]), 4)
    assert by_window["motion"].tolist() == [0, 0.5, 0.25, 0]
    assert by_window["contact"].tolist() == [0, 0.25, 0.5, 0]


@pytest.mark.parametrize(
    ("hz", "rate", "seen"), [(50.0, 64.0, 14), (60.0, 64.0, 4), (50.0, 125.0, 50), (60.0, 100.0, 40), (50.0, 20.0, 10)]
)
def test_where_the_mains_show_after_sampling(hz, rate, seen):
    assert folded(hz, rate) == seen
    # The strongest line of what is sampled, computed.
    wave = np.sin(2 * np.pi * hz * np.arange(round(1000 * rate)) / rate + 0.7)
    assert np.abs(np.fft.rfft(wave)).argmax() / 1000 == pytest.approx(seen)
