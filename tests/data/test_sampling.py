"""The order: a permutation each epoch, a pure function of (seed, epoch, position)."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdt_fm.data.sampling import ShardOrder
from hdt_fm.schema.errors import ShardError
from hdt_fm.schema.permutation import keyed_permutation


def blocks(sizes):
    edges = np.concatenate([[0], np.cumsum(sizes)])
    return [np.arange(first, last) for first, last in pairwise(edges)]


SIZES = (5, 0, 7, 3, 11, 2, 13, 1, 6, 4)


def test_each_epoch_is_a_permutation_and_another_one():
    order = ShardOrder(blocks(SIZES), seed=4, pool_blocks=3)
    epochs = [order.positions(epoch, 0, len(order)) for epoch in range(5)]
    assert len(order) == sum(SIZES)
    for epoch in epochs:
        assert np.array_equal(np.sort(epoch), np.arange(sum(SIZES)))
    assert len({epoch.tobytes() for epoch in epochs}) == 5
    assert not np.array_equal(epochs[0], ShardOrder(blocks(SIZES), seed=5, pool_blocks=3).positions(0, 0, len(order)))


def test_the_order_is_the_written_rule():
    """Blocks by (seed, epoch), three to a pool, each pool by (seed, epoch, pool + 1); the rule restated by hand."""
    chosen = [block for block in blocks(SIZES) if len(block)]
    order = keyed_permutation(len(chosen), 4, 2)
    expected = []
    for pool, first in enumerate(range(0, len(order), 3)):
        windows = [window for block in order[first : first + 3] for window in chosen[block]]
        expected += [windows[place] for place in keyed_permutation(len(windows), 4, 2, pool + 1)]
    assert ShardOrder(blocks(SIZES), seed=4, pool_blocks=3).positions(2, 0, len(expected)).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3), st.integers(0, 200), st.integers(0, 130), st.integers(1, 12))
def test_any_stretch_equals_the_whole(epoch, start, count, pool_blocks):
    order = ShardOrder(blocks(SIZES), seed=1, pool_blocks=pool_blocks)
    whole = np.concatenate([order.positions(number, 0, len(order)) for number in range(epoch, epoch + 8)])
    again = ShardOrder(blocks(SIZES), seed=1, pool_blocks=pool_blocks)
    assert np.array_equal(again.positions(epoch, start, count), whole[start : start + count])


def test_windows_mix_within_pools():
    order = ShardOrder([np.arange(64) + 64 * block for block in range(16)], seed=0, pool_blocks=4)
    found = order.positions(0, 0, 1024).reshape(4, 256) // 64
    assert [len(set(pool)) for pool in found] == [4, 4, 4, 4]
    # Neighbours of one block: 1/4 by chance within a pool.
    assert np.mean(found[:, 1:] == found[:, :-1]) == pytest.approx(0.25, abs=0.05)


def test_no_window_is_an_error():
    with pytest.raises(ShardError, match="no window"):
        ShardOrder([np.arange(0)], seed=0)
