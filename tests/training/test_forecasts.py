"""Forecasts by several members: what they learn, what they may not see, and what they begin with."""

import numpy as np
import pytest
import torch

from hdt_fm.heads.series_forecast import SeriesForecast
from hdt_fm.schema.errors import ConfigError
from hdt_fm.training.forecasts import ask, fit_forecast, inputs_of
from hdt_fm.training.heads import take

LEVELS = (0.1, 0.5, 0.9)
LAST = 140.0


def head_of(known=4, **more):
    torch.manual_seed(0)
    return SeriesForecast(known=known, horizons=2, levels=LEVELS, hidden=32, **{"members": 1, **more})


def made(rows=3000, seed=0):
    """The change is the first feature plus noise whose size is the second's."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(rows, 4))
    noise = generator.normal(size=(rows, 2)) * (0.2 + np.abs(features[:, 1:2]))
    return features, 30 * (features[:, :1] + noise), np.arange(rows) // 300


def given(features, context=None):
    return inputs_of(features, np.full(len(features), LAST), context)


@pytest.fixture(scope="module")
def fitted():
    features, change, group = made()
    head = head_of()
    fit_forecast(head, given(features), change, group, epochs=20, batch_size=64, learning_rate=1e-2)
    return head


def test_the_mean_and_the_spread_are_learned(fitted):
    features, change, _ = made(seed=1)
    said = ask(fitted, given(features)) - LAST
    assert said.shape == (3000, 2, 4)
    assert np.corrcoef(said[:, 0, 0], features[:, 0])[0, 1] > 0.98
    inside = (change >= said[..., 1]) & (change <= said[..., 3])
    assert inside.mean() == pytest.approx(0.8, abs=0.04)
    width = said[:, 0, 3] - said[:, 0, 1]
    calm, wild = np.abs(features[:, 1]) < 0.2, np.abs(features[:, 1]) > 1.5
    assert width[wild].mean() > 1.5 * width[calm].mean()


def test_quantiles_never_cross_also_far_away(fitted):
    far = np.full((5, 4), 1e9)
    far[1], far[2], far[3, 0] = -1e9, np.nan, np.nan
    said = ask(fitted, given(far))
    assert np.isfinite(said).all()
    assert (np.diff(said[..., 1:], axis=-1) > 0).all()


def test_the_same_seed_gives_the_same_head():
    features, change, group = made(600)
    said = []
    for seed in (0, 0, 1):
        head = head_of()
        fit_forecast(head, given(features), change, group, epochs=2, seed=seed)
        said.append(ask(head, given(features)))
    assert np.array_equal(said[0], said[1])
    assert not np.allclose(said[0], said[2])


def test_training_leaves_the_global_generator_alone():
    features, change, group = made(600)
    head, before = head_of(), torch.get_rng_state()
    fit_forecast(head, given(features), change, group, epochs=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["gru", "lstm", "transformer"])
def test_what_stands_in_a_window_before_is_read_and_a_missing_window_is_not(kind):
    """The change is a component of the second newest window; nothing else tells of it."""
    generator = np.random.default_rng(0)
    context = generator.normal(size=(1500, 3, 5))
    change = 30 * np.repeat(context[:, 1, 2:3], 2, axis=1)
    known, group = np.zeros((1500, 4)), np.arange(1500) // 150
    head = head_of(in_features=5, kind=kind, width=16)
    fit_forecast(head, given(known, context), change, group, epochs=30, batch_size=64, learning_rate=5e-3)
    said = ask(head, given(known, context))[:, 0, 0] - LAST
    assert np.corrcoef(said, change[:, 0])[0, 1] > 0.9
    gone, other = context.copy(), context.copy()
    gone[:, 1] = np.nan
    other[:, 1, 0] = np.nan  # a window that is unknown in part is not there either
    assert np.array_equal(ask(head, given(known, gone)), ask(head, given(known, other)))
    everywhere = ask(head, given(known, np.full_like(context, np.nan)))
    assert np.isfinite(everywhere).all()
    assert np.allclose(everywhere, everywhere[:1])


def test_people_who_watch_are_not_learned_from():
    """With one member the first fifth of the shuffled people only decides when to stop: a wild one must not teach."""
    features, change, group = made(3000)
    apart = np.random.default_rng(0).permutation(10)[:2]
    said = []
    for factor in (1.0, -1.0):
        head = head_of()
        other = np.where(np.isin(group, apart)[:, None], factor * change, change)
        fit_forecast(head, given(features), other, group, epochs=1)
        said.append(ask(head, given(features)))
    # The spread is taken of everyone, and turning a sign leaves it nearly as it is.
    assert np.allclose(said[0], said[1], atol=0.2)


def test_it_begins_by_saying_that_nothing_changes():
    head = head_of(in_features=3)
    said = ask(head, given(np.random.default_rng(0).normal(size=(7, 4)), np.zeros((7, 2, 3))))
    assert said.shape == (7, 2, 4)
    assert (said[..., [0, 2]] == LAST).all()
    assert said[..., 3] == pytest.approx(np.full((7, 2), LAST + 0.25))


def test_unknown_targets_teach_nothing():
    features, change, group = made(900)
    spoilt = np.concatenate([change, np.full((300, 2), np.nan)])
    more = np.concatenate([features, features[:300]])
    plain, with_unknown = head_of(), head_of()
    plain.learn_scale(given(features), torch.from_numpy(change))
    with_unknown.learn_scale(given(more), torch.from_numpy(spoilt))
    assert torch.equal(plain.spread, with_unknown.spread)
    said = torch.randn(1200, 2, 4)
    loss = plain.member_loss(said, torch.from_numpy(spoilt).float())
    assert torch.allclose(loss, plain.member_loss(said[:900], torch.from_numpy(change).float()))
    assert len(group) == 900


def test_a_head_answers_row_by_row(fitted):
    features, *_ = made(50)
    inputs = given(features)
    row = torch.tensor([7])
    assert ask(fitted, take(inputs, row))[0] == pytest.approx(ask(fitted, inputs)[7])


def test_what_cannot_be_fitted_is_refused():
    features, change, group = made(600)
    with pytest.raises(ConfigError, match="two people"):
        fit_forecast(head_of(), given(features), change, group * 0)
    with pytest.raises(ConfigError, match="sizes of 1 or more"):
        head_of(members=0)
    with pytest.raises(ConfigError, match="levels"):
        SeriesForecast(known=3, horizons=1, levels=(0.5, 0.1))
