"""Contrastive losses by Triton kernels: all pairs in one launch of each stage, memory linear in rows, no host sync.

The mathematics is that of `chunked`. Rows of each pair are packed side by side (ordered by person and time, so that
near rows lie in few tiles); how many there are stays on the device. `sums` and `gradients` are the two heavy stages;
they take a block of the query rows against all key rows, which is what a rank of a distributed run has.
"""

import functools
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from hdt_fm.ops.contrastive._configs import Config, Tile, config_for
from hdt_fm.ops.contrastive.pairs import SHARES, PairLosses, Pairs
from hdt_fm.schema.errors import ConfigError

LOG2E = math.log2(math.e)
# float32 holds exponentials up to this.
WIDEST = math.log(torch.finfo(torch.float32).max)
# Of log2(sum with the positive) under the offset: `_kernels.LOWEST`.
LOWEST_LOG2 = -100.0
# How far float16 pushes may reach; they would sink below its smallest number without a factor.
HALF_REACH = 2.0**14
# Of one processor of all NVIDIA GPUs since 2012.
REGISTERS = 65536


class Packed(NamedTuple):
    """Rows of all pairs, those that a pair has first.

    Attributes:
        query: Rows of this block; zeros from `rows[pair]` on. Contiguous, of a width that `pack` chose.
        key: All rows; zeros from `columns[pair]` on. Query row i is key row `first[pair] + i`.
        own: Product of each key row with its partner, in float32, of all rows.
        near: Of each key row its place in an order of persons and times, and the places from which up to which other
            rows are near; of length 0 without exclusion.
        precision: Of products of float32: "tf32x3" (float32 but for the last bits) or "tf32".
    """

    query: Float[Tensor, "pair query_room width"]
    key: Float[Tensor, "pair key_room width"]
    own: Float[Tensor, "pair key_room"]
    rows: Int[Tensor, " pair"]
    columns: Int[Tensor, " pair"]
    first: Int[Tensor, " pair"]
    near: Int[Tensor, "pair 3 rule_room"]
    precision: str


class Gradients(NamedTuple):
    """Of a block of query rows; multiply the first two by scale and upstream gradient.

    Attributes:
        query: dL/d(scale cosine) @ key, of the block; zeros past its rows.
        key: What the block adds to the key rows; blocks of all query rows add up to the whole.
        scale: dL/dscale, what the block adds.
        bias: dL/dbias of questions, what the block adds; zeros of a search.
    """

    query: Float[Tensor, "pair query_room width"]
    key: Float[Tensor, "pair key_room width"]
    scale: Float[Tensor, " pair"]
    bias: Float[Tensor, " pair"]


def pair_losses(problem: Pairs, logit_scale: Float[Tensor, " pair"]) -> PairLosses:
    """Loss of each pair, in nats; bitwise the same on every run of one device.

    Raises:
        ConfigError: If Triton is missing, or rows are float64 or not on a GPU.

    Numerics: float32 logits and sums. Products of half-precision rows round dL/dlogit to that precision; float32 rows
        keep float32's digits by three TF32 products, unless `problem.products` allows fewer.
    """
    return _losses(problem, logit_scale, None)


def sigmoid_losses(problem: Pairs, logit_scale: Float[Tensor, " pair"], bias: Float[Tensor, ""]) -> PairLosses:
    """As `reference.sigmoid_losses`; else as `pair_losses`."""
    return _losses(problem, logit_scale, bias)


