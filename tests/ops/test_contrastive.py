"""The contrastive loss against loops, closed forms, symmetries and numeric gradients."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, normalize

from hdt_fm.ops.contrastive import IMPLEMENTATIONS, check_fit, contrastive_loss
from hdt_fm.ops.contrastive import chunked as chunked_room
from hdt_fm.ops.contrastive import tiles as tiles_room
from hdt_fm.ops.contrastive.dispatch import automatic
from hdt_fm.ops.contrastive.pairs import Exclusion, Pairs, all_pairs
from hdt_fm.schema.errors import ConfigError, ShapeError, UnknownNameError

# Triton has tests of its own: it needs a GPU or an interpreter, and has no float64.
IMPLS = sorted({*IMPLEMENTATIONS} - {"triton"})


def unit(*shape, seed=0):
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def scale_of(value):
    return torch.tensor(value, dtype=torch.float64)


def everyone(batch, modalities):
    return torch.ones(batch, modalities, dtype=torch.bool)


def loop_loss(query, key, scale, keep):
    """The definition, one exponential at a time, in Python floats."""
    rows, total = len(query), 0.0
    logit = [[scale * float(query[i] @ key[j]) for j in range(rows)] for i in range(rows)]
    for i in range(rows):
        row = sum(math.exp(logit[i][j] - logit[i][i]) for j in range(rows) if j != i and keep[i][j])
        column = sum(math.exp(logit[j][i] - logit[i][i]) for j in range(rows) if j != i and keep[j][i])
        total += math.log1p(row) + math.log1p(column)
    return total / (2 * rows)


@pytest.mark.parametrize("impl", IMPLS)
def test_two_rows_by_hand(impl):
    # Cosines 1 and 0 at scale 2: each of the four cross-entropies is log(1 + e^-2).
    eye = torch.eye(2, dtype=torch.float64)
    out = contrastive_loss(torch.stack((eye, eye)), everyone(2, 2), logit_scale=scale_of(2.0), impl=impl)
    assert out.loss.item() == pytest.approx(math.log1p(math.exp(-2)), rel=1e-14)
    assert out.pairs == ((0, 1),)
    assert out.pair_rows.tolist() == [2]


@pytest.mark.parametrize("impl", IMPLS)
def test_the_definition_with_near_rows_left_out(impl):
    z, subject = unit(2, 11, 5), torch.tensor([0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 4])
    time_s = torch.tensor([0.0, 30, 90, 0, 61, 5, 0, 60, 120, 300, 7], dtype=torch.float64) + 1.7e9
    keep = [[subject[i] != subject[j] or abs(time_s[i] - time_s[j]) > 60 for j in range(11)] for i in range(11)]
    out = contrastive_loss(
        z,
        everyone(11, 2),
        logit_scale=scale_of(9.0),
        subject=subject,
        time_s=time_s,
        exclude_within_s=60.0,
        impl=impl,
    )
    assert out.loss.item() == pytest.approx(loop_loss(z[0], z[1], 9.0, keep), rel=1e-12)


@pytest.mark.parametrize("impl", IMPLS)
def test_without_exclusion_it_is_the_usual_cross_entropy(impl):
    z = unit(2, 13, 6)
    logits, target = 14.0 * z[0] @ z[1].T, torch.arange(13)
    expected = (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2
    out = contrastive_loss(z, everyone(13, 2), logit_scale=scale_of(14.0), impl=impl)
    torch.testing.assert_close(out.loss, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("impl", IMPLS)
def test_chance_is_log_of_rows(impl):
    same = unit(1, 1, 4).expand(3, 17, 4)
    out = contrastive_loss(same, everyone(17, 3), logit_scale=scale_of(50.0), impl=impl)
    torch.testing.assert_close(out.pair_loss, torch.full((3,), math.log(17), dtype=torch.float64))


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_a_solved_batch_keeps_its_digits(impl, dtype, tolerance):
    # Orthogonal partners: loss = log(1 + (n - 1) e^-scale), 4e-21 at scale 50 where 1 - p rounds to 0.
    eye = torch.eye(24, dtype=dtype)
    z = torch.stack((eye, eye)).requires_grad_()
    scale = torch.tensor(50.0, dtype=dtype, requires_grad=True)
    out = contrastive_loss(z, everyone(24, 2), logit_scale=scale, impl=impl)
    expected = math.log1p(23 * math.exp(-50))
    assert expected < 1e-20
    assert out.loss.item() == pytest.approx(expected, rel=tolerance)
    out.loss.backward()
    # d/dscale of the closed form; every row is pushed by the same amount.
    assert scale.grad.item() == pytest.approx(-expected, rel=tolerance)
    assert z.grad[0].diagonal().mean().item() == pytest.approx(-50 * expected / 24, rel=tolerance)


@pytest.mark.parametrize("impl", IMPLS)
def test_hard_negatives_at_the_largest_scale_do_not_overflow(impl):
    z = unit(2, 9, 4).float()
    z[1] = -z[0]
    z.requires_grad_()
    out = contrastive_loss(z, everyone(9, 2), logit_scale=torch.tensor(100.0), impl=impl)
    out.loss.backward()
    wide = contrastive_loss(z.detach().double(), everyone(9, 2), logit_scale=scale_of(100.0), impl="reference")
    assert out.loss.item() == pytest.approx(wide.loss.item(), rel=1e-5)
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("within", [None, 40.0, math.inf])
def test_numeric_gradients(impl, within):
    z, present = unit(3, 7, 4), torch.rand(7, 3, generator=torch.Generator().manual_seed(3)) < 0.8
    subject, time_s = torch.tensor([0, 0, 1, 1, 2, 2, 3]), torch.arange(7).double() * 30
    scale = torch.tensor([3.0, 7.0, 5.0], dtype=torch.float64)

    def loss(rows, scales):
        out = contrastive_loss(
            rows,
            present,
            logit_scale=scales,
            subject=subject,
            time_s=time_s,
            exclude_within_s=within,
            impl=impl,
        )
        return out.loss, out.pair_loss

    assert torch.autograd.gradcheck(loss, (z.requires_grad_(), scale.requires_grad_()))


@pytest.mark.parametrize("impl", IMPLS)
def test_euler_identity(impl):
    # The loss is a function of scale * cosines: scale dL/dscale = <Q, dL/dQ> = <K, dL/dK>.
    z, scale = unit(2, 19, 6).requires_grad_(), scale_of(20.0).requires_grad_()
    contrastive_loss(z, everyone(19, 2), logit_scale=scale, impl=impl).loss.backward()
    expected = scale.detach() * scale.grad
    torch.testing.assert_close((z[0] * z.grad[0]).sum(), expected, rtol=1e-10, atol=0)
    torch.testing.assert_close((z[1] * z.grad[1]).sum(), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("impl", IMPLS)
def test_order_of_rows_and_sides_do_not_matter(impl):
    z, subject = unit(2, 12, 5), torch.arange(12) // 3
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    settings_ = {"logit_scale": scale_of(8.0), "exclude_within_s": math.inf, "impl": impl}
    plain = contrastive_loss(z, everyone(12, 2), subject=subject, **settings_).loss
    torch.testing.assert_close(
        contrastive_loss(z[:, order], everyone(12, 2), subject=subject[order], **settings_).loss, plain
    )
    torch.testing.assert_close(contrastive_loss(z.flip(0), everyone(12, 2), subject=subject, **settings_).loss, plain)


@pytest.mark.parametrize("impl", IMPLS)
def test_absent_rows_are_never_read(impl):
    present = torch.rand(20, 3, generator=torch.Generator().manual_seed(1)) < 0.6
    z = unit(3, 20, 5)
    hidden = z.masked_fill(~present.T[..., None], torch.nan).requires_grad_()
    out = contrastive_loss(hidden, present, logit_scale=scale_of(6.0), impl=impl)
    out.loss.backward()
    for number, (i, j) in enumerate(all_pairs(3)):
        both = present[:, i] & present[:, j]
        alone = contrastive_loss(
            torch.stack((z[i, both], z[j, both])), everyone(int(both.sum()), 2), logit_scale=scale_of(6.0)
        )
        torch.testing.assert_close(out.pair_loss[number], alone.loss)
        assert out.pair_rows[number] == both.sum()
    torch.testing.assert_close(out.loss, out.pair_loss.mean())
    assert torch.isfinite(hidden.grad).all()
    assert (hidden.grad[~present.T] == 0).all()


@pytest.mark.parametrize("impl", IMPLS)
def test_pairs_with_one_row_or_none_do_not_count(impl):
    present = torch.zeros(6, 3, dtype=torch.bool)
    present[:4, :2], present[3:5, 2] = True, True
    out = contrastive_loss(unit(3, 6, 4), present, logit_scale=scale_of(6.0), impl=impl)
    assert out.pair_rows.tolist() == [4, 1, 1]
    assert out.pair_loss[1:].tolist() == [0, 0]
    assert out.loss == out.pair_loss[0]


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("modalities", [1, 2, 3])
def test_no_pair_is_zero_with_zero_gradients(impl, modalities):
    z = torch.full((modalities, 5, 4), torch.nan, requires_grad=True)
    scale = torch.tensor(10.0, requires_grad=True)
    out = contrastive_loss(z, torch.zeros(5, modalities, dtype=torch.bool), logit_scale=scale, impl=impl)
    out.loss.backward()
    assert out.loss.item() == 0
    assert torch.equal(z.grad, torch.zeros_like(z))
    assert scale.grad.item() == 0


@pytest.mark.parametrize("impl", IMPLS)
def test_one_person_only_has_no_negative_and_no_gradient(impl):
    z, scale = unit(2, 8, 4).requires_grad_(), scale_of(10.0).requires_grad_()
    subject = torch.zeros(8, dtype=torch.long)
    out = contrastive_loss(z, everyone(8, 2), logit_scale=scale, subject=subject, exclude_within_s=math.inf, impl=impl)
    out.loss.backward()
    assert out.loss.item() == 0
    assert out.pair_rows.tolist() == [8]
    assert (z.grad == 0).all()
    assert scale.grad == 0


def random_problem(seed, modalities, batch, dim, share, within, weighted):
    """Rows with gaps, people and times; what is absent is NaN."""
    generator = torch.Generator().manual_seed(seed)
    z = normalize(torch.randn(modalities, batch, dim, generator=generator, dtype=torch.float64), dim=-1)
    present = torch.rand(batch, modalities, generator=generator) < share
    z = z.masked_fill(~present.T[..., None], torch.nan)
    about = {
        "subject": torch.randint(0, 5, (batch,), generator=generator),
        "time_s": torch.randint(0, 10, (batch,), generator=generator).double() * 60 + 1.7e9,
        "exclude_within_s": within,
    }
    if weighted:
        about["weight"] = torch.randint(0, 3, (batch,), generator=generator).double()
    return z, present, about


def answer(loss, z, scale, **settings_):
    """Loss, losses of pairs, and both gradients."""
    rows, scales = z.clone().requires_grad_(), scale.clone().requires_grad_()
    out = loss(rows, logit_scale=scales, **settings_)
    out.loss.backward()
    return out.loss.detach(), out.pair_loss.detach(), rows.grad, scales.grad


@pytest.fixture
def small_tiles(monkeypatch):
    def set_sizes(rows, columns, keep):
        monkeypatch.setattr(tiles_room, "TILE_ROWS", rows)
        monkeypatch.setattr(tiles_room, "KEPT_ROWS", rows)
        monkeypatch.setattr(tiles_room, "TILE_COLUMNS", columns)
        monkeypatch.setattr(chunked_room, "KEEP", keep)

    return set_sizes


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**31),
    modalities=st.integers(1, 4),
    batch=st.integers(0, 70),
    dim=st.integers(1, 9),
    share=st.sampled_from([0.3, 0.6, 1.0]),
    scale=st.sampled_from([0.5, 1.0, 14.3, 60.0, 100.0, 1500.0]),
    within=st.sampled_from([None, 0.0, 120.0, math.inf]),
    weighted=st.booleans(),
    direction=st.sampled_from(["both", "first", "second"]),
    tiles=st.sampled_from([(1, 1), (2, 3), (7, 5), (64, 16)]),
    keep=st.sampled_from([0, 1_000_000]),
    length=st.sampled_from([1.0, 1.0, 30.0]),
)
def test_chunked_is_the_reference(
    small_tiles, seed, modalities, batch, dim, share, scale, within, weighted, direction, tiles, keep, length
):
    # Thousands of tiles of one entry find nothing that hundreds do not.
    batch = min(batch, 20) if tiles[0] < 7 else batch
    z, present, about = random_problem(seed, modalities, batch, dim, share, within, weighted)
    small_tiles(*tiles, keep)
    # A scale for each pair where there are several.
    pairs = modalities * (modalities - 1) // 2
    scales = scale * (1 + torch.arange(pairs, dtype=torch.float64) / 7) if pairs > 1 else scale_of(scale)
    expected, got = (
        answer(contrastive_loss, z * length, scales, present=present, direction=direction, impl=impl, **about)
        for impl in ("reference", "chunked")
    )
    for one, other in zip(got, expected, strict=True):
        # A logit rounds by its own size, and a gradient is that times scale and length.
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-14 * (100 + scale * length**2) * length * scale)


@pytest.mark.parametrize("within", [None, 120.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scale", [1.0, 60.0, 100.0, 300.0])
def test_chunked_in_single_precision_is_the_reference_in_double(small_tiles, within, weighted, scale):
    """Also where one offset does not hold all logits, and where the positives are the worst there is."""
    z, _, about = random_problem(5, 3, 90, 6, 1.0, within, weighted)
    present = random_problem(6, 3, 90, 6, 0.8, within, weighted)[1]
    z[1] = -z[0]
    small_tiles(32, 16, 0)
    expected = answer(contrastive_loss, z, scale_of(scale), present=present, impl="reference", **about)
    got = answer(contrastive_loss, z.float(), scale_of(scale).float(), present=present, impl="chunked", **about)
    for one, other in zip(got, expected, strict=True):
        assert (one.double() - other).norm() <= 2e-5 * other.norm()


def test_a_row_far_below_all_others_is_done_again_with_care():
    """At scale 100 one offset for all keeps large logits finite, and loses rows whose logits are all near -100."""
    z = unit(2, 40, 4, seed=1)
    z[1, 1:] = z[0, :1]
    z[0, 0], z[1, 0] = -z[0, 0], z[1, 1]
    scale, about = scale_of(100.0), {"present": everyone(40, 2)}
    expected = answer(contrastive_loss, z, scale, impl="reference", **about)
    got = answer(contrastive_loss, z.float(), scale.float(), impl="chunked", **about)
    for one, other in zip(got, expected, strict=True):
        assert (one.double() - other).norm() <= 2e-5 * other.norm()


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("within", [None, 120.0])
def test_bf16_products_are_near_the_truth_on_the_rows_that_they_round_to(small_tiles, impl, within):
    """Whatever units this CPU has; where it has none, only the rows are rounded."""
    z, present, about = random_problem(2, 3, 300, 64, 1.0, within, False)
    present[::7, 1] = False
    z[1] = normalize(z[0] + 0.7 * z[1], dim=-1)
    small_tiles(64, 128, 0)
    rounded, scale = z.to(torch.bfloat16).double(), scale_of(14.3)
    expected = answer(contrastive_loss, rounded, scale, present=present, impl="reference", **about)
    got = answer(contrastive_loss, z.float(), scale.float(), present=present, impl=impl, products="bf16", **about)
    for one, other, close in zip(got, expected, (1e-5, 1e-5, 4e-3, 1e-4), strict=True):
        assert (one.double() - other).norm() <= close * other.norm()
    # They are not asked for by default, and the setting of the process is as it was.
    exact = answer(contrastive_loss, z.float(), scale.float(), present=present, impl=impl, **about)
    assert (exact[2] - got[2]).norm() > 1e-4 * got[2].norm()
    assert torch.backends.mkldnn.matmul.fp32_precision == "none"


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize(("direction", "flipped"), [("first", "second"), ("second", "first")])
def test_one_search_alone_is_half_of_both_and_the_others_with_sides_changed(impl, direction, flipped):
    z = unit(2, 23, 5)
    settings_ = {"present": everyone(23, 2), "logit_scale": scale_of(11.0), "impl": impl}
    both = contrastive_loss(z, **settings_).loss
    one = contrastive_loss(z, direction=direction, **settings_).loss
    other = contrastive_loss(z, direction=flipped, **settings_).loss
    torch.testing.assert_close((one + other) / 2, both)
    torch.testing.assert_close(contrastive_loss(z.flip(0), direction=flipped, **settings_).loss, one)
    logits, target = 11.0 * z[0] @ z[1].T, torch.arange(23)
    expected = cross_entropy(logits if direction == "first" else logits.T, target)
    torch.testing.assert_close(one, expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("impl", IMPLS)
def test_weights_are_those_of_a_mean_and_take_nobody_from_the_negatives(impl):
    z, weight = unit(2, 15, 5), torch.arange(15).double() % 4
    settings_ = {"present": everyone(15, 2), "logit_scale": scale_of(7.0), "impl": impl}
    logits, target = 7.0 * z[0] @ z[1].T, torch.arange(15)
    rows = (cross_entropy(logits, target, reduction="none") + cross_entropy(logits.T, target, reduction="none")) / 2
    expected = (weight * rows).sum() / weight.sum()
    torch.testing.assert_close(contrastive_loss(z, weight=weight, **settings_).loss, expected)
    torch.testing.assert_close(contrastive_loss(z, weight=9 * weight, **settings_).loss, expected)
    nobody = answer(
        contrastive_loss, z, scale_of(7.0), present=everyone(15, 2), weight=torch.zeros(15).double(), impl=impl
    )
    assert all(float(part.abs().sum()) == 0 for part in nobody)


@pytest.mark.parametrize("impl", IMPLS)
def test_rows_without_a_negative_are_counted(impl):
    z, present = unit(3, 9, 4), everyone(9, 3)
    present[:, 2] = False
    present[4, 2] = True
    # The first person has all rows but two; nobody but these two has a negative outside of their own person.
    subject = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1, 1])
    settings_ = {"logit_scale": scale_of(7.0), "subject": subject, "exclude_within_s": math.inf, "impl": impl}
    assert contrastive_loss(z, present, **settings_).empty_rows.tolist() == [0, 0, 0]
    settings_["subject"] = torch.zeros(9, dtype=torch.long)
    out = contrastive_loss(z, present, **settings_)
    assert out.empty_rows.tolist() == [9, 0, 0]
    assert out.pair_rows.tolist() == [9, 1, 1]


@pytest.mark.parametrize("impl", IMPLS)
def test_nan_in_a_row_that_is_there_is_not_hidden(impl):
    z = unit(2, 8, 4)
    z[0, 3, 1] = torch.nan
    assert contrastive_loss(z, everyone(8, 2), logit_scale=scale_of(7.0), impl=impl).loss.isnan()


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize(
    ("dtype", "loss_at", "grad_at"),
    [(torch.float32, 1e-5, 1e-5), (torch.bfloat16, 1e-5, 8e-3), (torch.float16, 1e-5, 1e-3)],
)
@pytest.mark.parametrize("rows", [2, 63, 200])
def test_lower_precisions_against_float64_on_the_same_rounded_rows(impl, dtype, loss_at, grad_at, rows):
    z = unit(2, rows, 16, seed=rows)
    z[1] = normalize(z[0] + 0.5 * z[1], dim=-1)
    z = z.to(dtype)
    answers = []
    for values, name in ((z.double(), "reference"), (z, impl)):
        # A view with strange strides, since transposed projections come in this way.
        leaf = values.transpose(0, 1).contiguous().requires_grad_()
        scale = torch.tensor(6.0, dtype=torch.promote_types(values.dtype, torch.float32), requires_grad=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            out = contrastive_loss(leaf.transpose(0, 1), everyone(rows, 2), logit_scale=scale, impl=name)
        out.loss.backward()
        answers.append((out.loss, leaf.grad, scale.grad))
    (loss, grad, d_scale), (got_loss, got_grad, got_d_scale) = answers
    assert got_loss.dtype == torch.float32
    assert got_grad.dtype == dtype
    assert abs(got_loss.item() - loss.item()) < loss_at * loss.item()
    assert (got_grad.double() - grad).norm() < grad_at * grad.norm()
    assert abs(got_d_scale.item() - d_scale.item()) < 1e-4 * abs(d_scale.item())


def test_chunked_repeats_bitwise_and_by_default_above_the_reference_size():
    z, scale = unit(2, 1100, 8).float(), torch.tensor(20.0)
    answers = []
    for impl in ("chunked", "chunked", "auto"):
        leaf = z.clone().requires_grad_()
        out = contrastive_loss(leaf, everyone(1100, 2), logit_scale=scale, impl=impl)
        out.loss.backward()
        answers.append((out.loss.item(), leaf.grad))
    assert answers[0][0] == answers[1][0] == answers[2][0]
    assert torch.equal(answers[0][1], answers[1][1])
    assert torch.equal(answers[0][1], answers[2][1])


def test_chunked_keeps_no_square_array_of_many_rows_for_backward(monkeypatch):
    saved = []
    monkeypatch.setattr(chunked_room, "KEEP", 1024**2)
    z = unit(2, 1500, 4).float().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        contrastive_loss(z, everyone(1500, 2), logit_scale=torch.tensor(9.0), impl="chunked")
    assert max(saved) <= 2 * 1500 * 4


@pytest.mark.slow
def test_it_works_inside_a_compiled_function(warm):
    script = Path(__file__).with_name("compiled_loss.py")
    said = warm.run([str(script)])
    assert said.stdout.split() == ["chunked", "agrees", "reference", "agrees"], said.stderr[-2000:]


def test_a_second_derivative_is_right_or_refused():
    z, scale = unit(2, 9, 4).requires_grad_(), scale_of(5.0)

    def twice(impl):
        loss = contrastive_loss(z, everyone(9, 2), logit_scale=scale, impl=impl).loss
        (first,) = torch.autograd.grad(loss, z, create_graph=True)
        return torch.autograd.grad(first.square().sum(), z)[0]

    assert twice("reference").norm() > 0
    with pytest.raises(ConfigError, match='impl="reference" can be differentiated twice'):
        twice("chunked")


def test_a_block_of_the_exclusion_is_its_part_of_the_whole():
    rule = Exclusion(torch.tensor([0, 1, 0, 1, 0]), torch.tensor([0.0, 0, 10, 50, 20]), 10.0)
    whole = rule.block(0, 5)
    assert whole.tolist() == whole.T.tolist()
    assert whole[0].tolist() == [True, False, True, False, False]
    assert torch.equal(rule.block(2, 4), whole[2:4])


def test_triton_asks_for_what_it_needs_and_is_not_taken_here():
    z = unit(2, 300, 8)
    with pytest.raises(ConfigError, match="has no float64"):
        contrastive_loss(z, everyone(300, 2), logit_scale=scale_of(5.0), impl="triton")
    with pytest.raises(ConfigError, match=r"needs a GPU|needs Triton"):
        contrastive_loss(z.float(), everyone(300, 2), logit_scale=scale_of(5.0).float(), impl="triton")
    problem = Pairs(z.float(), ((0, 1),), torch.ones(1, 300, dtype=torch.bool), (None,))
    assert automatic(problem) == "chunked"
    assert automatic(replace(problem, embeddings=z[:, :100].float())) == "reference"


def test_bad_settings_speak():
    z, present, scale = unit(2, 4, 3), everyone(4, 2), scale_of(5.0)
    with pytest.raises(UnknownNameError, match="chunked"):
        contrastive_loss(z, present, logit_scale=scale, impl="chunkd")
    with pytest.raises(ConfigError, match="needs to know who and when"):
        contrastive_loss(z, present, logit_scale=scale, exclude_within_s=60.0)
    with pytest.raises(ConfigError, match="seconds >= 0"):
        contrastive_loss(z, present, logit_scale=scale, exclude_within_s=-1.0)
    with pytest.raises(ShapeError, match="one for each pair"):
        contrastive_loss(z, present, logit_scale=scale.repeat(3))
    with pytest.raises(ShapeError, match="`present` does not fit"):
        check_fit(z, present[:3], None)
    with pytest.raises(ShapeError, match="`weight` does not fit"):
        check_fit(z, present, torch.ones(3))
    with pytest.raises(UnknownNameError, match="first"):
        contrastive_loss(z, present, logit_scale=scale, direction="sideways")
    with pytest.raises(UnknownNameError, match="bf16"):
        contrastive_loss(z, present, logit_scale=scale, products="bf61")
