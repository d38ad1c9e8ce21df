"""The clock of samples that are stamped when they arrive."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines.cohorts._steady_clock import steady_clock
from hdt_fm.schema.errors import ReaderError

PERIOD = 9.76
START = 1_657_533_977_000.0


def arrivals(count=1000, lost=(), seed=0):
    """A phone's stamps in ms: whole numbers, a little late, every fiftieth sample holds back the next four."""
    generator = np.random.default_rng(seed)
    index = np.arange(count + sum(size for _, size in lost))
    for place, size in lost:
        index = np.delete(index, slice(place, place + size))
    times = START + PERIOD * index + generator.gamma(1.0, 1.5, count)
    for first in range(20, count - 5, 50):
        times[first : first + 5] = times[first : first + 5].max()
    return np.floor(np.maximum.accumulate(times)), index


def test_batches_and_lateness_are_no_gaps():
    stamps, index = arrivals()
    assert np.diff(stamps).max() > 4 * PERIOD, "the fabricated stream does jump"
    clock = steady_clock(stamps, where="x")
    assert np.array_equal(clock.index, index)
    assert clock.period == pytest.approx(PERIOD, rel=2e-4)
    assert np.abs(clock.times() - (START + PERIOD * index)).max() < 3.0


@settings(max_examples=40, deadline=None)
@given(place=st.integers(60, 900), size=st.integers(1, 300), seed=st.integers(0, 1000))
def test_lost_samples_stay_lost(place, size, seed):
    stamps, index = arrivals(lost=[(place, size)], seed=seed)
    clock = steady_clock(stamps, where="x")
    assert clock.index[-1] == index[-1]
    # Samples of the batch before the gap may be counted behind it.
    wrong = np.flatnonzero(clock.index != index)
    assert len(wrong) <= 5
    assert ((place - wrong) <= 5).all()


def test_two_gaps_near_each_other():
    stamps, index = arrivals(lost=[(400, 30), (450, 12)])
    assert steady_clock(stamps, where="x").index[-1] == index[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[:99], "Too few samples"),
        (lambda t: t[::-1], "does not rise"),
        (lambda t: np.where(np.arange(len(t)) == 500, np.nan, t), "does not rise"),
        (lambda t: np.full(len(t), t[0]), "not those of a steady stream"),
        (lambda t: np.concatenate([t[:500], t[500:] + 1e12]), "not those of a steady stream"),
        (lambda t: np.concatenate([t[:500], t[500] + np.cumsum(np.full(500, 0.5))]), "not those of a steady stream"),
    ],
)
def test_what_is_no_stream_is_said(change, message):
    with pytest.raises(ReaderError, match=message) as caught:
        steady_clock(change(arrivals()[0]), where="the time column")
    assert "the time column" in str(caught.value)
    assert "1657" not in str(caught.value)
