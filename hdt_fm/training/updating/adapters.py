"""Adapters: a domain of one's own as low-rank changes of a member's weights; the shared weights stay as they are."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hdt_fm.schema.errors import ConfigError, ShapeError

AnyHead = TypeVar("AnyHead", bound=nn.Module)


class LowRank(nn.Module):
    """weight + up @ down, which begins as the weight itself (Hu et al. 2021)."""

    def __init__(self, rows: int, columns: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, columns) / columns**0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


@contextmanager
def adapted(member: nn.Module, rank: int) -> Iterator[None]:
    """Inside, every linear layer has an adapter and nothing else trains; afterwards weights are plain again, with the
    adapter in them.

    Raises:
        ConfigError: If there is no linear layer, or the rank is below 1.
    """
    layers = [one for one in member.modules() if isinstance(one, nn.Linear)]
    if not layers or rank < 1:
        raise ConfigError(
            "Nothing can be adapted",
            where="strategy.rank",
            expected="a head with linear layers, and a rank of 1 or more",
            got=f"{len(layers)} layers, rank {rank}",
        )
    trains = [(one, one.requires_grad) for one in member.parameters()]
    member.requires_grad_(False)
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", LowRank(layer.out_features, layer.in_features, rank))
    try:
        yield
    finally:
        for layer in layers:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        for one, was in trains:
            one.requires_grad_(was)


def change_of(base: nn.Module, moved: nn.Module, rank: int) -> dict[str, Tensor]:
    """What `moved` is beside `base`: the two factors of each changed weight, and buffers that differ. All that has to
    be kept of a domain."""
    found, weights = {}, dict(moved.named_parameters())
    for name, one in base.named_parameters():
        change = weights[name].detach() - one.detach()
        if change.ndim == 2 and change.abs().max() > 0:
            left, size, right = torch.linalg.svd(change, full_matrices=False)
            found[f"{name}.up"] = (left[:, :rank] * size[:rank]).contiguous()
            found[f"{name}.down"] = right[:rank].contiguous()
    held = dict(base.named_buffers())
    for name, buffer in moved.named_buffers():
        if not torch.equal(buffer, held[name]):
            found[f"{name}.held"] = buffer.clone()
    return found


def onto(base: AnyHead, change: Mapping[str, Tensor]) -> AnyHead:
    """A copy of a head with a domain's adapter in its weights.

    Raises:
        ShapeError: If the adapter is of another head.
    """
    head = copy.deepcopy(base)
    weights, held = dict(head.named_parameters()), dict(head.named_buffers())
    wanted = {name.removesuffix(".up"): None for name in change if name.endswith(".up")}
    made = {name: change[f"{name}.up"] @ change[f"{name}.down"] for name in wanted}
    buffers = {name.removesuffix(".held"): one for name, one in change.items() if name.endswith(".held")}
    strange = [name for name, one in made.items() if name not in weights or weights[name].shape != one.shape]
    strange += [name for name, one in buffers.items() if name not in held or held[name].shape != one.shape]
    if strange:
        raise ShapeError(
            "An adapter does not fit the head",
            expected="factors of this head's weights",
            got=", ".join(strange[:3]),
            fix="use the head that it was learned for",
        )
    with torch.no_grad():
        for name, one in made.items():
            weights[name].add_(one)
        for name, buffer in buffers.items():
            held[name].copy_(buffer)
    return head
