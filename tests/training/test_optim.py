"""The schedule against its formula, the groups against a list by hand."""

import math

import pytest
import torch
from torch import nn

from hdt_fm.losses.info_nce import InfoNce
from hdt_fm.schema.errors import ConfigError
from hdt_fm.training.optim import adamw_cosine, cosine_share, parameter_groups


def test_cosine_by_hand() -> None:
    share = cosine_share(steps=11, warmup_steps=2)
    assert [share(0), share(1), share(2)] == pytest.approx([0.5, 1.0, 1.0])
    # Half way down, at step 2 + 4 of 2..10, the cosine is 0.
    assert share(6) == pytest.approx(0.01 + 0.99 * 0.5)
    assert share(10) == pytest.approx(0.01)
    assert share(99) == pytest.approx(0.01)


def test_cosine_is_the_closed_form_and_falls() -> None:
    steps, warmup = 103, 7
    share = cosine_share(steps=steps, warmup_steps=warmup)
    got = torch.tensor([share(step) for step in range(warmup, steps)])
    way = torch.linspace(0, math.pi, steps - warmup)
    torch.testing.assert_close(got, 0.01 + 0.99 * torch.cos(way / 2) ** 2)
    assert bool((got.diff() < 0).all())


def test_no_warmup_starts_at_the_top() -> None:
    assert cosine_share(steps=5, warmup_steps=0)(0) == 1.0
    assert cosine_share(steps=1, warmup_steps=0)(0) == 1.0


@pytest.mark.parametrize(("steps", "warmup"), [(5, 5), (5, -1), (0, 0)])
def test_a_warmup_that_does_not_fit_is_refused(steps: int, warmup: int) -> None:
    with pytest.raises(ConfigError, match="warm-up does not fit"):
        cosine_share(steps=steps, warmup_steps=warmup)


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 5)
        self.norm = nn.LayerNorm(5)
        self.log_spread = nn.Parameter(torch.zeros(2, 3))
        self.frozen = nn.Parameter(torch.zeros(4, 4), requires_grad=False)
        self.tied = self.linear
        self.loss = InfoNce()


def test_only_matrices_decay_and_each_weight_is_listed_once() -> None:
    net = _Net()
    decayed, plain = parameter_groups(net, weight_decay=0.3)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.3, 0.0)
    assert [id(p) for p in decayed["params"]] == [id(net.linear.weight)]
    want = [net.linear.bias, net.norm.weight, net.norm.bias, net.log_spread, net.loss.log_logit_scale]
    assert {id(p) for p in plain["params"]} == {id(p) for p in want}
    assert len(plain["params"]) == len(want)


def test_decay_shrinks_a_matrix_without_gradient_and_leaves_its_bias() -> None:
    layer = nn.Linear(2, 3)
    nn.init.ones_(layer.weight)
    nn.init.ones_(layer.bias)
    optimizer, schedule = adamw_cosine(layer, steps=4, learning_rate=0.1, weight_decay=0.5, warmup_steps=0)
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    schedule.step()
    assert layer.weight.unique().item() == pytest.approx(1 - 0.1 * 0.5)
    assert layer.bias.unique().item() == 1.0
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * cosine_share(steps=4, warmup_steps=0)(1))


def test_a_fused_step_is_the_step_within_rounding_and_is_refused_elsewhere() -> None:
    layers = {fused: nn.Linear(3, 5) for fused in (False, True)}
    layers[True].load_state_dict(layers[False].state_dict())
    for fused, layer in layers.items():
        settings = {"steps": 9, "learning_rate": 0.1, "weight_decay": 0.5, "warmup_steps": 2}
        optimizer, schedule = adamw_cosine(layer, fused=fused, **settings)
        generator = torch.Generator().manual_seed(4)
        for _ in range(6):
            for parameter in layer.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step()
            schedule.step()
        assert optimizer.param_groups[0]["fused"] == (fused or None)
    torch.testing.assert_close(layers[True].weight, layers[False].weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(layers[True].bias, layers[False].bias, rtol=1e-5, atol=1e-6)
    with pytest.raises(ConfigError, match="cannot be fused") as caught:
        adamw_cosine(nn.Linear(2, 3, device="meta"), fused=True, **settings)
    assert "float32 on meta" in str(caught.value)
