"""What a head of a slow signal is told at a moment, made from the samples behind it and differentiable down to them.

The same numbers as `hdt_fm.signal.own_past` and `hdt_fm.signal.treatments` make in numpy for teaching and for asking
(tests hold both to 1e-5). Which samples are read depends on what was observed and on nothing else, so that each number
is a smooth function of the values. Every signal ends at the moment itself: its last sample is "now".
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ExplainError
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.series import DAY_S, ForecastTask

CLOCK = "clock_s"
TINY = 1e-12
Seen = Bool[Tensor, "batch time"]
Values = Float[Tensor, "batch time"]


@dataclass(frozen=True)
class Telling:
    """How a head is told of a moment; who builds a target takes the numbers from where a head is taught.

    Attributes:
        task: What the head learned to be told.
        window_s, unread_s: Of the encoder's windows, and how much of their end it does not read; 0 without windows.
        line_s: Gaps up to here are lines.
        spans_s: Over which the person's own past has a mean and a spread.
        days_before: So many days before now and before each horizon a reading is told.
        decays_s, just_s: Of amounts given: time constants, and the span of the newest sum; the other sum is of a day.
        rate_spans_s: Of rates given: spans of means.
    """

    task: ForecastTask
    window_s: float
    unread_s: float
    line_s: float
    spans_s: tuple[float, ...]
    days_before: tuple[int, ...]
    decays_s: tuple[float, ...]
    just_s: float
    rate_spans_s: tuple[float, ...]

    @property
    def history_s(self) -> float:
        """How far back the samples must go, so that all that is told is in them."""
        days = max((one * DAY_S for one in self.days_before), default=0.0) + self.line_s
        windows = max(self.ends_before, default=0) * self.task.step_s + self.window_s - self.unread_s
        return max(days, *self.spans_s, windows if self.task.windows else 0.0, self.task.context_s) + self.task.step_s

    @property
    def ends_before(self) -> tuple[int, ...]:
        """How many places before now each embedded window ends, the newest last; rows are `every_s` apart."""
        task = self.task
        stride = max(1, round(task.every_s / task.step_s))
        back = [round(k * task.apart_s / task.step_s) for k in range(task.windows - 1, -1, -1)]
        return tuple(one + (-one) % stride for one in back)

    @property
    def parts(self) -> dict[str, slice]:
        """Where in what is told each part stands: the last hours, the person's own days, what was given."""
        near = round(self.task.context_s / self.task.step_s) + 3
        own = 2 * len(self.spans_s) + len(self.days_before) * (1 + len(self.task.horizons_s))
        given = len(self.rate_spans_s) * len(self.task.treatments)
        return {
            "recent": slice(0, near),
            "own days": slice(near, near + own),
            "treatments": slice(near + own, near + own + given),
        }


@dataclass(frozen=True)
class Line:
    """A signal with lines across its short gaps.

    Attributes:
        values: 0 where `known` is not.
        newest: Place of the newest reading at each place; -1 before any.
    """

    values: Values
    known: Seen
    newest: Int[Tensor, "batch time"]


def told_at(telling: Telling, batch: Batch, *, level: float) -> tuple[Float[Tensor, "batch feature"], Tensor]:
    """Features of the moment at the end of each window of the batch (NaN where unknown), and the newest reading.

    Args:
        batch: Signals of the task's modality and treatments; `labels["clock_s"]` is the local time of day now.
        level: Stands for the newest reading of a person of whom nothing was read at all.

    Raises:
        ExplainError: If the batch has no clock, or is of another step or shorter than what is told.
    """
    task = telling.task
    values, seen = readings(telling, batch)
    line = _lined(values, seen, telling.line_s / task.step_s)
    there = line.newest[:, -1] >= 0
    last = torch.where(there, _at(values, line.newest[:, -1:].clamp(min=0))[:, 0], level)
    near = _recent(telling, line, last, batch.labels[CLOCK].to(last))
    own = torch.where(there[:, None], _own_days(telling, line, values, seen, last), torch.nan)
    given = [_acting(telling, batch, name, last) for name in sorted(task.treatments)]
    return torch.cat([near, own, *given], dim=1), last


def readings(telling: Telling, batch: Batch) -> tuple[Values, Seen]:
    """The task's own signal in double precision, 0 where nothing was observed.

    Raises:
        ExplainError: As `told_at`.
    """
    task, step_s = telling.task, telling.task.step_s
    if CLOCK not in batch.labels:
        raise ExplainError(
            "A moment has no time of day", where=f"batch.labels[{CLOCK!r}]", expected="seconds since local midnight"
        )
    least = round(telling.history_s / step_s)
    if task.modality not in batch.signals:
        size = (len(batch), least)
        return batch.present.new_zeros(size, dtype=torch.float64), batch.present.new_zeros(size)
    signal = batch.signals[task.modality]
    got_s = 1 / signal.sampling_rate_hz
    if abs(got_s - step_s) > 0.01 * step_s or signal.values.shape[1] != 1 or signal.values.shape[2] < least:
        raise ExplainError(
            "A moment is not told as the head was",
            where=f"modality {task.modality}",
            expected=f"one channel, a sample each {step_s:g} s, {least} samples or more",
            got=f"{signal.values.shape[1]} channels, a sample each {got_s:g} s, {signal.values.shape[2]} samples",
        )
    seen = signal.observed & batch.column(task.modality)[:, None]
    return torch.where(seen, signal.values[:, 0].double(), 0.0), seen


