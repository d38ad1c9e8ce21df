"""Triton kernels of the contrastive losses: every pair of modalities in one launch of each stage.

A launch has a fixed number of programs, which walk over the tiles of all pairs; what a pair has is read from the
device, so the host never asks. Nothing is added atomically: each tile has a place of its own for what it adds, and
places are summed in order, so that runs repeat bit by bit, whatever the device's number of processors.

Letters: m, n rows of the query and the key side; k what a product sums over. Query row i is key row `first + i`.
Packed rows past a pair's count are zeros, so products need no masks. Offsets of a pair are 64 bits wide.
"""

import os
from typing import no_type_check

import triton
import triton.language as tl

# Read where Triton reads it: at its import. Kernels then run on CPU tensors, slowly, by numpy.
INTERPRET = os.environ.get("TRITON_INTERPRET", "0") == "1"
LOG2E = tl.constexpr(1.4426950408889634)
LN2 = tl.constexpr(0.6931471805599453)
# Sums of exponentials below this have lost digits to the smallest float32.
LOWEST = tl.constexpr(2.0**-100)
# Row blocks that walk along the columns together, so that tiles find their key rows in the cache.
GROUP = tl.constexpr(8)


@triton.jit
@no_type_check
def find_tile(tile, tall, wide, index):
    """Pair, row block and column block of a tile; `tall` and `wide` are blocks of each pair."""
    tiles = tall * wide
    ends = tl.cumsum(tiles, 0)
    pair = tl.sum((ends <= tile).to(tl.int32), 0)
    here = index == pair
    local = tile - tl.sum(tl.where(here, ends - tiles, 0), 0)
    high = tl.sum(tl.where(here, tall, 0), 0)
    across = tl.sum(tl.where(here, wide, 0), 0)
    start = local // (GROUP * across) * GROUP
    size = tl.minimum(high - start, GROUP)
    inside = local % (GROUP * across)
    return pair, start + inside % size, inside // size


@triton.jit
@no_type_check
def multiply(a, b, acc, precision: tl.constexpr, upcast: tl.constexpr):
    """acc + a @ b. The interpreter multiplies bit patterns of bfloat16, so there it gets float32."""
    if upcast:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, acc, input_precision=precision)


@triton.jit
@no_type_check
def cosines(
    query,
    key,
    width,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    precision: tl.constexpr,
    upcast: tl.constexpr,
):
    """Products of the `block_m` rows from `query` on with the `block_n` rows from `key` on, in float32."""
    k = tl.arange(0, block_k)
    left = query + tl.arange(0, block_m)[:, None] * width + k[None, :]
    right = key + tl.arange(0, block_n)[:, None] * width + k[None, :]
    acc = tl.zeros((block_m, block_n), tl.float32)
    for start in range(0, width, block_k):
        acc = multiply(tl.load(left + start), tl.trans(tl.load(right + start)), acc, precision, upcast)
    return acc


@triton.jit
@no_type_check
def kept(i, j, rows_end, columns_end, near, room, rule: tl.constexpr):
    """True for negatives: rows that exist, not the diagonal, not too near. `near` has place, low, high of each row.

    Asked of both sides: a row that says nothing of its moment is near to rows of its person that are not near to it.
    """
    keep = (i < rows_end)[:, None] & (j < columns_end)[None, :] & (i[:, None] != j[None, :])
    if rule:
        place = tl.load(near + j, mask=j < columns_end, other=0)
        low = tl.load(near + room + i, mask=i < rows_end, other=0)
        high = tl.load(near + 2 * room + i, mask=i < rows_end, other=0)
        keep = keep & ((place[None, :] < low[:, None]) | (place[None, :] >= high[:, None]))
        place = tl.load(near + i, mask=i < rows_end, other=0)
        low = tl.load(near + room + j, mask=j < columns_end, other=0)
        high = tl.load(near + 2 * room + j, mask=j < columns_end, other=0)
        keep = keep & ((place[:, None] < low[None, :]) | (place[:, None] >= high[None, :]))
    return keep


