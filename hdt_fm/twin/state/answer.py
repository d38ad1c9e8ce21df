"""What a twin says of the hours after its newest reading, by a head that the caller brings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.series import ForecastTask, Series
from hdt_fm.signal.moments import Moments, moments_of
from hdt_fm.twin.forecast.outlook import LEARNED_S, Ahead, Outlook
from hdt_fm.twin.state.learned import Corrected, Said
from hdt_fm.twin.state.state import TwinState
from hdt_fm.twin.state.tracks import Grid


@dataclass(frozen=True)
class Answers:
    """Of a head, at some moments."""

    answer: Float[np.ndarray, "origin horizon mean_and_level"]
    hidden: Float[np.ndarray, "origin width"]


@runtime_checkable
class Asked(Protocol):
    """A checkpoint's head: what it says at some moments of series, told no more than what was read up to each."""

    def __call__(
        self, series: Sequence[Series], given: Mapping[str, Sequence[Series]], moments: Moments
    ) -> Answers: ...


@dataclass(frozen=True)
class Told:
    """A forecast of a twin, and what it rests on; times on the local clock.

    Attributes:
        outlook: What is told.
        series, given: As the head was told them.
        moment: The newest reading.
        corrected: What the person's own layer and interval made of the answer.
    """

    outlook: Outlook
    series: tuple[Series, ...]
    given: Mapping[str, tuple[Series, ...]]
    moment: Moments
    corrected: Corrected


def forecast(state: TwinState, ask: Asked) -> Told:
    """The hours after the newest reading. Nothing is changed by it.

    Raises:
        ConfigError: If too little is known of the hours before the newest reading.
    """
    task, learned = state.reference.task, state.learned
    series, given = local(state, task)
    moments = moments_or_none(series, task, to_newest=True)
    if moments is None or int(moments.place[-1]) != len(series[-1]) - 1:
        raise ConfigError(
            f"Too little is known of the last {task.context_s / 3600:g} h",
            where="forecast",
            expected="readings of half of it",
            fix="wait for more readings",
        )
    moment = moments.rows(np.array([len(moments) - 1]))
    answers = ask(series, given, moment)
    own = learned.corrected(Said(answers.answer[0], answers.hidden[0]))
    plausible = modality(task.modality).plausible
    now_s = float(moment.time_s[0])
    ahead = tuple(
        Ahead(
            horizon_s=horizon,
            time_s=now_s + horizon,
            point=float(np.clip(own.point[column], *plausible)),
            quantiles=tuple(np.clip(own.quantiles[column], *plausible).tolist()),
            shift=float(own.shift[column]),
            chances=tuple(own.chances[column].tolist()),
            lately=lately,
        )
        for column, (horizon, lately) in enumerate(zip(learned.horizons_s, learned.lately(state.newest_s), strict=True))
    )
    read_s = sum(one.observed.sum() * one.step_s for one in series)
    outlook = Outlook(
        now_s=now_s,
        age_s=0.0,
        reading=float(moment.last[0]),
        levels=learned.people.levels,
        events=learned.events,
        ahead=ahead,
        learned=bool(read_s >= LEARNED_S),
    )
    return Told(outlook, series, given, moment, own)


def local(state: TwinState, task: ForecastTask) -> tuple[tuple[Series, ...], dict[str, tuple[Series, ...]]]:
    """All that is kept, on grids that end at the newest reading, on the local clock; and treatments beside."""
    ahead_s, newest_s = float(state.offset_s), state.newest_s + state.offset_s
    moved = replace(state.readings, times_s=state.readings.times_s + ahead_s)
    series = Grid(task.step_s, newest_s).series(moved, how=state.reference.how)
    grid = Grid(task.treatments_step_s, newest_s)
    given = {}
    for name in task.treatments:
        events, track = state.events.get(name), state.recorded.get(name)
        if track is not None and len(track):
            given[name] = grid.series(replace(track, times_s=track.times_s + ahead_s), apart_s=np.inf)
        elif events is not None:
            shifted = replace(events, times_s=events.times_s + ahead_s)
            given[name] = grid.given(shifted, until_s=newest_s)
        else:
            given[name] = ()
    return series, given


def moments_or_none(series: Sequence[Series], task: ForecastTask, *, to_newest: bool) -> Moments | None:
    """None where no moment has enough behind it."""
    back = round(task.context_s / task.step_s)
    if not any(len(one) >= back for one in series):
        return None
    try:
        return moments_of(
            series,
            context_s=task.context_s,
            horizons_s=task.horizons_s,
            every_s=task.every_s,
            scored=False,
            to_newest=to_newest,
        )
    except ConfigError:
        # The task fits the step, or no twin would have been made: so there is no such moment.
        return None
