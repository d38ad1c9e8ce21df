"""Accumulators, forms and lag bases against closed forms, other implementations and one pass in pieces."""

import math
from inspect import unwrap

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.interpolate import BSpline, CubicSpline

from hdt_fm.layers.accumulators import Held, LeakyBank, leaky, leaky_by_step, nothing_held
from hdt_fm.layers.cross_basis import CrossBasis, b_splines, natural_splines
from hdt_fm.layers.dose_forms import Hinges, hinge, threshold
from hdt_fm.layers.trailing import Recent, trailing
from hdt_fm.schema.errors import ConfigError, ShapeError

TAUS = torch.tensor([0.7, 3.0, 21.0], dtype=torch.float64)


def spans(rows: int = 2, steps: int = 40, *, seed: int = 0, missing: float = 0.3) -> tuple[torch.Tensor, ...]:
    """Values with gaps, lengths, gaps before."""
    rng = np.random.default_rng(seed)
    values = np.where(rng.random((rows, steps)) < missing, np.nan, rng.normal(5, 2, (rows, steps)))
    parts = values, rng.uniform(0.1, 4, (rows, steps)), rng.uniform(0, 2, (rows, steps))
    return tuple(torch.from_numpy(part) for part in parts)


def test_a_constant_level_is_its_dose_from_the_first_span_on_whatever_is_missing():
    values, length, gap = spans()
    seen = values.isfinite()
    held, _ = leaky(torch.where(seen, 7.0, torch.nan), length, TAUS, gap=gap)
    there = seen.cumsum(1) > 0
    torch.testing.assert_close(held.dose[there], torch.full_like(held.dose[there], 7.0))
    assert held.dose[~there].isnan().all()


def test_it_solves_the_differential_equation():
    """dose' = (x - dose) / tau, integrated by scipy over spans of any length."""
    rng = np.random.default_rng(1)
    values, length = rng.normal(0, 1, 6), rng.uniform(0.2, 3, 6)
    held, _ = leaky(torch.from_numpy(values), torch.from_numpy(length), torch.tensor([2.5], dtype=torch.float64))
    level = 0.0
    for step, (value, lasts) in enumerate(zip(values, length, strict=True)):
        level = solve_ivp(lambda _, y, x=value: (x - y) / 2.5, (0, lasts), [level], rtol=1e-10, atol=1e-12).y[0, -1]
        assert float(held.total[step, 0]) == pytest.approx(level, abs=1e-8)
    assert float(held.mass[-1, 0]) == pytest.approx(1 - math.exp(-length.sum() / 2.5), abs=1e-12)


def test_dose_is_the_weighted_mean_of_what_was_seen():
    """Against weights written out: what is left of each span at the end, unseen ones left out."""
    values, length, gap = spans(rows=1, steps=15)
    held, _ = leaky(values, length, TAUS, gap=gap)
    value, lasts, before = (part[0].numpy() for part in (values, length, gap))
    end = np.cumsum(lasts + before)
    for place, tau in enumerate(TAUS.numpy()):
        weight = np.exp(-(end[-1] - end) / tau) - np.exp(-(end[-1] - end + lasts) / tau)
        weight = np.where(np.isfinite(value), weight, 0.0)
        assert float(held.mass[0, -1, place]) == pytest.approx(weight.sum(), abs=1e-12)
        mean = (weight * np.nan_to_num(value)).sum() / weight.sum()
        assert float(held.dose[0, -1, place]) == pytest.approx(mean, abs=1e-12)


def test_a_span_cut_in_two_is_the_same_span():
    whole, _ = leaky(torch.tensor([4.0, 1.0]), torch.tensor([3.0, 2.0]), TAUS)
    cut, _ = leaky(torch.tensor([4.0, 4.0, 1.0, 1.0]), torch.tensor([1.2, 1.8, 0.5, 1.5]), TAUS)
    torch.testing.assert_close(whole.total[-1], cut.total[-1], atol=1e-12, rtol=0)
    torch.testing.assert_close(whole.mass[-1], cut.mass[-1], atol=1e-12, rtol=0)


