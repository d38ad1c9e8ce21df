"""Views and modality dropout: pure in what they say, and keeping what they promise."""

import pytest
import torch

from hdt_fm.data.masking import drop_modalities
from hdt_fm.data.views import Augment
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ConfigError


def batch(size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    signals, present = {}, torch.rand(size, 4, generator=generator) < 0.7
    present[0], present[1] = True, torch.tensor([False, True, False, False])
    for column, (name, channels, time) in enumerate((("ppg", 1, 50), ("acc", 3, 20), ("eda", 1, 8), ("temp", 2, 5))):
        observed = (torch.rand(size, time, generator=generator) < 0.9) & present[:, column, None]
        values = torch.randn(size, channels, time, generator=generator) * 3 + 10
        signals[name] = Signal(values * observed[:, None], observed, 10.0)
    facts = torch.arange(size)
    return Batch(("ppg", "acc", "eda", "temp"), signals, present, facts, facts.double(), facts)


def equal(first, second):
    return all(
        torch.equal(first.signals[name].values, second.signals[name].values)
        and torch.equal(first.signals[name].observed, second.signals[name].observed)
        for name in first.signals
    )


def test_a_view_is_a_pure_function_of_seed_and_step():
    augment, source = Augment(3, time_mask=0.4), batch()
    first = augment.apply(source, 17)
    torch.manual_seed(1)
    for step in range(5):
        augment.apply(source, step)
    assert equal(first, augment.apply(source, 17))
    assert equal(first, Augment(3, time_mask=0.4).apply(source, 17))
    assert not equal(first, augment.apply(source, 18))
    assert not equal(first, Augment(4, time_mask=0.4).apply(source, 17))
    # Dropping a modality from the batch leaves the draws of the others as they were.
    fewer = Batch(
        source.modalities,
        {name: source.signals[name] for name in ("eda", "temp")},
        source.present & torch.tensor([False, False, True, True]),
        source.subject,
        source.time_s,
        source.window_id,
    )
    assert torch.equal(augment.apply(fewer, 17).signals["temp"].values, first.signals["temp"].values)


def test_a_view_measures_nothing_new():
    source = batch()
    view = Augment(0, amplitude=0.5, noise=0.5, time_mask=0.6).apply(source, 2)
    for name, signal in view.signals.items():
        assert not (signal.observed & ~source.signals[name].observed).any()
        assert not (signal.values * ~signal.observed[:, None]).any()
    assert torch.equal(view.present, source.present)
    still = Augment(0, amplitude=0.0, noise=0.0, time_mask=0.0).apply(source, 2)
    for name, signal in still.signals.items():
        torch.testing.assert_close(signal.values, source.signals[name].values)
        assert torch.equal(signal.observed, source.signals[name].observed)


def test_amplitude_scales_about_the_mean_by_one_factor_per_window():
    source = batch(200)
    view = Augment(0, amplitude=0.3, noise=0.0, time_mask=0.0).apply(source, 0)
    before, after = source.signals["ppg"], view.signals["ppg"]
    rows = [row for row in range(200) if before.observed[row].sum() > 10]
    factors = []
    for row in rows:
        old = before.values[row, 0, before.observed[row]].double()
        new = after.values[row, 0, before.observed[row]].double()
        factors.append(float(new.std() / old.std()))
        assert new.mean() == pytest.approx(float(old.mean()), abs=1e-4)
        assert torch.corrcoef(torch.stack([old, new]))[0, 1] == pytest.approx(1, abs=1e-5)
    logs = torch.tensor(factors).log()
    assert logs.abs().max() <= 0.3 + 1e-4
    assert logs.min() < -0.2
    assert logs.max() > 0.2


def test_noise_is_in_units_of_the_windows_own_spread():
    source = batch(300)
    view = Augment(1, amplitude=0.0, noise=0.25, time_mask=0.0).apply(source, 0)
    before, after = source.signals["acc"], view.signals["acc"]
    rows = before.observed.any(dim=1)
    change = (after.values - before.values)[rows].std()
    assert change / 3 == pytest.approx(0.25 * float(before.observed[rows].float().mean().sqrt()), rel=0.06)


def test_hidden_stretches_are_contiguous_and_bounded():
    facts = torch.arange(300)
    full = Signal(torch.ones(300, 1, 50), torch.ones(300, 50, dtype=torch.bool), 10.0)
    source = Batch(("ppg",), {"ppg": full}, torch.ones(300, 1, dtype=torch.bool), facts, facts.double(), facts)
    hidden = ~Augment(2, time_mask=0.5).apply(source, 4).signals["ppg"].observed
    assert (hidden.int().diff(dim=1).abs().sum(dim=1) <= 2).all()
    assert hidden.sum(dim=1).max() <= 25
    assert 8 < hidden.sum(dim=1).float().mean() < 16
    assert hidden.any(dim=0).all()


def test_impossible_strengths_are_refused():
    for bad in ({"noise": -1.0}, {"time_mask": 1.0}):
        with pytest.raises(ConfigError, match="out of range"):
            Augment(0, **bad)


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.9, 1.0])
def test_dropout_keeps_pairs_and_single_modalities(probability):
    source = batch(400, seed=3)
    dropped = drop_modalities(source, probability=probability, generator=torch.Generator().manual_seed(1))
    before, after = source.present.sum(dim=1), dropped.present.sum(dim=1)
    assert not (dropped.present & ~source.present).any()
    assert (after >= torch.minimum(before, torch.tensor(2))).all()
    if probability == 0:
        assert torch.equal(before, after)
    if probability == 1:
        assert torch.equal(after, torch.minimum(before, torch.tensor(2)))
    for column, (name, signal) in enumerate(dropped.signals.items()):
        gone = ~dropped.present[:, column]
        assert not signal.values[gone].any()
        assert not signal.observed[gone].any()
        kept = dropped.present[:, column]
        assert torch.equal(signal.values[kept], source.signals[name].values[kept])


def test_dropout_has_the_asked_rate_and_no_favourite():
    size = 4000
    facts = torch.arange(size)
    full = Batch(tuple("abcde"), {}, torch.ones(size, 5, dtype=torch.bool), facts, facts.double(), facts)
    kept = drop_modalities(full, probability=0.2, generator=torch.Generator().manual_seed(0)).present.float()
    # P(kept) = 0.8 + rescue of the rare windows with fewer than two left: 0.8 + about 0.002.
    assert kept.mean() == pytest.approx(0.802, abs=0.01)
    assert (kept.mean(dim=0) - 0.802).abs().max() < 0.03
    one = Batch(("a",), {}, torch.ones(9, 1, dtype=torch.bool), facts[:9], facts[:9].double(), facts[:9])
    assert drop_modalities(one, probability=1.0, generator=torch.Generator()).present.all()
