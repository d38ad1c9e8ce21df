"""Heads against the answers of least squares and logistic regression; order, seeds and what does not count."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from hdt_fm.heads.forecast import Forecast
from hdt_fm.heads.probe import Probe
from hdt_fm.schema.errors import HdtError, ShapeError
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.training.heads import evaluate_head, fit_head, take


def _inputs(rows: int, features: int = 3, context: int = 1, seed: int = 0) -> HeadInput:
    values = torch.randn(rows, context, features, generator=torch.Generator().manual_seed(seed))
    return HeadInput(context=values, observed=torch.ones(rows, context, dtype=torch.bool))


def _probe(seed: int = 0, **settings) -> Probe:
    torch.manual_seed(seed)
    return Probe(in_features=3, **settings)


def test_a_value_probe_finds_the_least_squares_line() -> None:
    inputs = _inputs(400)
    noise = 0.3 * torch.randn(400, generator=torch.Generator().manual_seed(1))
    target = inputs.context[:, 0] @ torch.tensor([1.0, -2.0, 0.5]) + 4.0 + noise
    head = _probe(out_features=1, kind="value")
    counts = torch.ones(400, dtype=torch.bool)
    fit_head(head, inputs, target, counts, epochs=80, batch_size=100, learning_rate=5e-2, weight_decay=0.0)
    design = np.column_stack([inputs.context[:, 0].numpy(), np.ones(400)])
    want = np.linalg.lstsq(design, target.numpy(), rcond=None)[0]
    got = np.append(head.linear.weight.detach().numpy().ravel(), head.linear.bias.item())
    np.testing.assert_allclose(got, want, atol=5e-3)


def test_a_class_probe_ranks_as_logistic_regression_does() -> None:
    inputs = _inputs(500)
    logit = inputs.context[:, 0] @ torch.tensor([2.0, -1.0, 0.0])
    target = (torch.rand(500, generator=torch.Generator().manual_seed(2)) < logit.sigmoid()).float()
    head = _probe(out_features=2, kind="class")
    fit_head(head, inputs, target, torch.ones(500, dtype=torch.bool), epochs=60, learning_rate=5e-2, weight_decay=0.0)
    other = LogisticRegression(C=1e6).fit(inputs.context[:, 0].numpy(), target.numpy())
    with torch.no_grad():
        got = head(inputs).diff(dim=1).squeeze(1).numpy()
    np.testing.assert_allclose(got, other.decision_function(inputs.context[:, 0].numpy()), rtol=0.05, atol=0.05)


def test_targets_that_do_not_count_change_nothing() -> None:
    inputs, counts = _inputs(60), torch.rand(60, generator=torch.Generator().manual_seed(4)) > 0.3
    target = inputs.context[:, 0, 0].clone()
    spoiled = torch.where(counts, target, 1e6)
    weights = []
    for version in (target, spoiled):
        head = _probe(out_features=1, kind="value")
        fit_head(head, inputs, version, counts, epochs=3, batch_size=16)
        weights.append(head.linear.weight.detach().clone())
    assert torch.equal(*weights)


def test_same_seed_same_head_and_the_process_keeps_its_generator() -> None:
    inputs, counts = _inputs(50), torch.ones(50, dtype=torch.bool)
    target = inputs.context[:, 0, 1]

    def weight(seed: int) -> torch.Tensor:
        head = _probe(out_features=1, kind="value")
        state = torch.get_rng_state()
        fit_head(head, inputs, target, counts, epochs=2, batch_size=7, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        return head.linear.weight.detach().clone()

    assert torch.equal(weight(3), weight(3))
    assert not torch.equal(weight(3), weight(4))


def test_early_stop_keeps_the_best_weights() -> None:
    train, held_out = _inputs(12, seed=5), _inputs(200, seed=6)
    # Nothing to learn: every step away from the best fits noise.
    target = torch.randn(12, generator=torch.Generator().manual_seed(7))
    other = torch.zeros(200)
    counts, all_of_them = torch.ones(12, dtype=torch.bool), torch.ones(200, dtype=torch.bool)
    head = _probe(out_features=1, kind="value")
    history = fit_head(
        head,
        train,
        target,
        counts,
        epochs=200,
        learning_rate=5e-2,
        validation=(held_out, other, all_of_them),
        early_stop=5,
    )
    losses = [entry["val_loss"] for entry in history]
    best = int(np.argmin(losses))
    assert len(history) == best + 1 + 5 < 200
    assert evaluate_head(head, held_out, other, all_of_them) == pytest.approx(losses[best])
    assert not head.training


def test_loss_over_batches_is_the_mean_over_what_counts() -> None:
    inputs, target = _inputs(23), torch.arange(23.0)
    counts = torch.arange(23) % 3 == 0
    head = _probe(out_features=1, kind="value")
    with torch.no_grad():
        want = (head(inputs).squeeze(1) - target)[counts].square().mean()
    assert evaluate_head(head, inputs, target, counts, batch_size=5) == pytest.approx(float(want), rel=1e-5)
    nothing_counts = evaluate_head(head, inputs, target, torch.zeros(23, dtype=torch.bool))
    assert math.isnan(nothing_counts), "no target is not a perfect score"


def test_a_forecast_head_beats_its_start() -> None:
    generator = torch.Generator().manual_seed(8)
    recent = torch.randn(200, 6, generator=generator)
    inputs = HeadInput(
        context=torch.randn(200, 6, 3, generator=generator),
        observed=torch.ones(200, 6, dtype=torch.bool),
        recent=recent,
    )
    target = recent[:, -1:] + torch.tensor([1.0, 2.0])
    counts = torch.ones(200, 2, dtype=torch.bool)
    torch.manual_seed(0)
    head = Forecast(in_features=3, horizon=2, quantiles=(0.1, 0.5, 0.9), width=8)
    start = evaluate_head(head, inputs, target, counts)
    history = fit_head(head, inputs, target, counts, epochs=30, batch_size=50, learning_rate=2e-2)
    assert history[-1]["loss"] < 0.2 * start
    with torch.no_grad():
        middle = head(inputs)[:, :, 1] - recent[:, -1:]
    np.testing.assert_allclose(middle.mean(0).numpy(), [1.0, 2.0], atol=0.2)


def test_take_picks_rows_of_everything() -> None:
    inputs = HeadInput(
        context=torch.arange(24.0).reshape(4, 2, 3),
        observed=torch.ones(4, 2, dtype=torch.bool),
        recent=torch.arange(8.0).reshape(4, 2),
        plan=torch.arange(20.0).reshape(4, 5, 1),
    )
    some = take(inputs, torch.tensor([3, 1]))
    assert some.context[0, 0, 0] == 18
    assert some.recent is not None
    assert some.plan is not None
    assert some.recent[1].tolist() == [2.0, 3.0]
    assert some.plan[0, 0, 0] == 15


def test_what_cannot_be_learned_is_refused() -> None:
    inputs, counts = _inputs(8), torch.ones(8, dtype=torch.bool)
    head = _probe(out_features=1, kind="value")
    with pytest.raises(ShapeError, match="do not fit each other"):
        fit_head(head, inputs, torch.zeros(9), torch.ones(9, dtype=torch.bool))
    with pytest.raises(ShapeError, match="nothing to learn"):
        fit_head(head, inputs, torch.zeros(8), ~counts)
    with pytest.raises(HdtError, match="not finite"):
        fit_head(head, inputs, torch.full((8,), torch.nan), counts)
