"""Forecasts of a slow signal and risks of its events, as answers that can be explained."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from hdt_fm.cli.explain.answer import Answer, Source, spread
from hdt_fm.cli.explain.moments import batch_of, telling_of
from hdt_fm.cli.explain.windows import Asked, windows_asked
from hdt_fm.cli.series_teaching import given_beside
from hdt_fm.data.series import series_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.explain.gate.skill import Skill, skill_of
from hdt_fm.explain.targets.forecast import SeriesTarget, column_of, series_target
from hdt_fm.metrics.events import EVENTS
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.series import ForecastTask, Series
from hdt_fm.signal.moments import Moments, moments_of
from hdt_fm.signal.within import happened_within

# Moments of each person that skill is measured on, and how many are asked at once.
TESTED, PIECE = 100, 128
# As long as the readings that a head is told one by one; a week has 56 of these.
SEGMENT_S = 3 * 3600.0


@dataclass(frozen=True)
class Ahead:
    """A head of a slow signal over the shards of its people.

    Attributes:
        events: Whether it is told of the person's own events.
    """

    source: Source
    target: SeriesTarget
    series: list[Series]
    given: dict[str, list[Series]]
    events: bool

    @classmethod
    def of(cls, source: Source, *, events: bool) -> "Ahead":
        """Raises ConfigError as the shards of the series and of treatments do."""
        model, name = source.model, source.settings.head
        head: Any = model.heads[name]
        if not getattr(head, "asked", None):
            raise ConfigError(
                "A forecast of a label cannot be explained yet",
                where="explain.head",
                got=name,
                expected="a head of a slow signal (series.modality)",
            )
        task = ForecastTask.of(head.asked)
        beside = given_beside(source.folder, source.wanted.treatments)
        own = len(EVENTS[task.modality]) * (5 + len(task.horizons_s)) if events else 0
        return cls(
            source=source,
            target=series_target(model, name, telling_of(model, task), own_events=own),
            series=series_of(source.folder, task.modality),
            given={name: beside.get(name, []) for name in task.treatments},
            events=events,
        )

    @property
    def task(self) -> ForecastTask:
        return self.target.telling.task

    def batch(self, moments: Moments, series: Sequence[Series]) -> Batch:
        return batch_of(self.target.telling, moments, series, self.given, events=self.events)

    def moments(self, people: set[int], *, scored: bool) -> tuple[Moments, list[Series]]:
        """Of these people, at all times that a head can be asked."""
        task = self.task
        own = [one for one in self.series if one.subject in people]
        if not own:
            raise ConfigError(
                f"No window that was asked for holds {task.modality}",
                where="explain.subject",
                expected=f"people with readings of {task.modality}",
            )
        found = moments_of(
            own, context_s=task.context_s, horizons_s=task.horizons_s, every_s=task.every_s, scored=scored
        )
        return found, own

    def windows(self) -> Asked:
        """The moments at which the windows that the settings name end.

        Raises:
            ConfigError: If a head could be asked at none of them.
        """
        source, telling = self.source, self.target.telling
        asked = windows_asked(source.folder, source.settings, source.pretrained)
        people = set(source.folder.subject_rows[asked.positions].tolist())
        moments, series = self.moments(people, scored=False)
        end_s = source.folder.header.window_s - telling.unread_s - telling.task.step_s
        rows, kept = nearest_moments(moments, source.folder, asked.positions, end_s)
        return Asked(self.batch(moments.rows(rows), series), kept, asked.scope)

    def answer(self, target: int, words: str, unit: str, skill: Any) -> Answer:
        return Answer(
            function=self.target,
            target=target,
            words=words,
            unit=unit,
            label=None,
            window_s=self.target.telling.history_s,
            windows=self.windows,
            skill=partial(skill, self, target),
            segment_s=SEGMENT_S,
        )

    def tested(self) -> tuple[Moments, list[Series]] | None:
        """Moments of people whom the encoder never saw, some of each; None where there is nobody."""
        unseen = self.source.unseen()
        if not any(one.subject in unseen for one in self.series):
            return None
        moments, series = self.moments(unseen, scored=True)
        each = [spread(np.flatnonzero(moments.subject == one), TESTED) for one in np.unique(moments.subject)]
        return moments.rows(np.concatenate(each)), series

    @torch.no_grad()
    def said(self, moments: Moments, series: Sequence[Series], column: int) -> NDArray[np.float64]:
        """One answer at each moment."""
        found = []
        for rows in np.array_split(np.arange(len(moments)), -(-len(moments) // PIECE)):
            found.append(self.target(self.batch(moments.rows(rows), series))[:, column].double().numpy())
        return np.concatenate(found)


def forecast(source: Source) -> Answer:
    """A quantile or the mean at a horizon, as the head says it; what a person's own past adds to it is not in it."""
    found, wanted = Ahead.of(source, events=False), source.wanted
    column = column_of(found.target.head, found.target.telling, wanted.horizon_s, wanted.quantile)
    return found.answer(*column, skill=_skill_of_change)


def risk(source: Source) -> Answer:
    """Log-odds of an event up to a horizon."""
    found, wanted = Ahead.of(source, events=True), source.wanted
    events = EVENTS[found.task.modality]
    column = column_of(found.target.head, found.target.telling, wanted.horizon_s, wanted.event or events[0].name)
    return found.answer(*column, skill=_skill_of_risk)


def nearest_moments(
    moments: Moments, folder: ShardFolder, positions: NDArray[np.int64], end_s: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The moment nearest to the end of each window, where one is no further than moments are apart; none twice.

    Args:
        end_s: From the start of a window to the last sample of it that is read.

    Raises:
        ConfigError: If no window ends near a moment.
    """
    rows, kept = [], []
    for position in positions.tolist():
        own = np.flatnonzero(moments.subject == folder.subject_rows[position])
        away = np.abs(moments.time_s[own] - (float(folder.t0_ns[position]) / 1e9 + end_s))
        if len(own) and away.min() <= moments.every_s and int(own[away.argmin()]) not in rows:
            rows.append(int(own[away.argmin()]))
            kept.append(position)
    if not rows:
        raise ConfigError(
            "None of these windows ends at a moment that a head can be asked",
            where="explain.window",
            expected="readings in the quarter of an hour before, and in half of the hours that are told",
            fix="choose another window or more of them (explain.windows)",
        )
    return np.array(rows), np.array(kept)


def _skill_of_change(found: Ahead, column: int) -> Skill | None:
    """Correlation of the change that was said and the one that came: that readings stay near each other is no skill."""
    tested = found.tested()
    if tested is None:
        return None
    moments, series = tested
    levels: Any = found.target.head.levels
    came = moments.target[:, column // (1 + len(levels))]
    return skill_of(found.said(moments, series, column) - moments.last, came - moments.last, moments.subject)


def _skill_of_risk(found: Ahead, column: int) -> Skill | None:
    """AUROC among moments at which the event was not there already."""
    tested = found.tested()
    if tested is None:
        return None
    moments, series = tested
    events = EVENTS[found.task.modality]
    came: Float[np.ndarray, "origin horizon event"] = happened_within(moments, series, [one.of for one in events])
    truth = came.reshape(len(came), -1)[:, column]
    return skill_of(found.said(moments, series, column), truth, moments.subject, positive_class=1)
