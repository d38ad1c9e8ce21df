"""What a method of attribution is: a map of a bound model, and what its numbers promise."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hdt_fm.explain.binding import Run
from hdt_fm.explain.explanation import MethodMap


@dataclass(frozen=True)
class Plan:
    """How finely to look, for all methods.

    Attributes:
        steps: Points of a path from the reference.
        segments: Stretches per window; each (modality, channel, segment) is one feature of perturbations. Methods that
            ask about many features at once take fewer and longer ones (`features.COARSE`).
        batch_rows: Most windows in one call of the model.
        path: Number of the path of integrated gradients; None takes the first that adds up.
        draws: Random draws of methods that sample: noisy copies, orders of features, or samples for each feature.
        seed: Of those draws; the same seed gives the same map, whatever other windows are explained beside it.
    """

    steps: int = 32
    segments: int = 30
    batch_rows: int = 64
    path: int | None = None
    draws: int = 8
    seed: int = 0


@dataclass(frozen=True)
class Method:
    """One row of the table of methods.

    Attributes:
        title: Its name in a report.
        meaning: What its credit is, in one plain sentence, for the glossary.
        make: The map of one bound batch.
        sums: Whether credits promise to add up to the change of the output (completeness). A method that promises it
            on average over endless draws alone may tell a delta, but does not promise.
        random: Whether the map depends on `Plan.seed`.
        grain: What is told apart: single samples, segments, or patches of a layer.
        signs: Whether signs of single samples add up within a segment; a slope's do not, so its sizes are added.
        of_output: Whether the map is about the output that is explained; False is the same for every target.
    """

    name: str
    title: str
    meaning: str
    make: Callable[[Run, Plan], MethodMap]
    sums: bool
    random: bool = False
    grain: Literal["sample", "segment", "layer"] = "sample"
    signs: bool = True
    of_output: bool = True
