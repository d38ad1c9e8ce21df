"""What every loss of the table promises."""

import pytest
import torch
from torch.nn.functional import normalize

from hdt_fm.schema.batch import Batch
from hdt_fm.schema.protocols import ContrastiveLoss, Embeddings
from hdt_fm.schema.registry import build, names

LOSSES = names("losses")


def test_the_table_has_one():
    assert LOSSES == ("info_nce",)


def case(present):
    rows, modalities = present.shape
    index = torch.arange(rows)
    values = normalize(torch.randn(rows, modalities, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    batch = Batch(("ppg", "acc", "eda", "temp")[:modalities], {}, present, index, index.double(), index)
    return (values * present[..., None]).requires_grad_(), batch


@pytest.mark.parametrize("name", LOSSES)
def test_any_subset_of_modalities_gives_a_finite_loss_that_teaches(name):
    loss = build("losses", name, {})
    assert isinstance(loss, ContrastiveLoss)
    generator = torch.Generator().manual_seed(1)
    for share in (0.3, 0.7, 1.0):
        values, batch = case(torch.rand(30, 4, generator=generator) < share)
        report = loss(Embeddings(values, batch.present), batch)
        report.value.backward()
        assert torch.isfinite(report.value)
        assert report.value > 0
        assert (values.grad[~batch.present] == 0).all()
        assert values.grad.abs().sum() > 0
        assert all(torch.isfinite(part).all() for part in (*report.parts.values(), *report.counts.values()))


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_to_compare_is_zero_with_zero_gradient(name):
    loss = build("losses", name, {})
    present = torch.zeros(3, 2, dtype=torch.bool)
    present[0] = True
    values, batch = case(present)
    report = loss(Embeddings(values, batch.present), batch)
    report.value.backward()
    assert report.value.item() == 0
    assert (values.grad == 0).all()
    assert all((weight.grad == 0).all() for weight in loss.parameters())


@pytest.mark.parametrize("name", LOSSES)
def test_partners_that_agree_are_better_than_strangers(name):
    loss = build("losses", name, {}).eval()
    _, batch = case(torch.ones(20, 2, dtype=torch.bool))
    one = normalize(torch.randn(20, 8, generator=torch.Generator().manual_seed(2)), dim=-1)
    agree = loss(Embeddings(torch.stack((one, one), 1), batch.present), batch).value
    strangers = loss(Embeddings(torch.stack((one, one.roll(1, 0)), 1), batch.present), batch).value
    assert agree < strangers
