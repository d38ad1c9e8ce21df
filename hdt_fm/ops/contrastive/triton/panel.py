"""Gradients by panels: dL/ds of some query rows in memory, then its products with both sides, 8 N^2 D in all."""

import torch

from hdt_fm.ops.contrastive.triton.launch import load, on_device, programs, settings
from hdt_fm.ops.contrastive.triton.packed import Packed, Pushes, Sums


def by_panels(packed: Packed, pushes: Pushes) -> Sums:
    """Pushes of one panel of query rows after another, and their products with both sides."""
    config, room, sigmoid = packed.config, packed.key.shape[1], pushes.wide is None
    pairs, query_room, width = packed.query.shape
    panel = config.panel_rows(pairs, query_room, room)
    tops = range(0, query_room, panel)
    push = packed.query.new_empty(pairs * panel * room)
    tiles = (panel // config.push.rows) * (room // config.push.columns)
    parts = packed.own.new_zeros(2, len(tops), pairs, tiles)
    d_query, d_key = (torch.zeros_like(side, dtype=torch.float32) for side in (packed.query, packed.key))
    counts = (packed.rows, packed.columns, packed.first)
    for number, top in enumerate(tops):
        sizes = (top, panel, query_room, room, width, pairs)
        with on_device(packed.query):
            load().push_kernel[(programs(packed.query, pairs * tiles, config.push),)](
                packed.query,
                packed.key,
                pushes.scale,
                pushes.shift,
                pushes.row,
                pushes.column,
                packed.rows if pushes.wide is None else pushes.wide,
                *counts,
                packed.near,
                push,
                parts[0, number],
                parts[1, number],
                *sizes,
                sigmoid=sigmoid,
                **settings(packed, config.push, many=True, mask=True),
            )
            blocks = -(-width // config.pull.columns) * (panel + room) // config.pull.rows
            load().pull_kernel[(programs(packed.query, pairs * blocks, config.pull),)](
                packed.query,
                packed.key,
                push,
                pushes.pull,
                pushes.unit,
                *counts,
                d_query,
                d_key,
                *sizes,
                **settings(packed, config.pull, many=True, mask=False),
            )
    return Sums(d_query, d_key, *parts.sum((1, 3)))
