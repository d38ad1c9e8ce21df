"""Sessions never share a window, a sample, or the moments around the break."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdt_fm.audit.sessions import ASKED, ENROLLED, NEITHER, two_sessions
from hdt_fm.schema.errors import ConfigError


def test_the_longest_break_parts_visits_and_short_ones_do_not() -> None:
    first, second = np.arange(0.0, 300, 30), np.arange(5000.0, 5300, 30)
    steady = np.arange(0.0, 600, 30)
    subject = np.repeat([7, 9], [len(first) + len(second), len(steady)])
    found = two_sessions(subject, np.concatenate([first, second, steady]), window_s=60.0, gap_s=1000.0, apart_s=90.0)
    assert (found.session[:10] == ENROLLED).all()
    assert (found.session[10:20] == ASKED).all()
    assert found.kinds == {"visits": 1, "halves of a recording": 1}
    assert NEITHER in found.session[20:]


@settings(max_examples=60, deadline=None)
@given(
    people=st.integers(2, 4),
    windows=st.integers(20, 60),
    hop_s=st.floats(0.5, 40.0),
    apart_s=st.floats(0.0, 500.0),
    gap_s=st.floats(1.0, 5000.0),
    seed=st.integers(0, 99),
)
def test_sessions_share_no_sample_and_stay_apart(people, windows, hop_s, apart_s, gap_s, seed) -> None:
    generator = np.random.default_rng(seed)
    time_s = np.concatenate(
        [np.cumsum(hop_s * (1 + 30 * (generator.uniform(size=windows) < 0.05))) for _ in range(people)]
    )
    subject = np.repeat(np.arange(people), windows)
    order = generator.permutation(len(subject))
    subject, time_s, window_s = subject[order], time_s[order], 20.0
    try:
        found = two_sessions(subject, time_s, window_s=window_s, gap_s=gap_s, apart_s=apart_s)
    except ConfigError:
        return
    for person in range(people):
        own = subject == person
        before, after = (time_s[own & (found.session == one)] for one in (ENROLLED, ASKED))
        assert bool(len(before)) == bool(len(after))
        if not len(before):
            continue
        free_s = after.min() - (before.max() + window_s)
        length_s = time_s[own].max() + window_s - time_s[own].min()
        assert free_s >= min(gap_s, max(window_s, min(apart_s, 0.1 * length_s))) - 1e-6


def test_people_with_too_few_windows_are_left_out_and_counted() -> None:
    subject = np.repeat([0, 1, 2], [40, 40, 2])
    time_s = np.concatenate([np.arange(40) * 10.0, np.arange(40) * 10.0, np.array([0.0, 10.0])])
    found = two_sessions(subject, time_s, window_s=10.0, gap_s=1e4, apart_s=20.0)
    assert found.kinds["left out"] == 1
    assert (found.session[subject == 2] == NEITHER).all()


def test_one_person_can_be_told_from_nobody() -> None:
    with pytest.raises(ConfigError, match="fewer than two people"):
        two_sessions(np.zeros(40, dtype=int), np.arange(40) * 10.0, window_s=10.0, gap_s=1e4, apart_s=20.0)
