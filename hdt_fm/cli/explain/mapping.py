"""The maps of a request: which methods are fit and can be had, how long each takes, and the maps themselves."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from hdt_fm.cli.explain.reference import reference_of
from hdt_fm.cli.explain.told import Told
from hdt_fm.cli.progress import Report
from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.explanation import Explanation
from hdt_fm.explain.fitness.table import Fit, fit_methods
from hdt_fm.explain.gate.planted import Fitness
from hdt_fm.explain.methods import METHODS
from hdt_fm.explain.others import Others
from hdt_fm.explain.targets.forecast import SeriesTarget
from hdt_fm.explain.targets.plan import PlanTarget
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ConfigError, ExplainError, HdtError, unknown_name

# Windows that are explained to see how long the others take.
TRIAL = 2
NO_ENCODER = "planted signals were looked for through encoders, and this answer is made without one"


@dataclass(frozen=True)
class Chosen:
    """Methods of a request that can be had.

    Attributes:
        names: The first one leads.
        left_out: Why the others that were named are not among them.
        fitness: What planted signals said of `names`, for the gate.
        seconds: What one window took in a trial of few, by name.
        unknown: Those of `names` that planted signals have said nothing of, with the reason.
    """

    names: tuple[str, ...]
    left_out: Mapping[str, str]
    fitness: tuple[Fitness, ...]
    seconds: Mapping[str, float]
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def lead(self) -> str:
        """The method that figures and tests lead with."""
        return self.names[0]


def chosen(told: Told, own: Path | None = None) -> Chosen:
    """Try each method on few windows; a further one that is unfit or refuses is left out, a leading one is an error.

    Args:
        own: A table of fitness that goes before the shipped one.

    Raises:
        UnknownNameError: If there is no such method.
        ConfigError: If the leading one does not find planted signals in models of this kind.
        ExplainError: If the leading one cannot explain this model or these windows.
    """
    asked = tuple(dict.fromkeys(told.settings.methods))
    for name in asked:
        if name not in METHODS:
            raise unknown_name("attribution method", name, METHODS, where="explain.methods")
    fit = _fit(told, asked, own)
    _refuse_unfit_lead(told, fit, asked[0], own)
    left_out = {name: reason.rstrip(".") for name, reason in fit.unfit.items()}
    few = told.asked.batch.select(torch.arange(min(TRIAL, len(told.asked))))
    with torch.no_grad():
        # The first call of a model is slow, which would be counted as the first method's.
        told.answer.function(few)
    seconds = {}
    for name in asked:
        if name not in left_out:
            began = time.perf_counter()
            try:
                one_map(told, few, name)
            except ExplainError as error:
                if name == asked[0]:
                    raise
                left_out[name] = one_line(error)
            else:
                seconds[name] = (time.perf_counter() - began) / len(few)
    kept = tuple(one for one in fit.fitness if one.method in seconds)
    unknown = {name: reason.rstrip(".") for name, reason in fit.unknown.items() if name in seconds}
    return Chosen(tuple(seconds), left_out, kept, seconds, unknown)


def mapped(told: Told, names: Sequence[str], progress: Report) -> Explanation:
    """All windows by all methods."""
    reference = reference_of(told, told.settings.reference)
    made = []
    for number, name in enumerate(names):
        made.append(one_map(told, told.asked.batch, name, reference, _part(progress, number, len(names))))
    return replace(made[0], maps=tuple(one.maps[0] for one in made))


def alternative(told: Told, lead: str) -> Explanation | None:
    """The leading map against another reference, to stand beside; None where no other means anything."""
    name = told.alternative
    return None if name is None else one_map(told, told.asked.batch, lead, reference_of(told, name))


def one_line(error: HdtError) -> str:
    """An error as a reason: what is wrong, and the first thing that it says more."""
    return "; ".join(line.strip() for line in str(error).splitlines()[:2])


def one_map(
    told: Told, batch: Batch, name: str, reference: str | Others | None = None, progress: Report | None = None
) -> Explanation:
    """Some windows by one method, as the settings ask for it."""
    return attribute(
        told.answer.function,
        batch,
        target=told.answer.target,
        target_name=told.answer.words,
        methods=(name,),
        reference=reference_of(told, told.settings.reference) if reference is None else reference,
        steps=told.settings.steps,
        segments=told.segments,
        seed=told.settings.seed,
        progress=progress,
    )


def _part(progress: Report, number: int, parts: int) -> Report:
    """The progress of one of several parts as that of all."""

    def report(done: int, total: int, note: str) -> None:
        progress(number * total + done, parts * total, note)

    return report


def by_encoder(told: Told) -> bool:
    """Whether the answer is made from what the encoder says: planted signals were looked for through encoders."""
    function = told.answer.function
    if isinstance(function, SeriesTarget):
        return function.telling.task.windows > 0
    return not isinstance(function, PlanTarget)


def _fit(told: Told, names: Sequence[str], own: Path | None) -> Fit:
    if by_encoder(told):
        return fit_methods(told.model.config, names, own=own)
    return Fit((), {}, dict.fromkeys(names, NO_ENCODER), ())


def _refuse_unfit_lead(told: Told, fit: Fit, lead: str, own: Path | None) -> None:
    reason = fit.unfit.get(lead)
    if reason is None:
        return
    others = _fit(told, list(METHODS), own).fit
    raise ConfigError(
        f"The method {lead} does not find planted signals in models of this kind",
        where="explain.methods",
        got=reason,
        expected=f"one that does first, such as: {', '.join(others) or 'none that was measured'}",
    )