def _losses(problem: Pairs, logit_scale: Tensor, bias: Tensor | None) -> PairLosses:
    _refuse(problem)
    if problem.embeddings.shape[1] < 2:
        nothing = problem.nothing(logit_scale.float()) if bias is None else problem.nothing(logit_scale.float() + bias)
        return PairLosses(nothing, torch.zeros_like(nothing, dtype=torch.long))
    distinct = list({id(rule): rule for rule in problem.exclusions if rule is not None}.values())
    numbers = {id(rule): number for number, rule in enumerate(distinct)}
    order, place, count, near, empty = torch.ops.hdt_fm.contrastive_rows(
        problem.both,
        [rule.subject for rule in distinct],
        [rule.time_s.double() for rule in distinct],
        [torch.zeros_like(problem.both[0]) if rule.whole is None else rule.whole for rule in distinct],
        [rule.within_s for rule in distinct],
        [-1 if rule is None else numbers[id(rule)] for rule in problem.exclusions],
    )
    weight = None if problem.weight is None else problem.weight.detach().float()
    loss, *_ = torch.ops.hdt_fm.contrastive_forward(
        problem.embeddings,
        logit_scale.float(),
        None if bias is None else bias.float(),
        weight,
        order,
        place,
        count,
        near,
        [side for pair in problem.pairs for side in pair],
        list(SHARES[problem.direction]),
        problem.products,
    )
    return PairLosses(loss, empty)


def _refuse(problem: Pairs) -> None:
    rows = problem.embeddings
    if rows.dtype == torch.float64:
        raise ConfigError(
            "impl='triton' has no float64",
            expected="bfloat16, float16 or float32 embeddings",
            got="float64",
            fix="use impl='chunked', or 'auto'",
        )
    if not (rows.is_cuda or _kernels().INTERPRET):
        raise ConfigError(
            "impl='triton' needs a GPU", expected="CUDA tensors", got=rows.device.type, fix="use impl='auto'"
        )


@functools.cache
def _kernels() -> ModuleType:
    try:
        from hdt_fm.ops.contrastive import _kernels
    except ModuleNotFoundError as error:
        raise ConfigError(
            "impl='triton' needs Triton, which cannot be imported",
            fix="install the triton that your torch names, or use impl='auto'",
        ) from error
    return _kernels


# --- the two heavy stages, over packed rows ---


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
    zero = torch.zeros_like(packed.first)
    _repair(
        packed,
        scale,
        offset,
        row,
        row_log,
        (packed.query, packed.rows, packed.first),
        (packed.key, packed.columns, zero),
    )
    _repair(
        packed,
        scale,
        offset,
        column,
        column_log,
        (packed.key, packed.columns, zero),
        (packed.query, packed.rows, packed.first),
    )
    return row_log, column_log


def gradients(
    packed: Packed,
    scale: Float[Tensor, " pair"],
    offset: Float[Tensor, " pair"],
    row: Float[Tensor, "pair query_room"],
    column: Float[Tensor, "pair key_room"],
    weight: Float[Tensor, "pair key_room"],
    shares: Sequence[float],
) -> Gradients:
    """Gradients of the losses that `losses_of` gives.

    Args:
        row: Of `sums`.
        column: Of `sums`, added over all blocks.
        weight: Of all key rows, adding up to 1; 0 past the count.
        shares: Of the search from the query side, and of that from the key side.
    """
    own = scale[:, None] * packed.own
    own_block, weight_block = of_block(packed, own), of_block(packed, weight)
    row_pull = shares[0] * weight_block * torch.sigmoid(row - own_block)
    column_pull = shares[1] * weight * torch.sigmoid(column - own)
    # A push is part of what pulls its row, and of what pulls its column.
    unit, reach = _unit(packed, row_pull.amax(1) + column_pull.amax(1))
    row_all, row_low = _log_weights(row, own_block, weight_block, shares[0], offset, reach)
    column_all, column_low = _log_weights(column, own, weight, shares[1], offset, reach)
    wide_range = (row_low | column_low).to(torch.int32)
    pull = row_pull + of_block(packed, column_pull)
    return _panels(packed, scale, offset, row_all, column_all, pull, unit, wide_range)


def losses_of(
    packed: Packed,
    scale: Float[Tensor, " pair"],
    row: Float[Tensor, "pair query_room"],
    column: Float[Tensor, "pair key_room"],
    weight: Float[Tensor, "pair key_room"],
    shares: Sequence[float],
) -> Float[Tensor, " pair"]:
    """What the rows of the block add to each pair's loss; arguments as of `gradients`."""
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


