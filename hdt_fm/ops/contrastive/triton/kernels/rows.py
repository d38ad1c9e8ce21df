"""Triton kernels over rows: each pair's side by side, their gradients back in place, and who is near in time."""

from typing import no_type_check

import triton
import triton.language as tl


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
