"""Windows read in the order that they came, and an end that nobody reads."""

import pytest
import torch

from hdt_fm.encoders.recurrent import Recurrent
from hdt_fm.schema.errors import ConfigError, ShapeError

HOUR_S = 3600.0
RATE = 1 / 300.0


def encoder(**more):
    torch.manual_seed(0)
    return Recurrent(**{"width": 16, "center": 150.0, "scale": 60.0, **more}).double().eval()


def day(hours=26, seed=0):
    """A walk of readings every five minutes."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(3, 1, int(hours * 12), generator=generator, dtype=torch.float64)
    return 150 + 4 * steps.cumsum(-1), torch.ones(3, int(hours * 12), dtype=torch.bool)


def test_the_end_of_a_window_is_not_read_whatever_it_holds():
    values, observed = day()
    net = encoder(ahead_s=2 * HOUR_S)
    before = net(values, observed, RATE)
    other, unseen = values.clone(), observed.clone()
    other[..., -24:], unseen[:, -24:] = 1e5, False
    assert torch.equal(net(other, observed, RATE), before)
    assert torch.equal(net(values, unseen, RATE), before)
    near = values.clone()
    near[..., -25] += 30
    assert not torch.allclose(net(near, observed, RATE), before)


def test_a_window_with_an_unread_end_is_that_window_without_it():
    values, observed = day()
    whole = encoder(ahead_s=2 * HOUR_S)(values, observed, RATE)
    assert torch.equal(encoder()(values[..., :-24], observed[:, :-24], RATE), whole)


def test_every_5_and_every_15_minutes_are_near():
    """A slow course, sampled in the middle of each step."""

    def sampled(step_s):
        time = (torch.arange(int(24 * HOUR_S / step_s), dtype=torch.float64) + 0.5) * step_s
        wave = 150 + torch.tensor([[20.0], [60.0]]) * torch.sin(2 * torch.pi * time / (5 * HOUR_S))
        return encoder()(wave[:, None], torch.ones(2, len(time), dtype=torch.bool), 1 / step_s)

    often, seldom = sampled(300.0), sampled(900.0)
    assert ((often - seldom).norm(dim=1) < 0.15 * (often[0] - often[1]).norm()).all()


def test_stretches_are_counted_from_the_end():
    """What lies before a whole number of stretches is a shorter first one, and the newest stays whole."""
    values, observed = day(24.5)
    net = encoder()
    gone = observed.clone()
    gone[:, :6] = False
    short = net(values[..., 6:], observed[:, 6:], RATE)
    # The summary of level and spread is over what was observed: the same in both.
    assert torch.allclose(net(values, gone, RATE), short, atol=0.2)
    assert not torch.allclose(net(values, observed, RATE), short, atol=1e-6)


def test_what_cannot_be_read_is_refused():
    values, observed = day(2)
    with pytest.raises(ShapeError, match="before it is read"):
        encoder(ahead_s=2 * HOUR_S)(values, observed, RATE)
    with pytest.raises(ConfigError, match="recurrent"):
        Recurrent(patch_s=0.0)
    with pytest.raises(ConfigError, match="ahead_s"):
        Recurrent(ahead_s=-1.0)
