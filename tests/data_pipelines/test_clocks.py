"""What a visit tells of its clocks, on movement whose truth is planted."""

import json

import numpy as np
import pytest

from data_pipelines.build import build_shards
from data_pipelines.clocks import between_devices, off_nominal_ppm
from data_pipelines.inspect import describe
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.recording import Channel, Recording, Visit

SUBJECT = "s" + "1" * 32
RATE = 50.0


def moved(name, site, *, late_s=0.0, ppm=0.0, hours=0.5, still=False):
    """Bursts of movement that everybody felt, noted by a clock that is `late_s` behind and fast by `ppm`."""
    generator = np.random.default_rng(3)
    noise = generator.normal(0, 1, round(hours * 3600 * 8))
    bursts = np.repeat(generator.random(len(noise) // 40 + 1) < 0.5, 40)[: len(noise)]
    felt_at = np.arange(len(noise)) / 8
    device_s = np.arange(round(hours * 3600 * RATE)) / RATE
    truth_s = device_s + late_s + ppm * 1e-6 * (device_s - device_s[-1] / 2)
    wave = np.interp(truth_s, felt_at, noise * bursts * (not still))
    values = np.stack([wave, wave / 2, 1 + 0 * wave]) + np.random.default_rng(len(name)).normal(
        0, 0.002, (3, len(wave))
    )
    return Recording(
        modality=name,
        values=values.astype(np.float32),
        observed=np.ones(len(wave), bool),
        sampling_rate_hz=RATE,
        start_ns=1_700_000_000_000_000_000,
        channels=tuple(Channel(axis, "g") for axis in "xyz"),
        subject=SUBJECT,
        device=site,
        body_site=site,
    )


def visit(*recordings):
    return Visit(SUBJECT, {one.modality: one for one in recordings}, {})


@pytest.mark.parametrize(
    ("rate", "ppm"),
    [(100.0, 0.0), (100.0167, 167.0), (98.862, -11380.0), (31.25, 0.0), (600 / 7, 0.0), (255.9, -390.6), (37.0, None)],
)
def test_a_rate_off_the_usual_one(rate, ppm):
    assert off_nominal_ppm(rate) == ppm


def test_two_devices_that_felt_the_same_movement():
    (found,) = between_devices(visit(moved("acc", "wrist", late_s=1.5, ppm=120), moved("acc_chest", "chest")))
    assert found.pair == ("acc", "acc_chest")
    assert found.offset_s == pytest.approx(1.5, abs=0.1)
    assert found.drift_ppm == pytest.approx(120, abs=30)


def test_without_movement_nothing_is_said_and_one_device_is_not_compared():
    (found,) = between_devices(visit(moved("acc", "wrist", still=True), moved("acc_chest", "chest", still=True)))
    assert found.offset_s is None
    assert between_devices(visit(moved("acc", "wrist"))) == ()


def test_a_shift_is_a_warning_and_a_device_on_the_table_is_not_worn():
    told = describe(visit(moved("acc", "wrist", late_s=1.5), moved("acc_chest", "chest")), format="made")
    assert any("+1.50 s off the clock of acc_chest" in text for text in told.warnings)
    worn, still = (describe(visit(moved("acc", "wrist", hours=3, still=flag)), format="made") for flag in (False, True))
    assert worn.signals[0].worn_hours == pytest.approx(3, abs=0.01)
    assert still.signals[0].worn_hours == pytest.approx(0, abs=0.01)
    assert any("not worn" in text for text in still.warnings)
    assert still.signals[0].artefacts["contact"] == pytest.approx(1, abs=0.01)


class TwoDevices:
    name, licence, source = "two_devices", "CC0-1.0", "made up"

    def inputs(self):
        return []

    def visits(self):
        return iter([visit(moved("acc", "wrist", late_s=1.5), moved("acc_chest", "chest"))])


def test_a_build_that_aligns_says_by_how_much(tmp_path):
    rates = {name: ModalityPreparation(sampling_rate_hz=RATE, channels=3) for name in ("acc", "acc_chest")}
    build_shards(
        TwoDevices(),
        folder=tmp_path / "windows",
        name="t",
        preparation=Preparation(window_s=10, hop_s=10, modalities=rates, align_to="acc_chest"),
        report=tmp_path / "report.json",
    )
    said = json.loads((tmp_path / "report.json").read_text())["clocks"]
    assert said["acc"]["aligned"] == 1
    assert said["acc"]["unknown"] == 0
    assert said["acc"]["median offset s"] == pytest.approx(1.5, abs=0.1)
    assert "acc_chest" not in said
