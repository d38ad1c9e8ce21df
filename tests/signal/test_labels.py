import numpy as np
import pytest

from hdt_fm.schema.recording import LabelTrack
from hdt_fm.signal.labels import window_labels

S = 1_000_000_000
NAN = float("nan")


def track(kind, intervals, classes=("rest", "stress", "sleep")):
    start, end, value = zip(*intervals, strict=True)
    return LabelTrack(
        "t",
        kind,
        np.array([round(x * S) for x in start], dtype=np.int64),
        np.array([round(x * S) for x in end], dtype=np.int64),
        np.array(value, dtype=np.float64),
        classes=classes if kind == "class" else (),
    )


def labels(made, starts_s, window_s=10, **more):
    return window_labels(made, np.array(starts_s, dtype=np.int64) * S, window_s * S, **more).tolist()


def test_class_is_the_majority_of_the_window_not_of_what_is_labelled():
    made = track("class", [(0, 6, 0), (6, 10, 1), (10, 14, 1), (20, 24, 2), (30, 33, 0), (33, 37, 1), (37, 40, 2)])
    # 6 of 10 rest; 4 of 10 stress; 4 of 10 sleep; 3 + 4 + 3: none reaches half; nothing at all.
    assert labels(made, [0, 10, 20, 30, 50]) == pytest.approx([0, NAN, NAN, NAN, NAN], nan_ok=True)
    # From 4 s: 2 rest, 8 stress.
    assert labels(made, [4]) == [1]


def test_class_adds_up_seconds_and_gives_half_to_the_lower_index():
    seconds = [(t, t + 1, 1 if t % 2 else 0) for t in range(10)]
    assert labels(track("class", seconds), [0]) == [0]
    assert labels(track("class", [*seconds[:9], (9, 10, 2)]), [0]) == [0]
    assert labels(track("class", [(t, t + 1, 1) for t in (9, 1, 5, 3, 7, 8)]), [0]) == [1], "order is no matter"


def test_a_class_must_cover_as_much_of_the_window_as_is_asked():
    # 6 of 10 rest; 8 of 10 stress, the rest unlabelled; 8 of 10 in two parts; half and half.
    intervals = [(0, 6, 0), (6, 10, 1), (10, 18, 1), (20, 24, 2), (24, 26, 0), (26, 30, 2), (30, 35, 2), (35, 40, 1)]
    made, starts = track("class", intervals), [0, 10, 20, 30]
    assert labels(made, starts, min_cover=0.5) == [0, 1, 2, 1]
    assert labels(made, starts, min_cover=0.8) == pytest.approx([NAN, 1, 2, NAN], nan_ok=True)
    assert labels(made, starts, min_cover=1.0) == pytest.approx([NAN] * 4, nan_ok=True)
    assert labels(track("class", [(0, 10, 2)]), [0], min_cover=1.0) == [2]
    assert labels(made, starts) == labels(made, starts, min_cover=0.5), "half is the default"


def test_shares_of_many_short_intervals_reach_what_is_asked():
    # Eight tenths in a hundred parts; their sum is not exactly 0.8.
    parts = [(t / 10, t / 10 + 0.08, 1) for t in range(100)]
    assert labels(track("class", parts), [0], min_cover=0.8) == [1]
    assert np.isnan(labels(track("class", parts), [0], min_cover=0.81)[0])


def test_a_value_must_be_known_for_as_long_as_is_asked():
    made = track("value", [(0, 5, 60), (10, 18, 70), (20, 24, 50), (24, 28, 90)])
    assert labels(made, [0, 10, 20], min_cover=0.5) == pytest.approx([60, 70, 70])
    assert labels(made, [0, 10, 20], min_cover=0.8) == pytest.approx([NAN, 70, 70], nan_ok=True)


def test_events_do_not_ask_for_cover():
    made = track("event", [(t, t, 0) for t in (1, 2, 3)])
    assert labels(made, [0], min_cover=1.0) == labels(made, [0], min_cover=0.5) == [60]


def test_value_is_weighted_by_time():
    made = track("value", [(0, 2, 100), (2, 8, 60), (20, 24, 50), (30, 35, 70), (38, 60, NAN)])
    # (2 * 100 + 6 * 60) / 8; 4 s of 10 are too few; 5 s of 10 are enough; NaN is unlabelled.
    assert labels(made, [0, 20, 30, 40]) == pytest.approx([70, NAN, 70, NAN], nan_ok=True)


def test_value_sees_a_long_interval_that_began_long_before():
    made = track("value", [(0, 1000, 5), (1, 2, 500), (3, 4, 500)])
    assert labels(made, [900]) == [5]


def test_event_rate_from_intervals_inside_the_window():
    made = track("event", [(t, t, 0) for t in (1, 4, 7, 12, 13, 30.5, 35, 35.5, 39.5)])
    # 1, 4, 7: every 3 s; 12, 13: too few; 30.5 .. 39.5: three intervals in 9 s.
    assert labels(made, [0, 10, 20, 30]) == pytest.approx([20, NAN, NAN, 20], nan_ok=True)


def test_event_on_an_edge_belongs_to_the_window_that_it_begins():
    made = track("event", [(t, t, 0) for t in (10, 15, 20)])
    assert np.isnan(labels(made, [10])[0]), "the event at 20 s is of the next window"
    assert labels(made, [10], window_s=11) == pytest.approx([12])


@pytest.mark.parametrize("kind", ["class", "value", "event"])
def test_an_empty_track_says_nothing(kind):
    empty = np.empty(0, dtype=np.int64)
    made = LabelTrack("t", kind, empty, empty, np.empty(0), classes=("a",) if kind == "class" else ())
    assert np.isnan(labels(made, [0, 10])).all()
    assert window_labels(made, np.empty(0, dtype=np.int64), S).shape == (0,)


def test_a_value_given_for_the_window_itself_is_its_value_whatever_overlaps_it():
    made = track("value", [(t, t + 10, 60 + t) for t in (0, 2, 4, 6, 8)])
    assert labels(made, [0, 4, 8]) == [60, 64, 68]
    # Between two of them, or longer than they are, a window takes the mean over time.
    assert labels(made, [3])[0] == pytest.approx((7 * 60 + 9 * 62 + 9 * 64 + 7 * 66 + 5 * 68) / 37)
    assert labels(track("value", [(0, 10, 60), (0, 10, 70), (2, 12, 500)]), [0]) == [65], "two numbers of one window"
