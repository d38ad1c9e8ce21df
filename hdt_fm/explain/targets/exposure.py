"""An exposure's dose and what it does to an outcome, as a function of the exposures' course, day by day.

A dose is a weighted mean of all levels seen, the weights falling back in time with the exposure's time constant; so its
credit for a day is that day's share, exactly. An effect is a sum of bent functions of doses and of products of two
(`hdt_fm/layers/dose_law.py`). Credit is of an answer at the last day of each window.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ExplainError, unknown_name

FORMS = ("line", "hinge", "below", "bent", "ramp")


@dataclass(frozen=True)
class LearnedLaw:
    """What a head of doses learned of people.

    Attributes:
        exposures: Names, and of each the form of what it does.
        pairs: Places of two exposures whose last columns are multiplied.
        log_tau: Of time constants in steps.
        knots, slopes: Of the columns, in the order of exposures; slopes of pairs last.
        middle: Doses that effects are told against.
    """

    exposures: tuple[str, ...]
    forms: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    log_tau: tuple[float, ...]
    knots: tuple[float, ...]
    slopes: tuple[float, ...]
    middle: tuple[float, ...]

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "LearnedLaw":
        """From a head's `plain()`, which a model folder holds and has looked at.

        Raises:
            UnknownNameError: If it has a form that this file does not.
        """
        names = tuple(plain["exposures"])
        for form in plain["forms"]:
            if form not in FORMS:
                raise unknown_name("form of a dose", form, FORMS, where="LearnedLaw")
        pairs = tuple((names.index(one), names.index(other)) for one, other in plain["pairs"])
        numbers = {name: tuple(map(float, plain[name])) for name in ("log_tau", "knots", "slopes", "middle")}
        return cls(names, tuple(plain["forms"]), pairs, **numbers)


class DoseTarget(nn.Module):
    """Courses of exposures -> (batch, 1 + exposure): the effect on the outcome, then each dose.

    The signal of each exposure has one channel, a sample a step, the last one the step that is answered. One that was
    never seen has its middle dose, which does nothing.

    Units: the outcome's, then the exposures' own.
    """

    def __init__(self, law: LearnedLaw) -> None:
        super().__init__()
        self.law = law
        self.log_tau, self.knots, self.slopes = map(_numbers, (law.log_tau, law.knots, law.slopes))
        self.register_buffer("middle", torch.tensor(law.middle, dtype=torch.float64))

    def forward(self, batch: Batch) -> Float[Tensor, "batch effect_and_dose"]:
        middle: Tensor = self.middle  # type: ignore[assignment]
        doses = torch.stack([self._dose(batch, place) for place in range(len(self.law.exposures))], dim=1)
        change = (self._columns(doses) - self._columns(middle[None])) @ self.slopes
        return torch.cat([change[:, None], doses], dim=1)

    def _dose(self, batch: Batch, place: int) -> Float[Tensor, " batch"]:
        """What is left of all that was seen, over all that could be left of it."""
        name, middle = self.law.exposures[place], self.middle[place]  # type: ignore[index]
        if name not in batch.signals:
            return middle.expand(len(batch))
        values = batch.signals[name].values
        if values.shape[1] != 1:
            raise ExplainError(
                "An exposure has one channel", where=f"modality {name}", expected="1", got=str(values.shape[1])
            )
        seen = batch.signals[name].observed & batch.column(name)[:, None]
        ago = torch.arange(values.shape[2] - 1, -1, -1, device=values.device, dtype=torch.float64)
        left = torch.where(seen, torch.exp(-ago / self.log_tau[place].exp()), 0.0)
        mass = left.sum(1)
        total = (left * torch.where(seen, values[:, 0].double(), 0.0)).sum(1)
        return torch.where(mass > 0, total / torch.where(mass > 0, mass, 1.0), middle)

    def _columns(self, doses: Float[Tensor, "row exposure"]) -> Float[Tensor, "row column"]:
        """Of each exposure, then of pairs."""
        own, used = [], 0
        for place, form in enumerate(self.law.forms):
            count = {"line": 0, "ramp": 2}.get(form, 1)
            own.append(_bent(form, doses[:, place, None], self.knots[used : used + count]))
            used += count
        pairs = [(own[one][:, -1] * own[other][:, -1])[:, None] for one, other in self.law.pairs]
        return torch.cat([*own, *pairs], dim=1)


def _bent(form: str, dose: Float[Tensor, "row 1"], knots: Float[Tensor, " knot"]) -> Float[Tensor, "row own_column"]:
    above = (dose - knots).clamp(min=0.0)
    match form:
        case "line":
            return dose
        case "hinge":
            return above
        case "below":
            return (knots - dose).clamp(min=0.0)
        case "bent":
            return torch.cat([dose, above], dim=1)
        case _:
            return above[:, :1] - above[:, 1:]


def _numbers(values: tuple[float, ...]) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float64), requires_grad=False)
