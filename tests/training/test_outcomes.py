"""Fitting outcome heads: what must stay still, what must be found, and the parts of the loss by hand."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hdt_fm.heads.outcome import Outcome
from hdt_fm.schema.errors import ShapeError
from hdt_fm.schema.outcome import Past
from hdt_fm.training import outcomes
from hdt_fm.training.outcomes import fit_outcome


def people(count: int, *, seed: int, hidden_effect: float = 0.0) -> Past:
    """Levels that a dose lowers by 2 at once; with `hidden_effect` also by its square, which no linear law knows."""
    rng = np.random.default_rng(seed)
    given = np.where(rng.random((count, 15, 1)) < 0.5, rng.uniform(0, 3, (count, 15, 1)), 0.0)
    moved = -2.0 * given[..., 0] - hidden_effect * given[..., 0] ** 2 + rng.standard_normal((count, 15)) * 0.3 + 3
    level = 100 + np.concatenate([rng.standard_normal((count, 1)), moved[:, :-1]], axis=1).cumsum(axis=1)
    return Past(torch.from_numpy(level), torch.from_numpy(given).float(), torch.zeros(count, 0))


def head_of(seed: int = 0) -> Outcome:
    torch.manual_seed(seed)
    return Outcome(treatments=1, horizon=3, change="absolute", width=16)


def test_only_the_edit_learns_when_the_history_is_kept() -> None:
    head = head_of()
    head.edit_only()
    digest, decoder = head.history_digest(), copy.deepcopy(head.decoder.state_dict())
    fit_outcome(head, people(200, seed=0, hidden_effect=1.0), people(50, seed=1, hidden_effect=1.0), epochs=3)
    assert head.history_digest() == digest
    assert head.trainable_share < 0.9
    assert any(not torch.equal(decoder[name], value) for name, value in head.decoder.state_dict().items())
    free = head_of()
    fit_outcome(free, people(200, seed=0, hidden_effect=1.0), people(50, seed=1, hidden_effect=1.0), epochs=3)
    assert free.history_digest() != digest


def test_what_the_law_cannot_say_is_learned() -> None:
    train, other = (people(300, seed=0, hidden_effect=1.0), people(100, seed=1, hidden_effect=1.0))
    head = head_of()
    history = fit_outcome(head, train, other, epochs=30, batch_size=32, learning_rate=1e-2, average=0.9)
    assert history[-1]["val_loss"] < 0.6 * history[0]["val_loss"]
    past, plan = other.take(slice(0, 40)), torch.zeros(40, 1, 1)
    ends = [head(past, plan + dose)[:, 0, 0].mean().item() for dose in (0.0, 1.5, 3.0)]
    # The effect of 1.5 is -2 x 1.5 - 1.5^2, of 3 it is -6 - 9.
    assert ends[1] - ends[0] == pytest.approx(-5.25, abs=0.7)
    assert ends[2] - ends[0] == pytest.approx(-15.0, abs=1.2)


def test_without_epochs_the_law_is_all_and_finds_the_effect() -> None:
    head = head_of()
    history = fit_outcome(head, people(200, seed=0), people(50, seed=1), epochs=0)
    assert [entry["epoch"] for entry in history] == [0.0]
    past = people(20, seed=2)
    effect = head(past, torch.ones(20, 1, 1)) - head(past, torch.zeros(20, 1, 1))
    assert effect[:, 0, 0].detach().numpy() == pytest.approx(-2.0, abs=0.25)
    assert effect[:, 0, 0].mean().item() == pytest.approx(-2.0, abs=0.05)


def test_the_best_epoch_is_kept() -> None:
    head = head_of()
    history = fit_outcome(head, people(60, seed=0), people(50, seed=1), epochs=4, learning_rate=0.3, average=0.0)
    losses = [entry["val_loss"] for entry in history]
    judged = outcomes._moments(people(50, seed=1), 3, np.random.default_rng([0, 1]))
    assert outcomes._judge(head, people(50, seed=1), judged) == pytest.approx(min(losses), rel=1e-5)


def test_same_seed_same_head() -> None:
    fitted = []
    for seed in (0, 0, 1):
        fitted.append(head_of())
        fit_outcome(
            fitted[-1],
            people(100, seed=0, hidden_effect=1.0),
            people(50, seed=1, hidden_effect=1.0),
            epochs=2,
            seed=seed,
        )
    weights = [head.decoder.leave.weight for head in fitted]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_plans_and_targets_are_what_was_given_and_what_followed() -> None:
    past = people(4, seed=0)
    head = head_of()
    head.learn(past)
    moments = torch.tensor([[0, 13], [3, 5], [-1, -1], [7, 7]])
    states, _, target, first = outcomes._ask(head, past, moments)
    assert target[0].numpy() == pytest.approx(past.level[0, 1:4].numpy())
    # Of day 13 only day 14 is known.
    assert float(target[1, 0]) == float(past.level[0, 14])
    assert target[1, 1:].isnan().all()
    assert len(target) == 6
    assert torch.equal(first[2], past.given[1, 3])
    assert torch.equal(states.known.level[3].double(), past.level[1, 5].float().double())


def test_moments_have_something_before_and_after() -> None:
    past = people(3, seed=0)
    past.level[0, 2:] = torch.nan
    past.level[1] = torch.nan
    moments = outcomes._moments(past, 3, np.random.default_rng(0))
    assert set(moments[0].tolist()) == {0, 1} - {1}
    assert set(moments[1].tolist()) == {-1}
    assert len(set(moments[2].tolist())) == outcomes.ASKED_OF_A_PERSON
    assert moments[2].max() < 14


def test_contrast_by_hand() -> None:
    hidden = torch.tensor([[0.0], [0.1], [5.0], [5.2]])
    given = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    missed = torch.tensor([[1.0], [3.0], [2.0], [torch.nan]])
    # Rows 0 and 1 are a pair (difference 2, twice); row 2's nearest that was treated, row 3, has no target.
    assert float(outcomes._contrast(missed, hidden, given)) == pytest.approx(4.0)
    assert float(outcomes._contrast(missed, hidden, given * 0)) == 0.0


def test_reversal_hides_the_assignment() -> None:
    """Only who is high is treated: states say so, unless the history encoder must forget it."""
    parts = []
    for count, seed in ((300, 0), (100, 1)):
        past = people(count, seed=seed, hidden_effect=1.0)
        high = (past.level > past.level.mean()).float()[..., None]
        parts.append(Past(past.level, high * past.given.clamp(min=0.5), past.traits))
    found = []
    for strength in (1e-9, 3.0):
        head = head_of()
        fit_outcome(
            head,
            *parts,
            epochs=10,
            batch_size=32,
            learning_rate=1e-2,
            average=0.8,
            balancing="gradient_reversal",
            strength=strength,
        )
        with torch.no_grad():
            odds = head.assignment(head.encode(parts[1]).hidden)
        found.append(float(F.binary_cross_entropy_with_logits(odds, (parts[1].given > 0).float())))
    assert found[0] < 0.5
    assert found[1] > found[0] + 0.1


def test_mistakes_are_told() -> None:
    past = people(5, seed=0)
    with pytest.raises(ShapeError, match="Nothing follows on anything"):
        outcomes._moments(Past(past.level[:, :1], past.given[:, :1], past.traits), 3, np.random.default_rng(0))
