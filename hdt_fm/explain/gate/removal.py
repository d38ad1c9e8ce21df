"""Segments taken away in some order: what that does to the output, for a map's order and for orders at random."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from hdt_fm.explain.attribution import bound
from hdt_fm.explain.binding import Run, explaining
from hdt_fm.explain.explanation import MethodMap, segment_sums
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.methods import METHODS
from hdt_fm.explain.methods.features import feature_ids

LEVELS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
WINDOWS = 6
UNMOVED = "Against this reference the output does not change, so there is nothing to take away."


@dataclass(frozen=True)
class Bench:
    """A few windows, each segment of which can take its reference values; one feature a (modality, channel, segment).

    Attributes:
        runs: The model bound to them, once for each reference that the map is a mean over; outputs are such means too,
            since against one of them the map would answer another question than it was asked.
        rows: Their places among the explained windows.
        ids: Per modality (1, channel, time) which feature a sample belongs to.
        there: (window, feature) whether any of its samples was observed; others change nothing and are left out.
        batch_rows: Most windows in one call of the model.
    """

    runs: tuple[Run, ...]
    rows: tuple[int, ...]
    ids: tuple[Tensor, ...]
    there: NDArray[np.bool_]
    segments: int
    batch_rows: int

    @classmethod
    def of(cls, exam: Exam) -> "Bench":
        """The bench of an exam, built once."""
        return exam.once("bench", partial(cls._built, exam))

    @classmethod
    def _built(cls, exam: Exam) -> "Bench":
        told = exam.explanation
        rows = told.examples(WINDOWS)
        picked = exam.batch.select(torch.tensor(rows, device=exam.batch.present.device))
        with explaining(exam.model) as model:
            runs = bound(model, picked, told.target_index, exam.against)
        run = runs[0]
        shapes = [tuple(one.shape[1:]) for one in run.inputs]
        ids = tuple(feature_ids(shapes, told.segments, device=run.rows.device))
        seen = [one.cpu().numpy().astype(np.float32) for one in run.observed]
        there = np.concatenate([_flat(one, told.segments) for one in seen], axis=1) > 0
        return cls(runs, rows, ids, there, told.segments, int(told.settings["batch_rows"]))

    @property
    def run(self) -> Run:
        """The first one: all of them have the same inputs."""
        return self.runs[0]

    @property
    def reference_output(self) -> NDArray[np.float64]:
        """(window,) the output of the reference."""
        outputs = torch.stack([run.reference_output.double() for run in self.runs])
        return outputs.mean(0).cpu().numpy()

    @property
    def change(self) -> NDArray[np.float64]:
        """(window,) output less reference output."""
        return self.run.output.double().cpu().numpy() - self.reference_output

    @property
    def scale(self) -> float:
        """Sum of the sizes of change: effects are told in shares of it; NaN where there is none."""
        size = float(np.abs(self.change).sum())
        # Outputs are in single precision: what lies below its rounding is no change.
        rounding = 1e-6 * float(self.run.output.abs().sum() + np.abs(self.reference_output).sum())
        return size if size > max(rounding, 1e-12) else float("nan")

    def credit(self, one: MethodMap) -> NDArray[np.float64]:
        """(window, feature) credit of a map of the whole batch; of slopes the size, whose signs do not add up."""
        found = []
        for name, values in zip(self.run.names, self.run.inputs, strict=True):
            part = one.values[name][list(self.rows)] if name in one.values else np.zeros(values.shape, np.float32)
            found.append(_flat(part if METHODS[one.method].signs else np.abs(part), self.segments))
        return np.concatenate(found, axis=1)

    def outputs(self, away: NDArray[np.bool_], window: NDArray[np.int64]) -> NDArray[np.float64]:
        """(case,) the output of `window[k]` after the features `away[k]` took their reference values."""
        gone, rows = torch.from_numpy(away).to(self.run.rows.device), torch.from_numpy(window).to(self.run.rows.device)
        # One mask a modality: 1 where a sample is there.
        found = [
            self.played(*(1.0 - gone[piece][:, ids[0]].float() for ids in self.ids), rows[piece])
            for piece in torch.arange(len(rows)).split(self.batch_rows)
        ]
        return torch.cat(found).cpu().numpy()

    def played(self, *tensors: Tensor) -> Float[Tensor, " case"]:
        """The output of the windows at the last tensor's places, where a 0 in a mask stands for a reference value."""
        *masks, rows = tensors
        total = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
        with explaining(self.run.model), torch.no_grad():
            for run in self.runs:
                parts = zip(masks, run.inputs, run.references, strict=True)
                inputs = [torch.where(mask > 0.5, one[rows], ref[rows]) for mask, one, ref in parts]
                total += run.forward(*inputs, rows)[:, run.target].double()
        return total / len(self.runs)


def ranked(bench: Bench, value: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Per window the features that are there, the highest value first."""
    return [
        np.flatnonzero(there)[np.argsort(-row[there], kind="stable")]
        for row, there in zip(value, bench.there, strict=True)
    ]


def shuffled(bench: Bench, count: int, seed: int) -> list[list[NDArray[np.int64]]]:
    """Orders at random, each with one order a window."""
    draw = np.random.default_rng(seed)
    return [[draw.permutation(np.flatnonzero(there)) for there in bench.there] for _ in range(count)]


def steps_of(count: int, levels: tuple[float, ...]) -> list[int]:
    """How many of `count` features each level is; at least one."""
    return [min(count, max(1, round(count * level))) for level in levels]


def first(bench: Bench, order: list[NDArray[np.int64]], levels: tuple[float, ...]) -> NDArray[np.bool_]:
    """(window, level, feature) the first features of an order, at each level."""
    found = np.zeros((len(order), len(levels), bench.there.shape[1]), dtype=np.bool_)
    for window, places in enumerate(order):
        for level, count in enumerate(steps_of(len(places), levels)):
            found[window, level, places[:count]] = True
    return found


def told(bench: Bench, away: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(window, level) outputs for (window, level, feature) of what is away."""
    windows, levels, _ = away.shape
    found = bench.outputs(away.reshape(windows * levels, -1), np.repeat(np.arange(windows), levels))
    return found.reshape(windows, levels)


def _flat(values: NDArray[np.float32], segments: int) -> NDArray[np.float64]:
    return segment_sums(values, segments).reshape(len(values), -1)
