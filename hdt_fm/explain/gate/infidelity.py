"""Infidelity: whether credits foretell what happens when some segments take their reference values."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from captum.metrics import infidelity as captum_infidelity
from jaxtyping import Float
from torch import Tensor

from hdt_fm.explain.explanation import Check, MethodMap
from hdt_fm.explain.gate.exam import Exam
from hdt_fm.explain.gate.judge import at_most
from hdt_fm.explain.gate.removal import UNMOVED, Bench

MARKS = (0.6, 0.85)
SHARE = 0.2
PERTURBATIONS = 16
Several = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class Infidelity:
    """Mean squared error of what credits foretell, over that of a map of zeros; NaN where the output does not move.

    Attributes:
        stretched: After each window's credits were stretched (not turned round) to fit best: 0 foretells every change
            in proportion, 1 none.
        plain: As the credits stand; above 1 where they claim more than happens.
    """

    stretched: float
    plain: float


def check(exam: Exam) -> Check:
    """The leading map's stretched infidelity."""
    rule = f"squared error over that of a map of zeros, best stretch: pass <= {MARKS[0]}, warn <= {MARKS[1]}"
    found = infidelity(exam, exam.lead)
    if np.isnan(found.stretched):
        return Check("infidelity", "fail", float("nan"), rule, UNMOVED)
    meaning = (
        f"When a fifth of the segments take their reference values, credits leave {found.stretched:.0%} of the mean "
        "square of what happens untold."
    )
    detail = {"without a stretch": found.plain}
    return Check("infidelity", at_most(found.stretched, MARKS), found.stretched, rule, meaning, detail)


def infidelity(exam: Exam, method: str) -> Infidelity:
    """Infidelity of a map, over a few windows and random fifths of their segments.

    Source: Yeh et al. 2019, "On the (in)fidelity and sensitivity of explanations", by `captum.metrics`.
    """
    return exam.once(f"infidelity of {method}", partial(_measured, exam, method))


def _measured(exam: Exam, method: str) -> Infidelity:
    bench = Bench.of(exam)
    if np.isnan(bench.scale):
        return Infidelity(float("nan"), float("nan"))
    credit = _tensors(bench, exam.explanation.find(method))
    own, turned = _captum(bench, credit, exam.seed), _captum(bench, [-one for one in credit], exam.seed)
    nothing = [torch.zeros_like(one) for one in credit]
    whole = exam.once("infidelity of zeros", lambda: _captum(bench, nothing, exam.seed))
    if not whole.sum() > 0:
        return Infidelity(float("nan"), float("nan"))
    # With credit a and change b these are E(a - b)^2, E(a + b)^2 and E(b)^2, which give E(ab) and E(a)^2.
    shared, size = (turned - own) / 4, (turned + own) / 2 - whole
    told = torch.where(size > 0, shared.clamp(min=0).square() / size.clamp(min=1e-30), 0.0)
    return Infidelity(float(1 - told.sum() / whole.sum()), float(own.sum() / whole.sum()))


def _captum(bench: Bench, credit: list[Tensor], seed: int) -> Float[Tensor, " window"]:
    """Per window the mean square of (credit of what goes - change of the output), for draws by the seed."""
    generator = torch.Generator().manual_seed(seed)
    features = bench.there.shape[1]

    def perturb(inputs: Several) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        # Captum unpacks a tuple of one.
        there = inputs if isinstance(inputs, tuple) else (inputs,)
        away = (torch.rand(len(there[0]), features, generator=generator) < SHARE).to(there[0].device)
        gone = [away[:, ids[0]].to(one.dtype) for ids, one in zip(bench.ids, there, strict=True)]
        # Credit is an effect and not a slope: taking a sample away takes its whole credit, once.
        return tuple(gone), tuple(one - g for one, g in zip(there, gone, strict=True))

    found = captum_infidelity(
        bench.played,
        perturb,
        # What is varied is whether a sample is there, so that several references can stand behind one map.
        tuple(torch.ones_like(one) for one in bench.run.inputs),
        tuple(credit),
        additional_forward_args=(bench.run.rows,),
        n_perturb_samples=PERTURBATIONS,
        # Captum warns of more than there are.
        max_examples_per_batch=min(max(bench.batch_rows, windows := len(bench.rows)), windows * PERTURBATIONS),
    )
    return found.double()


def _tensors(bench: Bench, one: MethodMap) -> list[Tensor]:
    rows = list(bench.rows)
    return [
        torch.from_numpy(one.values[name][rows]).to(like) if name in one.values else torch.zeros_like(like)
        for name, like in zip(bench.run.names, bench.run.inputs, strict=True)
    ]
