"""Triton kernels of the forward pass: sums of exponentials over rows and columns, or of what answers cost."""

from typing import no_type_check

import triton
import triton.language as tl

from hdt_fm.ops.contrastive.triton.kernels.tiles import LOG2E, blocks, cosines, find_tile, kept, negatives

LN2 = tl.constexpr(0.6931471805599453)
# Sums of exponentials below this have lost digits to the smallest float32.
LOWEST = tl.constexpr(2.0**-100)


@triton.jit
@no_type_check
def softplus(x):
    """log(1 + exp(x)), to the last digits on both sides: log1p(z) = 2 artanh(z / (2 + z)), a short series as z <= 1."""
    z = tl.exp2(-tl.abs(x) * LOG2E)
    s = z / (2.0 + z)
    t = s * s
    tail = 0.06666667 * t + 0.07692308
    tail = tail * t + 0.09090909
    tail = tail * t + 0.11111111
    tail = tail * t + 0.14285715
    tail = tail * t + 0.2
    tail = tail * t + 0.33333334
    tail = tail * t + 1.0
    return tl.maximum(x, 0.0) + 2.0 * s * tail


@triton.jit(do_not_specialize=["pairs"])
@no_type_check
def sums_kernel(
    query,
    key,
    scale,
    offset,
    rows,
    count,
    first,
    near,
    row_part,
    column_part,
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
    """Sums over rows and columns of each tile of exponentials (of a search) or of answers' costs (of questions).

    Rows `top` to `top + panel` of the query side. One exponential serves both searches. `offset` is c of the
    exponentials, or the bias of the questions.
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
        shift = tl.load(offset + pair)
        if sigmoid:
            value = softplus(acc * tl.load(scale + pair) + shift)
        else:
            value = tl.exp2(acc * (tl.load(scale + pair) * LOG2E) - shift * LOG2E)
        value = negatives(value, pair, i0, j0, rows, count, first, near, key_room, block_m, block_n, rule)
        m = r * block_m + tl.arange(0, block_m)
        n = j0 + tl.arange(0, block_n)
        tl.store(row_part + (pair * (key_room // block_n) + c) * panel + m, tl.sum(value, 1))
        tl.store(column_part + (pair * (panel // block_m) + r) * key_room + n, tl.sum(value, 0))


@triton.jit
@no_type_check
def combine_kernel(
    row_part,
    column_part,
    rows,
    count,
    row,
    column,
    top,
    panel,
    query_room,
    key_room,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    block: tl.constexpr,
):
    """Add what `sums_kernel` left of one panel, in order; program (block, pair, rows or columns)."""
    pair = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * block + tl.arange(0, block)
    high = tl.minimum(tl.maximum(tl.load(rows + pair) - top, 0), panel)
    wide = tl.load(count + pair)
    total = tl.zeros((block,), tl.float32)
    if tl.program_id(2) == 0:
        here = at < high
        for c in range(tl.cdiv(wide, block_n)):
            total += tl.load(row_part + (pair * (key_room // block_n) + c) * panel + at, mask=here, other=0.0)
        tl.store(row + pair * query_room + top + at, total, mask=here)
    else:
        here = at < wide
        if top > 0:
            total = tl.load(column + pair * key_room + at, mask=here, other=0.0)
        for r in range(tl.cdiv(high, block_m)):
            total += tl.load(column_part + (pair * (panel // block_m) + r) * key_room + at, mask=here, other=0.0)
        tl.store(column + pair * key_room + at, total, mask=here)


@triton.jit
@no_type_check
def repair_kernel(
    query,
    key,
    scale,
    offset,
    own,
    sums,
    logs,
    rows,
    count,
    first,
    first_key,
    near,
    query_room,
    key_room,
    near_room,
    width,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    rule: tl.constexpr,
    precision: tl.constexpr,
    upcast: tl.constexpr,
):
    """Logs of sums, anew with a maximum of their own, of rows whose exponentials sank below what float32 holds.

    Program (row block, pair); without such a row it ends at once. For columns the sides are given the other way
    round: which rows are near is symmetric.
    """
    pair = tl.program_id(1).to(tl.int64)
    i0 = tl.program_id(0) * block_m
    m = i0 + tl.arange(0, block_m)
    start = tl.load(first + pair)
    start_key = tl.load(first_key + pair)
    high = tl.load(rows + pair)
    factor = tl.load(scale + pair) * LOG2E
    total = tl.load(sums + pair * query_room + m, mask=m < high, other=1.0)
    positive = tl.load(own + pair * near_room + start + m, mask=m < high, other=0.0)
    sunk = (m < high) & (total + tl.exp2(positive * factor - tl.load(offset + pair) * LOG2E) < LOWEST)
    if tl.max(sunk.to(tl.int32), 0) > 0:
        top = tl.full((block_m,), -float("inf"), tl.float32)
        total = tl.zeros((block_m,), tl.float32)
        wide = tl.load(count + pair)
        for j0 in range(0, wide, block_n):
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
            j = start_key + j0 + tl.arange(0, block_n)
            keep = kept(start + m, j, start + high, start_key + wide, near + pair * 3 * near_room, near_room, rule)
            logit = tl.where(keep, acc * factor, -float("inf"))
            above = tl.maximum(top, tl.max(logit, 1))
            # Nothing kept so far: -inf - -inf would be NaN.
            safe = tl.where(above == -float("inf"), 0.0, above)
            total = total * tl.exp2(top - safe) + tl.sum(tl.exp2(logit - safe[:, None]), 1)
            top = above
        tl.store(logs + pair * query_room + m, (top + tl.log2(total)) * LN2, mask=sunk)
