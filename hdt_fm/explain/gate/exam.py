"""What a test of the gate is given: the model, the windows, the explanation, and a way to make the map again."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.explanation import Explanation, MethodMap
from hdt_fm.explain.gate.skill import Skill
from hdt_fm.schema.batch import Batch


@dataclass(frozen=True)
class Exam:
    """An explanation under test.

    Attributes:
        batch: What `explanation` was made from.
        few: The windows that repeated tests use, spread over the range of the output; `rows`: their places.
        original: The leading map of `few`, made as `again` makes maps, so that likeness is not lost by how.
        stages, draws, seed: Steps of the cascade; repeats of what is random; where randomness starts.
    """

    model: Callable[[Batch], Tensor]
    batch: Batch
    explanation: Explanation
    few: Batch
    rows: tuple[int, ...]
    original: MethodMap
    skill: Skill | None
    stages: int
    draws: int
    seed: int

    @classmethod
    def of(
        cls,
        model: Callable[[Batch], Tensor],
        batch: Batch,
        explanation: Explanation,
        *,
        skill: Skill | None,
        windows: int,
        stages: int,
        draws: int,
        seed: int,
    ) -> "Exam":
        """Raises ExplainError as `attribute`."""
        rows = explanation.examples(windows)
        few = batch.select(torch.tensor(rows, device=batch.present.device))
        original = _again(explanation, model, few, explanation.target_index, int(explanation.settings["seed"]))
        return cls(model, batch, explanation, few, rows, original, skill, stages, draws, seed)

    @property
    def lead(self) -> str:
        """The method that figures and tests lead with."""
        return self.explanation.maps[0].method

    def again(
        self,
        model: Callable[[Batch], Tensor],
        batch: Batch,
        *,
        target: int | None = None,
        seed: int | None = None,
    ) -> MethodMap:
        """The leading map once more, of another model, other windows, another output or another seed."""
        return _again(
            self.explanation,
            model,
            batch,
            self.explanation.target_index if target is None else target,
            int(self.explanation.settings["seed"]) if seed is None else seed,
        )

    def output(self, batch: Batch) -> NDArray[np.float64]:
        """(window,) the explained output."""
        with torch.no_grad():
            found = self.model(batch)[:, self.explanation.target_index]
        return found.double().cpu().numpy()


def _again(
    explanation: Explanation, model: Callable[[Batch], Tensor], batch: Batch, target: int, seed: int
) -> MethodMap:
    lead, settings = explanation.maps[0], explanation.settings
    # A quarter of the points is enough to compare maps, all of which are then made with that quarter.
    return attribute(
        model,
        batch,
        target=target,
        methods=(lead.method,),
        reference=explanation.reference,
        steps=max(8, int(settings["steps"]) // 4),
        segments=int(settings["segments"]),
        batch_rows=int(settings["batch_rows"]),
        path=lead.path if lead.delta is not None else None,
        draws=int(settings["draws"]),
        seed=seed,
    ).find(lead.method)
