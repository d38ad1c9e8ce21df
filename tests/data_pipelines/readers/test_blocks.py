import numpy as np
import pytest

from data_pipelines.readers._blocks import lay, once_a_block, spread
from hdt_fm.schema.errors import ReaderError


def grid_of(counts, stamps, **changes):
    arguments = {"nominal_rate_hz": 100.0, "resolution_s": 0.001, "tolerance_s": 0.25, "where": "blocks"}
    return lay(np.array(counts), np.array(stamps, dtype=float), **(arguments | changes))


def test_a_rate_that_drifts_is_corrected_within_the_tolerance():
    """First 100 Hz, then 99.2 Hz: one line through all stamps is seconds wrong, its places must not be."""
    counts = np.full(3000, 100)
    rates = np.where(np.arange(3000) < 1500, 100.0, 99.2)
    stamps = np.concatenate([[0.0], np.cumsum(counts / rates)[:-1]])
    grid = grid_of(counts, stamps)
    assert 99.2 < grid.clock.measured_rate_hz < 100
    assert grid.clock.corrections > 10
    places_s = grid.start_s + grid.first / grid.clock.measured_rate_hz
    assert np.abs(places_s - stamps).max() <= 0.255
    placed = spread(np.arange(300_000, dtype=np.float32)[None], grid)
    seen = placed[0][np.isfinite(placed[0])]
    # Where the device was slower than the line there are gaps, where it was faster a few samples are dropped.
    assert (np.diff(seen) > 0).all()
    assert 0.98 * 300_000 < len(seen) < 300_000


def test_jitter_alone_moves_nothing():
    generator = np.random.default_rng(3)
    stamps = np.arange(500) * 1.2 + generator.uniform(-0.01, 0.01, 500)
    grid = grid_of(np.full(500, 120), stamps)
    assert (grid.clock.corrections, grid.size) == (0, 60_000)
    assert grid.clock.measured_rate_hz == pytest.approx(100, abs=0.01)
    assert abs(grid.start_s) < 0.002
    assert grid.clock.worst_s < 0.013


def test_the_nominal_rate_where_the_stamps_are_too_coarse():
    assert grid_of([120, 120, 120], [0.0, 1.0, 3.0], resolution_s=1.0, tolerance_s=1.5).clock.measured_rate_hz == 100


def test_overlap_and_gap_by_hand():
    grid = grid_of([4, 4, 4], [0.0, 3.0, 9.0], nominal_rate_hz=1.0, tolerance_s=0.6, resolution_s=1.0)
    assert grid.first.tolist() == [0, 3, 9]
    placed = spread(np.arange(12.0)[None], grid)[0]
    assert placed[[0, 3, 4, 6, 9, 12]].tolist() == [0, 3, 5, 7, 8, 11]
    assert np.flatnonzero(np.isnan(placed)).tolist() == [7, 8]
    values, rate = once_a_block(np.array([1.0, 2.0, 3.0]), grid)
    assert (values[0].tolist(), rate) == ([1.0, 2.0, 3.0], 0.25)


def test_what_is_refused():
    with pytest.raises(ReaderError, match="no whole block"):
        grid_of([], [])
    with pytest.raises(ReaderError, match="do not fit the sampling rate"):
        grid_of([100] * 6, [0, 3, 6, 9, 12, 15])
    with pytest.raises(ReaderError, match="not in order of time"):
        grid_of([100] * 6, [0, 1, 2, 3, 0, 1])
    with pytest.raises(ReaderError, match="too far apart"):
        grid_of([100] * 6, [0, 1, 2, 3, 1e9, 1e9 + 1])
