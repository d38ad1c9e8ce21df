"""One person's recording at a path -> readings up to a moment, on the grid of a head that forecasts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hdt_fm.cli.twin.arguments import whole_number
from hdt_fm.cli.twin.person import is_simulated, visits_of_one
from hdt_fm.cli.twin.refusals import check_age, check_known, check_step
from hdt_fm.schema.errors import ConfigError, ReaderError, RecordingError
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.preparation import ModalityPreparation
from hdt_fm.schema.recording import NS_PER_S, Recording, Visit
from hdt_fm.schema.series import DAY_S, ForecastTask, Series
from hdt_fm.signal.coarsen import coarsen
from hdt_fm.signal.given import amounts_given
from hdt_fm.signal.prepare import prepare

SETTINGS = ("reader", "cohort", "person", "utc_offset_s", "at")
USAGE = """\
  PATH is one person's recording: an export that a reader knows (`hdt-fm inspect PATH` says), a folder of recordings, or
  with cohort=NAME the folder of a public cohort. The newest recording of glucose in it is taken, at most four weeks.
  People of a simulated cohort have no folder: PATH is then its name (virtual_diabetes cohort=virtual_diabetes).

  reader=NAME              of an export (auto)
  cohort=NAME              such as t1d_uom, azt1d or shanghai_diabetes
  person=N                 where there are several people, counted from 0 in the order of ids
  utc_offset_s=3600        how far the local clock is ahead of the export's, where the export does not say
  at=2026-03-05T14:30      as of this moment of the local clock, nothing after it is used (the newest reading)"""
# Own week, embeddings of the week before, and weeks in which the person's interval is learned.
SEEN_S = 28.0 * DAY_S
# As in training: nothing is told across a longer gap.
APART_S = 2.0 * DAY_S
WHAT = "an export with readings of a glucose sensor"
SIMULATED = "the person is simulated: nobody has lived these readings"
# Their times are what the device showed, though they cannot say how far that is from UTC.
_DEVICE_CLOCKS = frozenset({"dexcom_clarity", "libreview", "glooko", "fitabase", "azt1d"})


@dataclass(frozen=True)
class Readings:
    """What was read up to the moment of asking.

    Attributes:
        series: On the head's grid, in time, the last one up to the newest reading; `start_s` is on the local clock.
        times_s, values: As they were read; times on the local clock.
        age_s: Of the newest reading.
        clock: Of `hdt_fm.twin.forecast.told.CLOCKS`.
        source: Format or cohort.
        given: What the head is told of treatments, each on its own grid of the same clock.
        notes: What a person should know of the reading, a line each.
    """

    series: tuple[Series, ...]
    times_s: NDArray[np.float64]
    values: NDArray[np.float64]
    age_s: float
    clock: str
    source: str
    given: Mapping[str, tuple[Series, ...]]
    notes: tuple[str, ...]

    @property
    def readings_s(self) -> float:
        return float(sum(one.observed.sum() * one.step_s for one in self.series))


class There(NamedTuple):
    """What lies at a path, and what was typed of its clock.

    Attributes:
        source: Format or cohort.
        found: Visits with a recording of the modality.
        offset: Seconds that the person's clock is ahead of UTC; None where it was not typed.
        at_s: Up to when; None takes all.
    """

    visits: Sequence[Visit]
    source: str
    found: list[tuple[Visit, Recording]]
    offset: int | None
    at_s: float | None


def there(path: Path, settings: Mapping[str, str], name: str) -> There:
    """One person's recordings of a modality at a path.

    Args:
        settings: Of `SETTINGS`, as typed.

    Raises:
        ConfigError: If a setting cannot be read.
        ReaderError: If there is no such recording.
    """
    if not is_simulated(settings) and not path.exists():
        raise ReaderError(
            "There is nothing at this path",
            expected=f"{WHAT}, or a folder of recordings",
            fix="look for a slip in the path, or give it from where you are",
        )
    offset = whole_number(settings, "utc_offset_s") if "utc_offset_s" in settings else None
    at_s = moment_of(settings["at"]) if "at" in settings else None
    visits, source = visits_of_one(path, settings, expected=WHAT)
    return There(visits, source, with_modality(visits, name), offset, at_s)


def read(path: Path, settings: Mapping[str, str], task: ForecastTask, preparation: ModalityPreparation) -> Readings:
    """Read, cut at the moment of asking, prepare as the training windows were.

    Args:
        settings: Of `SETTINGS`, as typed.

    Raises:
        ConfigError: If a setting cannot be read.
        ReaderError, RecordingError: If there is no such recording, or it is too coarse, too old or too sparse.
    """
    _, source, found, offset, at_s = there(path, settings, preparation.source or task.modality)
    cut = [_until(visit, one, at_s, offset_of(visit, one, offset, at_s)) for visit, one in found]
    kept = [one for one in cut if one is not None]
    if not kept:
        what = "before `at`" if at_s is not None else "that was measured"
        raise RecordingError(
            f"There is no reading {what}",
            expected=f"a recording of {task.modality} with readings",
            fix="choose a later moment, or export anew" if at_s is not None else "export anew",
        )
    newest = max(kept, key=lambda one: one.newest_s)
    check_step(newest.recording, task)
    age_s = 0.0 if at_s is None else at_s - newest.newest_s
    check_age(age_s)
    series = _series(newest, task, preparation)
    check_known(series[-1], task)
    step_s, notes = 1 / newest.recording.sampling_rate_hz, []
    if abs(step_s - task.step_s) > 0.01 * task.step_s:
        notes.append(brought(step_s, task))
    if len(kept) > 1:
        notes.append(f"the newest of {len(kept)} recordings")
    if is_simulated(settings):
        notes.append(SIMULATED)
    given = _given(newest, task)
    notes += [f"nothing is known here of {modality(name).label.lower()}" for name in task.treatments if not given[name]]
    return Readings(
        series=series,
        times_s=newest.times_s,
        values=newest.recording.values[0, newest.recording.observed].astype(np.float64),
        age_s=age_s,
        clock=clock_of(newest.visit, newest.recording, offset),
        source=source,
        given=given,
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Cut:
    """A recording up to a moment, and how far the local clock is ahead of its own."""

    visit: Visit
    recording: Recording
    offset_s: int

    @property
    def start_s(self) -> float:
        return self.recording.start_ns / NS_PER_S + self.offset_s

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Of the readings, on the local clock."""
        return self.start_s + np.flatnonzero(self.recording.observed) / self.recording.sampling_rate_hz

    @property
    def newest_s(self) -> float:
        return float(self.times_s[-1])


