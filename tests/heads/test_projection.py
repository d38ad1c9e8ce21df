"""The projection head: unit length, absent rows, one linear map a modality."""

import pytest
import torch

from hdt_fm.heads.projection import Projection
from hdt_fm.schema.errors import ShapeError
from hdt_fm.schema.protocols import Embeddings


def case():
    torch.manual_seed(0)
    present = torch.tensor([[True, False, True], [True, True, True]])
    values = (torch.randn(2, 3, 7) * present[..., None]).requires_grad_()
    return Projection(modalities=3, width=7, dim=5), Embeddings(values, present)


def test_present_rows_have_unit_length_and_absent_ones_are_zero():
    head, embeddings = case()
    out = head(embeddings)
    assert out.values.shape == (2, 3, 5)
    torch.testing.assert_close(out.values.norm(dim=-1), embeddings.present.float())
    assert torch.equal(out.present, embeddings.present)


def test_each_modality_has_its_own_map():
    head, embeddings = case()
    out = head(embeddings).values
    torch.nn.init.normal_(head.parts[2].weight)
    out = head(embeddings).values
    raw = embeddings.values[:, 2] @ head.parts[2].weight.T + head.parts[2].bias
    torch.testing.assert_close(out[:, 2], raw / raw.norm(dim=-1, keepdim=True))


def test_it_starts_as_the_first_components():
    head, embeddings = case()
    first = embeddings.values[..., :5]
    expected = torch.where(embeddings.present[..., None], first / first.norm(dim=-1, keepdim=True), 0.0)
    torch.testing.assert_close(head(embeddings).values, expected)


def test_gradients_are_finite_and_absent_rows_get_none():
    head, embeddings = case()
    head(embeddings).values.sum().backward()
    assert torch.isfinite(embeddings.values.grad).all()
    assert (embeddings.values.grad[0, 1] == 0).all()


def test_a_dead_row_does_not_divide_by_zero():
    head, embeddings = case()
    for weight in head.parameters():
        torch.nn.init.zeros_(weight)
    out = head(embeddings).values
    out.sum().backward()
    assert torch.isfinite(out).all()
    assert all(torch.isfinite(weight.grad).all() for weight in head.parameters())


def test_half_precision_lengths_are_float32():
    head, embeddings = case()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = head(embeddings).values
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.norm(dim=-1), embeddings.present.float())


def test_another_number_of_modalities_is_refused():
    _, embeddings = case()
    with pytest.raises(ShapeError, match="2 modalities"):
        Projection(modalities=2, width=7)(embeddings)
