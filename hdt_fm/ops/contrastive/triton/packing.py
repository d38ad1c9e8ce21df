"""Rows of a batch to packed rows, and gradients back."""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from hdt_fm.ops.contrastive.triton.configs import Config
from hdt_fm.ops.contrastive.triton.launch import config_of, load, on_device
from hdt_fm.ops.contrastive.triton.packed import Packed


@functools.lru_cache(maxsize=64)
def sides_on(sides: tuple[int, ...], device: torch.device) -> Tensor:
    """Modality numbers on the device; kept, since a copy from the host cannot be captured in a CUDA graph."""
    return torch.tensor(sides, dtype=torch.int32, device=device)


def rooms(rows: Tensor, products: str, rule: bool) -> tuple[int, int, torch.dtype, Config]:
    """Numbers of packed rows, their width and precision, and the sizes of tiles for them."""
    dtype = torch.bfloat16 if rows.dtype == torch.float32 and products == "bf16" else rows.dtype
    config = config_of(rows.device, dtype, rows.shape[2], rule)
    return -(-rows.shape[1] // config.room) * config.room, config.packed_width(rows.shape[2]), dtype, config


def precision_of(products: str) -> str:
    """Of products of float32, as the kernels name it."""
    return "tf32" if products == "tf32" else "tf32x3"


def pack(
    rows: Tensor, order: Tensor, count: Tensor, near: Tensor, sides: Sequence[int], products: str
) -> tuple[Packed, Tensor]:
    """Rows of all pairs side by side, and the largest squared lengths of both sides."""
    room, width, dtype, config = rooms(rows, products, near.shape[2] > 0)
    rows, pairs = rows.to(dtype), len(order)
    query, key = (rows.new_empty(pairs, room, width) for _ in range(2))
    own = rows.new_empty(pairs, room, dtype=torch.float32)
    lengths = rows.new_empty(pairs, 2, room, dtype=torch.float32)
    with on_device(rows):
        load().pack_kernel[(room // 16, pairs)](
            rows,
            order,
            count,
            sides_on(tuple(sides), rows.device),
            query,
            key,
            own,
            lengths,
            rows.shape[1],
            rows.shape[2],
            room,
            width,
            *rows.stride(),
            block=16,
            block_d=min(128, width & -width),
        )
    near = near_packed(near, order, room)
    first = torch.zeros_like(count)
    return Packed(query, key, own, count, count, first, near, precision_of(products), config), lengths.amax(2)


def weights_of(weight: Tensor | None, order: Tensor, count: Tensor, own: Tensor) -> Tensor:
    """Of each packed row in its pair's mean, adding up to 1; all 0 if no row has any."""
    here = torch.arange(own.shape[1], device=own.device) < count[:, None]
    if weight is None:
        return here / count.clamp(min=1)[:, None].float()
    picked = pad(weight[order.long()], (0, own.shape[1] - order.shape[1])).masked_fill(~here, 0.0)
    total = picked.sum(1, keepdim=True)
    return torch.where(total > 0, picked / total, 0.0)


def near_packed(near: Tensor, order: Tensor, room: int) -> Tensor:
    """Who is near whom, of packed rows; without exclusion a tensor of its own of length 0."""
    if near.shape[2] == 0:
        return near.clone()
    return pad(near.gather(2, order.long()[:, None].expand(-1, 3, -1)), (0, room - order.shape[1]))


def unpack(
    d_query: Tensor,
    d_key: Tensor,
    factor: Tensor,
    place: Tensor,
    count: Tensor,
    sides: Sequence[int],
    shape: Sequence[int],
    dtype: torch.dtype,
) -> Tensor:
    """Gradients of the rows of a batch: of each the sum over its pairs, times a factor of the pair."""
    # The interpreter cuts digits of bfloat16 off where a GPU rounds.
    out = torch.empty(tuple(shape), dtype=torch.float32 if load().INTERPRET else dtype, device=d_query.device)
    modalities, batch, dim = shape
    with on_device(d_query):
        load().unpack_kernel[(-(-batch // 16), modalities, -(-dim // 128))](
            d_query,
            d_key,
            factor.contiguous(),
            place,
            count,
            sides_on(tuple(sides), d_query.device),
            out,
            batch,
            dim,
            d_query.shape[1],
            d_query.shape[2],
            len(place),
            block=16,
            block_d=128,
        )
    return out.to(dtype)
