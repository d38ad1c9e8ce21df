"""What the parts of `hdt-fm explain` are told: one model, one answer of it, and the windows that are explained."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdt_fm.checkpoint import Model
from hdt_fm.cli.compose import Config
from hdt_fm.cli.explain.answer import Answer
from hdt_fm.cli.explain.windows import Asked
from hdt_fm.cli.settings import ExplainSettings
from hdt_fm.data.shards import ShardFolder

FEWEST_SEGMENTS = 12
OTHERS = "others"


@dataclass(frozen=True)
class Told:
    """One request."""

    config: Config
    settings: ExplainSettings
    folder: ShardFolder
    model: Model
    answer: Answer
    asked: Asked

    @property
    def segments(self) -> int:
        """Stretches as long as the answer wants them, or of `occlusion_s`; a window has at least twelve."""
        every_s = self.answer.segment_s or self.settings.occlusion_s
        return max(FEWEST_SEGMENTS, round(self.answer.window_s / every_s))

    @property
    def alternative(self) -> str | None:
        """The reference that stands beside; None where no other means anything.

        Zero takes the place of others' windows, which cannot stand in for an answer about more than windows, but not
        for an answer about a signal in its own unit: nobody has 0 mg/dL.
        """
        name = self.settings.alternative
        if name == OTHERS and self.answer.label is None:
            name = "zero"
        if name == "zero" and self.answer.segment_s is not None:
            return None
        return None if name == self.settings.reference else name

    @property
    def labels(self) -> NDArray[np.floating] | None:
        """(window,) what the answer should have been; None where it is not of a label."""
        name = self.answer.label
        return None if name not in self.folder.labels else self.folder.labels[name][self.asked.positions]

    @property
    def positive_class(self) -> int | None:
        """The class whose log-odds are explained; None for a value."""
        column = next((one for one in self.folder.header.labels if one.name == self.answer.label), None)
        return self.answer.target if column is not None and column.kind == "class" else None
