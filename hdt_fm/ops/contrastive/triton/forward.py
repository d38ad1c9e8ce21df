"""The forward pass over packed rows: one block of query rows against all key rows."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from hdt_fm.ops.contrastive.triton.launch import load, on_device, programs, settings
from hdt_fm.ops.contrastive.triton.packed import Packed, of_block

# float32 holds exponentials up to this.
WIDEST = math.log(torch.finfo(torch.float32).max)


def offset_of(scale: Float[Tensor, " pair"], longest: Float[Tensor, "pair two"], rows: int) -> Float[Tensor, " pair"]:
    """c of the exponentials, so that no sum of `rows` of them overflows; 0 for rows of unit length up to scale 75.

    Args:
        longest: Largest squared length of the rows of either side, over all ranks.
        rows: Key rows at most; the same on all ranks.
    """
    bound = scale.abs() * longest.prod(1).sqrt()
    return (bound - (WIDEST - math.log(rows) - 1)).clamp(min=0)


def sums(
    packed: Packed, scale: Float[Tensor, " pair"], offset: Float[Tensor, " pair"]
) -> tuple[Float[Tensor, "pair query_room"], Float[Tensor, "pair key_room"]]:
    """Logs of the sums over negatives of exp(logit): of each row of the block, and of each column what the block adds.

    Args:
        offset: Of `offset_of`.

    Returns:
        Natural logs; -inf where there is no negative. Columns of several blocks add by log-sum-exp.
    """
    row, column = _tile_sums(packed, scale, offset, sigmoid=False)
    row_log, column_log = row.log() + offset[:, None], column.log() + offset[:, None]
    queries = (packed.query, packed.rows, packed.first)
    keys = (packed.key, packed.columns, torch.zeros_like(packed.first))
    _repair(packed, scale, offset, row, row_log, queries, keys)
    _repair(packed, scale, offset, column, column_log, keys, queries)
    return row_log, column_log


def losses_of(
    packed: Packed,
    scale: Float[Tensor, " pair"],
    row: Float[Tensor, "pair query_room"],
    column: Float[Tensor, "pair key_room"],
    weight: Float[Tensor, "pair key_room"],
    shares: Sequence[float],
) -> Float[Tensor, " pair"]:
    """What the rows of the block add to each pair's loss.

    Args:
        row: Of `sums`.
        column: Of `sums`, added over all blocks.
        weight: Of all key rows, adding up to 1; 0 past the count.
        shares: Of the search from the query side, and of that from the key side.
    """
    own = scale[:, None] * packed.own
    zero = torch.zeros_like(row)
    losses = shares[0] * torch.logaddexp(row - of_block(packed, own), zero)
    losses = losses + shares[1] * torch.logaddexp(of_block(packed, column - own), zero)
    return (of_block(packed, weight) * losses).sum(1)


def question_losses(
    packed: Packed, scale: Tensor, bias: Tensor, weight: Float[Tensor, "pair key_room"], shares: Sequence[float]
) -> Float[Tensor, " pair"]:
    """What the block adds to each pair's loss of yes-or-no questions."""
    row, column = _tile_sums(packed, scale, bias.expand_as(scale).contiguous(), sigmoid=True)
    logit = scale[:, None] * packed.own + bias
    yes = of_block(packed, torch.logaddexp(-logit, torch.zeros_like(logit)))
    block = of_block(packed, weight)
    return (block * (shares[0] * row + sum(shares) * yes)).sum(1) + shares[1] * (weight * column).sum(1)


def _tile_sums(packed: Packed, scale: Tensor, offset: Tensor, *, sigmoid: bool) -> tuple[Tensor, Tensor]:
    config, room = packed.config, packed.key.shape[1]
    pairs, query_room, width = packed.query.shape
    tile, panel = config.sums, config.panel_rows(pairs, query_room, room)
    row, column = packed.own.new_zeros(pairs, query_room), packed.own.new_zeros(pairs, room)
    row_part = packed.own.new_empty(pairs * (room // tile.columns) * panel)
    column_part = packed.own.new_empty(pairs * (panel // tile.rows) * room)
    tiles = pairs * (panel // tile.rows) * (room // tile.columns)
    for top in range(0, query_room, panel):
        with on_device(packed.query):
            load().sums_kernel[(programs(packed.query, tiles, tile),)](
                packed.query,
                packed.key,
                scale,
                offset,
                packed.rows,
                packed.columns,
                packed.first,
                packed.near,
                row_part,
                column_part,
                top,
                panel,
                query_room,
                room,
                width,
                pairs,
                sigmoid=sigmoid,
                **settings(packed, tile, many=True, mask=True),
            )
            load().combine_kernel[(-(-max(panel, room) // 256), pairs, 2)](
                row_part,
                column_part,
                packed.rows,
                packed.columns,
                row,
                column,
                top,
                panel,
                query_room,
                room,
                block_m=tile.rows,
                block_n=tile.columns,
                block=256,
            )
    return row, column


def _repair(
    packed: Packed,
    scale: Tensor,
    offset: Tensor,
    total: Tensor,
    logs: Tensor,
    side: tuple[Tensor, Tensor, Tensor],
    other: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Replace, in place, logs of sums that sank."""
    (rows, count, first), (key, key_count, key_first) = side, other
    tile = packed.config.sums
    with on_device(rows):
        load().repair_kernel[(rows.shape[1] // tile.rows, len(rows))](
            rows,
            key,
            scale,
            offset,
            packed.own,
            total,
            logs,
            count,
            key_count,
            first,
            key_first,
            packed.near,
            rows.shape[1],
            key.shape[1],
            packed.own.shape[1],
            rows.shape[2],
            **settings(packed, tile, many=False, mask=True),
        )
