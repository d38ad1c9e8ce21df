"""A rhythm of a window: shares against known rates, evidence that moves with them, and what a teacher can teach."""

import math

import pytest
import torch

from hdt_fm.layers import rhythm as rhythm_file
from hdt_fm.layers.rhythm import FINE, MOMENTS, Rhythm, fit_rhythm
from hdt_fm.schema.errors import ConfigError

SPAN_S = 32.0


def made(seed=0, **more):
    torch.manual_seed(seed)
    return Rhythm(**{"span_s": SPAN_S, "low_hz": 0.06, "high_hz": 0.62, "taught_by": "resp", **more}).eval()


def wave(hz, sampling_rate_hz, seconds=SPAN_S, phase=0.3):
    """One window, one channel; sampled in the middle of its intervals, as windows are read."""
    time_s = (torch.arange(round(seconds * sampling_rate_hz)) + 0.5) / sampling_rate_hz
    return torch.sin(2 * torch.pi * hz * time_s + phase)[None, None]


def seen(waveform):
    return torch.ones(len(waveform), waveform.shape[-1], dtype=torch.bool)


def peak_hz(rhythm, waveform, observed, sampling_rate_hz):
    return rhythm.hz[rhythm.shares(waveform, observed, sampling_rate_hz).argmax(-1)]


def test_lines_are_a_third_of_what_a_span_resolves_and_stay_in_the_band():
    hz = made().hz
    torch.testing.assert_close(hz.diff(), torch.full((len(hz) - 1,), 1 / SPAN_S / FINE), atol=1e-6, rtol=0)
    assert hz[0] - 1 / SPAN_S / FINE < 0.06 <= hz[0]
    assert hz[-1] <= 0.62 < hz[-1] + 1 / SPAN_S / FINE


@pytest.mark.parametrize("sampling_rate_hz", [4.0, 6.0, 16.0, 125.0])
@pytest.mark.parametrize("hz", [0.09375, 0.25, 0.5])
def test_the_shares_of_a_sine_peak_at_its_rate(sampling_rate_hz, hz):
    rhythm, waveform = made(), wave(hz, sampling_rate_hz)
    shares = rhythm.shares(waveform, seen(waveform), sampling_rate_hz)
    assert shares.sum().item() == pytest.approx(1)
    assert rhythm.hz[shares.argmax()].item() == pytest.approx(hz, abs=1e-6)
    # A Hann window's main lobe is two resolved lines to each side.
    near = (rhythm.hz - hz).abs() <= 2 / SPAN_S + 1e-6
    assert shares[0, near].sum() > 0.99


def test_gaps_and_a_second_channel_leave_the_peak_where_it_is():
    rhythm, waveform = made(), wave(0.25, 16.0)
    observed = seen(waveform)
    observed[:, 40:90] = False
    observed[:, 300:330] = False
    assert peak_hz(rhythm, waveform, observed, 16.0).item() == pytest.approx(0.25, abs=0.011)
    two = torch.cat((waveform, wave(0.25, 16.0, phase=0.3 + math.pi)), dim=1)
    # Powers add up over channels; amplitudes of opposite phase would cancel.
    torch.testing.assert_close(
        rhythm.shares(two, seen(two), 16.0), rhythm.shares(waveform, seen(waveform), 16.0), atol=1e-5, rtol=1e-4
    )


def test_shares_are_equal_where_nothing_moved():
    """Rounding of a flat window is no rhythm; a breath ten thousand times weaker than a pulse's unit is one."""
    rhythm = made()
    clock = torch.arange(800) / 25
    seen = torch.ones(2, 800, dtype=torch.bool)
    faint = 1e-2 * torch.sin(2 * torch.pi * 0.25 * clock)
    flat = torch.full((800,), 0.3)
    shares = rhythm.shares(torch.stack((flat, faint))[:, None], seen, 25.0)
    assert torch.equal(shares[0], torch.full((rhythm.lines,), 1 / rhythm.lines))
    assert abs(float(rhythm.hz[shares[1].argmax()]) - 0.25) < 0.006


