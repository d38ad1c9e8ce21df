"""Exposures on a grid against hand numbers and a minute-by-minute sum; nothing is filled, and waiting is said."""

import numpy as np
import pytest

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.exposure import Exposure
from hdt_fm.signal.exposures import joined, on_grid


def exposure(kind: str, start: list[float], length: list[float], values: list[float], subject: int = 3) -> Exposure:
    return Exposure(kind, *(np.array(some, dtype=np.float64) for some in (start, length, values)), subject, 7)


def test_a_level_is_averaged_over_what_is_known_of_a_step():
    some = exposure("temperature", [0, 30, 80], [30, 30, 40], [10, 20, 40])
    grid = on_grid(some, start_s=0.0, step_s=50.0, steps=3)
    # 30 s of 10 and 20 s of 20; 10 s of 20 and 20 s of 40; 20 s of 40.
    assert grid.values == pytest.approx([14.0, (200 + 800) / 30, 40.0])
    assert grid.covered == pytest.approx([1.0, 0.6, 0.4])


def test_an_amount_is_spread_over_its_span_and_summed():
    some = exposure("diet_carbs", [0, 100], [100, 20], [40, 30])
    grid = on_grid(some, start_s=0.0, step_s=50.0, steps=3)
    assert grid.values * grid.covered == pytest.approx([20.0, 20.0, 30.0])
    assert grid.covered == pytest.approx([1.0, 1.0, 0.4])
    assert grid.values[2] == pytest.approx(75.0)


def test_it_is_what_a_sum_over_minutes_gives():
    rng = np.random.default_rng(0)
    length = rng.integers(1, 50, 60).astype(np.float64)
    start = np.cumsum(length + rng.integers(0, 30, 60)) - length
    values = np.where(rng.random(60) < 0.2, np.nan, rng.uniform(0, 100, 60))
    by_minute = np.full(int(start[-1] + length[-1]) + 40, np.nan)
    for begin, many, value in zip(start.astype(int), length.astype(int), values, strict=True):
        by_minute[begin : begin + many] = value
    grid = on_grid(exposure("humidity", start, length, values), start_s=5.0, step_s=17.0, steps=40)
    for step in range(40):
        own = by_minute[5 + 17 * step : 22 + 17 * step]
        assert grid.covered[step] == pytest.approx(np.isfinite(own).mean())
        if np.isfinite(own).any():
            assert grid.values[step] == pytest.approx(np.nanmean(own))
        else:
            assert np.isnan(grid.values[step])


def test_what_is_not_known_is_not_zero():
    some = exposure("light", [0, 60], [60, 60], [100, np.nan])
    grid = on_grid(some, start_s=-60.0, step_s=60.0, steps=4)
    assert np.array_equal(np.isnan(grid.values), [True, False, True, True])
    assert grid.covered == pytest.approx([0.0, 1.0, 0.0, 0.0])
    none = on_grid(exposure("light", [], [], []), start_s=0.0, step_s=60.0, steps=2)
    assert np.isnan(none.values).all()
    assert none.known_s == pytest.approx([60.0, 120.0])


def test_a_day_on_a_grid_of_hours_is_known_when_the_day_is_over():
    some = exposure("temperature", [0, 86_400, 172_800], [86_400, 86_400, 86_400], [10, np.nan, 12])
    grid = on_grid(some, start_s=0.0, step_s=3_600.0, steps=72)
    assert (grid.known_s[:24] == 86_400).all()
    assert (grid.known_s[24:48] == 3_600 * np.arange(25, 49)).all()
    assert (grid.known_s[48:] == 3 * 86_400).all()


def test_no_step_changes_with_a_span_that_ends_after_it_is_known():
    rng = np.random.default_rng(1)
    start, length = np.arange(40) * 100.0, rng.uniform(20, 100, 40)
    values, other = rng.uniform(0, 50, (2, 40))
    for cut in (5, 20):
        mixed = np.where(np.arange(40) < cut, values, other)
        one, two = (
            on_grid(exposure("temperature", start, length, some), start_s=0.0, step_s=70.0, steps=50)
            for some in (values, mixed)
        )
        before = one.known_s <= start[cut]
        assert before.sum() > 5
        assert np.array_equal(one.values[before], two.values[before], equal_nan=True)
        assert not np.array_equal(one.values, two.values, equal_nan=True)


def test_recordings_are_joined_and_nothing_lies_between_them():
    first, second = exposure("noise", [0, 60], [60, 60], [40, 50]), exposure("noise", [600], [60], [70])
    both = joined([second, first])
    assert both.values == pytest.approx([40, 50, 70])
    grid = on_grid(both, start_s=0.0, step_s=60.0, steps=11)
    assert np.flatnonzero(grid.covered).tolist() == [0, 1, 10]


def test_errors_say_what_is_wrong():
    one = exposure("noise", [0], [60], [40])
    for other in (exposure("light", [60], [60], [40]), exposure("noise", [60], [60], [40], subject=4)):
        with pytest.raises(RecordingError, match="one kind and one person"):
            joined([one, other])
    with pytest.raises(RecordingError, match="cannot be joined"):
        joined([])
    with pytest.raises(RecordingError, match="overlap"):
        joined([one, exposure("noise", [30], [60], [40])])
    for steps, step_s in ((0, 60.0), (3, 0.0)):
        with pytest.raises(RecordingError, match="no step"):
            on_grid(one, start_s=0.0, step_s=step_s, steps=steps)
