"""A window of new data into the state.

Whatever a record is cut into, also one reading at a time or exports that overlap, the state ends the same, as long as
it comes in order: readings that are known are recognised, older ones in a gap are counted and not taken. A forecast
rests on the newest reading, on what is kept before it, and on sums over all that came before that.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from hdt_fm.schema.series import DAY_S, Series
from hdt_fm.twin.state.answer import Asked, moments_or_none
from hdt_fm.twin.state.learned import Said, TruthAt
from hdt_fm.twin.state.state import TwinState
from hdt_fm.twin.state.tracks import Counts, Events, Grid, Stretch, Track
from hdt_fm.twin.state.watched import day_of

# A long export is taken in such parts, so that it needs no more memory than a short one.
PART_S = 7.0 * DAY_S
# Of a device's digest: enough to tell those of one person apart.
DIGEST_LETTERS = 16


@dataclass(frozen=True)
class Window:
    """What came in: any span of one person's record, on the clock of the recordings.

    Attributes:
        readings: Of each recording, in order of time.
        recorded, events: Treatments, by name.
        offset_s: How far the local clock is ahead.
        devices: What each recording of `readings` says of its device, as it names it; none where nothing is known. A
            state keeps a digest of it alone.
    """

    readings: tuple[Stretch, ...]
    recorded: Mapping[str, tuple[Stretch, ...]] = field(default_factory=dict)
    events: Mapping[str, Events] = field(default_factory=dict)
    offset_s: int = 0
    clock: str = "utc"
    source: str = ""
    devices: tuple[str, ...] = ()

    @property
    def end_s(self) -> float:
        """Of the newest reading."""
        return max((float(one.times_s[-1]) for one in self.readings if len(one.times_s)), default=-np.inf)


@dataclass(frozen=True)
class Absorbed:
    """What became of a window.

    Attributes:
        readings, treatments: How many were taken, known, and so on.
        forecasts: How many were made at half hours of the clock.
        came: Scores of the forecasts whose truth came (`Learned.came`); of a long window, of its last week.
    """

    readings: Counts
    treatments: Counts
    forecasts: int
    came: dict[str, float]


def absorb(state: TwinState, came: Window, ask: Asked) -> Absorbed:
    """Take what is new of a window into the state, and learn from it; what is old is forgotten."""
    before_s = state.newest_s
    treatments, told = _take_events(state, came), 0
    for name, stretches in came.recorded.items():
        for one in stretches:
            state.recorded[name], counts = state.recorded.get(name, Track.empty()).absorb(one)
            treatments += counts
    state.offset_s, state.clock = came.offset_s, came.clock
    state.source = tuple(sorted({*state.source, came.source} - {""}))
    readings = Counts()
    for stretch, device in zip(came.readings, came.devices or ("",) * len(came.readings), strict=True):
        for part in _parts(stretch, state.newest_s):
            newest_s = state.newest_s
            state.readings, counts = state.readings.absorb(part)
            readings, state.step_s = readings + counts, part.step_s
            _wear(state, device, newest_s)
            told += _learn(state, ask)
            _watch(state)
            _forget(state)
    for name, count in vars(readings).items():
        state.taken[name] = state.taken.get(name, 0) + count
    return Absorbed(readings, treatments, told, state.learned.came(before_s, state.newest_s))


def _take_events(state: TwinState, came: Window) -> Counts:
    counts, from_s = Counts(), state.newest_s - state.reference.kept_s
    for name, events in came.events.items():
        state.events[name], some = state.events.get(name, Events.empty()).absorb(events, from_s=from_s)
        counts += some
    return counts


def _parts(stretch: Stretch, newest_s: float) -> list[Stretch]:
    """What is known already with the first new week, then week by week."""
    if not len(stretch.times_s):
        return []
    first = max(newest_s, float(stretch.times_s[0]))
    edges = np.append(np.arange(first + PART_S, float(stretch.times_s[-1]), PART_S), np.inf)
    found, done = [], 0
    for edge in edges:
        upto = int(np.searchsorted(stretch.times_s, edge, side="right"))
        if upto > done:
            found.append(Stretch(stretch.times_s[done:upto], stretch.values[done:upto], stretch.step_s))
        done = upto
    return found


def _learn(state: TwinState, ask: Asked) -> int:
    """Forecasts at the half hours that have passed, and truths that have come; returns how many were made."""
    task, learned, newest_s = state.reference.task, state.learned, state.newest_s
    since_s = max(state.learned_until_s, float(state.readings.times_s[0])) - state.reference.needed_s
    grid = Grid(task.step_s, offset_s=float(state.offset_s))
    series = grid.series(state.readings.since(since_s), how=state.reference.how)
    truth_at = _truths(series, task.step_s)
    moments, told = moments_or_none(series, task, to_newest=False), 0
    if moments is not None:
        new = (moments.time_s > state.learned_until_s) & (moments.time_s <= newest_s)
        moments = moments.rows(np.flatnonzero(new))
    if moments is not None and len(moments):
        answers, told = ask(series, _given(state, since_s), moments), len(moments)
        for row, now_s in enumerate(moments.time_s.tolist()):
            learned.advance(now_s, truth_at)
            learned.tell(now_s, Said(answers.answer[row], answers.hidden[row]))
    learned.advance(newest_s, truth_at)
    state.learned_until_s = float(newest_s // task.every_s * task.every_s)
    return told


def _watch(state: TwinState) -> None:
    """Tell the drift watch of each day that is over; nothing else is changed by it."""
    if (watched := state.watch) is None:
        return
    watched.begin(float(state.readings.times_s[0]))
    grid = Grid(state.reference.task.step_s)
    events = {name: state.events.get(name, Events.empty()) for name in watched.records}
    while (first_s := watched.over(state.newest_s)) is not None:
        watched.close(*day_of(first_s, state.readings, state.learned, events, grid, state.reference.how))


def _wear(state: TwinState, device: str, newest_s: float) -> None:
    """Tell the watch which device new readings are of; its name may name a person, and is kept nowhere."""
    new = state.readings.times_s[state.readings.times_s > newest_s]
    if state.watch is not None and device and len(new):
        state.watch.wears(device_digest(state.salt, device), float(new[0]))


def device_digest(salt: str, device: str) -> str:
    """Of a device's name, with the twin's own salt; other digests with it are of pseudonyms, which are no names."""
    return hashlib.sha256(f"{salt} device {device}".encode()).hexdigest()[:DIGEST_LETTERS]


def _given(state: TwinState, since_s: float) -> dict[str, tuple[Series, ...]]:
    """Treatments on the clock."""
    task = state.reference.task
    grid = Grid(task.treatments_step_s, offset_s=float(state.offset_s))
    found: dict[str, tuple[Series, ...]] = {}
    for name in task.treatments:
        if name in state.recorded:
            found[name] = grid.series(state.recorded[name].since(since_s), apart_s=np.inf)
        else:
            kept = state.events.get(name, Events.empty()).since(since_s)
            found[name] = grid.given(kept, until_s=state.newest_s)
    return found


def _truths(series: Sequence[Series], step_s: float) -> TruthAt:
    places = [round(one.start_s / step_s) + np.flatnonzero(one.observed) for one in series]
    place = np.concatenate(places) if places else np.zeros(0, dtype=np.int64)
    value = np.concatenate([one.values[one.observed] for one in series] or [np.zeros(0)]).astype(np.float64)

    def truth_at(times_s: Float[np.ndarray, " told"]) -> Float[np.ndarray, " told"]:
        asked = np.rint(times_s / step_s).astype(np.int64)
        at = np.searchsorted(place, asked)
        there = (at < len(place)) & (place[at.clip(max=max(len(place) - 1, 0))] == asked) if len(place) else False
        return np.where(there, value[at.clip(max=max(len(place) - 1, 0))] if len(place) else np.nan, np.nan)

    return truth_at


def _forget(state: TwinState) -> None:
    from_s = state.newest_s - state.reference.kept_s
    state.readings = state.readings.since(from_s)
    state.recorded = {name: track.since(from_s) for name, track in state.recorded.items()}
    state.events = {name: events.since(from_s) for name, events in state.events.items()}
    state.learned.forget(state.newest_s)
