"""Sensitivity: how far a map can be turned by a nudge of the input that changes nothing worth a name."""

from dataclasses import replace
from functools import partial

import torch
from captum.metrics import sensitivity_max
from torch import Tensor

from hdt_fm.explain.attribution import bound
from hdt_fm.explain.binding import Run, explaining
from hdt_fm.explain.explanation import Check
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.judge import at_most, brittle
from hdt_fm.explain.methods.saliency import spread

MARKS = (0.3, 1.0)
RADIUS = 0.02
Several = Tensor | tuple[Tensor, ...]


def check(exam: Exam) -> Check:
    """The largest change of the leading map over some nudges, as a share of its size, on average over windows."""
    rule = f"largest change over nudges of {RADIUS:.0%} of the spread: pass <= {MARKS[0]}, warn <= {MARKS[1]}"
    value, output = max_sensitivity(exam, exam.lead), _output_moved(exam)
    meaning = f"Nudges of a fiftieth of each channel's spread change the map by up to {value:.0%} of its size."
    meaning += brittle(output)
    detail = {"output moved, in spreads": output}
    return Check("sensitivity", at_most(value, MARKS), value, rule, meaning, detail)


def max_sensitivity(exam: Exam, method: str) -> float:
    """Mean over a few windows of the largest |map of nudged - map| / |map|; 0 is a map that stays.

    Source: Yeh et al. 2019, by `captum.metrics`; nudges are uniform within a share of each channel's own spread.
    """
    return exam.once(f"sensitivity of {method}", partial(_measured, exam, method))


def _measured(exam: Exam, method: str) -> float:
    run = _bound(exam)
    generator = torch.Generator().manual_seed(exam.seed)

    def explained(inputs: Several, additional_forward_args: tuple[Tensor]) -> tuple[Tensor, ...]:
        picked = exam.few.select(additional_forward_args[0])
        # Captum unpacks a tuple of one.
        values = inputs if isinstance(inputs, tuple) else (inputs,)
        signals = {n: replace(picked.signals[n], values=v) for n, v in zip(run.names, values, strict=True)}
        nudged = replace(picked, signals={**picked.signals, **signals})
        found = exam.again(exam.model, nudged, method=method).values
        return tuple(torch.from_numpy(found[name]).double() for name in run.names)

    def nudge(inputs: Several, radius: float) -> tuple[Tensor, ...]:
        values = inputs if isinstance(inputs, tuple) else (inputs,)
        times = len(values[0]) // len(run.rows)
        seen = [one.repeat_interleave(times, dim=0) for one in run.observed]
        return tuple(nudged(x, s, radius=radius, generator=generator) for x, s in zip(values, seen, strict=True))

    found = sensitivity_max(
        explained,
        run.inputs,
        nudge,
        perturb_radius=RADIUS,
        n_perturb_samples=2 * exam.draws,
        additional_forward_args=(run.rows,),
    )
    return float(found.double().mean())


def _bound(exam: Exam) -> Run:
    """Its inputs are what is nudged; maps are made anew, each against the references that the map has."""
    with explaining(exam.model) as model:
        return bound(model, exam.few, exam.explanation.target_index, exam.against)[0]


def _output_moved(exam: Exam) -> float:
    """The largest move of the output over as many nudges, to tell a brittle model from a brittle map."""
    run, found = _bound(exam), []
    generator = torch.Generator().manual_seed(exam.seed)
    for _ in range(2 * exam.draws):
        parts = zip(run.names, run.inputs, run.observed, strict=True)
        values = {name: nudged(x, s, radius=RADIUS, generator=generator) for name, x, s in parts}
        signals = {name: replace(exam.few.signals[name], values=one) for name, one in values.items()}
        found.append(exam.moved(replace(exam.few, signals={**exam.few.signals, **signals})))
    return max(found)


def nudged(values: Tensor, seen: Tensor, *, radius: float, generator: torch.Generator) -> Tensor:
    """Observed samples moved uniformly by up to `radius` times their channel's spread."""
    draw = (2 * torch.rand(values.shape, generator=generator) - 1).to(values)
    return torch.where(seen, values + radius * spread(values, seen) * draw, values)