def brought(step_s: float, task: ForecastTask) -> str:
    """What a person should know of readings on another step than the head's."""
    return f"readings every {step_s / 60:g} min were brought to {task.step_s / 60:g} min, as in training"


def with_modality(visits: Sequence[Visit], modality: str) -> list[tuple[Visit, Recording]]:
    """Visits that have a recording of it, and that recording.

    Raises:
        RecordingError: If none has.
    """
    found = [(visit, visit.recordings[modality]) for visit in visits if modality in visit.recordings]
    if not found:
        there = sorted({name for visit in visits for name in visit.recordings})
        raise RecordingError(
            f"There is no recording of {modality} here",
            expected=f"a recording of {modality}",
            got=", ".join(there) or "none of any signal",
            fix="give another export or another person; `hdt-fm inspect PATH` says what one holds",
        )
    return found


def _until(visit: Visit, one: Recording, at_s: float | None, offset_s: int) -> _Cut | None:
    """The last weeks of it up to a moment, ending with a reading; None where there is none."""
    rate, observed = one.sampling_rate_hz, one.observed
    if at_s is not None:
        upto = int(np.floor((at_s - offset_s - one.start_ns / NS_PER_S) * rate + 1e-6)) + 1
        observed = observed[: max(upto, 0)]
    seen = np.flatnonzero(observed)
    if not len(seen):
        return None
    stop, first = int(seen[-1]) + 1, max(0, int(seen[-1]) + 1 - round(SEEN_S * rate))
    part = replace(
        one,
        values=one.values[:, first:stop],
        observed=one.observed[first:stop],
        start_ns=one.start_ns + round(first / rate * NS_PER_S),
    )
    return _Cut(visit, part, offset_s)