def test_a_gap_lets_the_mass_fade_and_keeps_the_dose():
    held, _ = leaky(torch.tensor([8.0, torch.nan, torch.nan]), torch.tensor([10.0, 5.0, 30.0]), TAUS)
    torch.testing.assert_close(held.dose, torch.full((3, 3), 8.0, dtype=torch.float64))
    fades = torch.exp(-torch.tensor([0.0, 5.0, 35.0], dtype=torch.float64)[:, None] / TAUS)
    torch.testing.assert_close(held.mass, (1 - torch.exp(-10 / TAUS)) * fades, atol=1e-12, rtol=0)
    as_gap, _ = leaky(torch.tensor([8.0, 2.0]), torch.tensor([10.0, 1.0]), TAUS, gap=torch.tensor([0.0, 35.0]))
    as_span, _ = leaky(torch.tensor([8.0, torch.nan, 2.0]), torch.tensor([10.0, 35.0, 1.0]), TAUS)
    torch.testing.assert_close(as_gap.total[-1], as_span.total[-1], atol=1e-12, rtol=0)


def test_a_span_known_by_half_weighs_half():
    half, _ = leaky(torch.tensor([2.0, 6.0]), torch.ones(2), TAUS, known=torch.tensor([1.0, 0.5]))
    keep = torch.exp(-1 / TAUS)
    torch.testing.assert_close(half.dose[1], (2 * keep + 3) / (keep + 0.5), atol=1e-12, rtol=0)


@pytest.mark.parametrize("cuts", [[1], [17], [0, 5, 5, 39]])
def test_stopped_saved_and_gone_on_is_one_pass_bit_for_bit(cuts):
    values, length, gap = spans()
    whole, last = leaky(values, length, TAUS, gap=gap)
    state, parts = nothing_held(2, 3), []
    for first, stop in zip([0, *cuts], [*cuts, 40], strict=True):
        some = slice(first, stop)
        part, state = leaky(values[:, some], length[:, some], TAUS, gap=gap[:, some], start=state)
        parts.append(part)
        state = Held.of(state.arrays())
    assert torch.equal(torch.cat([part.total for part in parts], dim=1), whole.total)
    assert torch.equal(state.mass, last.mass)
    reset, _ = leaky(values[:, 20:], length[:, 20:], TAUS, gap=gap[:, 20:])
    assert (reset.dose[:, 0] - whole.dose[:, 20]).abs().nan_to_num().max() > 0.1, "a reset at a border would show"


def test_the_future_changes_nothing():
    values, length, gap = spans()
    other = values.clone()
    other[:, 25:] = 1e6
    one, two = (leaky(some, length, TAUS, gap=gap)[0] for some in (values, other))
    assert torch.equal(one.total[:, :25], two.total[:, :25])
    assert not torch.equal(one.total[:, 25:], two.total[:, 25:])


def test_steps_of_one_all_at_once_are_those_one_after_the_other():
    values = spans(rows=3, steps=80)[0]
    one, _ = leaky(values, torch.ones(1, dtype=torch.float64).expand(values.shape), TAUS)
    all_at_once = leaky_by_step(values.numpy(), TAUS.numpy())
    torch.testing.assert_close(all_at_once.total, one.total, atol=1e-12, rtol=0)
    torch.testing.assert_close(all_at_once.mass, one.mass, atol=1e-12, rtol=0)


def test_too_little_seen_is_no_dose():
    held, _ = leaky(torch.ones(30), torch.ones(30), torch.tensor([10.0], dtype=torch.float64))
    known = held.dose_where(0.5)[:, 0].isfinite()
    assert int(known.int().argmax()) + 1 == math.ceil(10 * math.log(2))
    assert known[7:].all()


def test_gradients_of_the_bank_and_what_it_learns():
    values, length, gap = spans(rows=3, steps=12)
    bank = LeakyBank([1.0, 8.0])

    def sums(log_tau: torch.Tensor) -> torch.Tensor:
        return leaky(values, length, log_tau.exp(), gap=gap)[0].dose[:, 5:].nan_to_num().sum((0, 1))

    assert torch.autograd.gradcheck(sums, (bank.log_tau.detach().clone().requires_grad_(),))
    target = leaky(values, length, torch.tensor([3.0], dtype=torch.float64), gap=gap)[0].dose[:, 5:, 0]
    optimizer = torch.optim.Adam(bank.parameters(), lr=0.2)
    for _ in range(40):
        optimizer.zero_grad()
        loss = (bank(values, length, gap=gap)[0].dose[:, 5:] - target[..., None]).nan_to_num().square().sum()
        loss.backward()
        optimizer.step()
    assert bank.tau.detach().numpy() == pytest.approx([3.0, 3.0], rel=0.05)


def test_states_and_banks_that_cannot_be_are_refused():
    for taus in ([], [0.0], [-1.0], [math.inf]):
        with pytest.raises(ConfigError, match="above 0"):
            LeakyBank(taus)
    for arrays in ({}, {"total": np.zeros(2), "mass": np.zeros(3)}, {"total": np.array([np.nan]), "mass": np.zeros(1)}):
        with pytest.raises(ShapeError, match="does not hold together"):
            Held.of(arrays)
    with pytest.raises(ShapeError, match="mass that cannot be"):
        Held.of({"total": np.zeros(1), "mass": np.array([1.5])})


