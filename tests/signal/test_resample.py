import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdt_fm.schema.errors import RecordingError
from hdt_fm.signal.resample import resample

RATES = [
    (64.0, 100.0),
    (125.0, 100.0),
    (32.0, 25.0),
    (4.0, 1.0),
    (4.0, 64.0),
    (700.0, 128.0),
    (62.4725, 64.0),
    (1000 / 9.5, 100.0),
]


def tone(frequency_hz, rate, seconds, start=0):
    return np.sin(2 * np.pi * frequency_hz * (start + np.arange(round(seconds * rate))) / rate)


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
@pytest.mark.parametrize("first", [0, 37])
def test_tone_keeps_its_phase_and_height_whatever_sample_the_segment_starts_at(from_hz, to_hz, first):
    seconds, frequency = 60, 0.2 * min(from_hz, to_hz)
    length = round(seconds * from_hz)
    observed = np.zeros(length, dtype=bool)
    observed[first:] = True
    values = np.stack([tone(frequency, from_hz, seconds), np.linspace(20, 40, length)]).astype(np.float32) * observed
    new, seen = resample(values, observed, from_hz, to_hz)
    times = np.arange(new.shape[1]) / to_hz
    truth = np.stack([np.sin(2 * np.pi * frequency * times), 20 + 20 * times * from_hz / (length - 1)])
    inner = slice(round(0.2 * len(times)), round(0.8 * len(times)))
    # At 1 Hz sixty samples are too few for the edges to be out of reach.
    assert np.abs(new[0, inner] - truth[0, inner]).max() < (1e-3 if to_hz > 1 else 5e-3)
    # The slow line shows an edge that rings: it does not, up to the last sample.
    assert np.abs(new[1] - truth[1])[seen].max() < 5e-3


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_length_and_mask_in_closed_form(from_hz, to_hz):
    length = round(30 * from_hz)
    observed = np.ones(length, dtype=bool)
    new, seen = resample(np.ones((2, length), dtype=np.float32), observed, from_hz, to_hz)
    assert new.shape == (2, round(length * to_hz / from_hz))
    assert seen.all(), "what was wholly observed stays so"
    assert np.allclose(new, 1, atol=1e-5)


def test_no_alias_when_going_down():
    values = tone(60, 256, 30)[None].astype(np.float32)
    new, _ = resample(values, np.ones(values.shape[1], dtype=bool), 256.0, 100.0)
    assert np.abs(new[0, 200:-200]).max() < 1e-4


def test_round_trip_returns_a_band_limited_signal():
    values = (tone(3, 64, 20) + 0.5 * tone(11, 64, 20))[None].astype(np.float32)
    observed = np.ones(values.shape[1], dtype=bool)
    up, up_seen = resample(values, observed, 64.0, 100.0)
    back, seen = resample(up, up_seen, 100.0, 64.0)
    assert back.shape == values.shape
    assert seen.all()
    assert np.abs(back - values)[:, 200:-200].max() < 1e-4


def test_equal_rates_give_the_input_back():
    values, observed = np.ones((1, 5), dtype=np.float32), np.ones(5, dtype=bool)
    new, seen = resample(values, observed, 4.0, 4.0)
    assert new is values
    assert seen is observed


def test_gap_stays_a_gap_of_the_same_length():
    observed = np.ones(400, dtype=bool)
    observed[100:200] = False
    values = np.where(observed, 7, 0).astype(np.float32)[None]
    new, seen = resample(values, observed, 4.0, 1.0)
    # 100 s at 1 Hz; samples 25..49 s were not measured.
    assert (~seen).nonzero()[0].tolist() == list(range(25, 50))
    assert (new[:, ~seen] == 0).all()
    assert np.allclose(new[:, seen], 7, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=3, max_size=7),
    rates=st.sampled_from([(64.0, 100.0), (100.0, 64.0), (4.0, 1.0), (1.0, 4.0), (125.0, 100.0), (10.0, 3.0)]),
    seed=st.integers(0, 1000),
)
def test_nothing_crosses_a_gap(lengths, rates, seed):
    """Change one segment: no sample of another may move, and no mask may change."""
    generator = np.random.default_rng(seed)
    observed = np.concatenate([np.full(n, i % 2 == 0) for i, n in enumerate(lengths)])
    values = (generator.normal(size=(2, len(observed))) * observed).astype(np.float32)
    changed = values.copy()
    changed[:, : lengths[0]] = 1e4 * generator.normal(size=(2, lengths[0]))
    new, seen = resample(values, observed, *rates)
    other, other_seen = resample(changed, observed, *rates)
    ratio = rates[1] / rates[0]
    after = np.arange(new.shape[1]) >= (lengths[0] + lengths[1]) * ratio - 1e-9
    assert np.array_equal(seen, other_seen)
    assert np.array_equal(new[:, after], other[:, after])
    assert np.isfinite(new).all()
    assert (new[:, ~seen] == 0).all()
    # Observed exactly where the time of the output sample lies in an observed input sample's period.
    covered = [observed[min(int(np.floor(j / ratio + 1e-9)), len(observed) - 1)] for j in range(new.shape[1])]
    assert np.array_equal(seen, np.array(covered))


@pytest.mark.parametrize("rates", [(0.0, 4.0), (4.0, -1.0), (float("nan"), 4.0)])
def test_a_rate_that_is_none_is_refused(rates):
    with pytest.raises(RecordingError, match="positive"):
        resample(np.ones((1, 5), dtype=np.float32), np.ones(5, dtype=bool), *rates)
