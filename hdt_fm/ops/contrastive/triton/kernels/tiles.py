"""What all kernels of the contrastive losses are made of: where a tile lies, its products, who in it is a negative.

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
# Row blocks that walk along the columns together, so that tiles find their key rows in the cache.
GROUP = tl.constexpr(8)


@triton.jit
@no_type_check
def blocks(rows, count, top, panel, index, pairs, block_m: tl.constexpr, block_n: tl.constexpr):
    """Row blocks of each pair in the panel of query rows from `top` on, and column blocks."""
    high = tl.load(rows + index, mask=index < pairs, other=0) - top
    tall = tl.cdiv(tl.minimum(tl.maximum(high, 0), panel), block_m)
    return tall, tl.cdiv(tl.load(count + index, mask=index < pairs, other=0), block_n)


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
def find_row_block(tile, tall, index):
    """Pair and row block of a tile that has all columns."""
    ends = tl.cumsum(tall, 0)
    pair = tl.sum((ends <= tile).to(tl.int32), 0)
    return pair, tile - tl.sum(tl.where(index == pair, ends - tall, 0), 0)


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
def negatives(
    value,
    pair,
    i0,
    j0,
    rows,
    count,
    first,
    near,
    key_room,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    rule: tl.constexpr,
):
    """`value` of negatives, 0 elsewhere, of the tile of a pair from query row `i0` and key row `j0` on."""
    start = tl.load(first + pair)
    rows_end = start + tl.load(rows + pair)
    columns_end = tl.load(count + pair)
    here = near + pair * 3 * key_room
    if mixed(start + i0, j0, rows_end, columns_end, here, key_room, block_m, block_n, rule):
        i = start + i0 + tl.arange(0, block_m)
        j = j0 + tl.arange(0, block_n)
        value = tl.where(kept(i, j, rows_end, columns_end, here, key_room, rule), value, 0.0)
    return value


@triton.jit
@no_type_check
def pushes(cosine, a, b, factor, shift, sigmoid: tl.constexpr, wide: tl.constexpr):
    """dL/ds of a tile, as if all were negatives.

    Of a search it is e_ij (a_i + b_j), one exponential, with `shift` its offset. Where a sum sank below float32 a
    would overflow: then (`wide`) `a` and `b` are log2 of (sum with the positive / weight), and there are two
    exponentials, whose exponents are never above 0. Of questions `a` and `b` are the weights, `shift` is the bias.
    """
    if sigmoid:
        logit = cosine * factor + shift
        value = (a[:, None] + b[None, :]) / (1.0 + tl.exp2(-logit * LOG2E))
    elif wide:
        logit = cosine * (factor * LOG2E)
        value = tl.exp2(logit - a[:, None]) + tl.exp2(logit - b[None, :])
    else:
        value = tl.exp2(cosine * (factor * LOG2E) - shift * LOG2E) * (a[:, None] + b[None, :])
    return value


@triton.jit
@no_type_check
def partners_pull(partners, pull, m, n, width, here, filled):
    """What each row's partner pulls at it; `partners` and `pull` point to those of row 0."""
    rows = tl.load(partners + m[:, None] * width + n[None, :], mask=here[:, None] & filled[None, :], other=0.0)
    return rows.to(tl.float32) * tl.load(pull + m, mask=here, other=0.0)[:, None]
