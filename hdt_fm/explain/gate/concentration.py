"""Concentration: one channel that carries all and has no waveform is not a signal; it may be the label itself."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import pearsonr

from hdt_fm.explain.binding import Run, explaining
from hdt_fm.explain.explanation import Check
from hdt_fm.explain.gate.exam import Exam

ALL = 0.95
COPY = 0.98
FLAT, NEARLY_FLAT = 1e-3, 0.1
FEW_LEVELS, FEW_WINDOWS, WINDOWS = 10, 8, 24


@dataclass(frozen=True)
class Channel:
    """What one channel is and carries.

    Attributes:
        swap: Its share of the change when channels change places with those of another window, one at a time.
        credit: Its share of the leading map's |credit|.
        flatness: Spread within windows over the spread of window means; infinite where these do not differ.
        levels: How many values it ever takes.
        copy: Largest |correlation| of its mean or last value with the label; NaN without labels.
    """

    name: str
    swap: float
    credit: float
    flatness: float
    levels: int
    copy: float

    @property
    def bare(self) -> bool:
        """Without a waveform: constant in every window, or a code of a few values."""
        return self.flatness <= FLAT or self.levels <= FEW_LEVELS


def check(exam: Exam) -> Check:
    """Look for a channel that is the label, then for one without a waveform that carries all."""
    rule = (
        f"fail when a channel is flat and is the label (|correlation| >= {COPY}), or carries >= {ALL:.0%} without a "
        "waveform; warn when the map does not show who carries that much, or one channel foretells the label"
    )
    found = channels(exam)
    top = max(found, key=lambda one: one.swap if np.isfinite(one.swap) else one.credit)
    value = top.swap if np.isfinite(top.swap) else top.credit
    detail = {one.name: one.swap if np.isfinite(one.swap) else one.credit for one in found}
    copies = [one for one in found if one.copy >= COPY]
    label = next((one for one in copies if one.flatness <= NEARLY_FLAT or one.levels <= FEW_LEVELS), None)
    if label is not None:
        meaning = f"THE LABEL IS AMONG THE INPUTS: it is {label.name}. Whatever the model seems to know, it was told."
        return Check("concentration", "fail", value, rule, meaning, {**detail, "copy of the label": label.copy})
    if len(found) > 1 and max(top.swap, top.credit) >= ALL and top.bare:
        meaning = f"One channel carries {value:.0%} and has no waveform: {top.name}. Is it the label?"
        return Check("concentration", "fail", value, rule, meaning, detail)
    if len(found) > 1 and top.swap >= ALL and top.credit < 0.5:
        meaning = f"The output rests to {value:.0%} on {top.name}, where the map puts {top.credit:.0%} of the credit."
        return Check("concentration", "warn", value, rule, meaning, detail)
    if copies:
        meaning = f"{copies[0].name} alone foretells the label. Fine where the task is to go on with it, else a leak."
        return Check("concentration", "warn", value, rule, meaning, {**detail, "copy of the label": copies[0].copy})
    meaning = f"The channel that carries most is {top.name}, with {value:.0%}."
    return Check("concentration", "pass", value, rule, meaning, detail)


def channels(exam: Exam) -> list[Channel]:
    """All channels of the explained windows."""
    return exam.once("channels", partial(_channels, exam))


def _channels(exam: Exam) -> list[Channel]:
    told = exam.explanation
    swaps, credits = _swaps(exam), _credits(exam)
    found = []
    for name, signal in told.signals.items():
        here = told.present[:, told.modalities.index(name)] & signal.observed.any(1)
        if not here.any():
            continue
        labels = None if exam.labels is None else exam.labels[here]
        for channel in range(signal.values.shape[1]):
            rows = zip(signal.values[here, channel].astype(np.float64), signal.observed[here], strict=True)
            seen = [row[kept] for row, kept in rows]
            found.append(
                Channel(
                    name=f"{signal.label}, channel {channel + 1}",
                    swap=swaps.get((name, channel), float("nan")),
                    credit=credits.get((name, channel), 0.0),
                    flatness=_flatness(seen),
                    levels=_levels(seen),
                    copy=_copy(seen, labels),
                )
            )
    return found


def _credits(exam: Exam) -> dict[tuple[str, int], float]:
    sums = {
        (name, channel): float(np.abs(values[:, channel]).sum(dtype=np.float64))
        for name, values in exam.explanation.find(exam.lead).values.items()
        for channel in range(values.shape[1])
    }
    whole = sum(sums.values())
    return {key: value / whole if whole else 0.0 for key, value in sums.items()}


def _swaps(exam: Exam) -> dict[tuple[str, int], float]:
    """Share of each channel in what changes when it comes from another window. Credit cannot say this of a channel
    that is constant: its window mean is itself, so it gets none however much the output rests on it."""
    told = exam.explanation
    rows = told.examples(WINDOWS)
    if len(rows) < 2:
        return {}
    few = exam.batch.select(torch.tensor(rows, device=exam.batch.present.device))
    with explaining(exam.model) as model:
        run = Run.of(model, few, target=told.target_index, reference=told.reference)
    moved = {}
    for place, name in enumerate(run.names):
        here = torch.nonzero(few.column(name))[:, 0]
        # Windows are in the order of their output, so half a turn pairs windows that differ.
        source = torch.arange(len(rows), device=here.device)
        source[here] = here.roll(len(here) // 2)
        other = torch.where(run.observed[place], run.inputs[place], run.references[place])[source]
        for channel in range(other.shape[1]):
            moved[name, channel] = _moved(run, place, channel, other, int(exam.explanation.settings["batch_rows"]))
    whole = sum(moved.values())
    return {key: value / whole if whole else float("nan") for key, value in moved.items()}


def _moved(run: Run, place: int, channel: int, other: torch.Tensor, batch_rows: int) -> float:
    total = 0.0
    with explaining(run.model), torch.no_grad():
        for rows in run.rows.split(batch_rows):
            inputs = [one[rows] for one in run.inputs]
            inputs[place] = inputs[place].clone()
            inputs[place][:, channel] = torch.where(
                run.observed[place][rows, channel], other[rows, channel], inputs[place][:, channel]
            )
            total += float((run.forward(*inputs, rows)[:, run.target] - run.output[rows]).double().abs().sum())
    return total


def _flatness(seen: list[NDArray[np.float64]]) -> float:
    """Median spread within a window over the spread of means between windows."""
    between = float(np.std([one.mean() for one in seen]))
    within = float(np.median([one.std() for one in seen]))
    return within / between if between > 0 else float("inf")


def _levels(seen: list[NDArray[np.float64]]) -> int:
    """How many values occur; unknown, hence many, over less than a handful of windows or where nothing varies."""
    values = np.unique(np.concatenate(seen))
    return len(values) if len(seen) >= FEW_WINDOWS and len(values) > 1 else 10**9


def _copy(seen: list[NDArray[np.float64]], labels: NDArray[np.floating] | None) -> float:
    if labels is None:
        return float("nan")
    known = np.isfinite(labels)
    if known.sum() < FEW_WINDOWS or np.ptp(labels[known]) == 0:
        return float("nan")
    statistics = [np.array([one.mean() for one in seen]), np.array([one[-1] for one in seen])]
    found = [abs(float(pearsonr(s[known], labels[known])[0])) for s in statistics if np.ptp(s[known]) > 0]
    return max(found, default=float("nan"))
