"""Networks of means and quantiles: what they learn, what they may not see, and what they begin with."""

import numpy as np
import pytest
import torch

from hdt_fm.layers.quantiles import QuantileNetwork
from hdt_fm.schema.errors import ConfigError
from hdt_fm.training.forecasts import fit_forecast, forecast_loss

LEVELS = (0.1, 0.5, 0.9)


def build(inputs, horizons):
    return QuantileNetwork(in_features=inputs, horizons=horizons, levels=LEVELS, width=32)


def made(rows=3000, seed=0):
    """The change is the first feature plus noise whose size is the second's."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(rows, 4))
    noise = generator.normal(size=(rows, 2)) * (0.2 + np.abs(features[:, 1:2]))
    return features, 30 * (features[:, :1] + noise), np.arange(rows) // 300


@pytest.fixture(scope="module")
def fitted():
    features, change, group = made()
    return fit_forecast(
        build, features, change, group, levels=LEVELS, members=1, epochs=20, batch_size=64, learning_rate=1e-2
    )


def test_the_mean_and_the_spread_are_learned(fitted):
    features, change, _ = made(seed=1)
    said = fitted(features)
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
    said = fitted(far)
    assert np.isfinite(said).all()
    assert (np.diff(said[..., 1:], axis=-1) > 0).all()


def test_the_same_seed_gives_the_same_network():
    features, change, group = made(600)
    one, two = (
        fit_forecast(build, features, change, group, levels=LEVELS, members=1, epochs=2)(features) for _ in range(2)
    )
    other = fit_forecast(build, features, change, group, levels=LEVELS, members=1, epochs=2, seed=1)(features)
    assert np.array_equal(one, two)
    assert not np.allclose(one, other)


def test_it_begins_by_saying_that_nothing_changes():
    said = build(4, 2)(torch.randn(7, 4))
    assert said.shape == (7, 2, 4)
    assert (said[..., [0, 2]] == 0).all()
    assert torch.allclose(said[..., 3], torch.full((7, 2), 0.25))


def test_unknown_targets_teach_nothing():
    output = torch.randn(6, 2, 4)
    target = torch.randn(6, 2)
    target[3:, 1] = torch.nan
    known = torch.cat((output[:3].reshape(-1, 1, 4), output[3:, :1]))
    truth = torch.cat((target[:3].reshape(-1, 1), target[3:, :1]))
    assert torch.allclose(forecast_loss(output, target, LEVELS), forecast_loss(known, truth, LEVELS))


def test_what_cannot_be_fitted_is_refused():
    features, change, group = made(600)
    with pytest.raises(ConfigError, match="two people"):
        fit_forecast(build, features, change, group * 0, levels=LEVELS)
    with pytest.raises(ConfigError, match="levels"):
        QuantileNetwork(in_features=3, horizons=1, levels=(0.5, 0.1))
