"""Triton kernel of the backward pass on chip, for narrow rows: dL/ds is made again for each side and never stored.

A program holds some rows of one side and the sum of what pushes and pulls them in registers, and walks over all rows
of the other side: 5 products of 2 N^2 D instead of 4, but no traffic of dL/ds, which at these widths costs more.
"""

from typing import no_type_check

import triton
import triton.language as tl

from hdt_fm.ops.contrastive.triton.kernels.tiles import (
    find_row_block,
    kept,
    mixed,
    multiply,
    partners_pull,
    pushes,
)


@triton.jit
@no_type_check
def walk(
    mine,
    a,
    other,
    other_all,
    start,
    end,
    start_other,
    count_other,
    near,
    room,
    factor,
    shift,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    rule: tl.constexpr,
    sigmoid: tl.constexpr,
    wide: tl.constexpr,
    precision: tl.constexpr,
    upcast: tl.constexpr,
):
    """Pushes of the rows `mine` with all others, times the others; their sums with cosines, and their sums.

    The form of `pushes` is chosen outside of the loop: a branch inside holds a whole tile twice in registers. So do
    tiles that skip the masks, so without a rule, where masks are three comparisons, no tile does.
    """
    m = tl.arange(0, block_m)
    n = tl.arange(0, block_n)
    k = tl.arange(0, block_k)
    total = tl.zeros((block_m, block_k), tl.float32)
    of_scale = tl.zeros((block_m,), tl.float32)
    of_bias = tl.zeros((block_m,), tl.float32)
    end_other = start_other + count_other
    for top in range(0, count_other, block_n):
        rows = tl.load(other + (top + n)[:, None] * block_k + k[None, :])
        acc = tl.zeros((block_m, block_n), tl.float32)
        acc = multiply(mine, tl.trans(rows), acc, precision, upcast)
        value = pushes(acc, a, tl.load(other_all + top + n), factor, shift, sigmoid, wide)
        j0 = start_other + top
        if rule and not wide:
            if mixed(start, j0, end, end_other, near, room, block_m, block_n, rule):
                value = tl.where(kept(start + m, j0 + n, end, end_other, near, room, rule), value, 0.0)
        else:
            value = tl.where(kept(start + m, j0 + n, end, end_other, near, room, rule), value, 0.0)
        of_scale += tl.sum(value * acc, 1)
        if sigmoid:
            of_bias += tl.sum(value, 1)
        total = multiply(value.to(rows.dtype), rows, total, precision, upcast)
    return total, of_scale, of_bias


@triton.jit(do_not_specialize=["pairs"])
@no_type_check
def chip_kernel(
    query,
    key,
    scale,
    offset,
    row_all,
    column_all,
    wide_range,
    rows,
    count,
    first,
    near,
    pull,
    unit,
    d_query,
    d_key,
    scale_part,
    bias_part,
    query_room,
    key_room,
    pairs,
    pairs_above: tl.constexpr,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    rule: tl.constexpr,
    sigmoid: tl.constexpr,
    precision: tl.constexpr,
    upcast: tl.constexpr,
):
    """Gradients of both sides, finished, and each query block's share of dL/dscale and dL/dbias.

    Row blocks of the query side come first, then those of the key side, which are the same with the sides changed: who
    is near whom is symmetric. `block_k` is the whole width. Other arguments are those of the panels' kernels.
    """
    index = tl.arange(0, pairs_above)
    tall = tl.cdiv(tl.load(rows + index, mask=index < pairs, other=0), block_m)
    wide = tl.cdiv(tl.load(count + index, mask=index < pairs, other=0), block_m)
    first_tiles = tl.sum(tall, 0)
    for tile in range(tl.program_id(0), first_tiles + tl.sum(wide, 0), tl.num_programs(0)):
        of_query = tile < first_tiles
        if of_query:
            pair, r = find_row_block(tile, tall, index)
            pair = pair.to(tl.int64)
            mine, other = query + pair * query_room * block_k, key + pair * key_room * block_k
            mine_all, other_all = row_all + pair * query_room, column_all + pair * key_room
            to = d_query + pair * query_room * block_k
            count_mine, count_other = tl.load(rows + pair), tl.load(count + pair)
        else:
            pair, r = find_row_block(tile - first_tiles, wide, index)
            pair = pair.to(tl.int64)
            mine, other = key + pair * key_room * block_k, query + pair * query_room * block_k
            mine_all, other_all = column_all + pair * key_room, row_all + pair * query_room
            to = d_key + pair * key_room * block_k
            count_mine, count_other = tl.load(count + pair), tl.load(rows + pair)
        i0 = r * block_m
        m = tl.arange(0, block_m)
        k = tl.arange(0, block_k)
        lead = tl.load(first + pair)
        start = tl.where(of_query, lead, 0)
        start_other = tl.where(of_query, 0, lead)
        near_pair = near + pair * 3 * key_room
        factor = tl.load(scale + pair)
        shift = tl.load(offset + pair)
        a = tl.load(mine_all + i0 + m)
        at = (i0 + m)[:, None] * block_k + k[None, :]
        held = tl.load(mine + at)
        rare = False if sigmoid else tl.load(wide_range + pair) != 0
        if rare:
            total, of_scale, of_bias = walk(
                held,
                a,
                other,
                other_all,
                start + i0,
                start + count_mine,
                start_other,
                count_other,
                near_pair,
                key_room,
                factor,
                shift,
                block_m,
                block_n,
                block_k,
                rule,
                False,
                True,
                precision,
                upcast,
            )
        else:
            total, of_scale, of_bias = walk(
                held,
                a,
                other,
                other_all,
                start + i0,
                start + count_mine,
                start_other,
                count_other,
                near_pair,
                key_room,
                factor,
                shift,
                block_m,
                block_n,
                block_k,
                rule,
                sigmoid,
                False,
                precision,
                upcast,
            )
        # Row i of one side belongs to row i + start - start_other of the other.
        partner = i0 + start - start_other
        here = (i0 + m < count_mine) & (partner + m >= 0) & (partner + m < count_other)
        pulls = pull + pair * query_room + tl.where(of_query, i0, partner)
        own = partners_pull(other + partner * block_k, pulls, m, k, block_k, here, k < block_k)
        tl.store(to + at, total * tl.load(unit + pair) - own, mask=(i0 + m < count_mine)[:, None])
        if of_query:
            spot = pair * (query_room // block_m) + r
            tl.store(scale_part + spot, tl.sum(of_scale, 0))
            if sigmoid:
                tl.store(bias_part + spot, tl.sum(of_bias, 0))
