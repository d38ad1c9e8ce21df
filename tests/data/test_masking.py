"""Stretches that are hidden on purpose: how many, where, and that nothing else moves."""

from dataclasses import replace

import pytest
import torch

from hdt_fm.data.masking import hide_end, hide_stretches
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ConfigError

RATES = {"ppg": 8.0, "acc": 4.0, "temp": 1.0}


def batch(size=40, share_observed=1.0, seed=0, duration_s=20):
    generator = torch.Generator().manual_seed(seed)
    present = torch.rand(size, 3, generator=generator) < 0.8
    signals = {}
    for number, (name, rate) in enumerate(RATES.items()):
        time = int(duration_s * rate)
        observed = (torch.rand(size, time, generator=generator) < share_observed) & present[:, number, None]
        values = torch.randn(size, 2, time, generator=generator) + 5
        signals[name] = Signal(values * observed[:, None], observed, rate)
    facts = torch.arange(size)
    return Batch(tuple(RATES), signals, present, facts, facts.double(), facts)


def hidden(source, share, seed=0, stretch_s=4.0):
    return hide_stretches(source, share=share, stretch_s=stretch_s, generator=torch.Generator().manual_seed(seed))


def test_share_zero_is_the_same_object():
    source = batch()
    assert hidden(source, 0.0) is source


@pytest.mark.parametrize(("share", "stretches"), [(0.2, 1), (0.4, 2), (0.5, 2), (0.8, 4), (0.99, 4)])
def test_the_share_is_hidden_in_whole_stretches_of_each_modality(share, stretches):
    source = batch()
    view = hidden(source, share)
    assert torch.equal(view.present, source.present)
    for name, rate in RATES.items():
        here, points = source.column(name), int(4 * rate)
        gone = (source.signals[name].observed & ~view.signals[name].observed)[here].unflatten(1, (5, points))
        assert torch.equal(gone.any(-1), gone.all(-1))
        assert (gone.all(-1).sum(1) == stretches).all()
        assert not view.signals[name].observed[~here].any()


def test_what_stays_is_untouched_and_what_goes_is_zero():
    source = batch(share_observed=0.9)
    view = hidden(source, 0.4)
    for name, signal in view.signals.items():
        before = source.signals[name]
        assert not (signal.observed & ~before.observed).any()
        kept = signal.observed[:, None].expand_as(signal.values)
        assert torch.equal(signal.values[kept], before.values[kept])
        assert (signal.values[~kept] == 0).all()
        assert torch.equal(before.values, batch(share_observed=0.9).signals[name].values)


def test_modalities_are_hidden_at_times_of_their_own():
    view = hidden(batch(), 0.4)
    both = view.column("ppg") & view.column("temp")
    ppg = view.signals["ppg"].observed[both].unflatten(1, (5, 32)).all(-1)
    temp = view.signals["temp"].observed[both].unflatten(1, (5, 4)).all(-1)
    assert not torch.equal(ppg, temp)
    # Each place is hidden about as often: no end of the window is spared.
    counts = (~hidden(batch(size=2000), 0.4).signals["acc"].observed[:, ::16]).float().mean(0)
    assert (counts - counts.mean()).abs().max() < 0.05


def test_draws_hang_on_the_generator_alone():
    source = batch()
    one, same, other = hidden(source, 0.4, 3), hidden(source, 0.4, 3), hidden(source, 0.4, 4)
    for name in RATES:
        assert torch.equal(one.signals[name].observed, same.signals[name].observed)
        assert not torch.equal(one.signals[name].observed, other.signals[name].observed)
    fewer = replace(source, signals={"temp": source.signals["temp"]})
    assert torch.equal(hidden(fewer, 0.4, 3).signals["temp"].observed, one.signals["temp"].observed)
    state = torch.get_rng_state()
    hidden(source, 0.4)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_modality_is_never_hidden_to_the_last_sample():
    source = batch(size=300, share_observed=0.03, seed=1)
    view = hidden(source, 0.8)
    for name in RATES:
        assert torch.equal(view.signals[name].observed.any(1), source.signals[name].observed.any(1))
    # One stretch that is the whole window stays.
    whole = batch()
    assert torch.equal(hidden(whole, 0.9, stretch_s=60.0).signals["ppg"].observed, whole.signals["ppg"].observed)


@pytest.mark.parametrize(("share", "stretch_s"), [(1.0, 4.0), (-0.1, 4.0), (0.4, 0.0)])
def test_bad_settings_speak(share, stretch_s):
    with pytest.raises(ConfigError, match="Stretches cannot be hidden"):
        hidden(batch(), share, stretch_s=stretch_s)


def test_the_end_of_every_signal_is_hidden_and_nothing_else():
    source = batch(share_observed=0.9)
    view = hide_end(source, end_s=3.0)
    assert torch.equal(view.present, source.present)
    for name, rate in RATES.items():
        before, after, end = source.signals[name], view.signals[name], int(3 * rate)
        assert torch.equal(after.observed[:, :-end], before.observed[:, :-end])
        assert torch.equal(after.values[..., :-end], before.values[..., :-end])
        assert not after.observed[:, -end:].any()
        assert (after.values[..., -end:] == 0).all()
    assert hide_end(source, end_s=0.0) is source


def test_facts_about_people_have_no_end():
    source = batch()
    facts = Signal(torch.ones(40, 1, 4), torch.ones(40, 4, dtype=torch.bool), 0.2)
    held = replace(
        source,
        modalities=(*source.modalities, "static"),
        signals={**source.signals, "static": facts},
        present=torch.cat((source.present, torch.ones(40, 1, dtype=torch.bool)), dim=1),
    )
    assert hide_end(held, end_s=10.0).signals["static"] is facts
