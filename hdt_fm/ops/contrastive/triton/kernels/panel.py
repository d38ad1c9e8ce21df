"""Triton kernels of the backward pass by panels: dL/ds of some query rows goes to memory, two products consume it."""

from typing import no_type_check

import triton
import triton.language as tl

from hdt_fm.ops.contrastive.triton.kernels.tiles import (
    blocks,
    cosines,
    find_tile,
    multiply,
    negatives,
    partners_pull,
    pushes,
)


@triton.jit(do_not_specialize=["pairs"])
@no_type_check
def push_kernel(
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
    push,
    scale_part,
    bias_part,
    top,
    panel,
    query_room,
    key_room,
    width,
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
    """dL/ds of the rows `top` to `top + panel`, for the products that follow, and each tile's share of dL/dscale.

    `row_all` and `column_all` are a and b of `pushes`. Which of its forms a pair takes is read from the device and is
    the same for all its tiles, so the rare form costs the usual one nothing but code.
    """
    index = tl.arange(0, pairs_above)
    tall, wide = blocks(rows, count, top, panel, index, pairs, block_m, block_n)
    for tile in range(tl.program_id(0), tl.sum(tall * wide, 0), tl.num_programs(0)):
        pair, r, c = find_tile(tile, tall, wide, index)
        pair = pair.to(tl.int64)
        i0 = top + r * block_m
        j0 = c * block_n
        acc = cosines(
            query + (pair * query_room + i0) * width,
            key + (pair * key_room + j0) * width,
            width,
            block_m,
            block_n,
            block_k,
            precision,
            upcast,
        )
        m = i0 + tl.arange(0, block_m)
        n = j0 + tl.arange(0, block_n)
        a = tl.load(row_all + pair * query_room + m)
        b = tl.load(column_all + pair * key_room + n)
        factor = tl.load(scale + pair)
        shift = tl.load(offset + pair)
        if sigmoid:
            value = pushes(acc, a, b, factor, shift, True, False)
        elif tl.load(wide_range + pair) != 0:
            value = pushes(acc, a, b, factor, shift, False, True)
        else:
            value = pushes(acc, a, b, factor, shift, False, False)
        value = negatives(value, pair, i0, j0, rows, count, first, near, key_room, block_m, block_n, rule)
        spot = (pair * (panel // block_m) + r) * (key_room // block_n) + c
        tl.store(scale_part + spot, tl.sum(tl.sum(value * acc, 1), 0))
        if sigmoid:
            tl.store(bias_part + spot, tl.sum(tl.sum(value, 1), 0))
        at = tl.arange(0, block_m)[:, None] * key_room + tl.arange(0, block_n)[None, :]
        tl.store(push + (pair * panel + r * block_m) * key_room + j0 + at, value.to(push.dtype.element_ty))


@triton.jit
@no_type_check
def pull_query(
    query,
    key,
    push,
    pull,
    unit,
    rows,
    count,
    first,
    d_query,
    pair,
    r,
    c,
    top,
    panel,
    query_room,
    key_room,
    width,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    precision: tl.constexpr,
    upcast: tl.constexpr,
):
    """push @ key less the pull of the positives, of one tile of the query rows of a panel: finished."""
    m = tl.arange(0, block_m)
    n = tl.arange(0, block_n)
    k = tl.arange(0, block_k)
    n0 = c * block_n
    filled = n0 + n < width
    acc = tl.zeros((block_m, block_n), tl.float32)
    left = push + (pair * panel + r * block_m) * key_room + (m[:, None] * key_room + k[None, :])
    right = key + pair * key_room * width + n0 + (k[:, None] * width + n[None, :])
    for start in range(0, tl.load(count + pair), block_k):
        b = tl.load(right, mask=filled[None, :], other=0.0)
        acc = multiply(tl.load(left + start), b, acc, precision, upcast)
        right += block_k * width
    i0 = top + r * block_m
    here = i0 + m < tl.load(rows + pair)
    partners = key + (pair * key_room + tl.load(first + pair) + i0) * width + n0
    own = partners_pull(partners, pull + pair * query_room + i0, m, n, width, here, filled)
    to = d_query + (pair * query_room + i0) * width + n0 + (m[:, None] * width + n[None, :])
    tl.store(to, acc * tl.load(unit + pair) - own, mask=here[:, None] & filled[None, :])


@triton.jit
@no_type_check
def pull_key(
    query,
    key,
    push,
    pull,
    unit,
    rows,
    count,
    first,
    d_key,
    pair,
    r,
    c,
    top,
    panel,
    query_room,
    key_room,
    width,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    precision: tl.constexpr,
    upcast: tl.constexpr,
):
    """push.T @ query of one tile of the key rows: added to earlier panels', or in the first to the positives' pull."""
    m = tl.arange(0, block_m)
    n = tl.arange(0, block_n)
    k = tl.arange(0, block_k)
    j0 = r * block_m
    n0 = c * block_n
    filled = n0 + n < width
    acc = tl.zeros((block_m, block_n), tl.float32)
    left = push + pair * panel * key_room + j0 + (k[:, None] * key_room + m[None, :])
    right = query + (pair * query_room + top) * width + n0 + (k[:, None] * width + n[None, :])
    for _ in range(0, tl.minimum(tl.load(rows + pair) - top, panel), block_k):
        b = tl.load(right, mask=filled[None, :], other=0.0)
        acc = multiply(tl.trans(tl.load(left)), b, acc, precision, upcast)
        left += block_k * key_room
        right += block_k * width
    inside = (j0 + m < tl.load(count + pair))[:, None] & filled[None, :]
    to = d_key + (pair * key_room + j0) * width + n0 + (m[:, None] * width + n[None, :])
    if top == 0:
        i0 = j0 - tl.load(first + pair)
        here = (i0 + m >= 0) & (i0 + m < tl.load(rows + pair))
        partners = query + (pair * query_room + i0) * width + n0
        before = -partners_pull(partners, pull + pair * query_room + i0, m, n, width, here, filled)
    else:
        before = tl.load(to, mask=inside, other=0.0)
    tl.store(to, before + acc * tl.load(unit + pair), mask=inside)


@triton.jit(do_not_specialize=["pairs"])
@no_type_check
def pull_kernel(
    query,
    key,
    push,
    pull,
    unit,
    rows,
    count,
    first,
    d_query,
    d_key,
    top,
    panel,
    query_room,
    key_room,
    width,
    pairs,
    pairs_above: tl.constexpr,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    precision: tl.constexpr,
    upcast: tl.constexpr,
):
    """What a panel of pushes does to both sides.

    Query rows are finished here; key rows gather what each panel adds, one panel after another. The few query tiles
    have the longest sums and come first, so that the many short key tiles fill the device behind them.
    """
    index = tl.arange(0, pairs_above)
    high = tl.load(rows + index, mask=index < pairs, other=0) - top
    tall = tl.cdiv(tl.minimum(tl.maximum(high, 0), panel), block_m)
    # A later panel without rows of a pair has nothing to add to it.
    wide = tl.where((top == 0) | (high > 0), tl.load(count + index, mask=index < pairs, other=0), 0)
    across = tl.where(wide > 0, tl.cdiv(width, block_n), 0)
    wide = tl.cdiv(wide, block_m)
    first_tiles = tl.sum(tall * across, 0)
    for tile in range(tl.program_id(0), first_tiles + tl.sum(wide * across, 0), tl.num_programs(0)):
        if tile < first_tiles:
            pair, r, c = find_tile(tile, tall, across, index)
            pull_query(
                query,
                key,
                push,
                pull,
                unit,
                rows,
                count,
                first,
                d_query,
                pair.to(tl.int64),
                r,
                c,
                top,
                panel,
                query_room,
                key_room,
                width,
                block_m,
                block_n,
                block_k,
                precision,
                upcast,
            )
        else:
            pair, r, c = find_tile(tile - first_tiles, wide, across, index)
            pull_key(
                query,
                key,
                push,
                pull,
                unit,
                rows,
                count,
                first,
                d_key,
                pair.to(tl.int64),
                r,
                c,
                top,
                panel,
                query_room,
                key_room,
                width,
                block_m,
                block_n,
                block_k,
                precision,
                upcast,
            )
