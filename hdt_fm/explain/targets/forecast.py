"""A forecast of a slow signal, or a risk of its events, as a function of the readings and treatments behind a moment.

Both ways from a reading to the answer are taken: through the frozen encoder's windows, and through what the head is
told beside them. Credit of a reading is what it does by both; `routes.py` says how much goes which way.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from hdt_fm.checkpoint import Model
from hdt_fm.explain.targets.told import Seen, Telling, Values, readings, told_at
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ExplainError, unknown_name
from hdt_fm.schema.protocols import HeadInput

OWN_EVENTS = "own_event_"


@runtime_checkable
class Calibrated(Protocol):
    """A head whose answers are moved by what people kept apart have set."""

    def calibrated(self, output: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Readout:
    """What the frozen encoder makes of the windows behind moments, newest last."""

    context: Float[Tensor, "batch window width"]
    observed: Bool[Tensor, "batch window"]


class SeriesTarget(nn.Module):
    """Encoder, then head: signals up to a moment -> (batch, answer), each answer a column.

    Columns go horizon by horizon; of a forecast the mean and each quantile in the unit of the series, of a risk each
    event in log-odds.

    Args:
        head: Takes a `HeadInput`; `center` holds the means of what training people's moments told.
        column: Of the modality in the encoder's embeddings.
        own_events: How many numbers on the person's own events the head is told beside (`labels["own_event_0"]`, ...).
            They count crossings of thresholds, which have no slope: they are held as they are, and get no credit.

    A person of whom nothing was read is answered from the mean of training people's newest readings.
    """

    def __init__(
        self, encoder: nn.Module, head: nn.Module, telling: Telling, *, column: int = 0, own_events: int = 0
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.telling, self.column, self.own_events = telling, column, own_events

    def forward(self, batch: Batch) -> Float[Tensor, "batch answer"]:
        return self.answers(self.inputs(batch))

    def answers(self, inputs: HeadInput) -> Float[Tensor, "batch answer"]:
        """Of the head alone."""
        output = self.head(inputs)
        if isinstance(self.head, Calibrated):
            output = self.head.calibrated(output)
        return rearrange(output, "batch horizon of -> batch (horizon of)")

    def inputs(self, batch: Batch) -> HeadInput:
        """All that the head is told.

        Raises:
            ExplainError: If that is not as much as the head learned to be told.
        """
        center: Any = self.head.center
        known, last = told_at(self.telling, batch, level=float(center[self.telling.parts["recent"].stop - 4]))
        own = [batch.labels[f"{OWN_EVENTS}{k}"].to(known)[:, None] for k in range(self.own_events)]
        known = torch.cat([known, *own], dim=1)
        if known.shape[1] != len(center):
            raise ExplainError(
                "A head is not told what it learned to be told",
                expected=f"{len(center)} features of the moment",
                got=f"{known.shape[1]}",
                fix="build the target with the task that the head holds (`asked`)",
            )
        read = self.read(batch)
        return HeadInput(context=read.context, observed=read.observed, recent=last[:, None], known=known)

    def read(self, batch: Batch) -> Readout:
        """Embeddings of the windows behind each moment."""
        telling, size = self.telling, len(batch)
        if not telling.task.windows:
            empty = batch.present.new_zeros(size, 1, 0, dtype=torch.float32)
            return Readout(empty, batch.present.new_ones(size, 1))
        windows, seen = _windows(telling, *readings(telling, batch))
        there = seen.any(-1)
        found = self.encoder(_as_batch(telling, windows, seen)).values[:, self.column]
        context = rearrange(found, "(batch window) width -> batch window width", batch=size)
        observed = rearrange(there, "(batch window) -> batch window", batch=size)
        return Readout(torch.where(observed[..., None], context, 0.0), observed)


def _windows(telling: Telling, values: Values, seen: Seen) -> tuple[Tensor, Tensor]:
    """The encoder's windows, moment by moment: what it does not read at their end is unobserved."""
    step_s = telling.task.step_s
    whole, unread = round(telling.window_s / step_s), round(telling.unread_s / step_s)
    first = [values.shape[1] - back - (whole - unread) for back in telling.ends_before]
    early = max(0, -min(first))
    values, seen = F.pad(values, (early, unread)), F.pad(seen, (early, unread))
    place = torch.tensor(first)[:, None] + early + torch.arange(whole)
    read = (torch.arange(whole) < whole - unread).to(seen.device)
    kept = seen[:, place] & read
    cut = torch.where(kept, values[:, place], 0.0).float()
    return rearrange(cut, "batch window time -> (batch window) 1 time"), rearrange(kept, "b w time -> (b w) time")


def _as_batch(telling: Telling, windows: Tensor, seen: Tensor) -> Batch:
    rows = torch.arange(len(windows), device=seen.device)
    name = telling.task.modality
    present = seen.new_ones(len(windows), 1)
    return Batch((name,), {name: Signal(windows, seen, 1 / telling.task.step_s)}, present, rows, rows.double(), rows)


def series_target(model: Model, head: str, telling: Telling, *, own_events: int = 0) -> SeriesTarget:
    """The target of a model's head of a slow signal.

    Raises:
        UnknownNameError: If the model has no head of that name, or does not know the modality that it is told.
    """
    if head not in model.heads:
        raise unknown_name("head", head, model.heads.keys(), where="config.json, heads")
    name = telling.task.modality
    if name not in model.modalities:
        raise unknown_name("modality", name, model.modalities, where="config.json, modalities")
    column = model.modalities.index(name)
    return SeriesTarget(model.encoder, model.heads[head], telling, column=column, own_events=own_events)


def column_of(head: nn.Module, telling: Telling, horizon_s: float, of: float | str | None) -> tuple[int, str, str]:
    """Which column, in which words and unit.

    Args:
        horizon_s: One of the task's.
        of: Of a forecast a quantile's level, None for the mean; of a risk the name of an event.

    Raises:
        UnknownNameError: If the head has no such horizon, level or event.
    """
    task = telling.task
    minutes = [f"{one / 60:g}" for one in task.horizons_s]
    if not any(abs(one - horizon_s) < 1 for one in task.horizons_s):
        raise unknown_name("horizon, in minutes,", f"{horizon_s / 60:g}", minutes, where="explain.horizon_s")
    row = min(range(len(task.horizons_s)), key=lambda at: abs(task.horizons_s[at] - horizon_s))
    described = [str(one["name"]) for one in getattr(head, "described", ())]
    if described:
        if of not in described:
            raise unknown_name("event", str(of), described, where="explain.event")
        words = f"log-odds of {task.modality} {of} within {minutes[row]} min"
        return row * len(described) + described.index(str(of)), words, "log-odds"
    levels: tuple[float, ...] = tuple(head.levels)  # type: ignore[arg-type]
    if of is not None and not any(abs(float(of) - one) < 1e-6 for one in levels):
        raise unknown_name("quantile", f"{of}", [f"{one:g}" for one in levels], where="explain.quantile")
    place = 0 if of is None else 1 + min(range(len(levels)), key=lambda at: abs(levels[at] - float(of)))
    word = "mean" if of is None else "median" if abs(float(of) - 0.5) < 1e-6 else f"{float(of) * 100:g} % quantile of"
    words = f"{word} {task.modality} in {minutes[row]} min, {task.unit}"
    return row * (1 + len(levels)) + place, words, task.unit
