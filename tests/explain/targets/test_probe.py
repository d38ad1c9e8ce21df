"""Encoder and head as one function: the same answer as by hand, and gradients down to the samples."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from hdt_fm.checkpoint import Model, build_model
from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.targets.probe import log_odds, probe_target
from hdt_fm.heads.probe import Probe
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import UnknownNameError
from hdt_fm.schema.manifest import ModelConfig, Part
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.schema.shard import ModalityColumn

WIDTH = 16


def small_model(batch: Batch) -> Model:
    columns = tuple(
        ModalityColumn(
            name=name,
            unit="au",
            channels=signal.values.shape[1],
            sampling_rate_hz=signal.sampling_rate_hz,
            samples=signal.values.shape[2],
            encoding="f32",
        )
        for name, signal in batch.signals.items()
    )
    features = len(columns) * (WIDTH + 1)
    config = ModelConfig(
        modalities=columns,
        encoder=Part(name="patch_transformer", args={"width": WIDTH, "depth": 1, "heads": 2, "patch_points": 8}),
        projection=Part(name="projection", args={"dim": 8}),
        heads={"stress": Part(name="probe", args={"in_features": features, "out_features": 3})},
        statistics={column.name: (1.0, 2.0) for column in columns},
        window_s=5.0,
    )
    return build_model(config)


def test_the_output_is_the_heads_on_the_features_of_a_table(batch: Batch) -> None:
    model = small_model(batch)
    keep = batch.present.clone()
    keep[1, 0] = False
    apart = batch.without(keep)
    embeddings = model.embed(apart)
    features = torch.cat([embeddings.values.reshape(4, -1), keep.float()], dim=1)
    logits = model.heads["stress"](HeadInput(features[:, None], torch.ones(4, 1, dtype=torch.bool)))
    chance = logits.softmax(1)
    torch.testing.assert_close(probe_target(model, "stress")(apart), torch.log(chance / (1 - chance)))


def test_log_odds_of_two_classes_are_the_difference_of_logits() -> None:
    logits = torch.tensor([[1.0, 4.0], [0.5, -2.0]])
    torch.testing.assert_close(log_odds(logits), torch.tensor([[-3.0, 3.0], [2.5, -2.5]]))
    torch.testing.assert_close(log_odds(logits + 100), log_odds(logits))


def test_a_head_of_ones_own_and_a_value(batch: Batch) -> None:
    model = small_model(batch)
    value = Probe(in_features=3 * (WIDTH + 1), out_features=1, kind="value", center=70.0, scale=9.0)
    assert probe_target(model, value)(batch).shape == (4, 1)
    with pytest.raises(UnknownNameError, match="stress"):
        probe_target(model, "stres")


def test_credit_of_the_real_encoder_adds_up(new_batch: Callable[..., Batch]) -> None:
    batch = new_batch(2)
    target = probe_target(small_model(batch), "stress")
    assert [name for name, _ in target.named_children()] == ["encoder", "head"]
    found = attribute(target, batch, target=2, methods=("integrated_gradients",), steps=24)
    change = abs(found.output - found.reference_output)
    assert (found.find("integrated_gradients").delta <= 0.02 * change.max()).all()
    assert isinstance(target, nn.Module)