def _lined(values: Values, seen: Seen, most: float) -> Line:
    """Linear between two readings no more than `most` places apart."""
    place = torch.arange(seen.shape[1], device=seen.device).expand(seen.shape)
    newest = torch.where(seen, place, -1).cummax(1).values
    following = torch.where(seen, place, seen.shape[1]).flip(1).cummin(1).values.flip(1)
    known = (newest >= 0) & (following < seen.shape[1]) & (following - newest <= most)
    before, after = newest.clamp(min=0), following.clamp(max=seen.shape[1] - 1)
    share = (place - before).to(values) / (after - before).clamp(min=1).to(values)
    low, high = _at(values, before), _at(values, after)
    return Line(torch.where(known, low + (high - low) * share, 0.0), known, newest)


def _at(values: Values, place: Int[Tensor, "batch place"]) -> Float[Tensor, "batch place"]:
    return values.gather(1, place)


def _recent(telling: Telling, line: Line, last: Tensor, clock_s: Tensor) -> Tensor:
    """Changes to the newest reading, that reading, how much is unknown, and the time of day."""
    back = round(telling.task.context_s / telling.task.step_s)
    size = line.values.shape[1]
    place = torch.arange(size - back, size - 1, device=last.device)
    # After the newest reading no line has an end yet: that reading is held, so nothing changes.
    held = (place > line.newest[:, -1:]) & (line.newest[:, -1:] >= 0)
    known = line.known[:, place] | held
    change = torch.where(line.known[:, place], line.values[:, place] - last[:, None], 0.0)
    missing = 1.0 - known.to(last).mean(1, keepdim=True)
    angle = 2 * torch.pi * clock_s[:, None] / DAY_S
    return torch.cat([change, last[:, None], missing, angle.sin(), angle.cos()], dim=1)


def _own_days(telling: Telling, line: Line, values: Values, seen: Seen, last: Tensor) -> Tensor:
    """Mean and spread over spans up to now, and readings of days before; changes to the newest reading."""
    step_s, now = telling.task.step_s, values.shape[1] - 1
    columns = []
    for span_s in telling.spans_s:
        size = round(span_s / step_s)
        mean, spread = _mean_and_spread(values[:, -size:], seen[:, -size:])
        columns += [mean - last, spread]
    for days in telling.days_before:
        for ahead_s in (0.0, *telling.task.horizons_s):
            then = now + round((ahead_s - days * DAY_S) / step_s)
            columns.append(torch.where(line.known[:, then], line.values[:, then] - last, torch.nan))
    return torch.stack(columns, dim=1)


def _mean_and_spread(values: Values, seen: Seen) -> tuple[Tensor, Tensor]:
    """Of what was observed. A flat signal has spread 0 and no slope there, where a root has none to give."""
    count = seen.sum(1).clamp(min=1)
    mean = values.sum(1) / count
    square = torch.where(seen, values - mean[:, None], 0.0).square().sum(1) / count
    moves = square > TINY
    return mean, torch.where(moves, torch.where(moves, square, 1.0).sqrt(), 0.0)


def _acting(telling: Telling, batch: Batch, name: str, like: Tensor) -> Float[Tensor, "batch feature"]:
    """What still acts of one treatment; NaN where it is not known what was given."""
    width = len(telling.rate_spans_s)
    if name not in batch.signals:
        return like.new_full((len(batch), width), torch.nan)
    signal = batch.signals[name]
    seen = signal.observed & batch.column(name)[:, None]
    values = torch.where(seen, signal.values[:, 0].to(like.dtype), 0.0)
    describe = _amounts if modality(name).given else _rates
    found = describe(telling, 1 / signal.sampling_rate_hz)(values, seen)
    return torch.where(seen[:, -1:], found, torch.nan)


def _amounts(telling: Telling, step_s: float) -> Callable[[Values, Seen], Tensor]:
    """Sums that decay, the sum of the last minutes, and that of a day."""

    def describe(values: Values, seen: Seen) -> Tensor:
        ago_s = step_s * torch.arange(values.shape[1] - 1, -1, -1, device=values.device, dtype=values.dtype)
        decayed = [values @ torch.exp(-ago_s / one) for one in telling.decays_s]
        sums = [values[:, -_places(span_s, step_s) :].sum(1) for span_s in (telling.just_s, float(DAY_S))]
        return torch.stack([*decayed, *sums], dim=1)

    return describe


def _rates(telling: Telling, step_s: float) -> Callable[[Values, Seen], Tensor]:
    """Means over spans."""

    def describe(values: Values, seen: Seen) -> Tensor:
        sizes = [_places(span_s, step_s) for span_s in telling.rate_spans_s]
        means = [values[:, -size:].sum(1) / seen[:, -size:].sum(1).clamp(min=1) for size in sizes]
        return torch.stack(means, dim=1)

    return describe


def _places(span_s: float, step_s: float) -> int:
    return max(1, round(span_s / step_s))
