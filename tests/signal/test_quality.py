import numpy as np
import pytest

from hdt_fm.signal.quality import clipped, flat, gaps, good, share_of

SEEN = np.ones(20, dtype=bool)


def test_gaps_by_hand():
    observed = np.array([1, 0, 0, 1, 1, 0, 1, 1, 1, 1], dtype=bool)
    found = gaps(observed, 2.0)
    assert (found.count, found.share, found.longest_s) == (2, 0.3, 1.0)
    assert gaps(np.ones(4, dtype=bool), 2.0).longest_s == 0


def test_flat_needs_every_channel_and_enough_time():
    values = np.arange(40, dtype=np.float32).reshape(2, 20)
    values[:, 5:10] = 3  # five equal samples at 4 Hz: 1.25 s
    values[0, 12:20] = 9  # one channel moves on
    values[:, 1:3] = 7  # half a second
    assert flat(values, SEEN, 4.0).nonzero()[0].tolist() == [5, 6, 7, 8, 9]
    assert share_of(flat(values, SEEN, 4.0), SEEN) == pytest.approx(5 / 20)
    broken = SEEN.copy()
    broken[7] = False  # a gap parts the stretch into two short ones
    assert not flat(values, broken, 4.0).any()


def test_clipped_at_either_extreme_of_a_channel():
    values = np.arange(20, dtype=np.float32)[None] % 9
    values[0, 3:7] = 50
    values[0, 10:13] = -50
    values[0, 15:17] = 50  # two samples only
    assert clipped(values, SEEN).nonzero()[0].tolist() == [3, 4, 5, 6, 10, 11, 12]
    assert not clipped(np.zeros((1, 20), dtype=np.float32), SEEN).any()
    assert not clipped(values, ~SEEN).any()
    assert share_of(clipped(values, ~SEEN), ~SEEN) == 0


def test_good_leaves_out_what_is_missing_clipped_or_stands_still():
    generator = np.random.default_rng(0)
    values = generator.uniform(-1, 1, (2, 600)).astype(np.float32)
    values[:, 100:200] = 0.5  # five seconds at 20 Hz
    values[:, 300:380] = 0.25  # four
    values[1, 500:504] = 9
    seen = np.ones(600, dtype=bool)
    seen[250:260] = False
    wanted = seen.copy()
    wanted[100:200] = wanted[500:504] = False
    assert np.array_equal(good(values, seen, 20.0), wanted)
    wanted[100:200] = True  # a slow sensor may stand still
    assert np.array_equal(good(values, seen, 4.0), wanted)
