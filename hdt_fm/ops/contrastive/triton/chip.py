"""Gradients on chip: dL/ds is made anew for each side and never leaves the registers, 10 N^2 D in all."""

import torch

from hdt_fm.ops.contrastive.triton.launch import load, on_device, programs, settings
from hdt_fm.ops.contrastive.triton.packed import Packed, Pushes, Sums


def on_chip(packed: Packed, pushes: Pushes) -> Sums:
    """Both sides of all pairs in one launch; only for rows that are as wide as the tile is deep."""
    tile = packed.config.chip
    assert tile is not None
    pairs, query_room, width = packed.query.shape
    room = packed.key.shape[1]
    assert tile.depth == width, (tile, width)
    parts = packed.own.new_zeros(2, pairs, query_room // tile.rows)
    d_query, d_key = (torch.zeros_like(side, dtype=torch.float32) for side in (packed.query, packed.key))
    blocks = pairs * (query_room + room) // tile.rows
    with on_device(packed.query):
        load().chip_kernel[(programs(packed.query, blocks, tile),)](
            packed.query,
            packed.key,
            pushes.scale,
            pushes.shift,
            pushes.row,
            pushes.column,
            packed.rows if pushes.wide is None else pushes.wide,
            packed.rows,
            packed.columns,
            packed.first,
            packed.near,
            pushes.pull,
            pushes.unit,
            d_query,
            d_key,
            parts[0],
            parts[1],
            query_room,
            room,
            pairs,
            sigmoid=pushes.wide is None,
            **settings(packed, tile, many=True, mask=True),
        )
    return Sums(d_query, d_key, *parts.sum(2))
