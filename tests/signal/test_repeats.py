import numpy as np
import pytest

from hdt_fm.signal.repeats import longest_s, repeated


def noise(size, channels=1, seed=0):
    return np.random.default_rng(seed).normal(size=(channels, size)).astype(np.float32), np.ones(size, dtype=bool)


def test_a_stretch_that_was_stored_twice_is_found_to_the_sample():
    values, observed = noise(20_000, channels=3)
    values[:, 12_345:13_345] = values[:, 501:1_501]
    found = repeated(values, observed, 64.0)
    assert np.flatnonzero(found).tolist() == list(range(12_345, 13_345))
    assert longest_s(found, 64.0) == pytest.approx(1_000 / 64)


def test_every_copy_counts_and_the_first_does_not():
    values, observed = noise(1_000)
    found = repeated(np.tile(values, 3), np.tile(observed, 3), 50.0)
    assert found.sum() == 2_000
    assert not found[:1_000].any()


def test_a_copy_of_one_channel_alone_is_none():
    values, observed = noise(4_000, channels=2)
    values[0, 3_000:4_000] = values[0, :1_000]
    assert not repeated(values, observed, 64.0).any()


@pytest.mark.parametrize("rate", [4.0, 64.0])
def test_what_stands_still_swings_or_is_coarse_is_no_copy(rate):
    still = np.full((1, 5_000), 33.5, dtype=np.float32)
    swinging = np.tile(np.arange(40.0), 100)[None].astype(np.float32)
    coarse = np.round(noise(30_000, channels=3)[0] * 2) / 64
    for values in (still, swinging, coarse):
        assert not repeated(values, np.ones(values.shape[1], dtype=bool), rate).any()


def test_shorter_than_asked_for_and_unobserved_stretches_are_left():
    values, observed = noise(10_000)
    values[:, 5_000:5_300] = values[:, 100:400]
    assert not repeated(values, observed, 64.0).any()  # 300 samples are less than 5 s
    assert repeated(values, observed, 64.0, min_s=4.0).sum() == 300
    values[:, 8_000:9_000] = values[:, 1_000:2_000]
    observed[8_000:9_000] = False
    assert not repeated(values, observed, 64.0).any()


def test_a_short_recording_has_none():
    values, observed = noise(100)
    assert repeated(values, observed, 1.0).shape == (100,)
