"""Risks by several members: what they learn, whom they may not learn from, and what is refused."""

import numpy as np
import pytest
import torch

from hdt_fm.heads.event_risk import EventRisk
from hdt_fm.metrics.classification import ece
from hdt_fm.schema.errors import ConfigError
from hdt_fm.training.forecasts import inputs_of
from hdt_fm.training.risks import ask_risk, fit_risk


def head_of(**more):
    torch.manual_seed(0)
    return EventRisk(**{"known": 4, "horizons": 2, "events": 1, "members": 1, "hidden": 32, **more})


def made(rows=4000, seed=0):
    """Hazards by the first two features; the event may come in the first span, or else in the second."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(rows, 4))
    hazard = 1 / (1 + np.exp(2 - 1.5 * features[:, :2]))
    came = generator.random((rows, 2)) < hazard
    true = np.stack([hazard[:, 0], 1 - (1 - hazard[:, 0]) * (1 - hazard[:, 1])], axis=1)
    happened = np.stack([came[:, 0], came.any(axis=1)], axis=1).astype(np.float64)
    return features, happened[..., None], true, np.arange(rows) // (rows // 10)


def given(features, context=None):
    return inputs_of(features, np.full(len(features), 140.0), context)


@pytest.fixture(scope="module")
def fitted():
    features, happened, _, group = made()
    head = head_of()
    fit_risk(head, given(features), happened, group, epochs=12, batch_size=128, learning_rate=5e-3)
    return head


def test_risks_come_as_often_as_they_say(fitted):
    features, happened, true, _ = made(20_000, seed=1)
    said = ask_risk(fitted, given(features))
    assert said.shape == (20_000, 2, 1)
    assert said.dtype == np.float64
    for column in range(2):
        assert np.abs(said[:, column, 0] - true[:, column]).mean() < 0.04
        assert ece(said[:, column, 0], happened[:, column, 0], bins=10) < 0.03
    assert (said[:, 1] >= said[:, 0]).all()


def test_what_is_not_known_teaches_nothing():
    """Half of the rows are not known, and what stands beside them would turn the answer round."""
    features, happened, _, group = made()
    half = np.arange(4000) % 2 == 0
    turned = features.copy()
    turned[half] *= -1
    unknown = np.where(half[:, None, None], np.nan, happened)
    head, other = head_of(), head_of()
    for one, rows in ((head, features), (other, turned)):
        fit_risk(one, given(rows), unknown, group, epochs=4, batch_size=128, learning_rate=5e-3)
    said = [ask_risk(one, given(features))[:, 1, 0] for one in (head, other)]
    assert np.corrcoef(said[0], said[1])[0, 1] > 0.97


def test_the_same_seed_gives_the_same_risks_and_leaves_the_generator_alone():
    features, happened, _, group = made(800)
    said, before = [], torch.get_rng_state()
    for seed in (0, 0, 1):
        torch.set_rng_state(before)
        head = EventRisk(known=4, horizons=2, events=1, members=2, hidden=16)
        state = torch.get_rng_state()
        fit_risk(head, given(features), happened, group, epochs=2, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        said.append(ask_risk(head, given(features)))
    assert np.array_equal(said[0], said[1])
    assert not np.allclose(said[0], said[2])


def test_people_who_watch_are_not_learned_from():
    """With one member the first fifth of the shuffled people only decides when to stop."""
    features, happened, _, group = made()
    apart = np.isin(group, np.random.default_rng(0).permutation(10)[:2])
    said = []
    for sign in (1, -1):
        head = head_of()
        turned = np.where(apart[:, None], sign * features, features)
        fit_risk(head, given(turned), happened, group, epochs=1, batch_size=128, learning_rate=5e-3)
        said.append(ask_risk(head, given(features)))
    # Inputs are scaled by everyone's spread; turning signs leaves it nearly as it is.
    assert np.abs(said[0] - said[1]).max() < 0.05


def test_what_stands_in_a_window_before_is_read():
    generator = np.random.default_rng(0)
    context = generator.normal(size=(2000, 3, 5))
    happened = (context[:, 1, 2] > 0.8).astype(np.float64)[:, None, None].repeat(2, axis=1)
    known, group = np.zeros((2000, 4)), np.arange(2000) // 200
    head = head_of(in_features=5, width=16)
    fit_risk(head, given(known, context), happened, group, epochs=15, batch_size=64, learning_rate=5e-3)
    said = ask_risk(head, given(known, context))[:, 0, 0]
    assert said[happened[:, 0, 0] == 1].mean() > 0.8
    assert said[happened[:, 0, 0] == 0].mean() < 0.1


def test_what_cannot_be_fitted_is_refused():
    features, happened, _, group = made(800)
    with pytest.raises(ConfigError, match="two people or more"):
        fit_risk(head_of(), given(features), happened, group * 0)
    never = happened.copy()
    never[:, 0] = 0.0
    with pytest.raises(ConfigError, match="1 horizons and events without both"):
        fit_risk(head_of(), given(features), never, group)
