"""What a target of an explanation is for the verb: the function, which of its numbers, in which words, of what."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from hdt_fm.checkpoint import Model
from hdt_fm.cli.explain.windows import Asked
from hdt_fm.cli.held_out import people_of_checkpoint
from hdt_fm.cli.settings import ExplainSettings
from hdt_fm.data.shards import ShardFolder
from hdt_fm.explain.gate.skill import Skill


@dataclass(frozen=True)
class Wanted:
    """Which answer of a head, where it has many; a head reads what concerns it.

    Attributes:
        horizon_s: Of forecasts, risks and plans.
        quantile: Of a forecast; None is the mean.
        event: Of a risk; None is its first.
        plan, against: In the words of `hdt-fm twin what-if`.
        similar: `all`, or the modality that is compared.
        to_subject, to_window: The window that is compared with, as `explain.subject` and `explain.window` name one.
        treatments: Folder of shards of what was given, where a head is told of it.
    """

    horizon_s: float = 3600.0
    quantile: float | None = 0.5
    event: str | None = None
    plan: str = "bolus 4 U"
    against: str = "nothing"
    similar: str = "all"
    to_subject: int = 0
    to_window: int = 0
    treatments: str | None = None


@dataclass(frozen=True)
class Source:
    """Where an answer comes from.

    Attributes:
        pretrained: The encoder's checkpoint, which says whom it never saw.
    """

    model: Model
    folder: ShardFolder
    settings: ExplainSettings
    wanted: Wanted
    pretrained: Path

    def unseen(self) -> set[int]:
        """Rows of the manifest's people whom the encoder never saw."""
        names = set(people_of_checkpoint(self.pretrained)["test"])
        return {row for row, one in enumerate(self.folder.manifest.subjects) if one.subject in names}


@dataclass(frozen=True)
class Answer:
    """One number that can be explained.

    Attributes:
        function: Batch -> (batch, target).
        target: The column that is explained.
        words: What it is, with its unit, for the report.
        label: Of the shards, where the answer is of one.
        window_s: Of what `windows` gives.
        segment_s: A stretch worth telling apart, where a window is days; None leaves it to `explain.occlusion_s`.
        windows: Makes what is explained; positions are the windows of the shards that each belongs to.
        skill: Measures how well the answer predicts, on people whom neither encoder nor head saw; None where nothing
            can tell, as of an effect.
    """

    function: nn.Module
    target: int
    words: str
    unit: str
    label: str | None
    window_s: float
    windows: Callable[[], Asked]
    skill: Callable[[], Skill | None]
    segment_s: float | None = None


def spread(rows: np.ndarray, count: int) -> np.ndarray:
    """So many of them, evenly, from the first to the last."""
    out: np.ndarray = rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]
    return out


def not_measured() -> None:
    """Of an answer of which no truth is known."""
    return
