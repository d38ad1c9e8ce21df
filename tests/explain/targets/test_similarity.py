"""Cosines to a reference window: 1 with itself, by hand for prototypes, exactly 0 credit for what is absent."""

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from hdt_fm.checkpoint import build_model
from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.gate.perturb import randomised
from hdt_fm.explain.targets.similarity import SimilarityTarget
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ExplainError, UnknownNameError
from hdt_fm.schema.manifest import Part
from tests.explain.targets.test_probe import small_model


def one(batch: Batch, row: int) -> Batch:
    return batch.select(torch.tensor([row]))


def test_a_window_is_like_itself_alone(batch: Batch) -> None:
    target = SimilarityTarget(small_model(batch), one(batch, 2))
    with torch.no_grad():
        cosines = target(batch)
    assert cosines.shape == (4, 4)
    torch.testing.assert_close(cosines[2], torch.ones(4))
    assert (cosines[[0, 1, 3]] < 0.999).all()
    assert cosines.abs().max() <= 1 + 1e-6


def test_a_prototype_is_the_mean_of_unit_vectors(batch: Batch) -> None:
    model = small_model(batch)
    some = batch.select(torch.tensor([0, 1, 3]))
    with torch.no_grad():
        projected = model.project(model.embed(batch)).values
        whole = F.normalize(projected.mean(1), dim=-1)
        middle = F.normalize(whole[[0, 1, 3]].mean(0), dim=-1)
        got = SimilarityTarget(model, some)(batch)
        torch.testing.assert_close(got[:, 0], whole @ middle)
        own = F.normalize(projected[[0, 1, 3], 1].mean(0), dim=-1)
        torch.testing.assert_close(got[:, 2], projected[:, 1] @ own)


def test_a_model_with_a_fusion_is_asked_for_it(batch: Batch) -> None:
    plain = small_model(batch)
    config = plain.config.model_copy(update={"fusion": Part(name="attention", args={})})
    model = build_model(config)
    with torch.no_grad():
        found = SimilarityTarget(model, one(batch, 0))(batch)[:, 0]
        embeddings = model.embed(batch)
        fused = model.fuse(embeddings)
        assert model.fused_projection is not None
        unit = F.normalize(model.fused_projection.parts[0](fused), dim=-1)  # type: ignore[index, operator]
    torch.testing.assert_close(found, unit @ unit[0])
    names = [name for name, part in SimilarityTarget(model, one(batch, 0)).named_children() if part is not None]
    assert names == ["encoder", "fusion", "fused_projection", "projection"]


def test_absent_modalities_have_no_likeness_and_no_credit(new_batch: Callable[..., Batch]) -> None:
    batch = new_batch(3)
    keep = batch.present.clone()
    keep[1, 2] = False
    apart = batch.without(keep)
    target = SimilarityTarget(small_model(batch), one(batch, 0))
    with torch.no_grad():
        assert target(apart)[1, 3] == 0
    found = attribute(target, apart, target=0, methods=("integrated_gradients",), steps=24)
    assert abs(found.find("integrated_gradients").values["temp"][1]).max() == 0
    delta = found.find("integrated_gradients").delta
    assert delta is not None
    assert delta.max() < 0.05 * abs(found.output - found.reference_output).max()


def test_likeness_of_one_modality_credits_no_other(batch: Batch) -> None:
    target = SimilarityTarget(small_model(batch), one(batch, 0))
    column, words = target.column_of("acc")
    assert words == "likeness to the reference window in acc (cosine)"
    found = attribute(target, batch, target=column, methods=("saliency",)).find("saliency")
    assert abs(found.values["acc"]).max() > 0
    assert all(abs(found.values[name]).max() == 0 for name in ("ppg", "temp"))


def test_random_weights_are_compared_with_their_own_reference(batch: Batch) -> None:
    target = SimilarityTarget(small_model(batch), one(batch, 2))
    stages = list(randomised(target, stages=3, generator=torch.Generator().manual_seed(0)))
    assert stages[-1][0].startswith("down to encoder")
    with torch.no_grad():
        cosines = stages[-1][1](batch)
    torch.testing.assert_close(cosines[2], torch.ones(4))


def test_what_cannot_be_compared(batch: Batch) -> None:
    model = small_model(batch)
    keep = batch.present.clone()
    keep[:, 0] = False
    target = SimilarityTarget(model, one(batch.without(keep), 0))
    assert target.column_of("all") == (0, "likeness to the reference window (cosine)")
    with pytest.raises(UnknownNameError, match="acc, all, temp"):
        target.column_of("ppg")
    with pytest.raises(ExplainError, match="nothing to compare with"):
        SimilarityTarget(model, batch.without(torch.zeros_like(keep)))