def question_gradients(
    packed: Packed, scale: Tensor, bias: Tensor, weight: Float[Tensor, "pair key_room"], shares: Sequence[float]
) -> Gradients:
    """Gradients of `question_losses`."""
    unit, reach = _unit(packed, 2 * weight.amax(1))
    row_all, column_all = (
        (share * reach[:, None] * each).contiguous()
        for share, each in zip(shares, (of_block(packed, weight), weight), strict=True)
    )
    pull = sum(shares) * of_block(packed, weight * torch.sigmoid(-(scale[:, None] * packed.own + bias)))
    shift = bias.expand_as(scale).contiguous()
    return _panels(packed, scale, shift, row_all, column_all, pull, unit, None)


def of_block(packed: Packed, values: Float[Tensor, "pair key_room"]) -> Float[Tensor, "pair query_room"]:
    """What key rows have, for the query rows that they belong to; 0 past these."""
    here = torch.arange(packed.query.shape[1], device=values.device)
    at = (packed.first[:, None] + here).clamp(max=values.shape[1] - 1)
    return values.gather(1, at).masked_fill(here >= packed.rows[:, None], 0.0)


def _unit(packed: Packed, most: Float[Tensor, " pair"]) -> tuple[Tensor, Tensor]:
    """What products of pushes are multiplied by, and its inverse, by which pushes are: 1 but for float16.

    Args:
        most: Above all pushes of a pair.
    """
    if packed.query.dtype != torch.float16:
        one = torch.ones_like(most)
        return one, one
    reach = torch.where(most > 0, HALF_REACH / most, 1.0).clamp(max=2.0**100)
    return 1 / reach, reach


def _log_weights(
    sums_log: Tensor, own: Tensor, weight: Tensor, share: float, offset: Tensor, reach: Tensor
) -> tuple[Tensor, Tensor]:
    """log2 of (sum with the positive / weight), inf for rows without negatives; and whether the usual form fails.

    It does if a sum of the pair sank, or if the weight under the offset would overflow.
    """
    full, shift = torch.logaddexp(sums_log, own) * LOG2E, offset[:, None] * LOG2E
    alone = sums_log == -torch.inf
    all_ = (full - torch.log2(share * reach[:, None] * weight)).masked_fill(alone, torch.inf)
    low = ((full - shift < LOWEST_LOG2) | (shift - all_ > -LOWEST_LOG2)) & ~alone
    return all_, low.any(1)


# --- launches ---


