"""Whose word counts as that of the others: their mean, or what a fusion made of them."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from hdt_fm.losses.leave_one_out import LeaveOneOut
from hdt_fm.losses.mix import Mix
from hdt_fm.ops.leave_one_out import leave_one_out_loss, mean_of_others
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ConfigError, UnknownNameError
from hdt_fm.schema.protocols import Embeddings, Encoded, ReadsOthers

ROWS, MODALITIES, DIM = 11, 3, 6


def unit(seed):
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(ROWS, MODALITIES, DIM, generator=generator), dim=-1)


def case(others=None):
    present = torch.rand(ROWS, MODALITIES, generator=torch.Generator().manual_seed(0)) < 0.8
    present[0], present[1] = False, torch.tensor([False, True, False])
    index = torch.arange(ROWS)
    batch = Batch(("ppg", "acc", "eda"), {}, present, index // 4, index.double() * 30, index)
    projections = Embeddings(unit(1) * present[..., None], present)
    there = present.sum(1, keepdim=True) - present.long() > 0
    return Encoded(projections, projections, batch, batch, Embeddings(unit(2) if others is None else others, there))


def test_a_fusion_that_is_the_mean_gives_the_mean_to_the_last_bit():
    plain = case()
    values, present = plain.projections.values.transpose(0, 1), plain.projections.present
    same = case(mean_of_others(values, present).transpose(0, 1))
    assert torch.equal(LeaveOneOut(others="fused")(same).value, LeaveOneOut()(plain).value)
    assert torch.equal(LeaveOneOut()(same).value, LeaveOneOut()(plain).value)


def test_each_modality_is_looked_for_in_what_its_others_say():
    encoded = case()
    report = LeaveOneOut(others="fused", init_temperature=0.2, exclude_within_s=None)(encoded)
    present, losses = encoded.projections.present, []
    for m in range(MODALITIES):
        rows = present[:, m] & (present.sum(1) > 1)
        own, others = encoded.projections.values[rows, m], encoded.others.values[rows, m]
        cosine = 5.0 * own @ others.T
        at = torch.arange(len(own))
        losses.append(
            (torch.nn.functional.cross_entropy(cosine, at) + torch.nn.functional.cross_entropy(cosine.T, at)) / 2
        )
    torch.testing.assert_close(report.value, torch.stack(losses).mean())
    assert not torch.allclose(report.value, LeaveOneOut(init_temperature=0.2, exclude_within_s=None)(encoded).value)


def test_others_of_a_window_that_does_not_count_are_not_read_not_even_nan():
    encoded = case()
    present = encoded.projections.present
    counts = present & (present.sum(1, keepdim=True) > 1)
    clean, dirty = encoded.others.values.clone(), encoded.others.values.masked_fill(~counts[..., None], torch.nan)
    found = []
    for others in (clean.requires_grad_(), dirty.requires_grad_()):
        value = LeaveOneOut(others="fused")(replace(encoded, others=Embeddings(others, counts))).value
        value.backward()
        found.append((value.detach(), others.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert (found[1][1][~counts] == 0).all()
    assert (found[1][1][counts].abs().sum(-1) > 0).all()


def test_half_precision_others_are_taken_in_float32():
    encoded = case()
    half = encoded.others.values.bfloat16()
    want = leave_one_out_loss(
        encoded.projections.values.transpose(0, 1),
        encoded.projections.present,
        logit_scale=torch.tensor(10.0),
        others=half.float().transpose(0, 1),
    )
    with torch.autocast("cpu", torch.bfloat16):
        loss = LeaveOneOut(others="fused", exclude_within_s=None)
        got = loss(replace(encoded, others=Embeddings(half, encoded.others.present)))
    assert got.value.dtype == torch.float32
    torch.testing.assert_close(got.value, want.loss)


def test_who_asks_says_so_also_in_a_mix():
    plain, fused = LeaveOneOut(), LeaveOneOut(others="fused")
    assert isinstance(plain, ReadsOthers)
    assert (plain.reads_others, fused.reads_others) == (False, True)
    # What tells runs apart is what it was before there was this choice.
    assert set(vars(fused)) - set(vars(plain)) == {"reads_others"}
    assert not Mix(terms={"leave_one_out": {}, "info_nce": {}}).reads_others
    mix = Mix(terms={"leave_one_out": {"others": "fused"}, "info_nce": {}})
    assert mix.reads_others
    assert torch.isfinite(mix(case()).value)


def test_what_was_not_made_or_is_not_known_is_refused():
    with pytest.raises(ConfigError, match="were not fused"):
        LeaveOneOut(others="fused")(replace(case(), others=None))
    with pytest.raises(UnknownNameError, match="did you mean 'fused'"):
        LeaveOneOut(others="fuse")
