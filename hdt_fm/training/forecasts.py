"""Forecasts of changes from features of a moment: networks that stop by people apart, several averaged."""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hdt_fm.schema.errors import ConfigError

# Standardised features beyond this are held there: one wild reading must not carry a forecast away.
FAR = 8.0
Build = Callable[[int, int], nn.Module]
Predict = Callable[[Float[np.ndarray, "asked feature"]], Float[np.ndarray, "asked horizon mean_and_level"]]


def fit_forecast(
    build: Build,
    features: Float[np.ndarray, "row feature"],
    change: Float[np.ndarray, "row horizon"],
    group: Int[np.ndarray, " row"],
    *,
    levels: Sequence[float],
    members: int = 3,
    epochs: int = 25,
    batch_size: int = 512,
    learning_rate: float = 2e-3,
    weight_decay: float = 1e-3,
    seed: int = 0,
) -> Predict:
    """Fit networks on training people; each member keeps another fifth of them apart, to know when to stop.

    Args:
        build: Called as `build(in_features, horizons)`; the module gives (batch, horizon, 1 + level): a mean, and
            quantiles, in units of the change's spread.
        features: Standardised here by these rows; NaN is unknown: 0, with a flag for columns that have any.
        change: What came, less what was; NaN is not learned from.
        group: People; no group is on both sides of an inner split.

    Returns:
        Means and quantiles of the change for other rows, in its unit: the members' average.

    Raises:
        ConfigError: If there are fewer than two groups, or nothing to learn from.
    """
    groups = np.unique(group)
    if len(groups) < 2 or not np.isfinite(change).any():
        raise ConfigError(
            "There is nothing to fit a forecast on",
            expected="known targets of two people or more",
            got=f"{len(groups)}",
        )
    scaled = _Scaled(features)
    spread = float(np.nanstd(change)) or 1.0
    inputs = scaled(features)
    targets = torch.from_numpy((change / spread).astype(np.float32))
    order = np.random.default_rng(seed).permutation(groups)
    fifth = max(1, len(order) // 5)
    nets = []
    for member in range(members):
        apart = np.isin(group, np.roll(order, -member * fifth)[:fifth])
        torch.manual_seed(seed * 1000 + member)
        net = build(inputs.shape[1], change.shape[1])
        draws = np.random.default_rng([seed, member])
        optimiser = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=weight_decay)
        nets.append(_trained(net, optimiser, inputs, targets, apart, tuple(levels), epochs, batch_size, draws))

    def predict(asked: Float[np.ndarray, "asked feature"]) -> Float[np.ndarray, "asked horizon mean_and_level"]:
        with torch.no_grad():
            given = scaled(asked)
            return np.mean([net(given).double().numpy() for net in nets], axis=0) * spread

    return predict


class _Scaled:
    """Features in units of training rows' spread, and which are known."""

    def __init__(self, features: np.ndarray) -> None:
        known = np.isfinite(features)
        count = np.maximum(known.sum(axis=0), 1)
        self.center = np.where(known, features, 0.0).sum(axis=0) / count
        self.scale = np.sqrt(np.where(known, (features - self.center) ** 2, 0.0).sum(axis=0) / count) + 1e-6
        self.flagged = np.flatnonzero(~known.all(axis=0))

    def __call__(self, features: np.ndarray) -> Tensor:
        known = np.isfinite(features)
        values = np.where(known, (features - self.center) / self.scale, 0.0).clip(-FAR, FAR)
        both = np.concatenate([values, known[:, self.flagged]], axis=1)
        return torch.from_numpy(both.astype(np.float32))


def _trained(
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
    apart: np.ndarray,
    levels: tuple[float, ...],
    epochs: int,
    batch_size: int,
    draws: np.random.Generator,
) -> nn.Module:
    """The state of the epoch that does best on the people apart."""
    learn, judge = np.flatnonzero(~apart), torch.from_numpy(np.flatnonzero(apart))
    steps = epochs * -(-len(learn) // batch_size)
    rate = optimiser.param_groups[0]["lr"]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    best, kept = np.inf, copy.deepcopy(net.state_dict())
    for _ in range(epochs):
        net.train()
        mixed = draws.permutation(learn)
        for first in range(0, len(mixed), batch_size):
            rows = torch.from_numpy(mixed[first : first + batch_size])
            optimiser.zero_grad()
            forecast_loss(net(inputs[rows]), targets[rows], levels).backward()
            optimiser.step()
            schedule.step()
        net.eval()
        with torch.no_grad():
            found = float(forecast_loss(net(inputs[judge]), targets[judge], levels))
        if found < best:
            best, kept = found, copy.deepcopy(net.state_dict())
    net.load_state_dict(kept)
    return net.eval()


def forecast_loss(
    output: Float[Tensor, "batch horizon mean_and_level"],
    target: Float[Tensor, "batch horizon"],
    levels: Sequence[float],
) -> Float[Tensor, ""]:
    """Squared error of the mean and four times the mean pinball loss of the quantiles, over known targets.

    The factor brings both to one size where errors are normal.
    """
    known = target.isfinite()
    truth = target.nan_to_num()
    squared = torch.where(known, (output[..., 0] - truth) ** 2, 0.0).sum()
    edge = torch.tensor(tuple(levels), dtype=output.dtype, device=output.device)
    under = truth[..., None] - output[..., 1:]
    pinball = torch.maximum(edge * under, (edge - 1) * under).mean(dim=-1)
    return (squared + 4 * torch.where(known, pinball, 0.0).sum()) / known.sum().clamp(min=1)
