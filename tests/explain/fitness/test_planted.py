"""What is planted, where, and that nothing else tells the classes apart."""

import numpy as np
import pytest
import torch

from hdt_fm.explain.fitness.planted import HEIGHT, HUMP, KINDS, STRETCH, Planted, noise, plant
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ExplainError, UnknownNameError
from hdt_fm.schema.shard import ModalityColumn

COLUMNS = tuple(
    ModalityColumn(name=name, unit="au", channels=channels, sampling_rate_hz=rate, samples=samples, encoding="f32")
    for name, channels, rate, samples in (("ppg", 1, 10.0, 200), ("acc", 3, 5.0, 100))
)
STATISTICS = {"ppg": (100.0, 3.0), "acc": (0.0, 0.1)}


def background(windows: int, seed: int = 0, always: str = "acc") -> Batch:
    return noise(COLUMNS, STATISTICS, windows, torch.Generator().manual_seed(seed), always=always)


def planted(kind: str, windows: int = 64, seed: int = 0) -> tuple[Batch, Planted]:
    before = background(windows, seed)
    return before, plant(before, kind, "acc", torch.Generator().manual_seed(seed + 1))


def test_noise_has_its_rates_its_level_and_what_is_missing() -> None:
    batch = background(400)
    assert batch.signals["ppg"].values.shape == (400, 1, 200)
    assert batch.signals["acc"].sampling_rate_hz == 5.0
    assert bool(batch.column("acc").all())
    assert 0.78 < float(batch.column("ppg").float().mean()) < 0.92
    here = batch.column("ppg")
    assert not batch.signals["ppg"].observed[~here].any()
    assert not batch.signals["ppg"].values[~here].any()
    kept = batch.signals["ppg"].values[here]
    assert abs(float(kept.mean()) - 100) < 0.3
    assert 2.5 < float(kept.std()) < 4.0
    gaps = (~batch.signals["acc"].observed).sum(1)
    assert 0.22 < float((gaps > 0).float().mean()) < 0.38
    assert int(gaps.max()) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_truth_is_where_the_class_was_added_and_observed(kind: str) -> None:
    before, made = planted(kind)
    signal = made.batch.signals["acc"]
    changed = (signal.values != before.signals["acc"].values).numpy()
    truth, observed = made.truth.numpy(), signal.observed.numpy()
    assert truth.any((1, 2)).mean() > 0.95
    assert not (truth & ~observed[:, None]).any()
    assert not (changed & ~observed[:, None]).any()
    # The event is in one channel; all channels share the artefact, which is no truth.
    carries = truth.any(2)
    np.testing.assert_array_equal(carries.argmax(1)[carries.any(1)], made.channel.numpy()[carries.any(1)])
    assert (carries.sum(1) <= 1).all()
    others = [[c for c in range(3) if c != own] for own in made.channel.tolist()]
    for row, (one, two) in enumerate(others):
        np.testing.assert_array_equal(changed[row, one], changed[row, two])
        assert not (changed[row, one] & truth[row].any(0)).any()
    assert (changed[np.arange(64), [o[0] for o in others]].sum(1) <= HUMP * 100 + 1).all()
    assert torch.equal(made.batch.signals["ppg"].values, before.signals["ppg"].values)


def test_both_classes_come_and_lengths_are_as_told() -> None:
    lengths = {}
    for kind in KINDS:
        made = planted(kind, 200)[1]
        assert 0.35 < float(made.label.float().mean()) < 0.65
        lengths[kind] = int(made.truth.sum((1, 2)).max())
    assert lengths == {"motif": 10, "channel": 10, "band": 20, "lag": 12, "level": 20}
    assert (HUMP, STRETCH) == (0.1, 0.2)


def test_level_and_channel_are_what_they_say() -> None:
    before, made = planted("level")
    added = (made.batch.signals["acc"].values - before.signals["acc"].values) * made.truth
    total = added.sum((1, 2))
    seen = made.truth.any(2).any(1)
    assert torch.equal(total[seen] > 0, made.label[seen] == 1)
    made = planted("channel")[1]
    assert torch.equal(made.channel, made.label)


def test_height_is_in_standard_deviations_of_the_channel() -> None:
    before, made = planted("motif", 300)
    added = ((made.batch.signals["acc"].values - before.signals["acc"].values) * made.truth).amax(2)
    spread = before.signals["acc"].values.std(2)
    ratio = (added / spread)[torch.arange(300), made.channel]
    assert 0.85 * HEIGHT < float(ratio.median()) <= 1.05 * HEIGHT


def test_equal_seeds_give_equal_windows() -> None:
    one, two, other = planted("band", 8, 3)[1], planted("band", 8, 3)[1], planted("band", 8, 4)[1]
    assert torch.equal(one.batch.signals["acc"].values, two.batch.signals["acc"].values)
    assert torch.equal(one.truth, two.truth)
    assert not torch.equal(one.truth, other.truth)


def test_what_cannot_be_planted_is_refused() -> None:
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(UnknownNameError, match="motif"):
        plant(background(4), "motive", "acc", generator)
    with pytest.raises(ExplainError, match="absent"):
        plant(background(4), "motif", "eda", generator)
    with pytest.raises(ExplainError, match="absent"):
        plant(background(60), "motif", "ppg", generator)
    with pytest.raises(ExplainError, match="one channel"):
        plant(background(4, always="ppg"), "channel", "ppg", generator)
