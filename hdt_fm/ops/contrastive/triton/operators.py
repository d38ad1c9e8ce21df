"""The passes forward and backward as operators of torch, so that torch.compile does not look inside."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hdt_fm.ops.contrastive.triton.forward import losses_of, offset_of, question_losses, sums
from hdt_fm.ops.contrastive.triton.gradients import gradients, question_gradients
from hdt_fm.ops.contrastive.triton.launch import config_of
from hdt_fm.ops.contrastive.triton.packed import Packed
from hdt_fm.ops.contrastive.triton.packing import pack, precision_of, rooms, unpack, weights_of


@torch.library.custom_op(
    "hdt_fm::contrastive_forward",
    mutates_args=(),
    schema="(Tensor rows, Tensor scale, Tensor? bias, Tensor? weight, Tensor order, Tensor place, Tensor count,"
    " Tensor near, int[] sides, float[] shares, str products)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _forward(
    rows: Tensor,
    scale: Tensor,
    bias: Tensor | None,
    weight: Tensor | None,
    order: Tensor,
    place: Tensor,
    count: Tensor,
    near: Tensor,
    sides: Sequence[int],
    shares: Sequence[float],
    products: str,
) -> tuple[Tensor, ...]:
    """Loss of each pair, and what the backward pass needs."""
    packed, longest = pack(rows, order, count, near, sides, products)
    weights = weights_of(weight, order, count, packed.own)
    scale = scale.contiguous()
    if bias is not None:
        loss = question_losses(packed, scale, bias, weights, shares)
        offset, row, column = bias.expand_as(scale).clone(), torch.zeros_like(packed.own), torch.zeros_like(packed.own)
    else:
        offset = offset_of(scale, longest, packed.key.shape[1])
        row, column = sums(packed, scale, offset)
        loss = losses_of(packed, scale, row, column, weights, shares)
    return loss, packed.query, packed.key, packed.own, packed.near, weights, offset, row, column


@_forward.register_fake
def _(
    rows: Tensor,
    scale: Tensor,
    bias: Any,
    weight: Any,
    order: Tensor,
    place: Any,
    count: Any,
    near: Tensor,
    sides: Any,
    shares: Any,
    products: str,
) -> tuple[Tensor, ...]:
    pairs = len(order)
    room, width, dtype, _ = rooms(rows, products, near.shape[2] > 0)
    packed = rows.new_empty(pairs, room, width, dtype=dtype)
    own = rows.new_empty(pairs, room, dtype=torch.float32)
    kept = near.new_empty(pairs, 3, room if near.shape[2] > 0 else 0)
    loss, offset = (rows.new_empty(pairs, dtype=torch.float32) for _ in range(2))
    weights, row, column = (torch.empty_like(own) for _ in range(3))
    return loss, packed, torch.empty_like(packed), own, kept, weights, offset, row, column


@torch.library.custom_op(
    "hdt_fm::contrastive_backward",
    mutates_args=(),
    schema="(Tensor grad, Tensor query, Tensor key, Tensor own, Tensor near, Tensor weight, Tensor offset, Tensor row,"
    " Tensor column, Tensor scale, Tensor? bias, Tensor place, Tensor count, int[] sides, float[] shares,"
    " str products, SymInt[] shape, ScalarType dtype) -> (Tensor, Tensor, Tensor)",
)
def _backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    own: Tensor,
    near: Tensor,
    weight: Tensor,
    offset: Tensor,
    row: Tensor,
    column: Tensor,
    scale: Tensor,
    bias: Tensor | None,
    place: Tensor,
    count: Tensor,
    sides: Sequence[int],
    shares: Sequence[float],
    products: str,
    shape: Sequence[int],
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of rows, scales and bias."""
    rule = near.shape[2] > 0
    config = config_of(query.device, query.dtype, shape[2], rule)
    first = torch.zeros_like(count)
    packed = Packed(query, key, own, count, count, first, near, precision_of(products), config)
    scale = scale.contiguous()
    if bias is not None:
        found = question_gradients(packed, scale, bias, weight, shares)
    else:
        found = gradients(packed, scale, offset, row, column, weight, shares)
    d_rows = unpack(found.query, found.key, scale * grad, place, count, sides, shape, dtype)
    here = count > 0
    d_scale, d_bias = (torch.where(here, grad * each, 0.0) for each in (found.scale, found.bias))
    return d_rows, d_scale, d_bias.sum()


@_backward.register_fake
def _(grad: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    shape, dtype = others[-2:]
    return grad.new_empty(shape, dtype=dtype), torch.empty_like(grad), grad.new_empty(())


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    rows, scale, bias, _, _, place, count, _, *settings = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*output[1:], scale, bias, place, count)
    ctx.settings, ctx.shape, ctx.dtype = settings, list(rows.shape), rows.dtype


def _differentiate(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 12
    saved = ctx.saved_tensors
    found = torch.ops.hdt_fm.contrastive_backward(grad, *saved, *ctx.settings, ctx.shape, ctx.dtype)
    d_rows, d_scale, d_bias = found
    return d_rows, d_scale, None if saved[9] is None else d_bias, *(None,) * 9


torch.library.register_autograd("hdt_fm::contrastive_forward", _differentiate, setup_context=_keep)