def _series(cut: _Cut, task: ForecastTask, preparation: ModalityPreparation) -> tuple[Series, ...]:
    """On the head's grid, which is laid so that the newest reading is on it; parted at gaps of days."""
    one, ratio = cut.recording, cut.recording.sampling_rate_hz / preparation.sampling_rate_hz
    whole, newest = max(1, int(np.ceil(ratio - 1e-6))), len(one.observed) - 1
    late = min(range(min(whole, newest + 1)), key=lambda first: ((newest - first) / ratio + 1e-6) % 1)
    # The grid ends before a last sample that stands for less than a step, so time without a reading follows it.
    laid = replace(
        one,
        values=np.pad(one.values[:, late:], ((0, 0), (0, whole - 1))),
        observed=np.pad(one.observed[late:], (0, whole - 1)),
    )
    ready = prepare(laid, preparation)
    start_s, seen = cut.start_s + late / one.sampling_rate_hz, np.flatnonzero(ready.observed)
    parts = np.split(seen, np.flatnonzero(np.diff(seen) * task.step_s > APART_S) + 1)
    return tuple(
        Series(
            values=ready.values[0, part[0] : part[-1] + 1],
            observed=ready.observed[part[0] : part[-1] + 1],
            step_s=task.step_s,
            start_s=start_s + float(part[0]) * task.step_s,
            subject=0,
            group=0,
        )
        for part in parts
    )


def _given(cut: _Cut, task: ForecastTask) -> dict[str, tuple[Series, ...]]:
    """Treatments of the same visit. They reach past the newest reading; a step of them knows nothing that is later."""
    found: dict[str, tuple[Series, ...]] = {}
    for name in task.treatments:
        rate = 1 / task.treatments_step_s
        one = cut.visit.recordings.get(name) or amounts_given(cut.visit, name, rate)
        if one is None:
            found[name] = ()
            continue
        values, observed = one.values, one.observed
        if not np.isclose(one.sampling_rate_hz, rate):
            values, observed = coarsen(values, observed, one.sampling_rate_hz, rate, "newest")
        start_s = one.start_ns / NS_PER_S + cut.offset_s
        found[name] = (Series(values[0], observed, task.treatments_step_s, start_s, subject=0, group=0),)
    return found


def offset_of(visit: Visit, one: Recording, given: int | None, at_s: float | None) -> int:
    """How far the local clock is ahead of the recording's, at the moment of asking."""
    track, own = visit.labels.get("utc_offset"), one.utc_offset_s
    if track is None or not len(track.values):
        return own if own is not None else given or 0
    moment = np.inf if at_s is None else (at_s - (own if own is not None else float(track.values[0]))) * NS_PER_S
    place = max(int(np.searchsorted(track.start_ns, moment, side="right")) - 1, 0)
    return int(track.values[place])


def clock_of(visit: Visit, one: Recording, given: int | None) -> str:
    """Of `hdt_fm.twin.forecast.told.CLOCKS`."""
    if one.utc_offset_s is not None or given is not None or "utc_offset" in visit.labels:
        return "local"
    return "device" if visit.source in _DEVICE_CLOCKS else "utc"


def moment_of(text: str) -> float:
    """A moment of the local clock, as typed.

    Raises:
        ConfigError: If it is none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is not None or len(text) < len("2026-03-05T14:30"):
        raise ConfigError(
            "at is no moment of the local clock",
            where="at",
            expected="such as 2026-03-05T14:30",
            fix="write date and time to the minute, without an offset from UTC",
        )
    return (moment - datetime(1970, 1, 1)).total_seconds()