def test_shares_are_equal_where_nothing_was_seen_and_read_nothing_unobserved():
    rhythm, waveform = made(), torch.randn(3, 2, 512)
    observed = torch.rand(3, 512) < 0.7
    observed[1] = False
    expected = rhythm.shares(waveform, observed, 16.0)
    torch.testing.assert_close(expected.sum(-1), torch.ones(3))
    torch.testing.assert_close(expected[1], torch.full((rhythm.lines,), 1 / rhythm.lines))
    worst = torch.where(observed[:, None], waveform, torch.nan)
    assert torch.equal(rhythm.shares(worst, observed, 16.0), expected)
    for found, wanted in zip(rhythm(worst, observed, 16.0), rhythm(waveform, observed, 16.0), strict=True):
        assert torch.equal(found, wanted)


def strong_pulse(pulse_hz=1.3, strength=100):
    return strength * wave(pulse_hz, 32.0) + wave(0.4, 32.0)


def test_a_strong_pulse_does_not_fold_into_the_band(monkeypatch):
    waveform = strong_pulse()
    assert peak_hz(made(), waveform, seen(waveform), 32.0).item() == pytest.approx(0.4, abs=0.011)
    # Read slower than twice the pulse, it would, although reading averages: 1.5 - 1.3 Hz.
    monkeypatch.setattr(rhythm_file, "READ_HZ", 1.5)
    assert peak_hz(made(), waveform, seen(waveform), 32.0).item() == pytest.approx(0.2, abs=0.011)


def test_no_pulse_and_no_harmonic_of_it_folds_into_the_band():
    """A breath is found beside a pulse ten times stronger, also where its harmonics lie past half of what is read."""
    rhythm = made()
    for pulse_hz in (0.8, 1.1, 1.7, 2.3, 3.0, 4.4, 5.6):
        waveform = strong_pulse(pulse_hz, strength=10)
        assert peak_hz(rhythm, waveform, seen(waveform), 32.0).item() == pytest.approx(0.4, abs=0.011), pulse_hz


def test_a_long_window_is_the_mean_of_its_spans():
    rhythm = made()
    slow, fast = wave(0.2, 16.0), wave(0.4, 16.0)
    long = torch.cat((slow, fast), dim=-1)
    both = rhythm.shares(long, seen(long), 16.0)
    alone = [rhythm.shares(one, seen(one), 16.0) for one in (slow, fast)]
    torch.testing.assert_close(both, (alone[0] + alone[1]) / 2, atol=2e-3, rtol=0)
    # A span that nobody saw says nothing.
    observed = seen(long)
    observed[:, 512:] = False
    torch.testing.assert_close(rhythm.shares(long, observed, 16.0), alone[0], atol=1e-6, rtol=1e-5)


def test_a_span_counts_by_how_much_of_it_was_seen():
    rhythm = made()
    long = torch.cat((wave(0.2, 16.0), wave(0.45, 16.0)), dim=-1)
    observed = seen(long)
    observed[:, 768:] = False
    shares = rhythm.shares(long, observed, 16.0)[0]
    # Half of the second span's energy was seen, and it counts half: 1/4 beside 1.
    assert shares[rhythm.hz > 0.32].sum().item() == pytest.approx(0.2, abs=0.03)


