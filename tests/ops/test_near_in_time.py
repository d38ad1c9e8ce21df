"""Positives over time against a loop, against the pairwise loss where they coincide, and numeric gradients."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from hdt_fm.ops.contrastive import contrastive_loss
from hdt_fm.ops.near_in_time import company, multi_positive, near_in_time_loss
from hdt_fm.schema.errors import ConfigError


def unit(*shape, seed=0):
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def number(value):
    return torch.tensor(value, dtype=torch.float64)


SUBJECT = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3])
TIME_S = torch.tensor([0.0, 60, 200, 0, 61, 5, 10, 500, 7], dtype=torch.float64) + 1.7e9


def test_who_is_near_by_hand():
    among = company(SUBJECT, TIME_S, within_s=60.0, negatives="others")
    assert {(i, j) for i, j in among.positive.nonzero().tolist() if i < j} == {(0, 1), (5, 6)}
    assert torch.equal(among.positive, among.positive.T)
    assert torch.equal(among.negative, SUBJECT[:, None] != SUBJECT)
    every = company(SUBJECT, TIME_S, within_s=60.0, negatives="all")
    assert every.negative[0].tolist() == [False, False, True, True, True, True, True, True, True]
    person = company(SUBJECT, TIME_S, within_s=math.inf, negatives="all")
    assert person.positive[0].tolist() == [False, True, True, *[False] * 6]
    assert torch.equal(person.negative, SUBJECT[:, None] != SUBJECT)


@pytest.mark.parametrize("negatives", ["others", "all"])
@pytest.mark.parametrize("within", [60.0, 150.0, math.inf])
@pytest.mark.parametrize("across", [False, True])
def test_the_definition(negatives, within, across):
    z = unit(2, 9, 4)
    present = torch.rand(9, 2, generator=torch.Generator().manual_seed(1)) < 0.85
    among = company(SUBJECT, TIME_S, within_s=within, negatives=negatives)
    out = near_in_time_loss(z, present, among, logit_scale=number(5.0), across=across)
    assert out.groups == (((0, 0), (0, 1), (1, 0), (1, 1)) if across else ((0, 0), (1, 1)))
    for k, (a, b) in enumerate(out.groups):
        rows = []
        for i in range(9):
            pairs = [j for j in range(9) if present[i, a] and present[j, b] and j != i]
            logit = {j: 5.0 * float(z[a, i] @ z[b, j]) for j in pairs}
            same = {j: bool(SUBJECT[i] == SUBJECT[j]) for j in pairs}
            near = {j: same[j] and bool(abs(TIME_S[i] - TIME_S[j]) <= within) for j in pairs}
            against = [j for j in pairs if (not near[j] if negatives == "all" else not same[j])]
            positives = [j for j in pairs if near[j]]
            if positives and against:
                terms = [math.log1p(sum(math.exp(logit[n] - logit[p]) for n in against)) for p in positives]
                rows.append(sum(terms) / len(terms))
        assert out.group_rows[k].item() == len(rows)
        assert out.group_loss[k].item() == pytest.approx(sum(rows) / max(1, len(rows)), rel=1e-12)
    counted = out.group_loss[out.group_rows > 0]
    assert out.loss.item() == pytest.approx(counted.mean().item(), rel=1e-12)


def test_one_positive_each_is_the_pairwise_loss():
    # Two windows a person: each window's positive is the person's other one. As a pair of modalities over people the
    # directions are first -> second and second -> first; only negatives among the own kind are added here.
    z = unit(1, 8, 5)
    logits = 6.0 * z[0, :4] @ z[0, 4:].T
    own = torch.eye(4, dtype=torch.bool)
    both = (multi_positive(logits, own, ~own) + multi_positive(logits.T, own, ~own)) / 2
    pair = contrastive_loss(
        torch.stack((z[0, :4], z[0, 4:])), torch.ones(4, 2, dtype=torch.bool), logit_scale=number(6.0)
    )
    torch.testing.assert_close(both, pair.loss, rtol=1e-12, atol=0)


def test_chance_is_log_of_one_plus_negatives_however_many_positives():
    z = unit(1, 1, 4).expand(1, 9, 4)
    among = company(torch.arange(9) // 3, torch.zeros(9).double(), within_s=math.inf, negatives="others")
    out = near_in_time_loss(z, torch.ones(9, 1, dtype=torch.bool), among, logit_scale=number(50.0))
    assert out.loss.item() == pytest.approx(math.log(7), rel=1e-12)


def test_a_batch_of_one_person_has_nothing_to_say_without_far_windows():
    z, subject, time_s = unit(1, 6, 4).requires_grad_(), torch.zeros(6, dtype=torch.long), torch.arange(6).double() * 50
    whole = torch.ones(6, 1, dtype=torch.bool)
    others = near_in_time_loss(
        z, whole, company(subject, time_s, within_s=60.0, negatives="others"), logit_scale=number(5.0)
    )
    others.loss.backward()
    assert others.loss.item() == 0
    assert (z.grad == 0).all()
    far = near_in_time_loss(z, whole, company(subject, time_s, within_s=60.0, negatives="all"), logit_scale=number(5.0))
    assert far.group_rows.tolist() == [6]
    assert far.loss > 0


@pytest.mark.parametrize("across", [False, True])
def test_numeric_gradients_and_absent_rows(across):
    present = torch.rand(9, 3, generator=torch.Generator().manual_seed(4)) < 0.7
    present[0] = False
    among = company(SUBJECT, TIME_S, within_s=150.0, negatives="all")

    def loss(z, scale):
        return near_in_time_loss(z, present, among, logit_scale=scale, across=across).loss

    assert torch.autograd.gradcheck(loss, (unit(3, 9, 3).requires_grad_(), number(4.0).requires_grad_()))
    z = unit(3, 9, 3).masked_fill(~present.T[..., None], torch.nan).requires_grad_()
    value = loss(z, number(4.0))
    value.backward()
    assert torch.isfinite(value)
    assert (z.grad[~present.T] == 0).all()
    assert z.grad.abs().sum() > 0


def test_the_order_of_rows_and_modalities_means_nothing():
    z, present = unit(3, 9, 5), torch.rand(9, 3, generator=torch.Generator().manual_seed(2)) < 0.8
    rows, modalities = torch.randperm(9), torch.randperm(3)

    def loss(z, present, order):
        among = company(SUBJECT[order], TIME_S[order], within_s=150.0, negatives="all")
        return near_in_time_loss(z, present, among, logit_scale=number(5.0), across=True).loss

    one = loss(z, present, torch.arange(9))
    other = loss(z[modalities][:, rows], present[rows][:, modalities], rows)
    torch.testing.assert_close(one, other, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("within", "negatives"), [(0.0, "others"), (-1.0, "all"), (math.nan, "all"), (60.0, "far")])
def test_bad_settings_speak(within, negatives):
    with pytest.raises(ConfigError, match="cannot be told apart"):
        company(SUBJECT, TIME_S, within_s=within, negatives=negatives)
