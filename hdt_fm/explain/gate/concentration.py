"""Concentration: one channel that carries all and has no waveform is not a signal; it may be the label itself."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import pearsonr

from hdt_fm.explain.attribution import bound
from hdt_fm.explain.binding import Run, explaining, level_of
from hdt_fm.explain.explanation import Check
from hdt_fm.explain.gate.exam import Exam

ALL = 0.95
# With a value, which a signal may foretell honestly; with a class, which no level tells apart by six spreads.
COPY, COPY_OF_CLASS = 0.98, 0.95
FLAT, NEARLY_FLAT = 1e-3, 0.1
# A level with as much hiss as half of what levels differ by, and no sample like the one before.
HISSING, UNLIKE = 0.5, 0.3
FEW_LEVELS, FEW_WINDOWS, WINDOWS = 10, 8, 24


@dataclass(frozen=True)
class Channel:
    """What one channel is and carries.

    Attributes:
        swap: Its share of the change when channels change places with those of another window, one at a time.
        credit: Its share of the leading map's |credit|.
        flatness: Spread within windows over the spread of window means; infinite where these do not differ.
        levels: How many values it ever takes.
        hiss: Correlation of a sample with the next one, about the window's mean; NaN where nothing varies.
        copy: How far its mean or last value goes along with the label, 0 to 1; NaN without labels.
        of_class: Whether labels are classes.
    """

    name: str
    swap: float
    credit: float
    flatness: float
    levels: int
    hiss: float
    copy: float
    of_class: bool

    @property
    def bare(self) -> bool:
        """Without a waveform: constant in every window, or a code of a few values."""
        return self.flatness <= FLAT or self.levels <= FEW_LEVELS

    @property
    def hissing(self) -> bool:
        """A level and noise about it, as of a number that somebody wrote down and blurred."""
        return self.flatness <= HISSING and abs(self.hiss) <= UNLIKE

    @property
    def is_label(self) -> bool:
        """Goes along with the label, and has no waveform that could know it."""
        mark = COPY_OF_CLASS if self.of_class else COPY
        return self.copy >= mark and (self.bare or self.flatness <= NEARLY_FLAT or self.hissing)


def check(exam: Exam) -> Check:
    """Look for a channel that is the label, then for one without a waveform that carries all."""
    rule = (
        f"fail when a channel without a waveform is the label (correlation >= {COPY}, of a class {COPY_OF_CLASS}), or "
        f"carries >= {ALL:.0%}; warn when that one is a level with noise, when the map does not show who carries that "
        "much, or when one channel foretells the label"
    )
    found = channels(exam)
    top = max(found, key=lambda one: one.swap if np.isfinite(one.swap) else one.credit)
    value = top.swap if np.isfinite(top.swap) else top.credit
    detail = {one.name: one.swap if np.isfinite(one.swap) else one.credit for one in found}
    label = next((one for one in found if one.is_label), None)
    if label is not None:
        meaning = f"THE LABEL IS AMONG THE INPUTS: it is {label.name}. Whatever the model seems to know, it was told."
        return Check("concentration", "fail", value, rule, meaning, {**detail, "copy of the label": label.copy})
    if len(found) > 1 and max(top.swap, top.credit) >= ALL and top.bare:
        meaning = f"One channel carries {value:.0%} and has no waveform: {top.name}. Is it the label?"
        return Check("concentration", "fail", value, rule, meaning, detail)
    if len(found) > 1 and max(top.swap, top.credit) >= ALL and top.hissing:
        meaning = f"One channel carries {value:.0%} and is a level with noise about it: {top.name}. Is it the label?"
        return Check("concentration", "warn", value, rule, meaning, detail)
    if len(found) > 1 and top.swap >= ALL and top.credit < 0.5:
        meaning = f"The output rests to {value:.0%} on {top.name}, where the map puts {top.credit:.0%} of the credit."
        return Check("concentration", "warn", value, rule, meaning, detail)
    copies = [one for one in found if one.copy >= COPY]
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
                    hiss=_hiss(seen),
                    copy=_copy(seen, labels),
                    of_class=_of_class(labels),
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
        run = bound(model, few, told.target_index, exam.against)[0]
    moved = {}
    for place, name in enumerate(run.names):
        here = torch.nonzero(few.column(name))[:, 0]
        # Windows are in the order of their output, so half a turn pairs windows that differ.
        source = torch.arange(len(rows), device=here.device)
        source[here] = here.roll(len(here) // 2)
        # What the other window has not seen comes as its level: what stands there is no measurement.
        own, seen = run.inputs[place], run.observed[place]
        other = torch.where(seen, own, level_of(own, seen))[source]
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


def _hiss(seen: list[NDArray[np.float64]]) -> float:
    """Correlation of neighbours over all windows, about each one's mean."""
    rests = [one - one.mean() for one in seen]
    size = float(sum((one**2).sum() for one in rests))
    return float(sum((one[1:] * one[:-1]).sum() for one in rests)) / size if size > 0 else float("nan")


def _of_class(labels: NDArray[np.floating] | None) -> bool:
    """Whether labels are a few numbers, each of several windows."""
    if labels is None:
        return False
    known = labels[np.isfinite(labels)]
    return len(np.unique(known)) <= len(known) / 4


def _copy(seen: list[NDArray[np.float64]], labels: NDArray[np.floating] | None) -> float:
    if labels is None:
        return float("nan")
    known = np.isfinite(labels)
    if known.sum() < FEW_WINDOWS or np.ptp(labels[known]) == 0:
        return float("nan")
    along = _class_share if _of_class(labels) else _correlation
    statistics = [np.array([one.mean() for one in seen]), np.array([one[-1] for one in seen])]
    return max((along(s[known], labels[known]) for s in statistics if np.ptp(s[known]) > 0), default=float("nan"))


def _correlation(values: NDArray[np.float64], labels: NDArray[np.floating]) -> float:
    return abs(float(pearsonr(values, labels)[0]))


def _class_share(values: NDArray[np.float64], labels: NDArray[np.floating]) -> float:
    """Correlation ratio: that of values with the mean of their class, so that the numbers of classes have no order."""
    classes, place = np.unique(labels, return_inverse=True)
    means = np.array([values[place == k].mean() for k in range(len(classes))])
    return float(np.sqrt(np.var(means[place]) / np.var(values)))
