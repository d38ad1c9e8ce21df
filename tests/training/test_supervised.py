"""Encoder and head from scratch: learns what can be learned, ignores what has no label, repeats itself."""

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch

from hdt_fm.heads.probe import Probe
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ConfigError, HdtError, UnknownNameError
from hdt_fm.schema.protocols import Embeddings
from hdt_fm.training.supervised import fit_supervised, head_input, label_of

FEATURES = 3 * 8 + 3


def _head() -> Probe:
    torch.manual_seed(0)
    return Probe(in_features=FEATURES, out_features=2)


def test_learns_the_label_and_moves_the_encoder_but_not_the_projection(tiny: ModuleType) -> None:
    model, head = tiny.tiny_model(), _head()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    history = fit_supervised(
        model, head, lambda step: tiny.tiny_batch(step, size=32), label="calm", steps=60, learning_rate=1e-2
    )
    fresh = tiny.tiny_batch(5000, size=200)
    with torch.no_grad():
        found = head(head_input(model.embed(fresh))).argmax(1)
    assert float((found == fresh.labels["calm"]).float().mean()) > 0.8
    assert [entry["step"] for entry in history] == list(range(1, 61))
    moved = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"encoder"}
    assert not model.encoder.training


def _weights(tiny: ModuleType, batches, **settings) -> torch.Tensor:
    model, head = tiny.tiny_model(), _head()
    fit_supervised(model, head, batches, label="calm", steps=3, warmup_steps=0, **settings)
    return torch.cat([value.detach().reshape(-1) for value in (*model.encoder.parameters(), *head.parameters())])


def test_windows_without_a_label_change_nothing(tiny: ModuleType) -> None:
    def unlabelled(step: int):
        batch = tiny.tiny_batch(step)
        calm = batch.labels["calm"].clone()
        calm[2:5] = torch.nan
        return replace(batch, labels={"calm": calm})

    def without_them(step: int):
        return unlabelled(step).select(torch.tensor([0, 1, 5, 6, 7, 8]))

    ends = []
    for batches in (unlabelled, without_them):
        # No dropout: its draws would differ with the number of rows.
        model, head = tiny.tiny_model(dropout=0.0), _head()
        fit_supervised(model, head, batches, label="calm", steps=2, warmup_steps=0)
        ends.append(torch.cat([p.detach().reshape(-1) for p in model.encoder.parameters()]))
    torch.testing.assert_close(ends[0], ends[1], atol=1e-5, rtol=1e-4)


def test_same_seed_same_weights(tiny: ModuleType) -> None:
    assert torch.equal(_weights(tiny, tiny.tiny_batch, seed=1), _weights(tiny, tiny.tiny_batch, seed=1))
    assert not torch.equal(_weights(tiny, tiny.tiny_batch, seed=1), _weights(tiny, tiny.tiny_batch, seed=2))
    changed = _weights(tiny, tiny.tiny_batch, seed=1, change=tiny.augment)
    assert not torch.equal(_weights(tiny, tiny.tiny_batch, seed=1), changed)


def test_features_are_those_of_the_cached_table() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(2, 3, 5)).astype(np.float32)
    present = np.array([[True, False, True], [True, True, False]])
    table = EmbeddingTable(
        modalities=("acc", "eda", "temp"),
        embeddings=values,
        projections=np.zeros((2, 3, 1), np.float32),
        present=present,
        subject=np.zeros(2, np.int64),
        group=np.zeros(2, np.int64),
        time_s=np.zeros(2),
        window_id=np.arange(2),
        labels={},
        label_columns=(),
        subjects=("s",),
        window_s=4.0,
        hop_s=4.0,
        model_digest="m",
        data_digest="d",
    )
    got = head_input(Embeddings(torch.from_numpy(values), torch.from_numpy(present)))
    np.testing.assert_array_equal(got.context[:, 0].numpy(), table.features())
    assert got.observed.shape == (2, 1)
    assert bool(got.observed.all())


def test_label_and_loss_are_checked(tiny: ModuleType) -> None:
    batch = tiny.tiny_batch(0)
    with pytest.raises(UnknownNameError, match="did you mean 'calm'"):
        label_of(batch, "clam")
    with pytest.raises(ConfigError, match="steps"):
        fit_supervised(tiny.tiny_model(), _head(), tiny.tiny_batch, label="calm", steps=0)
    head = _head()
    with torch.no_grad():
        head.linear.bias.fill_(torch.nan)
    with pytest.raises(HdtError, match="not finite"):
        fit_supervised(tiny.tiny_model(), head, tiny.tiny_batch, label="calm", steps=2)
