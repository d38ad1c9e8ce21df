import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.recording import Channel, Recording, Visit
from hdt_fm.signal.normalise import after_own_start, by_own_scale, own_scale
from hdt_fm.signal.prepare import prepare
from hdt_fm.signal.windows import cut

S = 1_000_000_000
T0 = 1_700_000_000 * S + 250_000_000


def recording(values, observed=None, rate=4.0):
    values = np.atleast_2d(values)
    observed = np.ones(values.shape[1], dtype=bool) if observed is None else observed
    channels = tuple(Channel(f"c{number}", "uS") for number in range(len(values)))
    values = np.where(observed, values, 0).astype(np.float32)
    return Recording("eda", channels, rate, T0, values, observed, "s" + "e" * 32, "bench", "wrist")


def test_median_and_quartiles_by_hand():
    values = np.array([[1, 2, 3, 4, 5, 600, 700], [7, 7, 7, 7, 7, 8, 9]], dtype=float)
    found = own_scale(recording(values, rate=1.0), before_ns=T0 + 5 * S, min_s=5.0)
    assert found.center.tolist() == [3, 7]
    assert found.scale == pytest.approx([2 / 1.3489795, 1])
    scaled = by_own_scale(recording(values, rate=1.0), found)
    assert scaled.values[0, :3] == pytest.approx(np.array([-2, -1, 0]) * 1.3489795 / 2)


def test_of_a_normal_signal_the_scale_is_the_sd():
    values = np.random.default_rng(0).normal(5, 3, (2, 100_000))
    found = own_scale(recording(values), before_ns=T0 + 25_000 * S)
    assert found.center == pytest.approx([5, 5], abs=0.05)
    assert found.scale == pytest.approx([3, 3], rel=0.02)


def test_outliers_and_what_was_not_observed_do_not_move_it():
    values = np.random.default_rng(0).normal(5, 1, 2000)
    observed = np.ones(2000, dtype=bool)
    observed[::3] = False
    spoiled = values.copy()
    spoiled[1:60:3] = 1e4
    one, other = (own_scale(recording(rows, observed), before_ns=T0 + 500 * S) for rows in (values, spoiled))
    assert other.center == pytest.approx(one.center, abs=0.05)
    assert other.scale == pytest.approx(one.scale, rel=0.05)


@given(st.integers(1, 199), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_nothing_at_or_after_the_moment_counts(stop, seed):
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(1, 200))
    later = values.copy()
    later[:, stop:] = 1e6
    moment = T0 + round(stop / 4 * S)
    one, other = (own_scale(recording(rows), before_ns=moment, min_s=0.0) for rows in (values, later))
    assert (one.center, one.scale) == (other.center, other.scale)
    # And the last one before it does.
    later[:, stop - 1] = 1e6
    assert stop > 2 or own_scale(recording(later), before_ns=moment, min_s=0.0).center != one.center


def test_too_little_before_the_moment_is_refused():
    with pytest.raises(RecordingError, match=r"60 s or more[\s\S]*got: 50.0 s"):
        own_scale(recording(np.zeros(400)), before_ns=T0 + 50 * S)
    with pytest.raises(RecordingError, match=r"0\.0 s"):
        own_scale(recording(np.zeros(400)), before_ns=T0 - 50 * S)


def test_the_first_seconds_are_spent_and_the_rest_is_on_their_scale():
    observed = np.ones(400, dtype=bool)
    observed[20:40] = False
    values = np.random.default_rng(1).normal(4, 2, 400)
    found = after_own_start(recording(values, observed), 10.0)
    # Ten seconds at 4 Hz are 40 observed samples; twenty were missing.
    assert found.observed.nonzero()[0].tolist() == list(range(60, 400))
    own = np.concatenate([values[:20], values[40:60]]).astype(np.float32).astype(np.float64)
    low, middle, high = np.quantile(own, (0.25, 0.5, 0.75))
    assert found.values[0, 60:] == pytest.approx((values[60:] - middle) / (high - low) * 1.3489795, rel=1e-4, abs=1e-4)
    assert not found.values[0, :60].any()
    assert not after_own_start(recording(values, observed), 1000.0).observed.any()


def test_as_a_setting_two_people_of_different_levels_become_alike():
    wave = np.random.default_rng(2).normal(size=800)
    asked = ModalityPreparation(sampling_rate_hz=4, own_start_s=60)
    one, other = (prepare(recording(level + size * wave), asked) for level, size in ((2, 0.1), (9, 3)))
    assert one.values == pytest.approx(other.values, abs=1e-3)
    visit = Visit("s" + "e" * 32, {"eda": recording(5 + wave)})
    windows = cut(visit, Preparation(window_s=20, hop_s=20, modalities={"eda": asked}))
    assert (windows.starts_ns - T0).min() > 59 * S
    assert "own_start_s" not in ModalityPreparation(sampling_rate_hz=4).model_dump()
