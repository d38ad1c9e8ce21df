"""Named features of shards' windows: every one has words, a unit and its modality, and the order is the caller's."""

import numpy as np
import pytest
import torch

from hdt_fm.cli.explain import features as module
from hdt_fm.cli.explain.features import named_features, signal_features
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ExplainError, UnknownNameError

RATES = {"ppg": 32.0, "ecg": 64.0, "eda": 4.0, "temp": 1.0, "acc": 16.0, "gyro": 16.0, "resp": 8.0, "glucose": 1 / 300}
CHANNELS = {"acc": 3, "gyro": 3}


def _signal(name: str, windows: int, *, seed: int = 0) -> Signal:
    samples = 96 if name == "glucose" else int(40 * RATES[name])
    draws = torch.Generator().manual_seed(seed)
    values = torch.randn(windows, CHANNELS.get(name, 1), samples, generator=draws) + 5.0
    return Signal(values, torch.ones(windows, samples, dtype=torch.bool), RATES[name])


@pytest.mark.parametrize("name", RATES)
def test_every_feature_has_words_a_unit_and_its_modality(name: str) -> None:
    values, found = signal_features(name, _signal(name, 3), np.array([True, False, True]))
    assert values.shape == (3, len(found))
    assert len({one.words for one in found}) == len({one.name for one in found}) == len(found)
    assert {one.modality for one in found} == {name}
    assert np.isnan(values[1]).all()
    assert np.isfinite(values[0]).mean() > 0.6
    for one in found:
        # A name without words of its own would come through with its underscores as blanks.
        assert one.name.split(".", 1)[1].replace("_", " ") not in one.words or len(one.words) > len(one.name)
        assert "{" not in one.words + one.unit


def test_short_windows_of_movement_have_words_too() -> None:
    draws = torch.Generator().manual_seed(0)
    signal = Signal(torch.randn(2, 3, 40, generator=draws), torch.ones(2, 40, dtype=torch.bool), 16.0)
    _, found = signal_features("acc", signal, np.ones(2, dtype=bool))
    words = [one.words for one in found]
    assert "Acceleration, axis 2: spread" in words
    assert "Acceleration, magnitude: root mean square" in words
    assert len(set(words)) == len(words)


def test_the_course_of_a_slow_series_is_told_by_when() -> None:
    samples = 96
    values = torch.arange(samples, dtype=torch.float32).repeat(2, 1, 1)
    signal = Signal(values, torch.ones(2, samples, dtype=torch.bool), 1 / 300)
    table, found = signal_features("glucose", signal, np.ones(2, dtype=bool))
    named = dict(zip([one.words for one in found], table[0], strict=True))
    # 24 stretches of four samples, 20 min each.
    assert named["Glucose: level from 0 to 20 min"] == pytest.approx(1.5)
    assert named["Glucose: level from 460 to 480 min"] == pytest.approx(93.5)
    assert named["Glucose: swings (log) from 0 to 20 min"] == pytest.approx(0.5 * np.log(1.25), rel=1e-5)
    units = {one.words: one.unit for one in found}
    assert units["Glucose: level from 0 to 20 min"] == "mg/dL"
    assert units["Glucose: trend"] == "mg/dL per minute"


class _Folder(ShardFolder):
    """What is read of a shard folder."""

    def __init__(self, people: int = 12) -> None:
        self.modalities = ("ppg", "temp", "static")
        self.subject_rows = np.repeat(np.arange(people, dtype=np.int32), 2)

    def batch(self, positions: np.ndarray) -> Batch:
        signals = {name: _signal(name, 24) for name in ("ppg", "temp")}
        rows = torch.arange(24)
        present = torch.ones(24, 3, dtype=torch.bool)
        present[3, 1] = False
        whole = Batch(self.modalities, signals, present, rows, rows.float(), rows)
        return whole.select(torch.from_numpy(positions))


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> _Folder:
    def batches(folder: _Folder, positions: np.ndarray, *, batch_size: int) -> list[Batch]:
        return [folder.batch(part) for part in np.array_split(positions, 3)]

    monkeypatch.setattr(module, "OrderedBatches", batches)
    monkeypatch.setattr(module, "complete", lambda batch, folder: batch.signals)
    return _Folder()


def test_windows_come_in_the_order_asked_for_and_facts_about_people_do_not(folder: _Folder) -> None:
    order = np.random.default_rng(0).permutation(24)
    mixed, plain = named_features(folder, order), named_features(folder, np.arange(24))
    np.testing.assert_array_equal(mixed.values, plain.values[order])
    np.testing.assert_array_equal(mixed.subject, plain.subject[order])
    assert plain.modalities == ("ppg", "temp")
    assert np.isnan(plain.values[3, [one.modality == "temp" for one in plain.features]]).all()
    assert named_features(folder, np.arange(24), modalities=["temp"]).modalities == ("temp",)


def test_unknown_modalities_and_too_few_people_are_refused(folder: _Folder) -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown modality 'eda'[\s\S]*ppg, temp"):
        named_features(folder, np.arange(24), modalities=["eda"])
    with pytest.raises(UnknownNameError, match="static"):
        named_features(folder, np.arange(24), modalities=["static"])
    with pytest.raises(ExplainError, match="no signal to make features of"):
        named_features(folder, np.arange(24), modalities=[])
    with pytest.raises(ExplainError, match="Too few people"):
        named_features(folder, np.arange(8))
