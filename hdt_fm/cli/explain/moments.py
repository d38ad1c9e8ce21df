"""Moments of a slow signal as windows that can be explained: readings and treatments behind each, on their grids."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int

from hdt_fm.checkpoint import Model
from hdt_fm.cli.series import unread_s
from hdt_fm.explain.targets.forecast import OWN_EVENTS
from hdt_fm.explain.targets.told import CLOCK, Telling
from hdt_fm.metrics.events import EVENTS
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.series import ForecastTask, Series
from hdt_fm.signal.moments import MAX_LINE_S, Moments
from hdt_fm.signal.own_events import own_events
from hdt_fm.signal.own_past import DAYS_BEFORE, SPANS_S
from hdt_fm.signal.treatments import DECAYS_S, JUST_S, RATE_SPANS_S


def telling_of(model: Model, task: ForecastTask) -> Telling:
    """How a head of this task is told of a moment, as `hdt_fm.cli.series.told` does it."""
    return Telling(
        task=task,
        window_s=model.config.window_s if task.windows else 0.0,
        unread_s=unread_s(model, task.modality) if task.windows else 0.0,
        line_s=MAX_LINE_S,
        spans_s=tuple(map(float, SPANS_S)),
        days_before=DAYS_BEFORE,
        decays_s=DECAYS_S,
        just_s=JUST_S,
        rate_spans_s=tuple(map(float, RATE_SPANS_S)),
    )


def batch_of(
    telling: Telling,
    moments: Moments,
    series: Sequence[Series],
    given: Mapping[str, Sequence[Series]],
    *,
    events: bool = False,
) -> Batch:
    """One window for each moment: its last sample is now, its first as far back as anything is told.

    Args:
        moments: Of `series`; few, since each becomes a window of days.
        given: Of each of the task's treatments.
        events: Also what a head of risks is told of the person's own events, as labels.
    """
    task, rows = telling.task, torch.arange(len(moments))
    places = int(np.ceil(telling.history_s / task.step_s))
    signals = {task.modality: _signal(series, moments.series, moments.place, places)}
    for name in sorted(task.treatments):
        step_s = task.treatments_step_s
        number, place = _newest(given.get(name, ()), moments)
        signals[name] = _signal(given.get(name, ()), number, place, round(places * task.step_s / step_s), step_s)
    present = torch.stack([one.observed.any(1) for one in signals.values()], dim=1)
    labels = {CLOCK: torch.from_numpy(moments.clock_s).double()}
    if events:
        own = own_events(moments, series, [event.of for event in EVENTS[task.modality]])
        labels |= {f"{OWN_EVENTS}{k}": torch.from_numpy(column.copy()) for k, column in enumerate(own.T)}
    return Batch(
        modalities=tuple(signals),
        signals=signals,
        present=present,
        subject=torch.from_numpy(moments.subject.astype(np.int64)),
        time_s=torch.from_numpy(moments.time_s - (places - 1) * task.step_s).double(),
        window_id=rows,
        labels=labels,
    )


def _newest(
    series: Sequence[Series], moments: Moments
) -> tuple[Int[np.ndarray, " origin"], Int[np.ndarray, " origin"]]:
    """Of a treatment the series and place that each moment lies in; -1 where none does."""
    number, place = np.full(len(moments), -1), np.full(len(moments), -1)
    for at, one in enumerate(series):
        rows = np.flatnonzero(moments.subject == one.subject)
        there = np.floor((moments.time_s[rows] - one.start_s) / one.step_s + 1e-6).astype(np.int64)
        inside = (there >= 0) & (there < len(one))
        number[rows[inside]], place[rows[inside]] = at, there[inside]
    return number, place


def _signal(
    series: Sequence[Series],
    number: Int[np.ndarray, " origin"],
    place: Int[np.ndarray, " origin"],
    size: int,
    step_s: float | None = None,
) -> Signal:
    """So many samples of each moment's own series, the last one at its place."""
    pairs = zip(number.tolist(), place.tolist(), strict=True)
    cut = [_cut(series[which], end, size) if which >= 0 else _nothing(size) for which, end in pairs]
    values, observed = (np.stack(some) for some in zip(*cut, strict=True))
    return Signal(
        torch.from_numpy(values)[:, None], torch.from_numpy(observed), 1 / (step_s or series[int(number[0])].step_s)
    )


def _cut(one: Series, place: int, size: int) -> tuple[Float32[np.ndarray, " _"], Bool[np.ndarray, " _"]]:
    index = place + np.arange(1 - size, 1)
    observed = one.observed[index.clip(min=0)] & (index >= 0)
    return np.where(observed, one.values[index.clip(min=0)], 0.0).astype(np.float32), observed


def _nothing(size: int) -> tuple[Float32[np.ndarray, " _"], Bool[np.ndarray, " _"]]:
    return np.zeros(size, dtype=np.float32), np.zeros(size, dtype=np.bool_)
