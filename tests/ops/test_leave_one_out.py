"""Leave-one-out against a loop, against the pairwise loss where they coincide, symmetries and numeric gradients."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from hdt_fm.ops.contrastive import IMPLEMENTATIONS, contrastive_loss
from hdt_fm.ops.leave_one_out import leave_one_out_loss, mean_of_others
from hdt_fm.schema.errors import ConfigError

IMPLS = sorted({*IMPLEMENTATIONS} - {"triton"})  # it has tests of its own


def unit(*shape, seed=0):
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def presence(batch, modalities, share=0.7):
    return torch.rand(batch, modalities, generator=torch.Generator().manual_seed(3)) < share


def scale_of(value):
    return torch.tensor(value, dtype=torch.float64)


def loop(z, present, scale, keep):
    """The definition, one row at a time, in Python floats."""
    modalities, batch, _ = z.shape
    found, counts = [], []
    for m in range(modalities):
        rows = [i for i in range(batch) if present[i, m] and present[i].sum() > 1]
        others = {}
        for i in rows:
            mean = sum(z[k, i] for k in range(modalities) if k != m and present[i, k]) / (present[i].sum() - 1)
            others[i] = mean / mean.norm()
        total = 0.0
        for i in rows:
            own = scale * float(z[m, i] @ others[i])
            near = [j for j in rows if j != i and keep[i][j]]
            total += math.log1p(sum(math.exp(scale * float(z[m, i] @ others[j]) - own) for j in near))
            total += math.log1p(sum(math.exp(scale * float(z[m, j] @ others[i]) - own) for j in near))
        counts.append(len(rows))
        found.append(total / (2 * len(rows)) if len(rows) > 1 else 0.0)
    return found, counts


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("within", [None, 45.0])
def test_the_definition(impl, within):
    z, present = unit(4, 13, 5), presence(13, 4)
    subject, time_s = torch.arange(13) // 5, torch.arange(13).double() * 30 + 1.7e9
    keep = [
        [within is None or subject[i] != subject[j] or abs(time_s[i] - time_s[j]) > within for j in range(13)]
        for i in range(13)
    ]
    out = leave_one_out_loss(
        z, present, logit_scale=scale_of(7.0), subject=subject, time_s=time_s, exclude_within_s=within, impl=impl
    )
    expected, counts = loop(z, present, 7.0, keep)
    assert out.modality_loss.tolist() == pytest.approx(expected, rel=1e-12)
    assert out.modality_rows.tolist() == counts
    assert out.loss.item() == pytest.approx(sum(expected) / 4, rel=1e-12)


@pytest.mark.parametrize("impl", IMPLS)
def test_others_that_are_given_stand_for_the_mean(impl):
    z, present = unit(4, 13, 5), presence(13, 4)
    z = z * present.T[..., None]
    mean = leave_one_out_loss(z, present, logit_scale=scale_of(7.0), impl=impl)
    given = leave_one_out_loss(z, present, logit_scale=scale_of(7.0), others=mean_of_others(z, present), impl=impl)
    assert torch.equal(given.modality_loss, mean.modality_loss)
    # What says what the modality says finds it.
    told = leave_one_out_loss(z, present, logit_scale=scale_of(50.0), others=z, impl=impl)
    assert told.loss < 0.2 * leave_one_out_loss(z, present, logit_scale=scale_of(50.0), impl=impl).loss


@pytest.mark.parametrize("impl", IMPLS)
def test_with_two_modalities_it_is_the_pairwise_loss(impl):
    z, present = unit(2, 17, 6), presence(17, 2)
    facts = {"subject": torch.arange(17) // 4, "time_s": torch.arange(17).double() * 25, "exclude_within_s": 30.0}
    out = leave_one_out_loss(z, present, logit_scale=scale_of(9.0), impl=impl, **facts)
    pair = contrastive_loss(z, present, logit_scale=scale_of(9.0), **facts)
    torch.testing.assert_close(out.loss, pair.loss, rtol=1e-12, atol=0)
    assert out.modality_rows.tolist() == [pair.pair_rows.item()] * 2


def test_three_modalities_by_hand():
    # In each row all three agree on one of two orthogonal directions: each cross-entropy is log(1 + e^-scale).
    z = torch.eye(2, dtype=torch.float64).expand(3, 2, 2)
    out = leave_one_out_loss(z, torch.ones(2, 3, dtype=torch.bool), logit_scale=scale_of(2.0))
    assert out.modality_loss.tolist() == pytest.approx([math.log1p(math.exp(-2))] * 3, rel=1e-12)


def test_the_mean_of_others_has_unit_length_and_others_that_cancel_are_nothing():
    z = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, -1.0]]])
    others = mean_of_others(z, torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(others[1, 0], torch.tensor([1.0, -1.0]) / math.sqrt(2))
    assert others[0].tolist() == [[0.0, 0.0]]
    rows = z.repeat(1, 2, 1).requires_grad_()
    leave_one_out_loss(rows, torch.ones(2, 3, dtype=torch.bool), logit_scale=torch.tensor(5.0)).loss.backward()
    assert torch.isfinite(rows.grad).all()


def test_the_order_of_rows_and_modalities_means_nothing():
    z, present = unit(4, 12, 5), presence(12, 4)
    rows, modalities = torch.randperm(12), torch.randperm(4)
    one = leave_one_out_loss(z, present, logit_scale=scale_of(8.0))
    other = leave_one_out_loss(z[modalities][:, rows], present[rows][:, modalities], logit_scale=scale_of(8.0))
    torch.testing.assert_close(one.loss, other.loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(one.modality_loss[modalities], other.modality_loss, rtol=1e-12, atol=0)


@pytest.mark.parametrize("impl", IMPLS)
def test_numeric_gradients(impl):
    z, present = unit(3, 6, 4).requires_grad_(), presence(6, 3, 0.8)
    scale = scale_of(4.0).requires_grad_()
    facts = {"subject": torch.arange(6) // 2, "time_s": torch.arange(6).double(), "exclude_within_s": 5.0}

    def loss(z, scale):
        return leave_one_out_loss(z, present, logit_scale=scale, impl=impl, **facts).loss

    assert torch.autograd.gradcheck(loss, (z, scale), fast_mode=False)


@pytest.mark.parametrize("impl", IMPLS)
def test_absent_rows_and_lone_modalities_have_exactly_no_gradient(impl):
    present = presence(14, 3, 0.6)
    present[0], present[1] = False, torch.tensor([False, True, False])
    z = unit(3, 14, 4).masked_fill(~present.T[..., None], torch.nan).requires_grad_()
    out = leave_one_out_loss(z, present, logit_scale=scale_of(6.0), impl=impl)
    out.loss.backward()
    assert torch.isfinite(out.loss)
    assert (z.grad[~present.T] == 0).all()
    assert (z.grad[1, 1] == 0).all()
    assert z.grad.abs().sum() > 0


def test_bfloat16_rows_are_summed_in_float32():
    z, present = unit(3, 40, 8).bfloat16(), presence(40, 3)
    exact = leave_one_out_loss(z.double(), present, logit_scale=scale_of(10.0))
    with torch.autocast("cpu", torch.bfloat16):
        half = leave_one_out_loss(z, present, logit_scale=torch.tensor(10.0))
    assert half.loss.dtype == torch.float32
    assert half.loss.item() == pytest.approx(exact.loss.item(), rel=1e-5)


def test_exclusion_needs_to_know_who():
    with pytest.raises(ConfigError, match="needs to know who and when"):
        leave_one_out_loss(unit(2, 4, 3), presence(4, 2), logit_scale=scale_of(1.0), exclude_within_s=60.0)
