import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.preparation import ModalityPreparation
from hdt_fm.schema.recording import Channel, Recording
from hdt_fm.signal.coarsen import coarsen
from hdt_fm.signal.prepare import prepare

FIVE, QUARTER = 1 / 300, 1 / 900


def test_by_hand():
    values = np.array([[10.0, 20, 30, 40, 0, 60, 0, 0, 0, 100]], dtype=np.float32)
    observed = values[0] > 0
    newest, seen = coarsen(values, observed, FIVE, QUARTER, "newest")
    # At 0, 15 and 30 min: what was read at 0; at 5, 10, 15; at 25 (20 and 30 were not read).
    assert newest.tolist() == [[10, 40, 60]]
    assert seen.tolist() == [True, True, True]
    mean, _ = coarsen(values, observed, FIVE, QUARTER, "mean")
    assert mean.tolist() == [[10, 30, 60]]


def test_a_step_without_a_reading_is_unobserved():
    values, observed = np.zeros((1, 9), dtype=np.float32), np.zeros(9, dtype=bool)
    values[0, 8], observed[8] = 5, True
    for how in ("newest", "mean"):
        new, seen = coarsen(values, observed, FIVE, QUARTER, how)
        # The reading at 40 min belongs to 45 min, which is past the end.
        assert not seen.any()
        assert not new.any()


def test_a_rate_that_rises_makes_no_readings_up():
    values = np.array([[1.0, 2, 3]], dtype=np.float32)
    new, seen = coarsen(values, np.ones(3, dtype=bool), QUARTER, FIVE, "newest")
    assert seen.tolist() == [True, False, False] * 3
    assert new[0, ::3].tolist() == [1, 2, 3]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["newest", "mean"]), st.sampled_from([2.0, 3.0, 2.5, 7.3]))
def test_nothing_later_is_known(seed, how, ratio):
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(2, 91)).astype(np.float32)
    observed = generator.random(91) > 0.3
    values[:, ~observed] = 0
    new, seen = coarsen(values, observed, 1.0, 1 / ratio, how)
    now = int(generator.integers(1, 90))
    later, told = values.copy(), observed.copy()
    later[:, now + 1 :], told[now + 1 :] = 99, True
    other, other_seen = coarsen(later, told, 1.0, 1 / ratio, how)
    until = int(now // ratio) + 1
    assert np.array_equal(new[:, :until], other[:, :until])
    assert np.array_equal(seen[:until], other_seen[:until])


def test_a_preparation_asks_for_it_and_the_filter_would_have_looked_ahead():
    def prepared(last, **how):
        values = np.full((1, 31), 100.0, dtype=np.float32)
        values[0, 20:] = last
        recording = Recording(
            modality="glucose",
            values=values,
            observed=np.ones(31, dtype=bool),
            sampling_rate_hz=FIVE,
            start_ns=0,
            channels=(Channel("cgm", "mg/dL"),),
            subject="s" + "0" * 32,
            device="made",
            body_site="",
        )
        return prepare(recording, ModalityPreparation(sampling_rate_hz=QUARTER, **how)).values[0]

    assert np.array_equal(prepared(100, resampling="newest")[:7], prepared(200, resampling="newest")[:7])
    assert not np.allclose(prepared(100)[:7], prepared(200)[:7], atol=0.5)
    same = ModalityPreparation(sampling_rate_hz=QUARTER)
    assert "resampling" not in same.model_dump()
    assert ModalityPreparation(sampling_rate_hz=QUARTER, resampling="mean").model_dump()["resampling"] == "mean"


def test_a_rate_that_is_none_is_refused():
    with pytest.raises(RecordingError, match="sampling rate"):
        coarsen(np.zeros((1, 2), dtype=np.float32), np.ones(2, dtype=bool), 0.0, 1.0, "mean")
