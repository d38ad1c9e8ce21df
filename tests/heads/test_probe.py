"""The probe against scikit-learn, hand numbers, and bad targets."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.metrics import log_loss

from hdt_fm.heads.probe import Probe
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.protocols import HeadInput


def inputs_of(context):
    return HeadInput(context, torch.ones(context.shape[:2], dtype=torch.bool))


def test_class_loss_is_the_log_loss_of_the_counted_rows():
    torch.manual_seed(0)
    probe = Probe(in_features=4, out_features=3)
    output = probe(inputs_of(torch.randn(9, 1, 4)))
    target = torch.tensor([0.0, 1, 2, 0, 1, 2, 0, 1, torch.nan])
    counts = ~target.isnan()
    got = probe.loss(output, target, counts)
    expected = log_loss(target[:8].int().numpy(), output[:8].detach().double().softmax(-1).numpy(), labels=[0, 1, 2])
    assert got.item() == pytest.approx(expected, rel=1e-5)


def test_value_loss_is_in_units_of_scale_and_finds_least_squares():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(40, 3))
    y = 70 + 8 * (x @ [1.0, -2.0, 0.5]) + generator.normal(size=40)
    probe = Probe(in_features=3, out_features=1, kind="value", center=70.0, scale=8.0).double()
    inputs, target = inputs_of(torch.tensor(x)[:, None]), torch.tensor(y)
    counts = torch.ones(40, dtype=torch.bool)
    optimizer = torch.optim.LBFGS(probe.parameters(), max_iter=100, tolerance_grad=1e-10)

    def step():
        optimizer.zero_grad()
        loss = probe.loss(probe(inputs), target, counts)
        loss.backward()
        return loss

    optimizer.step(step)
    expected = LinearRegression().fit(x, y)
    np.testing.assert_allclose(probe(inputs)[:, 0].detach(), expected.predict(x), atol=1e-4)
    assert step().item() == pytest.approx(((y - expected.predict(x)) ** 2).mean() / 64, rel=1e-5)


def test_the_context_is_averaged_over_what_was_observed():
    probe = Probe(in_features=2, out_features=2)
    context = torch.randn(1, 3, 2)
    observed = torch.tensor([[True, False, True]])
    expected = probe.linear(context[:, [0, 2]].mean(1))
    torch.testing.assert_close(probe(HeadInput(context, observed)), expected)


def test_several_values():
    probe = Probe(in_features=2, out_features=3, kind="value")
    output, target = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[2.0, torch.nan, 5.0]])
    assert probe.loss(output, target, ~target.isnan()).item() == pytest.approx((1 + 4) / 2)


def test_bad_settings_and_targets_speak():
    with pytest.raises(ConfigError, match="out_features >= 2"):
        Probe(in_features=2, out_features=1)
    for kind in ("class", "value"):
        probe = Probe(in_features=2, out_features=2, kind=kind)
        with pytest.raises(ShapeError, match="does not fit the probe's output"):
            probe.loss(torch.zeros(4, 2), torch.zeros(3), torch.ones(3, dtype=torch.bool))
