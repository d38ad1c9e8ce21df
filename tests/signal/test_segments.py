import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hdt_fm.signal.segments import runs


def test_runs_by_hand():
    assert runs(np.array([0, 1, 1, 0, 0, 1, 0, 1, 1, 1], dtype=bool)) == [(1, 3), (5, 6), (7, 10)]
    assert runs(np.zeros(4, dtype=bool)) == []
    assert runs(np.zeros(0, dtype=bool)) == []
    assert runs(np.ones(3, dtype=bool)) == [(0, 3)]


@given(st.lists(st.booleans(), max_size=40))
def test_runs_rebuild_the_mask(flags):
    mask = np.array(flags, dtype=bool)
    rebuilt = np.zeros_like(mask)
    for start, stop in runs(mask):
        assert start < stop
        assert not rebuilt[max(start - 1, 0) : stop].any(), "runs are apart and in order"
        rebuilt[start:stop] = True
    assert np.array_equal(rebuilt, mask)
