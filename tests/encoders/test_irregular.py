"""Slow series with gaps: the course counts, not how often or how evenly it was measured."""

import pytest
import torch

from hdt_fm.encoders.irregular import Irregular
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.protocols import LinearReadout

DAY_S = 86_400.0
PEOPLE = 6


def small(**more):
    torch.manual_seed(0)
    return Irregular(**{"width": 16, "depth": 2, "heads": 2, "slots": 6, "center": 140.0, "scale": 40.0, **more}).eval()


def glucose(every_s, *, seed=0):
    """A day of made-up glucose of several people: meals that rise and fade; the same curve at any spacing."""
    generator = torch.Generator().manual_seed(seed)
    time_s = (torch.arange(round(DAY_S / every_s)) + 0.5) * every_s
    meal_s = torch.rand(PEOPLE, 4, 1, generator=generator) * DAY_S
    size = 30 + 70 * torch.rand(PEOPLE, 4, 1, generator=generator)
    after_s = (time_s - meal_s).clamp(min=0)
    rise = size * (after_s / 3600) * torch.exp(1 - after_s / 3600)
    values = 90 + 30 * torch.rand(PEOPLE, 1, generator=generator) + rise.sum(1)
    return values[:, None], torch.ones(PEOPLE, len(time_s), dtype=torch.bool), 1 / every_s


def near(one, other):
    """Distance of a person's two embeddings over the distance to the nearest other person, the worst of all."""
    between = torch.cdist(one, one)
    between.fill_diagonal_(torch.inf)
    return float(((one - other).norm(dim=1) / between.min(1).values).max())


@torch.no_grad()
def test_the_same_curve_at_another_spacing_lands_nearby():
    encoder = small()
    five = encoder(*glucose(300.0))
    for every_s, most in ((60.0, 0.03), (600.0, 0.1), (900.0, 0.15), (1800.0, 0.25)):
        assert near(five, encoder(*glucose(every_s))) < most, every_s


@torch.no_grad()
def test_dropped_samples_change_little_and_their_values_nothing():
    encoder, (values, observed, rate_hz) = small(), glucose(300.0)
    kept = torch.rand(observed.shape, generator=torch.Generator().manual_seed(1)) < 0.6
    whole, some = encoder(values, observed, rate_hz), encoder(values, kept, rate_hz)
    assert near(whole, some) < 0.2
    for other in (torch.nan, torch.inf, 1e9):
        assert torch.equal(encoder(torch.where(kept[:, None], values, other), kept, rate_hz), some)


@torch.no_grad()
def test_a_third_of_the_day_dropped_at_random_matters_less_than_a_night_without_the_device():
    encoder, (values, observed, rate_hz) = small(), glucose(300.0)
    night = observed.clone()
    night[:, 96:192] = False
    scattered = torch.rand(observed.shape, generator=torch.Generator().manual_seed(1)) < 2 / 3
    whole = encoder(values, observed, rate_hz)
    gone, thinned = ((encoder(values, seen, rate_hz) - whole).norm(dim=1).mean() for seen in (night, scattered))
    assert thinned < 0.5 * gone


@torch.no_grad()
def test_many_samples_of_one_moment_count_as_the_moment_does():
    """A device that reports every minute in the morning and every quarter of an hour later, and one that does not."""
    encoder, (values, observed, rate_hz) = small(max_tokens=1440), glucose(60.0)
    even = torch.zeros_like(observed)
    even[:, 7::15] = True
    dense_morning = even.clone()
    dense_morning[:, :480] = True
    blocks = [encoder.pooled(values, seen, rate_hz)[0] for seen in (even, dense_morning)]
    plain = values[0, 0, even[0]].mean() - values[0, 0, dense_morning[0]].mean()
    assert abs(float(plain)) > 1, "the plain mean is another"
    spread = blocks[0].std(0).norm()
    assert (blocks[0] - blocks[1]).norm(dim=1).max() < 0.35 * spread


@torch.no_grad()
def test_five_minute_glucose_with_gaps_and_every_third_sample_only():
    """What a sensor of 15 minutes leaves on a grid of 5: two of three places are unobserved."""
    encoder, (values, observed, rate_hz) = small(), glucose(300.0)
    third = torch.zeros_like(observed)
    third[:, 1::3] = True
    third[:, 120:132] = False
    found = encoder(values, third, rate_hz)
    assert torch.isfinite(found).all()
    assert near(encoder(values, observed, rate_hz), found) < 0.5
    # On a grid of its own: the same samples, the same seconds, the same embedding.
    own = encoder(values[..., 1::3], third[:, 1::3], rate_hz / 3)
    torch.testing.assert_close(own, found, atol=0.05, rtol=0)


@torch.no_grad()
def test_a_single_sample_says_its_level():
    encoder = small()
    observed = torch.zeros(3, 288, dtype=torch.bool)
    observed[:, 100] = True
    values = torch.tensor([80.0, 80.0, 300.0])[:, None, None].expand(3, 1, 288)
    found = encoder(values, observed, 1 / 300)
    torch.testing.assert_close(found[0], found[1])
    assert (found[0] - found[2]).abs().max() > 0.05


@torch.no_grad()
def test_a_readout_reads_what_is_pooled():
    encoder = small()
    assert isinstance(encoder, LinearReadout)
    assert encoder.direct == 0
    given = glucose(900.0)
    blocks = encoder.pooled(*given)
    assert [block.shape[1] for block in blocks] == [6 * 8, 16]
    torch.testing.assert_close(encoder.out_norm(encoder.readout(torch.cat(blocks, dim=-1))), encoder(*given))


@torch.no_grad()
def test_a_fast_signal_is_read_at_as_many_points_as_it_may_have():
    encoder = small(max_tokens=50)
    seen_tokens = []
    encoder.blocks[0].register_forward_pre_hook(lambda _, inputs: seen_tokens.append(inputs[0].shape[1]))
    for samples in (49, 50, 51, 5000):
        encoder(torch.randn(2, 1, samples), torch.ones(2, samples, dtype=torch.bool), 1.0)
    assert seen_tokens == [49, 50, 50, 50]


def test_heads_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="Heads do not fit"):
        Irregular(width=20, heads=3)


def test_half_precision_under_autocast_is_near():
    encoder, given = small(), glucose(900.0)
    observed = given[1].clone()
    observed[0], observed[1, 5:50] = False, False
    with torch.no_grad():
        expected = encoder(given[0], observed, given[2])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = encoder(given[0], observed, given[2])
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found.float(), expected, atol=0.1, rtol=0.1)
