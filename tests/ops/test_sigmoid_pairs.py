"""The sigmoid loss against a double loop, hand numbers, symmetries and numeric gradients."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from hdt_fm.ops.contrastive import tiles
from hdt_fm.ops.sigmoid_pairs import sigmoid_pairs_loss


def unit(*shape, seed=0):
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def number(value):
    return torch.tensor(value, dtype=torch.float64)


FACTS = {"subject": torch.arange(11) // 4, "time_s": torch.arange(11).double() * 30 + 1.7e9}


@pytest.mark.parametrize("within", [None, 45.0, math.inf])
def test_the_definition_by_a_double_loop(within):
    z = unit(3, 11, 5)
    present = torch.rand(11, 3, generator=torch.Generator().manual_seed(3)) < 0.7
    out = sigmoid_pairs_loss(
        z, present, logit_scale=number(6.0), logit_bias=number(-2.0), exclude_within_s=within, **FACTS
    )
    for k, (a, b) in enumerate(out.pairs):
        rows = [i for i in range(11) if present[i, a] and present[i, b]]
        total = 0.0
        for i in rows:
            for j in rows:
                same = FACTS["subject"][i] == FACTS["subject"][j]
                near = abs(FACTS["time_s"][i] - FACTS["time_s"][j]) <= (within or 0.0)
                if i != j and within is not None and same and near:
                    continue
                sign = 1 if i == j else -1
                total += math.log1p(math.exp(-sign * (6.0 * float(z[a, i] @ z[b, j]) - 2.0)))
        assert out.pair_loss[k].item() == pytest.approx(total / len(rows), rel=1e-12)
        assert out.pair_rows[k].item() == len(rows)
    assert out.loss.item() == pytest.approx(out.pair_loss.mean().item(), rel=1e-12)


def test_two_rows_by_hand():
    # Scale 10, bias -10: partners have logit 0 (log 2), strangers at right angles -10 (log(1 + e^-10)).
    z = torch.eye(2, dtype=torch.float64).expand(2, 2, 2)
    out = sigmoid_pairs_loss(z, torch.ones(2, 2, dtype=torch.bool), logit_scale=number(10.0), logit_bias=number(-10.0))
    assert out.loss.item() == pytest.approx(math.log(2) + math.log1p(math.exp(-10)), rel=1e-14)


def test_large_logits_keep_their_digits():
    z = torch.eye(3, dtype=torch.float64).expand(2, 3, 3).clone().requires_grad_()
    scale, bias = number(100.0).requires_grad_(), number(-50.0).requires_grad_()
    out = sigmoid_pairs_loss(z, torch.ones(3, 2, dtype=torch.bool), logit_scale=scale, logit_bias=bias)
    out.loss.backward()
    # Each row: its partner at logit 50, two strangers at -50.
    assert out.loss.item() == pytest.approx(3 * math.log1p(math.exp(-50)), rel=1e-12)
    assert bias.grad.item() == pytest.approx(math.exp(-50) * (2 - 1), rel=1e-9)
    far = sigmoid_pairs_loss(
        z.detach().float() * torch.tensor([1.0, -1.0])[:, None, None],
        torch.ones(3, 2, dtype=torch.bool),
        logit_scale=torch.tensor(100.0),
        logit_bias=torch.tensor(-1000.0),
    )
    assert far.loss.item() == pytest.approx(1100.0)


def test_the_order_of_rows_and_modalities_means_nothing():
    z, present = unit(4, 12, 5), torch.rand(12, 4, generator=torch.Generator().manual_seed(2)) < 0.7
    rows, modalities = torch.randperm(12), torch.randperm(4)
    learned = {"logit_scale": number(8.0), "logit_bias": number(-3.0)}
    one = sigmoid_pairs_loss(z, present, **learned)
    other = sigmoid_pairs_loss(z[modalities][:, rows], present[rows][:, modalities], **learned)
    torch.testing.assert_close(one.loss, other.loss, rtol=1e-12, atol=0)


def test_numeric_gradients():
    present = torch.rand(6, 3, generator=torch.Generator().manual_seed(3)) < 0.8
    facts = {"subject": torch.arange(6) // 2, "time_s": torch.arange(6).double(), "exclude_within_s": 5.0}

    def loss(z, scale, bias):
        return sigmoid_pairs_loss(z, present, logit_scale=scale, logit_bias=bias, **facts).loss

    inputs = (unit(3, 6, 4), number(4.0), number(-1.0))
    assert torch.autograd.gradcheck(loss, tuple(value.requires_grad_() for value in inputs))


def test_absent_rows_have_exactly_no_gradient_whatever_they_hold():
    present = torch.rand(14, 3, generator=torch.Generator().manual_seed(5)) < 0.6
    present[0], present[1] = False, torch.tensor([False, True, False])
    z = unit(3, 14, 4).masked_fill(~present.T[..., None], torch.nan).requires_grad_()
    out = sigmoid_pairs_loss(z, present, logit_scale=number(6.0), logit_bias=number(-2.0))
    out.loss.backward()
    assert torch.isfinite(out.loss)
    assert (z.grad[~present.T] == 0).all()
    assert (z.grad[1, 1] == 0).all()
    assert z.grad.abs().sum() > 0


def test_bfloat16_rows_are_summed_in_float32():
    z, present = unit(3, 40, 8).bfloat16(), torch.ones(40, 3, dtype=torch.bool)
    exact = sigmoid_pairs_loss(z.double(), present, logit_scale=number(10.0), logit_bias=number(-10.0))
    with torch.autocast("cpu", torch.bfloat16):
        half = sigmoid_pairs_loss(z, present, logit_scale=torch.tensor(10.0), logit_bias=torch.tensor(-10.0))
    assert half.loss.dtype == torch.float32
    assert half.loss.item() == pytest.approx(exact.loss.item(), rel=1e-5)


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    modalities=st.integers(1, 4),
    batch=st.integers(0, 60),
    share=st.sampled_from([0.3, 0.7, 1.0]),
    scale=st.sampled_from([1.0, 14.3, 100.0]),
    bias=st.sampled_from([-10.0, 0.0, 3.0]),
    within=st.sampled_from([None, 120.0, math.inf]),
    weighted=st.booleans(),
    tile=st.sampled_from([(1, 2), (7, 5), (64, 16)]),
)
def test_tiles_are_the_reference(seed, modalities, batch, share, scale, bias, within, weighted, tile):
    # Thousands of tiles of one entry find nothing that hundreds do not.
    batch = min(batch, 20) if tile[0] < 7 else batch
    generator = torch.Generator().manual_seed(seed)
    z = normalize(torch.randn(modalities, batch, 5, generator=generator, dtype=torch.float64), dim=-1)
    present = torch.rand(batch, modalities, generator=generator) < share
    z = z.masked_fill(~present.T[..., None], torch.nan)
    about = {
        "subject": torch.randint(0, 5, (batch,), generator=generator),
        "time_s": torch.randint(0, 10, (batch,), generator=generator).double() * 60,
        "exclude_within_s": within,
        "weight": torch.randint(0, 3, (batch,), generator=generator).double() if weighted else None,
    }
    answers = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "TILE_ROWS", tile[0])
        patch.setattr(tiles, "TILE_COLUMNS", tile[1])
        for impl in ("reference", "chunked"):
            leaves = [z.clone(), torch.tensor(scale).double(), torch.tensor(bias).double()]
            rows, factor, shift = (leaf.requires_grad_() for leaf in leaves)
            out = sigmoid_pairs_loss(rows, present, logit_scale=factor, logit_bias=shift, impl=impl, **about)
            out.loss.backward()
            answers.append((out.loss.detach(), out.pair_loss.detach(), rows.grad, factor.grad, shift.grad))
    for expected, got in zip(*answers, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-11 * scale)


def test_tiles_keep_no_square_array():
    saved = []
    z = normalize(torch.randn(2, 1500, 4), dim=-1).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        settings_ = {"logit_scale": torch.tensor(9.0), "logit_bias": torch.tensor(-9.0)}
        sigmoid_pairs_loss(z, torch.ones(1500, 2, dtype=torch.bool), **settings_)
    assert max(saved) <= 2 * 1500 * 4