def test_evidence_moves_with_the_rate_away_from_the_edges():
    rhythm = made(high_hz=1.5)
    torch.nn.init.normal_(rhythm.evidence[-1].weight)  # it starts as zeros
    shares = torch.zeros(1, rhythm.lines)
    shares[0, 50:56] = torch.tensor([0.05, 0.2, 0.3, 0.25, 0.15, 0.05])
    moved = shares.roll(17, dims=-1)
    before, after = rhythm.scores(shares), rhythm.scores(moved)
    # Three layers that see four lines to each side: what happens at an edge reaches twelve lines in.
    torch.testing.assert_close(after[:, 12 + 17 : -12], before[:, 12 : -12 - 17], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(after, before, atol=1e-3)
    # How common a rate is stays where it is.
    with torch.no_grad():
        rhythm.common[30] = 1.0
    assert (rhythm.scores(shares) - before)[0].nonzero().flatten().tolist() == [30]


def test_moments_are_the_mean_rate_and_mean_cosines_of_the_shares():
    rhythm, waveform = made(), torch.randn(2, 1, 512)
    with torch.no_grad():
        weight, moments = rhythm(waveform, seen(waveform), 16.0)
    torch.testing.assert_close(weight.mean(-1), torch.ones(2))
    assert moments.shape == (2, MOMENTS)
    for row in range(2):
        by_hand = sum(
            weight[row, k] / rhythm.lines * math.cos(math.pi * k / (rhythm.lines - 1)) for k in range(rhythm.lines)
        )
        assert moments[row, 1].item() == pytest.approx(float(by_hand), abs=1e-5)
        rate = sum(weight[row, k] / rhythm.lines * (1 - 2 * k / (rhythm.lines - 1)) for k in range(rhythm.lines))
        assert moments[row, 0].item() == pytest.approx(float(rate), abs=1e-5)
    # All evidence on the lowest rate, or on the highest: 1 or -1.
    with torch.no_grad():
        rhythm.common[0] = 1e4
        torch.testing.assert_close(rhythm(waveform, seen(waveform), 16.0)[1], torch.ones(2, MOMENTS))
        rhythm.common[-1] = 2e4
        torch.testing.assert_close(rhythm(waveform, seen(waveform), 16.0)[1][:, 0], -torch.ones(2))


@pytest.mark.parametrize("hz", [0.8, 1.3, 2.2, 2.9])
def test_with_a_peak_the_strongest_line_is_taken_untaught(hz):
    """Half a strength in power elsewhere is a sixteenth of the evidence with a peak of 4; without one nothing is known.

    Reading averages, so rates near 3 Hz lose about half of their power; what comes second must be weaker still.
    """
    rhythm = made(low_hz=0.7, high_hz=3.0, peak=4.0, taught_by=None)
    with torch.no_grad():
        waveform = wave(hz, 96.0) + 0.4 * wave(1.75, 96.0)
        weight, place = rhythm(waveform, seen(waveform), 96.0)
        found_hz = (weight @ rhythm.hz / rhythm.lines).item()
        by_place = (rhythm.hz[0] + (1 - place[0, 0]) / 2 * (rhythm.hz[-1] - rhythm.hz[0])).item()
    assert found_hz == pytest.approx(hz, abs=0.15)
    assert by_place == pytest.approx(found_hz, abs=1e-4)


def test_a_rhythm_that_nobody_taught_yet_says_nothing():
    with torch.no_grad():
        weight, moments = made()(torch.randn(2, 1, 512), torch.ones(2, 512, dtype=torch.bool), 16.0)
    torch.testing.assert_close(weight, torch.ones_like(weight))
    torch.testing.assert_close(moments[:, 0], torch.zeros(2), atol=1e-5, rtol=0)


def test_a_rhythm_without_a_meaning_or_a_band_is_refused():
    with pytest.raises(ConfigError, match="which rhythm is meant") as error:
        made(taught_by=None)
    assert "peak: 4.0" in str(error.value)
    for low_hz, high_hz in ((0.5, 0.2), (0.3, 0.301), (3.5, 4.0)):
        with pytest.raises(ConfigError, match="no two lines"):
            made(low_hz=low_hz, high_hz=high_hz)


def test_nothing_observed_gives_finite_gradients():
    rhythm, waveform = made(), torch.randn(2, 1, 512, requires_grad=True)
    observed = seen(waveform)
    observed[1] = False
    weight, moments = rhythm(waveform, observed, 16.0)
    (weight.square().sum() + moments.sum()).backward()
    assert torch.isfinite(waveform.grad).all()
    assert not waveform.grad[1].any()


PEOPLE, WINDOWS, RATE_HZ = 16, 12, 8.0


def breathing(seed):
    """Windows in which A hides a breath under a twice stronger swell that comes and goes; B shows the breath.

    Both have any rate of the band, so that only the look of a swell (its peak is split) tells them apart.
    """
    generator = torch.Generator().manual_seed(seed)
    person = torch.arange(PEOPLE).repeat_interleave(WINDOWS)
    draw = torch.rand(4, len(person), 1, generator=generator)
    usual = torch.rand(PEOPLE, 1, generator=generator)[person]
    breath_hz = 0.14 + 0.36 * (0.7 * usual + 0.3 * draw[0])
    swell_hz = 0.14 + 0.36 * draw[1]
    time_s = (torch.arange(round(SPAN_S * RATE_HZ)) + 0.5) / RATE_HZ
    breath = torch.sin(2 * torch.pi * (breath_hz * time_s + draw[2]))
    swell = torch.sin(2 * torch.pi * (swell_hz * time_s + draw[3])) * torch.cos(2 * torch.pi * time_s / 40)
    noise = 0.1 * torch.randn(2, len(person), len(time_s), generator=generator)
    return (breath + 2.5 * swell + noise[0])[:, None], (breath + noise[1])[:, None], breath_hz.squeeze(1), person


def shares_of(rhythm, waveform):
    with torch.no_grad():
        return rhythm.shares(waveform, seen(waveform), RATE_HZ)


def taught(seed=0, **more):
    rhythm = made()
    a, b, _, person = breathing(1)
    fit_rhythm(rhythm, shares_of(rhythm, a), shares_of(rhythm, b), person, seed=seed, **more)
    return rhythm


def test_a_teacher_shows_which_rhythm_is_meant_for_people_never_seen():
    rhythm = taught(steps=300)
    a, b, breath_hz, _ = breathing(2)

    def error(found_hz):
        return (found_hz - breath_hz).abs().mean().item()

    with torch.no_grad():
        weight, _ = rhythm(a, seen(a), RATE_HZ)
        untaught, _ = made()(a, seen(a), RATE_HZ)
    constant = error(breath_hz.median())
    peak = error(rhythm.hz[shares_of(rhythm, a).argmax(-1)])
    learned = error(weight @ rhythm.hz / rhythm.lines)
    assert error(rhythm.hz[shares_of(rhythm, b).argmax(-1)]) < 0.01, "the teacher knows"
    assert error(untaught @ rhythm.hz / rhythm.lines) > 0.9 * constant
    assert learned < 0.5 * peak
    assert learned < 0.5 * constant


def test_the_same_seed_teaches_the_same_and_nothing_else_is_touched():
    first, again, other = (taught(seed, steps=3) for seed in (0, 0, 1))
    for name, weight in first.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
    assert not torch.equal(other.common, first.common)
    rhythm = made()
    a, b, _, person = breathing(1)
    given = shares_of(rhythm, a), shares_of(rhythm, b)
    kept = [one.clone() for one in given]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit_rhythm(rhythm, *given, person, steps=2)
    assert torch.equal(torch.get_rng_state(), before), "the global generator was used"
    assert all(torch.equal(one, was) for one, was in zip(given, kept, strict=True))
    assert rhythm.training is False


def test_everyone_is_drawn_equally_often():
    """One person of many windows against five of one window each: what is common follows the five."""
    rhythm = made()
    teacher = torch.zeros(105, rhythm.lines)
    teacher[:100, 10], teacher[100:, 40] = 1.0, 1.0
    person = torch.tensor([0] * 100 + [1, 2, 3, 4, 5])
    same = torch.full_like(teacher, 1 / rhythm.lines)
    fit_rhythm(rhythm, same, teacher, person, steps=300, learning_rate=0.05)
    with torch.no_grad():
        weight = torch.softmax(rhythm.scores(same[:1]), -1)[0]
    # By windows it would be 1 / 20.
    assert 3 < (weight[40] / weight[10]).item() < 7


def test_a_teacher_is_sharpened_whatever_its_scale(monkeypatch):
    """Shares of .6 and .4 teach as .36 / .52 and .16 / .52, and as 6 and 4 do."""
    raw, sharp, larger = made(), made(), made()
    teacher = torch.zeros(4, raw.lines)
    teacher[:, 10], teacher[:, 40] = 0.6, 0.4
    shares = torch.rand(4, raw.lines, generator=torch.Generator().manual_seed(0))
    shares = shares / shares.sum(-1, keepdim=True)
    fit_rhythm(raw, shares, teacher, torch.arange(4), steps=20)
    fit_rhythm(larger, shares, 10 * teacher, torch.arange(4), steps=20)
    monkeypatch.setattr(rhythm_file, "SHARPNESS", 1.0)
    by_hand = torch.zeros_like(teacher)
    by_hand[:, 10], by_hand[:, 40] = 0.36 / 0.52, 0.16 / 0.52
    fit_rhythm(sharp, shares, by_hand, torch.arange(4), steps=20)
    with torch.no_grad():
        expected = raw.scores(shares).softmax(-1)
        torch.testing.assert_close(sharp.scores(shares).softmax(-1), expected, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(larger.scores(shares).softmax(-1), expected, atol=1e-4, rtol=1e-3)
