"""Beats, breaths, meals and doses that were planted are found where they are."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from hdt_fm.cli.explain.happenings import happenings, marks
from hdt_fm.data.shards import ShardFolder
from hdt_fm.explain.gate.events import Events
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.series import Series

RATE = 64.0
FOLDER = ShardFolder.__new__(ShardFolder)  # only handed on
BEATS_S = 0.7 + 0.83 * np.arange(35)  # within 30 s


def batch_of(**signals: tuple[np.ndarray, float]) -> Batch:
    made = {}
    for name, (values, rate) in signals.items():
        tensor = torch.from_numpy(values.astype(np.float32))[:, None]
        made[name] = Signal(tensor, torch.ones(tensor.shape[0], tensor.shape[2], dtype=torch.bool), rate)
    windows = len(next(iter(signals.values()))[0])
    subject = torch.arange(windows) + 3
    present = torch.ones(windows, len(signals), dtype=torch.bool)
    time_s = 10_000.0 * torch.arange(windows, dtype=torch.float64)
    return Batch(tuple(signals), made, present, subject, time_s.float(), subject)


def kinds(found: tuple[Events, ...]) -> dict[tuple[str, str], Events]:
    return {(one.name, one.modality): one for one in found}


def test_r_peaks_and_systolic_feet_are_found() -> None:
    time = np.arange(int(30 * RATE)) / RATE
    rng = np.random.default_rng(0)
    away = time[:, None] - BEATS_S
    ecg = (np.exp(-0.5 * (away / 0.012) ** 2) + 0.2 * np.exp(-0.5 * ((away - 0.25) / 0.04) ** 2)).sum(1)
    after = np.clip(away, 0, None)  # a pulse wave starts 0.2 s after its beat: a steep rise, a slow fall
    pulse = np.where(away > 0.2, np.sin(np.pi * np.clip((after - 0.2) / 0.3, 0, 1)) ** 2, 0.0).sum(1)
    noisy = [np.stack([one, one]) + 0.01 * rng.normal(size=(2, len(time))) for one in (ecg, pulse)]
    batch = batch_of(ecg=(noisy[0], RATE), ppg=(noisy[1], RATE))
    found = kinds(happenings(FOLDER, batch))
    peaks, feet = found["R peaks", "ecg"], found["systolic feet", "ppg"]
    for row in range(2):
        assert np.abs(peaks.places[row] / RATE - BEATS_S).max() < 0.02
        late = feet.places[row][:, None] / RATE - BEATS_S
        assert len(feet.places[row]) >= len(BEATS_S) - 1
        assert 0.05 < np.abs(late).min(1).mean() < 0.25
    told = marks(tuple(found.values()), batch)
    np.testing.assert_allclose(told["R peaks"][1], peaks.places[1] / RATE)


def test_breaths_are_found_and_a_gap_holds_none() -> None:
    rate = 8.0
    time = np.arange(int(60 * rate)) / rate
    wave = np.sin(2 * np.pi * 0.25 * time)[None]
    batch = batch_of(resp=(wave, rate))
    batch.signals["resp"].observed[0, 80:160] = False
    places = kinds(happenings(FOLDER, batch))["breaths", "resp"].places[0] / rate
    crests = 1.0 + 4.0 * np.arange(15)
    seen = crests[(crests < 10) | (crests >= 20)]
    assert np.abs(places[:, None] - seen).min(0).max() < 0.5
    assert not ((places > 10) & (places < 20)).any()


def test_meals_within_the_windows_and_beside_them_are_places_of_glucose(monkeypatch: pytest.MonkeyPatch) -> None:
    rate, samples = 1 / 300, 72  # six hours
    carbs, bolus = np.zeros((2, samples)), np.zeros((2, samples))
    carbs[0, [10, 40]], bolus[1, 7] = 45.0, 4.0
    batch = batch_of(glucose=(np.full((2, samples), 120.0), rate), carbs=(carbs, rate), bolus=(bolus, rate))
    found = kinds(happenings(FOLDER, batch))
    assert set(found) == {("meals", "glucose"), ("doses of rapid insulin", "glucose")}
    assert [one.tolist() for one in found["meals", "glucose"].places] == [[10, 40], []]
    assert [one.tolist() for one in found["doses of rapid insulin", "glucose"].places] == [[], [7]]

    values = np.zeros(100, dtype=np.float32)
    values[[2, 50]] = 30.0  # of the second window's person: before it, and 50 steps of 300 s after 4,400 s
    series = Series(values, np.ones(100, dtype=bool), 300.0, 4_400.0, subject=4, group=0)
    room = import_module("hdt_fm.cli.explain.happenings")  # the package names the function so too
    monkeypatch.setattr(room, "given_beside", lambda folder, treatments: {"carbs": [series]})
    alone = batch.over(("glucose",))
    found = kinds(happenings(FOLDER, alone, treatments=str(Path("treatments"))))
    assert [one.tolist() for one in found["meals", "glucose"].places] == [[], [(4_400 + 50 * 300 - 10_000) // 300]]


def test_a_meal_in_a_stretch_without_glucose_is_none() -> None:
    rate, samples = 1 / 300, 72
    carbs = np.zeros((1, samples))
    carbs[0, 30] = 45.0
    batch = batch_of(glucose=(np.full((1, samples), 120.0), rate), carbs=(carbs, rate))
    batch.signals["glucose"].observed[0, 30 - 6 : 30 + 7] = False  # half an hour on both sides
    assert happenings(FOLDER, batch) == ()
    batch.signals["glucose"].observed[0, 36] = True
    assert len(happenings(FOLDER, batch)) == 1


def test_short_windows_have_no_meals_and_still_signals_no_beats() -> None:
    carbs = np.zeros((1, 60))
    carbs[0, 5] = 40.0
    batch = batch_of(glucose=(np.full((1, 60), 100.0), 1 / 60), carbs=(carbs, 1 / 60), ppg=(np.zeros((1, 1024)), 32.0))
    assert happenings(FOLDER, batch) == ()
