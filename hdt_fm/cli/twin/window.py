"""One person's export at a path -> the window that a twin absorbs, and whether it is of the person that it is of."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hdt_fm.cli.twin.person import is_simulated
from hdt_fm.cli.twin.readings import SIMULATED, clock_of, offset_of, there
from hdt_fm.cli.twin.refusals import check_step, check_unfiltered
from hdt_fm.schema.errors import ConfigError, RecordingError
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.preparation import ModalityPreparation
from hdt_fm.schema.recording import NS_PER_S, Recording, Visit
from hdt_fm.schema.series import ForecastTask
from hdt_fm.signal.given import amounts_given
from hdt_fm.twin.state.state import TwinState
from hdt_fm.twin.state.stream import Window
from hdt_fm.twin.state.tracks import Counts, Events, Stretch

# Fewer readings at known times say nothing of whose they are.
LEAST_OVERLAP = 6
CONFIRM = "same_person"


@dataclass(frozen=True)
class Whose:
    """Of whom an export is, as far as it says.

    Attributes:
        read_as: Format or cohort.
        subject: Pseudonym, never kept as it is.
        names_people: A cohort's does; an export's is the name of the file.
    """

    read_as: str
    subject: str
    names_people: bool


@dataclass(frozen=True)
class Came:
    """What was read.

    Attributes:
        digest: SHA-256 of what came in, for the ledger.
    """

    window: Window
    whose: Whose
    digest: str
    notes: tuple[str, ...]


def read_window(path: Path, settings: Mapping[str, str], task: ForecastTask, preparation: ModalityPreparation) -> Came:
    """Read all that is there of one person, up to `at` where it is set.

    Args:
        settings: Of `hdt_fm.cli.twin.readings.SETTINGS`, as typed.

    Raises:
        ConfigError: If a setting cannot be read.
        ReaderError, RecordingError: If there is no such recording, or it is too coarse.
    """
    visits, source, found, offset, at_s = there(path, settings, preparation.source or task.modality)
    for _, one in found:
        check_step(one, task)
        check_unfiltered(1 / one.sampling_rate_hz, task, preparation)
    found = sorted(found, key=lambda pair: pair[1].end_ns)
    visit, newest = found[-1]
    ahead_s = offset_of(visit, newest, offset, at_s)
    until_s = np.inf if at_s is None else at_s - ahead_s
    window = Window(
        readings=tuple(_stretch(one).until(until_s) for _, one in found),
        recorded=_recorded(visits, task, until_s),
        events=_events(visits, task, until_s),
        offset_s=ahead_s,
        clock=clock_of(visit, newest, offset),
        source=source,
        devices=tuple(one.device for _, one in found),
    )
    notes = (SIMULATED,) if is_simulated(settings) else ()
    return Came(window, Whose(source, visit.subject, "cohort" in settings), _digest(window), notes)


def overlap(state: TwinState, window: Window) -> Counts:
    """What of its readings would be known already; nothing is taken."""
    counts = Counts()
    for one in window.readings:
        counts += state.readings.absorb(one)[1]
    return counts


def check_whose(
    state: TwinState,
    whose: Whose,
    counts: Counts | None,
    *,
    confirmed: bool,
    what: str = "readings",
    of: str = "hours",
) -> None:
    """Refuse what is of somebody else, and ask where that cannot be known.

    It is known where both have the same hours, or where a cohort says who it is. A file's name alone is no person: an
    export under another name is taken once somebody says that it is the same person's.

    Args:
        counts: What of it is known already (`overlap`); None where days that agree tell nothing of whose they are.

    Raises:
        RecordingError: If it is somebody else's.
        ConfigError: If nobody can say, and it is not confirmed.
    """
    telling, counts = counts is not None, counts or Counts()
    if counts.differing >= LEAST_OVERLAP and counts.differing > counts.known:
        raise RecordingError(
            f"These {what} are not of the person that the twin is of",
            expected=f"{what} that agree with those of the same {of} that are known",
            got=f"others at most of the {of} that both have",
            fix="give this person's export; a twin of another person is made by `hdt-fm twin create`",
        )
    if not state.whose or counts.known >= LEAST_OVERLAP:
        return
    told = state.whose.get(whose.read_as)
    if told == whose_digest(state.salt, whose.subject):
        return
    if told is not None and whose.names_people:
        raise RecordingError(
            "This is another person than the one that the twin is of",
            where="person",
            expected="the person of this cohort that was absorbed before",
            got="another one",
            fix="choose the right person=N; a twin of another person is made by `hdt-fm twin create`",
        )
    if not confirmed:
        raise ConfigError(
            "Nothing tells whether this is the person that the twin is of",
            where=CONFIRM,
            expected="an export with the same name and format"
            + f", or with {of} that the twin knows already" * telling,
            got="another name or format" + f", and too few {of} that both have" * telling,
            fix=f"say {CONFIRM}=true if it is the same person",
        )


def whose_digest(salt: str, subject: str) -> str:
    """Of a pseudonym, with the twin's own salt."""
    return hashlib.sha256(f"{salt} {subject}".encode()).hexdigest()


def _stretch(one: Recording) -> Stretch:
    seen = np.flatnonzero(one.observed)
    times_s = one.start_ns / NS_PER_S + seen / one.sampling_rate_hz
    return Stretch(times_s, one.values[0, seen].astype(np.float32), 1 / one.sampling_rate_hz)


def _recorded(visits: Sequence[Visit], task: ForecastTask, until_s: float) -> dict[str, tuple[Stretch, ...]]:
    found: dict[str, tuple[Stretch, ...]] = {}
    for name in task.treatments:
        there = [visit.recordings[name] for visit in visits if name in visit.recordings]
        ordered = sorted(there, key=lambda one: one.start_ns)
        if ordered:
            found[name] = tuple(_stretch(one).until(until_s) for one in ordered)
    return found


def _events(visits: Sequence[Visit], task: ForecastTask, until_s: float) -> dict[str, Events]:
    found: dict[str, Events] = {}
    for name in task.treatments:
        times, amounts = [np.zeros(0)], [np.zeros(0)]
        for visit in visits:
            track = visit.labels.get(name)
            # It refuses what nobody is given.
            if track is None or amounts_given(visit, name, 1 / task.treatments_step_s) is None:
                continue
            scale, offset = modality(name).conversion(track.unit)
            known = np.isfinite(track.values)
            times.append(track.start_ns[known] / NS_PER_S)
            amounts.append(track.values[known] * scale + offset)
        times_s, given = np.concatenate(times), np.concatenate(amounts).astype(np.float32)
        order = np.argsort(times_s, kind="stable")
        order = order[times_s[order] <= until_s]
        if len(order):
            found[name] = Events(times_s[order], given[order])
    return found


def _digest(window: Window) -> str:
    digest = hashlib.sha256()
    for one in (*window.readings, *(some for each in window.recorded.values() for some in each)):
        digest.update(one.times_s.tobytes() + one.values.tobytes())
    for name, events in sorted(window.events.items()):
        digest.update(name.encode() + events.times_s.tobytes() + events.amounts.tobytes())
    return f"sha256:{digest.hexdigest()}"
