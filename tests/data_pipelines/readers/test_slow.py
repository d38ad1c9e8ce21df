"""Irregular numbers on a grid, against loops over samples and minutes."""

import numpy as np
import pytest

from data_pipelines.readers._slow import Worn, averaged, events, intervals, sampled, spread, utc_offsets
from hdt_fm.schema.errors import ReaderError, UnitError

WORN = Worn("s" + "1" * 32, "watch", "wrist", 3600)
S = 1_000_000_000
T0 = 1_772_703_000 * S  # a whole minute
ABOUT = {"channel": "c", "worn": WORN, "where": "test"}


def test_means_in_cells_equal_a_loop_over_cells():
    generator = np.random.default_rng(1)
    times = T0 + generator.integers(0, 7200, 500) * S
    values = generator.uniform(50, 120, 500)
    values[::50] = 0  # what a device writes when it knows nothing; no part of any mean
    made = averaged(times, values, modality="heart_rate", unit="bpm", step_s=60, **ABOUT)
    for cell in range(made.values.shape[1]):
        begin = made.start_ns + cell * 60 * S
        mine = values[(times >= begin) & (times < begin + 60 * S) & (values > 0)]
        assert made.observed[cell] == (len(mine) > 0)
        assert made.values[0, cell] == pytest.approx(mine.mean() if len(mine) else 0, rel=1e-6)
    assert (made.utc_offset_s, made.body_site, made.start_ns % (60 * S)) == (3600, "wrist", 0)


def test_rates_keep_the_amount_and_equal_a_loop_over_seconds():
    generator = np.random.default_rng(2)
    begins = np.sort(generator.choice(7200, 40, replace=False))
    ends = np.minimum(begins + generator.integers(0, 400, 40), np.append(begins[1:], 8000))
    amounts = generator.integers(0, 60, 40).astype(float)
    made = spread(T0 + begins * S, T0 + ends * S, amounts, modality="steps", unit="1/min", step_s=60, **ABOUT)
    first = (made.start_ns - T0) // S
    seconds, touched = np.zeros(10_000), np.zeros(10_000, dtype=bool)
    for begin, end, amount in zip(begins, ends, amounts, strict=True):
        last = max(end, begin + 1)
        seconds[begin:last] += amount / (last - begin)
        touched[begin:last] = True
    for cell in range(made.values.shape[1]):
        mine = slice(first + 60 * cell, first + 60 * cell + 60)
        assert made.observed[cell] == touched[mine].any()
        assert made.values[0, cell] == pytest.approx(seconds[mine].sum(), rel=1e-5, abs=1e-5)
    assert made.values.sum() == pytest.approx(amounts.sum(), rel=1e-5)


def test_the_lower_rank_has_the_cell():
    times = T0 + np.array([0, 10, 60, 130]) * S
    ranks = np.array([1, 0, 1, 1])
    values = np.array([100.0, 60, 80, 90])
    made = averaged(times, values, modality="heart_rate", unit="bpm", step_s=60, ranks=ranks, **ABOUT)
    assert made.values[0].tolist() == [60, 80, 90]


def test_a_drifting_sensor_loses_no_reading():
    """A step of 300.4 s with a second of jitter: at half a place off, pairs and holes come and go."""
    generator = np.random.default_rng(3)
    times = T0 + ((np.arange(3000) * 300.4 + generator.uniform(-1, 1, 3000)) * S).astype(np.int64)
    values = 100 + np.arange(3000) % 50.0
    made = sampled(times, values, modality="glucose", unit="mg/dL", step_s=300, **ABOUT)
    assert int(made.observed.sum()) == 3000
    assert made.values[0, made.observed].tolist() == values.tolist()
    places = made.start_ns + np.flatnonzero(made.observed) * 300 * S
    assert np.abs(places - times).max() <= 225 * S


def test_order_repeats_and_gaps_of_samples():
    times = T0 + np.array([600, 0, 300, 300, 1800]) * S
    made = sampled(times, np.array([3.0, 1, 2, 2, 7]) * 50, modality="glucose", unit="mg/dL", step_s=300, **ABOUT)
    assert made.values[0].tolist() == [50, 100, 150, 0, 0, 0, 350]
    assert made.observed.tolist() == [True, True, True, False, False, False, True]


def test_what_cannot_be():
    values, one = np.array([70.0, 71.0]), np.zeros(0, dtype=np.int64)
    far = np.array([T0, T0 + 60 * 365 * 86_400 * S])
    rate = {"modality": "heart_rate", "unit": "bpm", "step_s": 60, **ABOUT}
    steps = {"modality": "steps", "unit": "1/min", "step_s": 60, **ABOUT}
    with pytest.raises(ReaderError, match="too far apart"):
        averaged(far, values, **rate)
    with pytest.raises(ReaderError, match="no sample"):
        averaged(one, np.zeros(0), **rate)
    with pytest.raises(UnitError, match="cannot be in 'bpm'"):
        averaged(np.array([T0, T0 + S]), values / 60, **rate)
    with pytest.raises(ReaderError, match="Intervals are missing"):
        spread(far, far - S, values, **steps)
    with pytest.raises(ReaderError, match="Intervals are missing"):
        spread(one, one, np.zeros(0), **steps)
    with pytest.raises(ReaderError, match="too far apart"):
        spread(far, far + S, values, **steps)


def test_labels_come_in_order_without_repeats():
    times = T0 + np.array([5, 1, 1, 1, 9]) * S
    track = events("carbs", times, np.array([3.0, 1, 1, 2, np.nan]), "g")
    assert (((track.start_ns - T0) // S).tolist(), track.values.tolist()) == ([1, 1, 5], [1, 2, 3])
    spans = intervals(
        "stage", times, times + np.array([9, 4, 4, 4, -1]) * S, np.array([0.0, 1, 1, 0, 0]), classes=("a", "b")
    )
    assert (spans.values.tolist(), spans.kind) == ([0, 1, 0], "class")
    offsets = utc_offsets(times, np.array([7200, 3600, 3600, 3600, 7200]))
    assert (offsets.values.tolist(), ((offsets.start_ns - T0) // S).tolist()) == ([3600, 7200], [1, 5])