def irregular(count: int = 60) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(2)
    length = rng.integers(1, 6, count).astype(np.float64)
    start = np.cumsum(length + rng.integers(0, 3, count)) - length
    return start, length, np.where(rng.random(count) < 0.2, np.nan, rng.normal(3, 1, count))


def test_windows_are_sums_over_the_last_units_of_time():
    start, length, values = irregular()
    found, _ = trailing(start, length, values, np.array([4.0, 30.0]))
    by_unit = np.full(int(start[-1] + length[-1]), np.nan)
    for begin, many, value in zip(start.astype(int), length.astype(int), values, strict=True):
        by_unit[begin : begin + many] = value
    for row, end in enumerate((start + length).astype(int)):
        for place, wide in enumerate((4, 30)):
            own = by_unit[max(end - wide, 0) : end]
            assert found.integral[row, place] == pytest.approx(np.nansum(own))
            assert found.known[row, place] == pytest.approx(np.isfinite(own).sum() / wide)
    seen = found.known > 0
    assert found.mean[seen] == pytest.approx((found.integral / (found.known * found.width).clip(1e-9))[seen])
    assert found.total[seen] == pytest.approx((found.mean * found.width)[seen])


def test_windows_in_pieces_are_one_pass_bit_for_bit_and_keep_little():
    start, length, values = irregular()
    width = np.array([4.0, 30.0])
    whole, _ = trailing(start, length, values, width)
    state, parts = None, []
    for some in (slice(0, 1), slice(1, 23), slice(23, 23), slice(23, 60)):
        part, state = trailing(start[some], length[some], values[some], width, before=state)
        parts.append(part)
        state = Recent.of(state.arrays())
        assert len(state.start) <= 31
    assert np.array_equal(np.concatenate([part.integral for part in parts]), whole.integral)
    assert np.array_equal(np.concatenate([part.known for part in parts]), whole.known)


def test_windows_do_not_look_ahead_and_refuse_spans_that_go_back():
    start, length, values = irregular()
    other = values.copy()
    other[30:] = 1e6
    one, two = (trailing(start, length, some, np.array([30.0]))[0] for some in (values, other))
    assert np.array_equal(one.integral[:30], two.integral[:30])
    with pytest.raises(ShapeError, match="do not rise"):
        trailing(start[::-1].copy(), length, values, np.array([4.0]))
    with pytest.raises(ShapeError, match="lengths above 0"):
        trailing(start, length * 0, values, np.array([4.0]))
    _, state = trailing(start, length, values, np.array([4.0]))
    with pytest.raises(ShapeError, match="do not rise"):
        trailing(start, length, values, np.array([4.0]), before=state)


def test_forms_by_hand():
    dose = torch.tensor([0.0, 2.0, 5.0], dtype=torch.float64)
    knots = torch.tensor([1.0, 4.0], dtype=torch.float64)
    assert hinge(dose, knots).tolist() == [[0, 0], [1, 0], [4, 1]]
    steps = threshold(dose, knots, torch.tensor([0.5, 1e-3], dtype=torch.float64))
    assert steps[:, 1].tolist() == pytest.approx([0, 0, 1])
    assert float(steps[1, 0]) == pytest.approx(1 / (1 + math.exp(-2)))
    with pytest.raises(ConfigError, match="no knot"):
        Hinges([])