@triton.jit
@no_type_check
def overlap(i, j, rows_end, columns_end, near, room):
    """Whether any place of the columns lies between the lowest and the highest of the rows."""
    place = tl.load(near + j, mask=j < columns_end, other=0)
    low = tl.load(near + room + i, mask=i < rows_end, other=0)
    high = tl.load(near + 2 * room + i, mask=i < rows_end, other=0)
    return (tl.max(place, 0) >= tl.min(low, 0)) & (tl.min(place, 0) < tl.max(high, 0))


@triton.jit
@no_type_check
def mixed(
    i0,
    j0,
    rows_end,
    columns_end,
    near,
    room,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    rule: tl.constexpr,
):
    """Whether a tile has anything that is no negative; all other tiles skip the masks."""
    found = (i0 + block_m > rows_end) | (j0 + block_n > columns_end) | ((i0 < j0 + block_n) & (j0 < i0 + block_m))
    if rule:
        i = i0 + tl.arange(0, block_m)
        j = j0 + tl.arange(0, block_n)
        found = found | overlap(i, j, rows_end, columns_end, near, room)
        found = found | overlap(j, i, columns_end, rows_end, near, room)
    return found


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
    high = tl.load(rows + index, mask=index < pairs, other=0) - top
    tall = tl.cdiv(tl.minimum(tl.maximum(high, 0), panel), block_m)
    wide = tl.cdiv(tl.load(count + index, mask=index < pairs, other=0), block_n)
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
        start = tl.load(first + pair)
        rows_end = start + tl.load(rows + pair)
        columns_end = tl.load(count + pair)
        here = near + pair * 3 * key_room
        if mixed(start + i0, j0, rows_end, columns_end, here, key_room, block_m, block_n, rule):
            i = start + i0 + tl.arange(0, block_m)
            j = j0 + tl.arange(0, block_n)
            value = tl.where(kept(i, j, rows_end, columns_end, here, key_room, rule), value, 0.0)
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

    `row_all` and `column_all` are log2 of (sum with the positive / weight) for a search, the weights for questions.
    The usual form takes one exponential, e_ij (a_i + b_j). Where a sum sank below float32 (`wide_range`), a
    would overflow: then the pair takes two, whose exponents are never above 0. The choice is read from the device
    and is the same for all tiles of a pair, so the rare form costs the usual one nothing but code.
    """
    index = tl.arange(0, pairs_above)
    high = tl.load(rows + index, mask=index < pairs, other=0) - top
    tall = tl.cdiv(tl.minimum(tl.maximum(high, 0), panel), block_m)
    wide = tl.cdiv(tl.load(count + index, mask=index < pairs, other=0), block_n)
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
        shift = tl.load(offset + pair)
        if sigmoid:
            logit = acc * tl.load(scale + pair) + shift
            z = tl.exp2(-tl.abs(logit) * LOG2E)
            value = tl.where(logit > 0, 1.0, z) / (1.0 + z) * (a[:, None] + b[None, :])
        else:
            factor = tl.load(scale + pair) * LOG2E
            if tl.load(wide_range + pair) != 0:
                value = tl.exp2(acc * factor - a[:, None]) + tl.exp2(acc * factor - b[None, :])
            else:
                a = tl.exp2(shift * LOG2E - a)
                b = tl.exp2(shift * LOG2E - b)
                value = tl.exp2(acc * factor - shift * LOG2E) * (a[:, None] + b[None, :])
        start = tl.load(first + pair)
        rows_end = start + tl.load(rows + pair)
        columns_end = tl.load(count + pair)
        here = near + pair * 3 * key_room
        if mixed(start + i0, j0, rows_end, columns_end, here, key_room, block_m, block_n, rule):
            value = tl.where(kept(start + m, n, rows_end, columns_end, here, key_room, rule), value, 0.0)
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
    filled = (n0 + n < width)[None, :]
    acc = tl.zeros((block_m, block_n), tl.float32)
    left = push + (pair * panel + r * block_m) * key_room + (m[:, None] * key_room + k[None, :])
    right = key + pair * key_room * width + n0 + (k[:, None] * width + n[None, :])
    for start in range(0, tl.load(count + pair), block_k):
        b = tl.load(right, mask=filled, other=0.0)
        acc = multiply(tl.load(left + start), b, acc, precision, upcast)
        right += block_k * width
    i0 = top + r * block_m
    here = i0 + m < tl.load(rows + pair)
    inside = here[:, None] & filled
    at = m[:, None] * width + n[None, :]
    own = key + (pair * key_room + tl.load(first + pair) + i0) * width + n0
    own = tl.load(own + at, mask=inside, other=0.0).to(tl.float32)
    own = own * tl.load(pull + pair * query_room + i0 + m, mask=here, other=0.0)[:, None]
    to = d_query + (pair * query_room + i0) * width + n0
    tl.store(to + at, acc * tl.load(unit + pair) - own, mask=inside)


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
    filled = (n0 + n < width)[None, :]
    acc = tl.zeros((block_m, block_n), tl.float32)
    left = push + pair * panel * key_room + j0 + (k[:, None] * key_room + m[None, :])
    right = query + (pair * query_room + top) * width + n0 + (k[:, None] * width + n[None, :])
    for _ in range(0, tl.minimum(tl.load(rows + pair) - top, panel), block_k):
        b = tl.load(right, mask=filled, other=0.0)
        acc = multiply(tl.trans(tl.load(left)), b, acc, precision, upcast)
        left += block_k * key_room
        right += block_k * width
    inside = (j0 + m < tl.load(count + pair))[:, None] & filled
    at = m[:, None] * width + n[None, :]
    to = d_key + (pair * key_room + j0) * width + n0
    if top == 0:
        i0 = j0 - tl.load(first + pair)
        here = (i0 + m >= 0) & (i0 + m < tl.load(rows + pair))
        own = query + (pair * query_room + i0) * width + n0
        own = tl.load(own + at, mask=inside & here[:, None], other=0.0).to(tl.float32)
        before = -own * tl.load(pull + pair * query_room + i0 + m, mask=here, other=0.0)[:, None]
    else:
        before = tl.load(to + at, mask=inside, other=0.0)
    tl.store(to + at, before + acc * tl.load(unit + pair), mask=inside)


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


@triton.jit
@no_type_check
def pack_kernel(
    rows_of,
    order,
    count,
    sides,
    query,
    key,
    own,
    lengths,
    batch,
    dim,
    room,
    width,
    stride_m,
    stride_b,
    stride_d,
    block: tl.constexpr,
    block_d: tl.constexpr,
):
    """The rows of each pair side by side, zeros after them; each row's product with its partner, both lengths squared.

    Program (row block, pair). What rows that are not in `order` hold is not read.
    """
    pair = tl.program_id(1).to(tl.int64)
    r = tl.program_id(0) * block + tl.arange(0, block)
    here = r < tl.load(count + pair)
    row = tl.load(order + pair * batch + r, mask=here, other=0).to(tl.int64) * stride_b
    first = rows_of + tl.load(sides + 2 * pair).to(tl.int64) * stride_m + row
    second = rows_of + tl.load(sides + 2 * pair + 1).to(tl.int64) * stride_m + row
    dot = tl.zeros((block,), tl.float32)
    first_square = tl.zeros((block,), tl.float32)
    second_square = tl.zeros((block,), tl.float32)
    for start in range(0, width, block_d):
        d = start + tl.arange(0, block_d)
        inside = here[:, None] & (d < dim)[None, :]
        a = tl.load(first[:, None] + d[None, :] * stride_d, mask=inside, other=0.0)
        b = tl.load(second[:, None] + d[None, :] * stride_d, mask=inside, other=0.0)
        at = (pair * room + r)[:, None] * width + d[None, :]
        filled = (r < room)[:, None] & (d < width)[None, :]
        tl.store(query + at, a, mask=filled)
        tl.store(key + at, b, mask=filled)
        a = a.to(tl.float32)
        b = b.to(tl.float32)
        dot += tl.sum(a * b, 1)
        first_square += tl.sum(a * a, 1)
        second_square += tl.sum(b * b, 1)
    tl.store(own + pair * room + r, dot, mask=r < room)
    tl.store(lengths + 2 * pair * room + r, first_square, mask=r < room)
    tl.store(lengths + (2 * pair + 1) * room + r, second_square, mask=r < room)


@triton.jit
@no_type_check
def unpack_kernel(
    d_query,
    d_key,
    factor,
    place,
    count,
    sides,
    out,
    batch,
    dim,
    room,
    width,
    pairs,
    block: tl.constexpr,
    block_d: tl.constexpr,
):
    """Each row's gradient: the sum over its pairs, in their order. Program (row block, modality, width block)."""
    modality = tl.program_id(1)
    b = tl.program_id(0) * block + tl.arange(0, block)
    d = tl.program_id(2) * block_d + tl.arange(0, block_d)
    total = tl.zeros((block, block_d), tl.float32)
    for number in range(pairs):
        pair = tl.cast(number, tl.int64)
        is_query = tl.load(sides + 2 * pair) == modality
        is_key = tl.load(sides + 2 * pair + 1) == modality
        if is_query | is_key:
            r = tl.load(place + pair * batch + b, mask=b < batch, other=room)
            inside = (r < tl.load(count + pair))[:, None] & (d < dim)[None, :]
            at = (pair * room + r)[:, None] * width + d[None, :]
            value = tl.load(d_query + at, mask=inside & is_query, other=0.0)
            value += tl.load(d_key + at, mask=inside & is_key, other=0.0)
            # Absent rows add 0 even where the factor is not finite.
            total += tl.where(inside, value * tl.load(factor + pair), 0.0)
    at = (modality.to(tl.int64) * batch + b)[:, None] * dim + d[None, :]
    tl.store(out + at, total.to(out.dtype.element_ty), mask=(b < batch)[:, None] & (d < dim)[None, :])


