"""What a test of the gate is given: the model, the windows, the explanation, and a way to make the map again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.binding import explaining
from hdt_fm.explain.explanation import Explanation, MethodMap
from hdt_fm.explain.gate.events import Events
from hdt_fm.explain.gate.planted import Fitness
from hdt_fm.explain.gate.skill import Skill
from hdt_fm.explain.others import Others
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ExplainError

Model = Callable[[Batch], Tensor]
# The best of twenty, ours among them, is at 5 %.
FEWEST_ORDERS = 19
_T = TypeVar("_T")


@dataclass(frozen=True)
class Exam:
    """An explanation under test.

    Attributes:
        batch: What `explanation` was made from.
        few: The windows that repeated tests use, spread over the range of the output; `rows`: their places.
        original: The leading map of `few`, made as `again` makes maps, so that likeness is not lost by how.
        stages, draws, seed: Steps of the cascade; repeats of what is random; where randomness starts.
        orders: Random orders of segments that a map's own order must beat.
        fitness: What was measured on planted signals; events: moments that may carry credit.
        labels: (window,) what the output should say, NaN where unknown; None where nobody knows.
        retrained: Models as this one, from other trainings.
    """

    model: Model
    batch: Batch
    explanation: Explanation
    few: Batch
    rows: tuple[int, ...]
    original: MethodMap
    skill: Skill | None
    stages: int
    draws: int
    seed: int
    orders: int = 39
    fitness: tuple[Fitness, ...] = ()
    events: tuple[Events, ...] = ()
    labels: NDArray[np.floating] | None = None
    retrained: tuple[Model, ...] = ()
    _done: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        model: Model,
        batch: Batch,
        explanation: Explanation,
        *,
        skill: Skill | None = None,
        windows: int = 3,
        stages: int = 4,
        draws: int = 2,
        seed: int = 0,
        orders: int = 39,
        fitness: Sequence[Fitness] = (),
        events: Sequence[Events] = (),
        labels: NDArray[np.floating] | None = None,
        retrained: Sequence[Model] = (),
    ) -> "Exam":
        """Raises ExplainError as `attribute`, for labels that are not one a window, and for too few random orders."""
        if labels is not None and labels.shape != (len(batch),):
            raise ExplainError(
                "Labels do not fit the windows", expected=f"shape ({len(batch)},)", got=str(tuple(labels.shape))
            )
        if orders < FEWEST_ORDERS:
            raise ExplainError(
                "Too few random orders to tell a good one from chance",
                expected=f"`orders` of at least {FEWEST_ORDERS}, of which at most 5 % may do as well",
                got=str(orders),
            )
        rows = explanation.examples(windows)
        few = batch.select(torch.tensor(rows, device=batch.present.device))
        lead = explanation.maps[0].method
        original = _again(explanation, model, few, lead, explanation.target_index, int(explanation.settings["seed"]))
        return cls(
            model=model,
            batch=batch,
            explanation=explanation,
            few=few,
            rows=rows,
            original=original,
            skill=skill,
            stages=stages,
            draws=draws,
            seed=seed,
            orders=orders,
            fitness=tuple(fitness),
            events=tuple(events),
            labels=labels,
            retrained=tuple(retrained),
        )

    @property
    def against(self) -> str | Others:
        """The reference of the maps, as `attribute` was given it."""
        return against_of(self.explanation)

    @property
    def lead(self) -> str:
        """The method that figures and tests lead with."""
        return self.explanation.maps[0].method

    def again(
        self,
        model: Model,
        batch: Batch,
        *,
        method: str | None = None,
        target: int | None = None,
        seed: int | None = None,
    ) -> MethodMap:
        """A map once more, of another model, other windows, another output or another seed; the leading one unless
        a method is named."""
        return _again(
            self.explanation,
            model,
            batch,
            self.lead if method is None else method,
            self.explanation.target_index if target is None else target,
            int(self.explanation.settings["seed"]) if seed is None else seed,
        )

    def moved(self, changed: Batch) -> float:
        """How far the output goes when `few` become `changed`, on average, in spreads of the output over windows; of
        one window alone, in its change from the reference."""
        with explaining(self.model) as model, torch.no_grad():
            after = model(changed)[:, self.explanation.target_index].double().cpu().numpy()
        output, reference = self.explanation.output, self.explanation.reference_output
        spread = float(output.std()) if len(output) > 1 else float(np.abs(output - reference).mean())
        return float(np.abs(after - output[list(self.rows)]).mean()) / max(spread, 1e-9)

    def outputs(self) -> NDArray[np.float64]:
        """(window, target) all columns of the model's output on the whole batch."""
        return self.once("outputs", self._outputs)

    def once(self, key: str, make: Callable[[], _T]) -> _T:
        """What `make` gives, made once however many tests ask for it."""
        if key not in self._done:
            self._done[key] = make()
        found: _T = self._done[key]
        return found

    def _outputs(self) -> NDArray[np.float64]:
        pieces = torch.arange(len(self.batch)).split(int(self.explanation.settings["batch_rows"]))
        with explaining(self.model) as model, torch.no_grad():
            return np.concatenate([model(self.batch.select(rows)).double().cpu().numpy() for rows in pieces])


def against_of(explanation: Explanation) -> str | Others:
    """What an explanation was held against; the name alone where it was not kept, as of one that was not made here."""
    found: str | Others = explanation.reference if explanation.against is None else explanation.against
    return found


def _again(explanation: Explanation, model: Model, batch: Batch, method: str, target: int, seed: int) -> MethodMap:
    made, settings = explanation.find(method), explanation.settings
    # A quarter of the points is enough to compare maps, all of which are then made with that quarter.
    return attribute(
        model,
        batch,
        target=target,
        methods=(method,),
        reference=against_of(explanation),
        steps=max(8, int(settings["steps"]) // 4),
        segments=int(settings["segments"]),
        batch_rows=int(settings["batch_rows"]),
        path=made.path if made.delta is not None else None,
        draws=int(settings["draws"]),
        seed=seed,
    ).find(method)
