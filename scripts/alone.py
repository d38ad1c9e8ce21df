"""What the scripts about the loss share: they run where there is torch and nothing else, beside the same peers."""

import sys
import types
from importlib import import_module

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def stand_in_for_jaxtyping() -> None:
    """Shapes in signatures are for readers and tests; where jaxtyping is missing, `Float[Tensor, "a"]` is `Tensor`."""
    try:
        import_module("jaxtyping")
    except ImportError:
        pass
    else:
        return
    shape = type("Shape", (), {"__class_getitem__": classmethod(lambda cls, item: item[0])})
    stand_in = types.ModuleType("jaxtyping")
    for name in ("Bool", "Float", "Int", "Shaped"):
        setattr(stand_in, name, shape)
    sys.modules["jaxtyping"] = stand_in


def naive(query: Tensor, key: Tensor, scale: Tensor) -> Tensor:
    """One product, two cross-entropies: 6 N^2 D."""
    logits = (scale * (query @ key.T)).float()
    target = torch.arange(len(query), device=query.device)
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2


def two_products(query: Tensor, key: Tensor, scale: Tensor) -> Tensor:
    """A product for each direction, as open_clip's ClipLoss does on one device: 12 N^2 D."""
    target = torch.arange(len(query), device=query.device)
    first, second = scale * query @ key.T, scale * key @ query.T
    return (cross_entropy(first.float(), target) + cross_entropy(second.float(), target)) / 2
