"""The forecast head: persistence at the start, quantiles in order, the past without holes in it."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_pinball_loss

from hdt_fm.heads.forecast import FIRST_STEP, Forecast
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.protocols import HeadInput

KINDS = ("gru", "transformer")


def inputs_of(batch=4, context=6, features=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    observed = torch.rand(batch, context, generator=generator) < 0.8
    values = torch.randn(batch, context, features, generator=generator)
    recent = 70 + 10 * torch.randn(batch, context, generator=generator)
    recent[torch.rand(batch, context, generator=generator) < 0.3] = torch.nan
    return HeadInput(values, observed, recent)


def head_of(kind, **more):
    torch.manual_seed(0)
    return Forecast(in_features=5, horizon=3, kind=kind, width=16, center=70.0, scale=10.0, **more)


def stirred(head):
    """A head with weights that are no longer those of the start."""
    with torch.no_grad():
        for weight in head.parameters():
            weight.add_(0.5 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    return head


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_as_persistence(kind):
    inputs = inputs_of()
    out = head_of(kind)(inputs)
    assert out.shape == (4, 3, 5)
    for row in range(4):
        known = inputs.recent[row][~inputs.recent[row].isnan()]
        torch.testing.assert_close(out[row, :, 2], known[-1].expand(3))
    torch.testing.assert_close(out[..., 3] - out[..., 2], torch.full((4, 3), 10 * FIRST_STEP))
    torch.testing.assert_close(out[..., 0] - out[..., 2], torch.full((4, 3), -20 * FIRST_STEP))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("quantiles", [(0.1, 0.25, 0.5, 0.75, 0.9), (0.5,), (0.7, 0.9), (0.05, 0.4)])
def test_quantiles_never_cross(kind, quantiles):
    out = stirred(head_of(kind, quantiles=quantiles))(inputs_of(batch=50))
    assert out.shape[-1] == len(quantiles)
    assert (out.diff(dim=-1) > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_unobserved_context_and_unknown_values_have_no_influence(kind):
    head, inputs = stirred(head_of(kind)).eval(), inputs_of()
    worst = torch.where(inputs.observed[..., None], inputs.context, torch.nan)
    assert torch.equal(head(HeadInput(worst, inputs.observed, inputs.recent)), head(inputs))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_known_is_the_training_center_with_finite_gradients(kind):
    head = head_of(kind)
    inputs = HeadInput(torch.zeros(2, 6, 5), torch.zeros(2, 6, dtype=torch.bool))
    out = head(inputs)
    torch.testing.assert_close(out[..., 2], torch.full((2, 3), 70.0))
    stirred(head)(inputs).sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in head.parameters() if weight.grad is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_shift_of_the_past_shifts_the_start(kind):
    inputs = inputs_of()
    shifted = HeadInput(inputs.context, inputs.observed, inputs.recent + 5)
    head = head_of(kind)
    torch.testing.assert_close(head(shifted), head(inputs) + 5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_the_context_matters(kind):
    head, inputs = stirred(head_of(kind)).eval(), inputs_of()
    seen = torch.ones_like(inputs.observed)
    recent = torch.full_like(inputs.recent, 70.0)
    out = head(HeadInput(inputs.context, seen, recent))
    assert not torch.allclose(out, head(HeadInput(inputs.context.flip(1), seen, recent)), atol=1e-3)


def test_loss_is_the_pinball_loss_of_the_counted_targets_over_scale():
    head = head_of("gru")
    output = torch.randn(4, 3, 5).cumsum(-1) + 70
    target = 70 + torch.randn(4, 3)
    counts = torch.rand(4, 3, generator=torch.Generator().manual_seed(2)) < 0.6
    target[~counts] = torch.nan
    picked, rows = target[counts].double().numpy(), output[counts].double().numpy()
    expected = [mean_pinball_loss(picked, rows[:, k], alpha=level) for k, level in enumerate(head.quantiles)]
    assert head.loss(output, target, counts).item() == pytest.approx(np.mean(expected) / 10, rel=1e-5)


def test_it_learns_quantiles_of_noise():
    # Pure noise around the last value: the best quantiles are those of the noise.
    torch.manual_seed(0)
    head = Forecast(in_features=1, horizon=1, quantiles=(0.1, 0.5, 0.9), width=8)
    inputs = HeadInput(torch.zeros(512, 2, 1), torch.ones(512, 2, dtype=torch.bool), torch.zeros(512, 2))
    target, counts = torch.randn(512, 1), torch.ones(512, 1, dtype=torch.bool)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        head.loss(head(inputs), target, counts).backward()
        optimizer.step()
    expected = np.quantile(target.numpy(), (0.1, 0.5, 0.9))
    np.testing.assert_allclose(head(inputs)[0, 0].detach(), expected, atol=0.15)


def test_bad_settings_and_targets_speak():
    for bad in ({"quantiles": (0.5, 0.1)}, {"quantiles": (0.0, 0.5)}, {"quantiles": ()}, {"scale": math.nan}):
        with pytest.raises(ConfigError, match="rising quantiles"):
            Forecast(in_features=2, horizon=1, **bad)
    with pytest.raises(ShapeError, match="does not fit the forecast"):
        head_of("gru").loss(torch.zeros(2, 3, 5), torch.zeros(2, 4), torch.ones(2, 4, dtype=torch.bool))