@triton.jit
@no_type_check
def near_kernel(start, end, time, sorted_time, within, low, high, batch, block: tl.constexpr):
    """Where, among the rows of a person in order of time, those within `within` seconds begin and end.

    The difference of float64 is taken and compared just as the rule does it, so both agree to the last bit: rounding
    keeps the order of differences, which is all that halving needs.
    """
    row = tl.program_id(0) * block + tl.arange(0, block)
    here = row < batch
    far = tl.load(within)
    mine = tl.load(time + row, mask=here, other=0.0)
    begin = tl.load(start + row, mask=here, other=0)
    finish = tl.load(end + row, mask=here, other=0)
    left = begin
    right = finish
    other = begin
    other_right = finish
    for _ in range(32):
        middle = (left + right) // 2
        open_ = left < right
        t = tl.load(sorted_time + middle, mask=here & open_, other=0.0)
        enough = mine - t <= far
        right = tl.where(open_ & enough, middle, right)
        left = tl.where(open_ & ~enough, middle + 1, left)
        middle = (other + other_right) // 2
        open_ = other < other_right
        t = tl.load(sorted_time + middle, mask=here & open_, other=0.0)
        enough = t - mine <= far
        other = tl.where(open_ & enough, middle + 1, other)
        other_right = tl.where(open_ & ~enough, middle, other_right)
    tl.store(low + row, tl.where(left < other, left, 0), mask=here)
    tl.store(high + row, tl.where(left < other, other, 0), mask=here)