def _tile_sums(packed: Packed, scale: Tensor, offset: Tensor, *, sigmoid: bool) -> tuple[Tensor, Tensor]:
    kernels, config, room = _kernels(), _config(packed), packed.key.shape[1]
    pairs, query_room, width = packed.query.shape
    tile, panel = config.sums, config.panel_rows(pairs, query_room, room)
    row, column = packed.own.new_zeros(pairs, query_room), packed.own.new_zeros(pairs, room)
    row_part = packed.own.new_empty(pairs * (room // tile.columns) * panel)
    column_part = packed.own.new_empty(pairs * (panel // tile.rows) * room)
    for top in range(0, query_room, panel):
        with _device(packed.query):
            kernels.sums_kernel[
                (_programs(packed.query, pairs * (panel // tile.rows) * (room // tile.columns), tile),)
            ](
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
                **_settings(packed, tile, many=True, mask=True),
            )
            kernels.combine_kernel[(-(-max(panel, room) // 256), pairs, 2)](
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
    tile = _config(packed).sums
    with _device(rows):
        _kernels().repair_kernel[(rows.shape[1] // tile.rows, len(rows))](
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
            **_settings(packed, tile, many=False, mask=True),
        )


def _panels(
    packed: Packed,
    scale: Tensor,
    offset: Tensor,
    row_all: Tensor,
    column_all: Tensor,
    pull: Tensor,
    unit: Tensor,
    wide_range: Tensor | None,
) -> Gradients:
    """Pushes of one panel of query rows after another, and their products with both sides.

    Args:
        wide_range: As of `push_kernel`; None for questions.
    """
    kernels, config, room, sigmoid = _kernels(), _config(packed), packed.key.shape[1], wide_range is None
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
        with _device(packed.query):
            kernels.push_kernel[(_programs(packed.query, pairs * tiles, config.push),)](
                packed.query,
                packed.key,
                scale,
                offset,
                row_all,
                column_all,
                packed.rows if wide_range is None else wide_range,
                *counts,
                packed.near,
                push,
                parts[0, number],
                parts[1, number],
                *sizes,
                sigmoid=sigmoid,
                **_settings(packed, config.push, many=True, mask=True),
            )
            blocks = -(-width // config.pull.columns) * (panel + room) // config.pull.rows
            kernels.pull_kernel[(_programs(packed.query, pairs * blocks, config.pull),)](
                packed.query,
                packed.key,
                push,
                pull,
                unit,
                *counts,
                d_query,
                d_key,
                *sizes,
                **_settings(packed, config.pull, many=True, mask=False),
            )
    d_scale, d_bias = parts.sum((1, 3)) * unit
    d_scale = d_scale - (pull * of_block(packed, packed.own)).sum(1)
    return Gradients(d_query, d_key, d_scale, d_bias - pull.sum(1) if sigmoid else d_bias)


def _settings(packed: Packed, tile: Tile, *, many: bool, mask: bool) -> dict[str, Any]:
    """What a kernel is compiled for. `many`: it walks over all pairs' tiles; `mask`: it knows of near rows."""
    half, interpret = packed.query.dtype != torch.float32, _kernels().INTERPRET
    found: dict[str, Any] = {
        "block_m": tile.rows,
        "block_n": tile.columns,
        "block_k": tile.depth,
        "precision": "tf32" if half else packed.precision,
        "upcast": interpret,
        "num_warps": tile.warps,
        "num_stages": tile.stages,
    }
    if tile.registers and not interpret:
        found["maxnreg"] = tile.registers
    if many:
        # One compiled kernel for up to 16 pairs.
        found["pairs_above"] = max(16, 1 << (len(packed.rows) - 1).bit_length())
    if mask:
        found["rule"] = packed.near.shape[2] > 0
    return found


def _config(packed: Packed) -> Config:
    return _config_of(packed.query, packed.query.shape[2], packed.near.shape[2] > 0)


def _config_of(like: Tensor, width: int, rule: bool) -> Config:
    precision = "float32" if like.dtype == torch.float32 else "half"
    return config_for(_arch(like.device), precision, width, rule)


@functools.cache
def _arch(device: torch.device) -> str:
    if device.type != "cuda":
        return "interpret"
    major, _ = torch.cuda.get_device_capability(device)
    return "sm90" if major >= 9 else f"sm{major}0"


@functools.cache
def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _programs(like: Tensor, tiles: int, tile: Tile) -> int:
    """As many as the device's registers hold at once, so that tiles are begun in order; results do not depend on it."""
    together = max(1, REGISTERS // ((tile.registers or 256) * 32 * tile.warps))
    return max(1, min(tiles, together * _processors(like.device)))


def _device(like: Tensor) -> AbstractContextManager[Any]:
    """Triton launches on the current device."""
    return torch.cuda.device(like.device) if like.is_cuda else nullcontext()


# --- operators, so that torch.compile does not look inside ---


@functools.lru_cache(maxsize=64)
def _sides(sides: tuple[int, ...], device: torch.device) -> Tensor:
    """Modality numbers on the device; kept, since a copy from the host cannot be captured in a CUDA graph."""
    return torch.tensor(sides, dtype=torch.int32, device=device)


@functools.lru_cache(maxsize=64)
def _seconds(seconds: float, device: torch.device) -> Tensor:
    return torch.tensor([seconds], dtype=torch.float64, device=device)


@torch.library.custom_op(
    "hdt_fm::contrastive_rows",
    mutates_args=(),
    schema="(Tensor both, Tensor[] subject, Tensor[] time, Tensor[] whole, float[] within, int[] rule)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _rows(
    both: Tensor,
    subject: Sequence[Tensor],
    time: Sequence[Tensor],
    whole: Sequence[Tensor],
    within: Sequence[float],
    rule: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Each pair's rows in their order, each row's place among them, their number, who is near, how many are empty.

    With an exclusion rows are ordered by person and time, so that those near a row are an interval: the masks of a
    tile compare three integers a row, and far most tiles need none.
    """
    pairs, batch = both.shape
    count = both.sum(1)
    # A pair with one row is a pair without: its tiles would be empty and its loss is 0.
    count = torch.where(count >= 2, count, 0).to(torch.int32)
    anyhow = torch.arange(batch, dtype=torch.int32, device=both.device)
    nobody = torch.stack((anyhow, torch.zeros_like(anyhow), torch.zeros_like(anyhow)))
    rules = [_intervals(s, t, w, far) for s, t, w, far in zip(subject, time, whole, within, strict=True)]
    near = torch.stack([nobody if number < 0 else rules[number][0] for number in rule])
    order = torch.where(both, near[:, 0], batch).argsort(dim=1).to(torch.int32)
    place = torch.empty_like(order).scatter_(1, order.long(), anyhow.expand(pairs, batch))
    place = torch.where(both, place, batch)
    empty = torch.stack(
        [
            torch.zeros_like(count[0], dtype=torch.long)
            if number < 0
            else _empty(both[pair], count[pair], *rules[number], whole[number])
            for pair, number in enumerate(rule)
        ]
    )
    return order, place, count, near if rules else near[:, :, :0].clone(), empty


@_rows.register_fake
def _(both: Tensor, subject: Any, time: Any, whole: Any, within: Any, rule: Any) -> tuple[Tensor, ...]:
    pairs, batch = both.shape
    order = both.new_empty(pairs, batch, dtype=torch.int32)
    near = both.new_empty(pairs, 3, batch if len(within) else 0, dtype=torch.int32)
    count = both.new_empty(pairs, dtype=torch.int32)
    return order, torch.empty_like(order), count, near, both.new_empty(pairs, dtype=torch.long)


def _intervals(subject: Tensor, time: Tensor, whole: Tensor, within: float) -> tuple[Tensor, Tensor]:
    """Each row's place by person and time, and from which up to which place rows are near it; the same by person."""
    batch = len(subject)
    by_time = time.argsort(stable=True)
    order = by_time[subject[by_time].argsort(stable=True)]
    numbers = torch.arange(batch, device=subject.device)
    place = torch.empty_like(order).scatter_(0, order, numbers)
    persons, mine = subject[order].contiguous(), subject.contiguous()
    start, end = torch.searchsorted(persons, mine), torch.searchsorted(persons, mine, right=True)
    person = torch.stack((place, start, end)).to(torch.int32)
    if within == math.inf:
        return person, person
    near = torch.empty_like(person)
    near[0] = person[0]
    with _device(subject):
        _kernels().near_kernel[(-(-batch // 256),)](
            person[1],
            person[2],
            time.contiguous(),
            time[order],
            _seconds(within, time.device),
            near[1],
            near[2],
            batch,
            block=256,
        )
    near[1:] = torch.where(whole, person[1:], near[1:])
    return near, person


def _empty(both: Tensor, count: Tensor, near: Tensor, person: Tensor, whole: Tensor) -> Tensor:
    """Rows of a pair without a negative: all others are near, or say nothing of their moment and are of the person."""
    (place, low, high), (_, start, end) = near.long(), person.long()
    here, anytime = (
        pad(rows.new_zeros(len(place)).scatter_(0, place, rows).cumsum(0), (1, 0))
        for rows in (both.long(), (both & whole).long())
    )
    excluded = here[high] - here[low]
    # Of rows with a moment, also those of the person without one, which may lie outside of the interval.
    excluded = excluded + torch.where(whole, 0, anytime[end] - anytime[start] - (anytime[high] - anytime[low]))
    excluded = excluded + ((place < low) | (place >= high))
    return (both & (excluded >= count) & (count > 0)).sum()


@torch.library.custom_op(
    "hdt_fm::contrastive_forward",
    mutates_args=(),
    schema="(Tensor rows, Tensor scale, Tensor? bias, Tensor? weight, Tensor order, Tensor place, Tensor count,"
    " Tensor near, int[] sides, float[] shares, str products)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _forward(
    rows: Tensor,
    scale: Tensor,
    bias: Tensor | None,
    weight: Tensor | None,
    order: Tensor,
    place: Tensor,
    count: Tensor,
    near: Tensor,
    sides: Sequence[int],
    shares: Sequence[float],
    products: str,
) -> tuple[Tensor, ...]:
    """Loss of each pair, and what the backward pass needs."""
    packed, longest = _pack(rows, order, count, near, sides, products)
    weights = _weights(weight, order, count, packed.own)
    scale = scale.contiguous()
    if bias is not None:
        loss = question_losses(packed, scale, bias, weights, shares)
        offset, row, column = bias.expand_as(scale).clone(), torch.zeros_like(packed.own), torch.zeros_like(packed.own)
    else:
        offset = offset_of(scale, longest, packed.key.shape[1])
        row, column = sums(packed, scale, offset)
        loss = losses_of(packed, scale, row, column, weights, shares)
    return loss, packed.query, packed.key, packed.own, packed.near, weights, offset, row, column


@_forward.register_fake
def _(
    rows: Tensor,
    scale: Tensor,
    bias: Any,
    weight: Any,
    order: Tensor,
    place: Any,
    count: Any,
    near: Tensor,
    sides: Any,
    shares: Any,
    products: str,
) -> tuple[Tensor, ...]:
    pairs = len(order)
    room, width, dtype = _rooms(rows, products, near.shape[2] > 0)
    packed = rows.new_empty(pairs, room, width, dtype=dtype)
    own = rows.new_empty(pairs, room, dtype=torch.float32)
    kept = near.new_empty(pairs, 3, room if near.shape[2] > 0 else 0)
    loss, offset = (rows.new_empty(pairs, dtype=torch.float32) for _ in range(2))
    weights, row, column = (torch.empty_like(own) for _ in range(3))
    return loss, packed, torch.empty_like(packed), own, kept, weights, offset, row, column


def _rooms(rows: Tensor, products: str, rule: bool) -> tuple[int, int, torch.dtype]:
    """Packed rows, their width and their precision."""
    dtype = torch.bfloat16 if rows.dtype == torch.float32 and products == "bf16" else rows.dtype
    config = _config_of(rows.new_empty(0, dtype=dtype), rows.shape[2], rule)
    depth = max(config.sums.depth, config.push.depth)
    return -(-rows.shape[1] // config.room) * config.room, -(-rows.shape[2] // depth) * depth, dtype


def _pack(
    rows: Tensor, order: Tensor, count: Tensor, near: Tensor, sides: Sequence[int], products: str
) -> tuple[Packed, Tensor]:
    """Rows of all pairs side by side, and the largest squared lengths of both sides."""
    room, width, dtype = _rooms(rows, products, near.shape[2] > 0)
    rows, pairs = rows.to(dtype), len(order)
    query, key = (rows.new_empty(pairs, room, width) for _ in range(2))
    own = rows.new_empty(pairs, room, dtype=torch.float32)
    lengths = rows.new_empty(pairs, 2, room, dtype=torch.float32)
    with _device(rows):
        _kernels().pack_kernel[(room // 16, pairs)](
            rows,
            order,
            count,
            _sides(tuple(sides), rows.device),
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
    if near.shape[2]:
        near = pad(near.gather(2, order.long()[:, None].expand(-1, 3, -1)), (0, room - rows.shape[1]))
    else:
        near = near.clone()
    precision = "tf32" if products == "tf32" else "tf32x3"
    return Packed(query, key, own, count, count, torch.zeros_like(count), near, precision), lengths.amax(2)


def _weights(weight: Tensor | None, order: Tensor, count: Tensor, own: Tensor) -> Tensor:
    """Of each packed row in its pair's mean, adding up to 1; all 0 if no row has any."""
    here = torch.arange(own.shape[1], device=own.device) < count[:, None]
    if weight is None:
        return here / count.clamp(min=1)[:, None].float()
    picked = pad(weight[order.long()], (0, own.shape[1] - order.shape[1])).masked_fill(~here, 0.0)
    total = picked.sum(1, keepdim=True)
    return torch.where(total > 0, picked / total, 0.0)


@torch.library.custom_op(
    "hdt_fm::contrastive_backward",
    mutates_args=(),
    schema="(Tensor grad, Tensor query, Tensor key, Tensor own, Tensor near, Tensor weight, Tensor offset, Tensor row,"
    " Tensor column, Tensor scale, Tensor? bias, Tensor place, Tensor count, int[] sides, float[] shares,"
    " str products, SymInt[] shape, ScalarType dtype) -> (Tensor, Tensor, Tensor)",
)
def _backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    own: Tensor,
    near: Tensor,
    weight: Tensor,
    offset: Tensor,
    row: Tensor,
    column: Tensor,
    scale: Tensor,
    bias: Tensor | None,
    place: Tensor,
    count: Tensor,
    sides: Sequence[int],
    shares: Sequence[float],
    products: str,
    shape: Sequence[int],
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of rows, scales and bias."""
    precision = "tf32" if products == "tf32" else "tf32x3"
    packed = Packed(query, key, own, count, count, torch.zeros_like(count), near, precision)
    scale = scale.contiguous()
    if bias is not None:
        found = question_gradients(packed, scale, bias, weight, shares)
    else:
        found = gradients(packed, scale, offset, row, column, weight, shares)
    # The interpreter cuts digits of bfloat16 off where a GPU rounds.
    out = torch.empty(tuple(shape), dtype=torch.float32 if _kernels().INTERPRET else dtype, device=grad.device)
    modalities, batch, dim = shape
    with _device(grad):
        _kernels().unpack_kernel[(-(-batch // 16), modalities, -(-dim // 128))](
            found.query,
            found.key,
            (scale * grad).contiguous(),
            place,
            count,
            _sides(tuple(sides), grad.device),
            out,
            batch,
            dim,
            query.shape[1],
            query.shape[2],
            len(place),
            block=16,
            block_d=128,
        )
    here = count > 0
    d_scale, d_bias = (torch.where(here, grad * each, 0.0) for each in (found.scale, found.bias))
    return out.to(dtype), d_scale, d_bias.sum()


@_backward.register_fake
def _(grad: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    shape, dtype = others[-2:]
    return grad.new_empty(shape, dtype=dtype), torch.empty_like(grad), grad.new_empty(())


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    rows, scale, bias, _, _, place, count, _, *settings = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*output[1:], scale, bias, place, count)
    ctx.settings, ctx.shape, ctx.dtype = settings, list(rows.shape), rows.dtype


def _differentiate(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 12
    saved = ctx.saved_tensors
    found = torch.ops.hdt_fm.contrastive_backward(grad, *saved, *ctx.settings, ctx.shape, ctx.dtype)
    d_rows, d_scale, d_bias = found
    return d_rows, d_scale, None if saved[9] is None else d_bias, *(None,) * 9


torch.library.register_autograd("hdt_fm::contrastive_forward", _differentiate, setup_context=_keep)
