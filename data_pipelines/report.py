"""What a build did, for people: counts and times of each stage, and what was lost. The shards know nothing of it."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from data_pipelines.covariates import smallest_group
from data_pipelines.durably import write_durably
from data_pipelines.engine.task import Done, Engine, Task
from data_pipelines.first_pass import Passed
from data_pipelines.quarantine import Lost


@dataclass
class Stage:
    """One part of a build.

    Attributes:
        tasks: That an engine ran; a visit or a shard each.
        again: Times that a task was begun anew, since its process had ended.
        lost: Tasks that ran past a limit or ended their process each time.
        task_s: Time that tasks took, summed over processes.
        slowest_s: Of one task.
    """

    name: str
    seconds: float = 0.0
    tasks: int = 0
    again: int = 0
    lost: int = 0
    task_s: float = 0.0
    slowest_s: float = 0.0


@dataclass
class BuildReport:
    """Filled while a build runs; `write` says how it ended."""

    stages: list[Stage] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    quarantine: Sequence[Lost] = ()

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Time what happens inside; a watched engine counts into it."""
        start = time.monotonic()
        self.stages.append(Stage(name))
        try:
            yield self.stages[-1]
        finally:
            self.stages[-1].seconds = round(time.monotonic() - start, 3)

    def passed(self, passed: Passed) -> None:
        """Take over what pass 1 found."""
        self.quarantine = passed.lost
        self.facts["people"] = len({visit.subject for visit in passed.visits})
        self.facts["without consent"] = {
            "never opened": passed.unopened,
            "known only after reading": passed.without_consent - passed.unopened,
        }
        if clocks := _clocks(passed):
            self.facts["clocks"] = clocks
        self.facts["people of the rarest combination of covariates"] = smallest_group(passed.visits)

    def write(self, path: Path, *, ended: str, counts: Mapping[str, int] | None = None) -> None:
        """One JSON file.

        Args:
            ended: `done`, or the first line of the error.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        stages = [
            {key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(one).items()}
            for one in self.stages
        ]
        said = {
            "ended": ended,
            **self.facts,
            "counts": dict(counts or {}),
            "stages": stages,
            "quarantine": [lost.model_dump() for lost in self.quarantine],
        }
        write_durably(path, (json.dumps(said, indent=1) + "\n").encode())


def _clocks(passed: Passed) -> dict[str, dict[str, float]]:
    """Of each modality that was to be aligned: in how many visits that could be done, and by how much."""
    offsets: dict[str, list[float | None]] = {}
    for visit in passed.visits:
        for name, offset in visit.clocks.items():
            offsets.setdefault(name, []).append(offset)
    found: dict[str, dict[str, float]] = {}
    for name, ours in offsets.items():
        known = [abs(offset) for offset in ours if offset is not None]
        found[name] = {"aligned": len(known), "unknown": len(ours) - len(known)}
        if known:
            found[name] |= {"median offset s": round(median(known), 3), "largest offset s": round(max(known), 3)}
    return found


class Watched:
    """An engine whose tasks are counted in the last stage of a report."""

    def __init__(self, engine: Engine, report: BuildReport) -> None:
        self._engine, self._report, self.apart = engine, report, engine.apart

    def submit(self, task: Task) -> None:
        self._engine.submit(task)

    def as_completed(self) -> Iterator[Done]:
        for done in self._engine.as_completed():
            stage = self._report.stages[-1]
            stage.tasks, stage.again = stage.tasks + 1, stage.again + done.tries - 1
            stage.lost += done.lost is not None
            stage.task_s, stage.slowest_s = stage.task_s + done.seconds, max(stage.slowest_s, done.seconds)
            yield done

    def cancel(self) -> None:
        self._engine.cancel()
