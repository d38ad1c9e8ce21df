"""What every fusion of the table promises."""

import pytest
import torch

from hdt_fm.schema.protocols import Fusion
from hdt_fm.schema.registry import build, names

FUSIONS = names("fusion")
NAMES = ("acc", "eda", "ppg", "temp")
ROWS, WIDTH = 7, 16


def fusion_of(name, modalities=NAMES, *, started=False, seed=0, **more):
    """With `started` every weight has moved: of a last layer that is zero no gradient comes through."""
    torch.manual_seed(seed)
    fusion = build("fusion", name, {"modalities": list(modalities), "width": WIDTH, **more})
    if started:
        with torch.no_grad():
            for weight in fusion.parameters():
                weight.add_(0.2 * torch.randn_like(weight))
    return fusion.eval()


def case(seed=0, rows=ROWS):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, len(NAMES), WIDTH, generator=generator)
    present = torch.rand(rows, len(NAMES), generator=generator) < 0.6
    present[0], present[1], present[2] = True, False, torch.tensor([False, True, False, False])
    return values, present


def test_the_table_has_two():
    assert FUSIONS == ("attention", "mean")
    assert all(isinstance(fusion_of(name), Fusion) for name in FUSIONS)


@pytest.mark.parametrize("name", FUSIONS)
def test_it_starts_as_the_mean_of_those_present(name):
    values, present = case()
    out = fusion_of(name)(values, present)
    assert out.shape == (ROWS, WIDTH)
    for row in range(ROWS):
        there = values[row, present[row]]
        expected = there.mean(0) if len(there) else torch.zeros(WIDTH)
        torch.testing.assert_close(out[row], expected)
    # A lone modality is itself, to the last bit.
    assert torch.equal(out[2], values[2, 1])


@pytest.mark.parametrize("name", FUSIONS)
def test_the_slot_of_an_absent_modality_has_no_influence_at_all(name):
    fusion, (values, present) = fusion_of(name, started=True), case()
    values.requires_grad_()
    expected = fusion(values, present)
    for other in (torch.zeros(()), torch.tensor(1e30), torch.tensor(torch.nan), torch.tensor(torch.inf)):
        assert torch.equal(fusion(torch.where(present[..., None], values, other), present), expected)
    expected.sum().backward()
    assert (values.grad[~present] == 0).all()
    assert (values.grad[present].abs().sum(-1) > 0).all()


@pytest.mark.parametrize("name", FUSIONS)
def test_a_window_of_nothing_is_one_finite_vector_without_a_gradient_that_is_none(name):
    fusion = fusion_of(name, started=True)
    (one, _), (other, _) = case(1), case(2)
    nothing = torch.zeros(ROWS, len(NAMES), dtype=torch.bool)
    first, second = fusion(one.requires_grad_(), nothing), fusion(other, nothing)
    assert torch.isfinite(first).all()
    assert torch.equal(first, second)
    assert torch.equal(first, first[:1].expand_as(first))
    first.sum().backward()
    assert (one.grad == 0).all()
    assert all(torch.isfinite(weight.grad).all() for weight in fusion.parameters() if weight.grad is not None)


@pytest.mark.parametrize("name", FUSIONS)
def test_rows_do_not_see_each_other(name):
    fusion, (values, present) = fusion_of(name, started=True).double(), case()
    together = fusion(values.double(), present)
    for row in range(ROWS):
        torch.testing.assert_close(fusion(values[row : row + 1].double(), present[row : row + 1])[0], together[row])


@pytest.mark.parametrize("name", FUSIONS)
def test_modalities_come_in_any_order_with_their_weights(name):
    order = [2, 0, 3, 1]
    one = fusion_of(name, started=True).double()
    other = fusion_of(name, [NAMES[k] for k in order], seed=1).double()
    other.load_state_dict(one.state_dict(), strict=True)
    values, present = case()
    expected = one(values.double(), present)
    torch.testing.assert_close(other(values.double()[:, order], present[:, order]), expected)


@pytest.mark.parametrize("name", FUSIONS)
def test_a_modality_that_is_added_later_takes_nothing_from_the_others(name):
    few, more = fusion_of(name, NAMES[:3], started=True).double(), fusion_of(name, seed=1).double()
    found = more.load_state_dict(few.state_dict(), strict=False)
    assert not found.unexpected_keys
    assert all(".temp." in f".{key}" for key in found.missing_keys)
    values, present = case()
    present[:, 3] = False
    torch.testing.assert_close(more(values.double(), present), few(values.double()[:, :3], present[:, :3]))


@pytest.mark.parametrize("name", FUSIONS)
def test_every_weight_learns_once_the_first_step_was_taken(name):
    values, present = case()
    values.requires_grad_()
    fresh, fusion = fusion_of(name), fusion_of(name, started=True)
    for one in (fresh, fusion):
        (one(values, present) * torch.randn(ROWS, WIDTH)).sum().backward()
    assert [key for key, weight in fusion.named_parameters() if weight.grad is None or not weight.grad.any()] == []
    learns = [key for key, weight in fresh.named_parameters() if weight.grad is not None and weight.grad.any()]
    assert learns == [key for key, _ in fresh.named_parameters() if key.startswith("add.")]


def test_attention_tells_modalities_apart_and_sees_what_stands_beside_one():
    fusion, (values, _) = fusion_of("attention", started=True), case()
    everyone = torch.ones(ROWS, len(NAMES), dtype=torch.bool)
    # A mean cannot tell who said what, nor does it hear anything in what two say together.
    assert (fusion(values.flip(1), everyone) - fusion(values, everyone)).abs().max() > 1e-2
    added = fusion(values, everyone) - values.mean(1)
    by_one = [fusion(values, everyone & (torch.arange(len(NAMES)) == k)) - values[:, k] for k in range(len(NAMES))]
    assert (added - torch.stack(by_one).mean(0)).abs().max() > 1e-2


def test_gradients_are_the_numeric_ones():
    fusion, (values, present) = fusion_of("attention", started=True).double(), case(rows=3)
    assert torch.autograd.gradcheck(lambda some: fusion(some, present), values.double().requires_grad_())