def test_a_knot_is_learned():
    torch.manual_seed(0)
    dose = torch.linspace(0, 10, 200, dtype=torch.float64)
    form, target = Hinges([3.0]), 0.5 * dose + 2 * (dose - 6).clamp(min=0)
    optimizer = torch.optim.Adam(form.parameters(), lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        (form(dose) - target).square().mean().backward()
        optimizer.step()
    assert float(form.knots[0].detach()) == pytest.approx(6.0, abs=0.1)
    assert float(form.slope.detach()) == pytest.approx(0.5, abs=0.05)


def test_b_splines_are_those_of_scipy():
    x, inner, ends = torch.linspace(-1, 5, 101, dtype=torch.float64), [0.5, 2.0, 2.5], (0.0, 4.0)
    for degree in (1, 2, 3):
        knots = [ends[0]] * (degree + 1) + inner + [ends[1]] * (degree + 1)
        theirs = BSpline.design_matrix(x.numpy().clip(*ends), knots, degree).toarray()
        assert np.allclose(b_splines(x, inner, ends, degree=degree).numpy(), theirs, atol=1e-12)


def test_natural_splines_are_all_natural_splines_on_the_knots_and_straight_beyond():
    knots = np.array([0.0, 0.5, 2.0, 2.5, 4.0])
    x = torch.linspace(-2, 6, 161, dtype=torch.float64)
    basis = natural_splines(x, knots[1:-1].tolist(), (0.0, 4.0)).numpy()
    assert basis.shape == (161, 5)
    inside = (x.numpy() >= 0) & (x.numpy() <= 4)
    theirs = CubicSpline(knots, np.random.default_rng(0).normal(size=5), bc_type="natural")(x.numpy())
    slopes = np.linalg.lstsq(basis[inside], theirs[inside], rcond=None)[0]
    assert np.allclose((basis @ slopes)[inside], theirs[inside], atol=1e-10)
    assert np.abs(np.diff(basis[x.numpy() > 4.01], n=2, axis=0)).max() < 1e-10
    assert np.abs(np.diff(basis[x.numpy() < -0.01], n=2, axis=0)).max() < 1e-10


@pytest.mark.parametrize("kind", ["natural", "b"])
def test_a_cross_basis_is_the_double_sum_written_out(kind):
    made = CrossBasis(ends=(0.0, 4.0), value_knots=[1.0, 2.5], longest=6, lag_knots=[2.0], kind=kind)
    values = torch.from_numpy(np.random.default_rng(0).uniform(0, 4, (2, 15)))
    found = made(values)
    splines = natural_splines if kind == "natural" else b_splines
    over_value = splines(values, [1.0, 2.5], (0.0, 4.0))[..., 1:]
    over_lag = splines(torch.arange(7).double(), [2.0], (0.0, 6.0))
    for time in (6, 11, 14):
        each = [
            sum(over_value[1, time - lag, i] * over_lag[lag, j] for lag in range(7))
            for i in range(over_value.shape[-1])
            for j in range(over_lag.shape[-1])
        ]
        torch.testing.assert_close(found[1, time], torch.stack(each), atol=1e-12, rtol=0)
    assert found.shape == (2, 15, made.features)
    assert found[:, :6].isnan().all()


def test_lags_can_be_a_polynomial():
    """All powers of the lag up to the degree, and nothing else."""
    made = CrossBasis(ends=(0.0, 4.0), value_knots=(), longest=15, lag_knots=(), lag_degree=4)
    powers = (np.arange(16)[:, None] / 15) ** np.arange(5)
    lags = made.lags.numpy()
    assert lags.shape == (16, 5)
    assert lags @ np.linalg.lstsq(lags, powers, rcond=None)[0] == pytest.approx(powers, abs=1e-12)
    values = torch.from_numpy(np.random.default_rng(0).uniform(0, 4, 30))
    weighed = torch.stack([values[time - 15 : time + 1].flip(0) for time in (15, 29)]) @ made.lags
    torch.testing.assert_close(made(values)[[15, 29]], weighed / 4, atol=1e-12, rtol=0)


def test_a_cross_basis_does_not_know_what_was_not_seen_or_comes_later():
    made = CrossBasis(ends=(0.0, 4.0), value_knots=[2.0], longest=4, lag_knots=[2.0])
    values = torch.from_numpy(np.random.default_rng(0).uniform(0, 4, 20))
    gone = values.clone()
    gone[10] = torch.nan
    assert made(gone).isnan().any(-1).nonzero().ravel().tolist() == [0, 1, 2, 3, 10, 11, 12, 13, 14]
    other = values.clone()
    other[12:] = 0.0
    assert torch.equal(made(values)[4:12], made(other)[4:12])
    assert made(values[:4]).isnan().all()
    with pytest.raises(ConfigError, match="degree of lags above 0"):
        CrossBasis(ends=(0.0, 4.0), value_knots=[2.0], longest=4, lag_knots=(), lag_degree=0)
    for more in ({"longest": 0}, {"value_knots": [5.0]}, {"lag_knots": [0.0]}, {"lag_degree": 2}):
        with pytest.raises(ConfigError, match=r"cross-basis cannot|do not rise"):
            CrossBasis(**{"ends": (0.0, 4.0), "value_knots": [2.0], "longest": 4, "lag_knots": [2.0], **more})
    with pytest.raises(ConfigError, match="cubic"):
        unwrap(CrossBasis.__init__)(made, ends=(0.0, 4.0), value_knots=[2.0], longest=4, lag_knots=[2.0], kind="cubic")
