"""Contrastive losses by Triton kernels: all pairs in one launch of each stage, memory linear in rows, no host sync.

The mathematics is that of `chunked`. Rows of each pair are packed side by side (ordered by person and time, so that
near rows lie in few tiles); how many there are stays on the device. `forward` and `gradients` are the heavy stages;
they take a block of the query rows against all key rows, which is what a process of a distributed run has (`spread`).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from hdt_fm.ops.contrastive.pairs import SHARES, PairLosses, Pairs
from hdt_fm.ops.contrastive.triton import operators  # noqa: F401  registers them
from hdt_fm.ops.contrastive.triton.launch import load
from hdt_fm.ops.contrastive.triton.near import rows_of
from hdt_fm.schema.errors import ConfigError

__all__ = ["pair_losses", "refuse", "sigmoid_losses"]


def pair_losses(problem: Pairs, logit_scale: Float[Tensor, " pair"]) -> PairLosses:
    """Loss of each pair, in nats; bitwise the same on every run of one device.

    Raises:
        ConfigError: If Triton is missing, or rows are float64 or not on a GPU.

    Numerics: float32 logits and sums. Products of half-precision rows round dL/dlogit to that precision; float32 rows
        keep float32's digits by three TF32 products, unless `problem.products` allows fewer.
    """
    return _losses(problem, logit_scale, None)


def sigmoid_losses(problem: Pairs, logit_scale: Float[Tensor, " pair"], bias: Float[Tensor, ""]) -> PairLosses:
    """As `reference.sigmoid_losses`; else as `pair_losses`."""
    return _losses(problem, logit_scale, bias)


def _losses(problem: Pairs, logit_scale: Tensor, bias: Tensor | None) -> PairLosses:
    refuse(problem)
    if problem.embeddings.shape[1] < 2:
        nothing = problem.nothing(logit_scale.float()) if bias is None else problem.nothing(logit_scale.float() + bias)
        return PairLosses(nothing, torch.zeros_like(nothing, dtype=torch.long))
    order, place, count, near, empty = rows_of(problem)
    weight = None if problem.weight is None else problem.weight.detach().float()
    loss, *_ = torch.ops.hdt_fm.contrastive_forward(
        problem.embeddings,
        logit_scale.float(),
        None if bias is None else bias.float(),
        weight,
        order,
        place,
        count,
        near,
        [side for pair in problem.pairs for side in pair],
        list(SHARES[problem.direction]),
        problem.products,
    )
    return PairLosses(loss, empty)


def refuse(problem: Pairs) -> None:
    """Refuse what the kernels cannot do here.

    Raises:
        ConfigError: If Triton is missing, or rows are float64 or not on a GPU.
    """
    rows = problem.embeddings
    if rows.dtype == torch.float64:
        raise ConfigError(
            "impl='triton' has no float64",
            expected="bfloat16, float16 or float32 embeddings",
            got="float64",
            fix="use impl='chunked', or 'auto'",
        )
    if not (rows.is_cuda or load().INTERPRET):
        raise ConfigError(
            "impl='triton' needs a GPU", expected="CUDA tensors", got=rows.device.type, fix="use impl='auto'"
        )
