"""Each pair's rows in an order in which near rows are neighbours, and who is near whom: three integers a row."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from hdt_fm.ops.contrastive.pairs import Pairs
from hdt_fm.ops.contrastive.triton.launch import load, on_device


def rows_of(problem: Pairs) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """What `contrastive_rows` answers; exclusions that several pairs share are looked at once."""
    distinct = list({id(rule): rule for rule in problem.exclusions if rule is not None}.values())
    numbers = {id(rule): number for number, rule in enumerate(distinct)}
    return torch.ops.hdt_fm.contrastive_rows(
        problem.both,
        [rule.subject for rule in distinct],
        [rule.time_s.double() for rule in distinct],
        [torch.zeros_like(problem.both[0]) if rule.whole is None else rule.whole for rule in distinct],
        [rule.within_s for rule in distinct],
        [-1 if rule is None else numbers[id(rule)] for rule in problem.exclusions],
    )


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
    with on_device(subject):
        load().near_kernel[(-(-batch // 256),)](
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
