"""What a head is told, made differentiably: the same as numpy makes it for teaching, gaps and treatments included."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hdt_fm.explain.targets.told import CLOCK, Telling, told_at
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ExplainError
from hdt_fm.schema.series import DAY_S, ForecastTask, Series
from hdt_fm.signal.moments import MAX_LINE_S, Moments, moments_of
from hdt_fm.signal.own_past import DAYS_BEFORE, SPANS_S, own_past, recent
from hdt_fm.signal.treatments import DECAYS_S, JUST_S, RATE_SPANS_S, acting

STEP_S, DAYS = 900.0, 9
PER_DAY = round(DAY_S / STEP_S)
TASK = ForecastTask(
    modality="glucose",
    unit="mg/dL",
    step_s=STEP_S,
    context_s=5400.0,
    horizons_s=(1800.0, 7200.0),
    every_s=3600.0,
    windows=0,
    apart_s=86_400.0,
    treatments=("bolus", "insulin_rate"),
    treatments_step_s=300.0,
)
TELLING = Telling(
    task=TASK,
    window_s=0.0,
    unread_s=0.0,
    line_s=MAX_LINE_S,
    spans_s=tuple(map(float, SPANS_S)),
    days_before=DAYS_BEFORE,
    decays_s=DECAYS_S,
    just_s=JUST_S,
    rate_spans_s=tuple(map(float, RATE_SPANS_S)),
)


def glucose(seed: int = 0) -> Series:
    """Nine days with short gaps, which are lines, and one of two hours, which is not; the last reading is not now."""
    draws = np.random.default_rng(seed)
    values = (140 + np.cumsum(draws.normal(0, 3, DAYS * PER_DAY))).astype(np.float32)
    observed = draws.random(len(values)) > 0.15
    observed[300:308] = False
    return Series(values, observed, STEP_S, 7000.0, subject=3, group=3, utc_offset_s=3600.0)


def given(seed: int = 1) -> dict[str, list[Series]]:
    """A bolus now and then, and a rate with an unknown stretch, on a grid of their own."""
    draws, size = np.random.default_rng(seed), DAYS * PER_DAY * 3
    bolus = np.where(draws.random(size) < 0.02, draws.uniform(1, 8, size), 0.0).astype(np.float32)
    known = np.ones(size, dtype=bool)
    known[size // 2 : size // 2 + 40] = False
    rate = draws.uniform(0.5, 1.5, size).astype(np.float32)
    of = {"step_s": 300.0, "start_s": 7000.0, "subject": 3, "group": 3}
    return {
        "bolus": [Series(bolus, known, **of)],
        "insulin_rate": [Series(rate, draws.random(size) > 0.2, **of)],
    }


def batch_at(moments: Moments, one: Series, beside: dict[str, list[Series]]) -> Batch:
    """All that lies behind each moment, by plain slices."""
    signals = {"glucose": _behind(one, moments.place, STEP_S)}
    for name, some in beside.items():
        place = np.floor((moments.time_s - some[0].start_s) / 300.0 + 1e-6).astype(int)
        signals[name] = _behind(some[0], place, 300.0)
    rows = torch.arange(len(moments))
    present = torch.ones(len(moments), len(signals), dtype=torch.bool)
    labels = {CLOCK: torch.from_numpy(moments.clock_s)}
    return Batch(tuple(signals), signals, present, rows, rows.double(), rows, labels)


def _behind(one: Series, places: np.ndarray, step_s: float) -> Signal:
    values, observed = np.zeros((len(places), len(one)), np.float32), np.zeros((len(places), len(one)), bool)
    for row, place in enumerate(places):
        values[row, len(one) - 1 - place :], observed[row, len(one) - 1 - place :] = (
            one.values[: place + 1],
            one.observed[: place + 1],
        )
    return Signal(torch.from_numpy(values)[:, None], torch.from_numpy(observed), 1 / step_s)


@pytest.fixture(scope="module")
def moments() -> Moments:
    return moments_of([glucose()], context_s=TASK.context_s, horizons_s=TASK.horizons_s, every_s=TASK.every_s)


def test_told_is_what_numpy_tells(moments: Moments) -> None:
    one, beside = glucose(), given()
    want = np.concatenate([recent(moments), own_past(moments, [one]), acting(moments, beside)], axis=1)
    got, last = told_at(TELLING, batch_at(moments, one, beside), level=100.0)
    assert len(moments) > 150
    assert sum(part.stop - part.start for part in TELLING.parts.values()) == want.shape[1]
    assert np.array_equal(np.isnan(got.numpy()), np.isnan(want))
    # Some of a treatment is unknown, and so is some of the days before.
    assert np.isnan(want[:, TELLING.parts["treatments"]]).any()
    assert np.isnan(want[:, TELLING.parts["own days"]]).any()
    np.testing.assert_allclose(got.numpy(), want, atol=1e-5)
    np.testing.assert_allclose(last.numpy(), moments.last, atol=1e-6)


def test_nothing_further_back_than_the_history_is_told(moments: Moments) -> None:
    late = moments.rows(np.flatnonzero(moments.place > TELLING.history_s / STEP_S + 10)[:20])
    whole = batch_at(late, glucose(), given())
    least = round(np.ceil(TELLING.history_s / STEP_S))
    short = {
        name: replace(one, values=one.values[..., -keep:], observed=one.observed[:, -keep:])
        for (name, one), keep in zip(whole.signals.items(), (least, 3 * least, 3 * least), strict=True)
    }
    told, _ = told_at(TELLING, whole, level=100.0)
    again, _ = told_at(TELLING, replace(whole, signals=short), level=100.0)
    torch.testing.assert_close(again, told, atol=1e-6, rtol=0.0, equal_nan=True)


def test_slopes_are_the_numeric_ones(moments: Moments) -> None:
    batch = batch_at(moments.rows(np.array([150])), glucose(), given())
    known = told_at(TELLING, batch, level=100.0)[0].isfinite()

    def told(values: torch.Tensor) -> torch.Tensor:
        signals = {**batch.signals, "glucose": replace(batch.signals["glucose"], values=values)}
        return told_at(TELLING, replace(batch, signals=signals), level=100.0)[0][known].sum()

    values = batch.signals["glucose"].values.double().requires_grad_()
    (slope,) = torch.autograd.grad(told(values), values)
    for place in (-1, -2, -5, -40, -PER_DAY, -2 * PER_DAY):
        step = torch.zeros_like(values)
        step[..., place] = 1e-3
        numeric = (told(values + step) - told(values - step)) / 2e-3
        assert slope[0, 0, place].item() == pytest.approx(numeric.item(), abs=1e-6)


def test_a_flat_signal_has_a_finite_slope(moments: Moments) -> None:
    batch = batch_at(moments.rows(np.array([100])), glucose(), {})
    flat = torch.full_like(batch.signals["glucose"].values, 120.0).requires_grad_()
    told, _ = told_at(
        TELLING, replace(batch, signals={"glucose": replace(batch.signals["glucose"], values=flat)}), level=100.0
    )
    torch.nan_to_num(told).sum().backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


def test_of_nobody_nothing_is_known_but_the_time(moments: Moments) -> None:
    batch = batch_at(moments.rows(np.array([100, 120])), glucose(), given())
    absent = batch.without(torch.zeros_like(batch.present))
    told, last = told_at(TELLING, absent, level=111.0)
    assert last.tolist() == [111.0, 111.0]
    near = told[:, TELLING.parts["recent"]]
    assert near[:, :-4].abs().max() == 0
    assert near[:, -4:-2].tolist() == [[111.0, 1.0], [111.0, 1.0]]
    assert told[:, TELLING.parts["own days"].start :].isnan().all()


def test_windows_that_are_told_otherwise_are_refused(moments: Moments) -> None:
    batch = batch_at(moments.rows(np.array([100])), glucose(), {})
    with pytest.raises(ExplainError, match="no time of day"):
        told_at(TELLING, replace(batch, labels={}), level=100.0)
    other = {"glucose": replace(batch.signals["glucose"], sampling_rate_hz=1 / 300)}
    with pytest.raises(ExplainError, match="a sample each 900 s"):
        told_at(TELLING, replace(batch, signals=other), level=100.0)
