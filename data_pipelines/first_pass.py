"""Pass 1 of a build: every visit of a cohort is cut, or counted as lost or as not agreed to."""

import pickle
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import isgenerator, signature
from itertools import count
from pathlib import Path
from typing import Any

from data_pipelines.cohorts._twice import Seen
from data_pipelines.cohorts._visits import OneVisit, Visits
from data_pipelines.consent import Consent
from data_pipelines.cutting import CutSettings, Found, cut_part, cut_visit, unreadable
from data_pipelines.engine.here import Here
from data_pipelines.engine.task import Done, Engine, EngineError, Task
from data_pipelines.quarantine import Lost, lost_error, lost_row
from data_pipelines.work import VisitFacts, digest_of
from hdt_fm.schema.errors import HdtError, ShardError
from hdt_fm.schema.recording import Visit
from hdt_fm.schema.shard import Counts
from hdt_fm.schema.subject import SubjectKey

MAX_LOST = 0.01
# What is larger than this when pickled holds signals, and those do not travel.
MAX_TASK_BYTES = 1 << 16
Progress = Callable[[int, int, str], None]


@dataclass
class Passed:
    """What pass 1 found, in the order of the cohort.

    Attributes:
        unopened: Of `without_consent`, those whose files were not touched.
        files: What the visits of people who agreed come from; None where that is not known of each.
    """

    visits: list[VisitFacts] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    without_consent: int = 0
    unopened: int = 0
    files: list[Path] | None = None


@dataclass(frozen=True)
class _Cohort:
    """What there is to read.

    Attributes:
        parts: None where visits only come one after another.
    """

    visits: Iterator[Visit]
    parts: Sequence[OneVisit] | None
    seen: Seen | None

    @classmethod
    def of(cls, cohort: Any, allowed: Consent) -> "_Cohort":
        asks = "allows" in signature(cohort.visits).parameters
        visits = iter(cohort.visits(allows=allowed.allows) if asks else cohort.visits())
        if isinstance(visits, Visits):
            return cls(visits, visits.parts, visits.seen() if visits.seen else None)
        return cls(visits, None, None)


def cut_all(
    cohort: Any,
    settings: CutSettings,
    allowed: Consent,
    key: SubjectKey,
    engine: Engine,
    report: Progress,
    *,
    strict: bool = False,
    leaves_machine: bool = False,
) -> Passed:
    """Cut every visit that may be read; with `strict` the first error ends it.

    Args:
        leaves_machine: Whether tasks do; then one that would carry a secret key is done here.
    """
    source = _Cohort.of(cohort, allowed)
    settings = replace(settings, traced=source.seen is not None, key=key, study=cohort.name)
    found: dict[int, Found] = {}
    if source.parts is None:
        total = len(source.visits) if isinstance(source.visits, Sized) else 0
        turns = _one_by_one(source.visits, replace(settings, consent=allowed))
    else:
        total = len(source.parts)
        secret = key if leaves_machine and key != SubjectKey.public() else None
        turns = _by_parts(source.parts, settings, allowed, engine, secret)
    for place, one in turns:
        _note(one.error, source, place)
        if strict and one.error is not None:
            raise one.error
        found[place] = one
        report(len(found), total, "cut")
    return _passed([found[place] for place in sorted(found)], source, allowed, settings, strict=strict)


def _one_by_one(visits: Iterator[Visit], settings: CutSettings) -> Iterator[tuple[int, Found]]:
    """Every visit, going on after one that cannot be read if the cohort's iterator does."""
    for place in count():
        try:
            visit = next(visits)
        except StopIteration:
            return
        except HdtError as error:
            if isgenerator(visits):
                # A generator ends with its first error: going on would lose all later visits in silence.
                raise
            yield place, unreadable(place, error)
            continue
        yield place, cut_visit(visit, place, settings)


def _by_parts(
    parts: Sequence[OneVisit], settings: CutSettings, allowed: Consent, engine: Engine, secret: SubjectKey | None
) -> Iterator[tuple[int, Found]]:
    """Every visit, in any order; nothing of a person without consent is opened where the person is known before."""
    places: dict[str, int] = {}
    here: list[int] = []
    settings_of = {
        known: replace(settings, consent=None if known else allowed, key=None if secret else settings.key)
        for known in (True, False)
    }
    for place, part in enumerate(parts):
        if part.subject and not allowed.allows(part.subject):
            yield place, Found(subject=part.subject)
            continue
        if engine.apart and not _travels(part, secret):
            here.append(place)
            continue
        name = digest_of([settings.config_digest, place])
        places[name] = place
        engine.submit(Task(name, partial(cut_part, part, place, settings_of[bool(part.subject)])))
    for done in engine.as_completed():
        place = places[done.name]
        yield place, _found(done, place, parts[place])
    for place in here:
        consent = None if parts[place].subject else allowed
        alone = Here()
        alone.submit(Task(str(place), partial(cut_part, parts[place], place, replace(settings, consent=consent))))
        yield from ((place, _found(done, place, parts[place])) for done in alone.as_completed())


def _found(done: Done, place: int, part: OneVisit) -> Found:
    if done.error is not None:
        raise done.error
    return unreadable(place, lost_error(done), part.subject) if done.lost else done.row


def _travels(part: OneVisit, secret: SubjectKey | None) -> bool:
    """Whether a part can be read in another process: no signal in it, nothing that only this one knows, no secret."""
    try:
        data = pickle.dumps(part)
    except (pickle.PicklingError, TypeError, AttributeError):
        return False
    known = b"__main__" not in data and (secret is None or secret.secret not in data)
    return known and len(data) <= MAX_TASK_BYTES


def _passed(found: list[Found], source: _Cohort, allowed: Consent, settings: CutSettings, *, strict: bool) -> Passed:
    passed = Passed()
    parts = source.parts
    if parts is not None and all(part.files for part in parts):
        passed.files = [file for part, one in zip(parts, found, strict=True) if one.digest for file in part.files]
    for place, one in enumerate(found):
        if not one.digest:
            passed.without_consent += 1
            passed.unopened += parts is not None and bool(parts[place].subject)
            continue
        one = _compared(one, place, source, strict=strict)
        passed.digests.append(one.digest)
        if one.error is None:
            if one.facts is not None:
                passed.visits.append(one.facts)
            continue
        assert settings.key is not None
        passed.lost.append(lost_row(one, parts[place].files if parts else (), settings.key, settings.study))
    return passed


def _compared(one: Found, place: int, source: _Cohort, *, strict: bool) -> Found:
    """The visit, or the error in its place if it cannot be beside the earlier ones."""
    if source.seen is None or one.trace is None:
        return one
    try:
        source.seen.refuse(one.trace)
    except HdtError as error:
        _note(error, source, place)
        if strict:
            raise
        return unreadable(place, error, one.subject)
    return one


def _note(error: HdtError | None, source: _Cohort, place: int) -> None:
    if error is not None and isinstance(source.visits, Visits):
        error.add_note(source.visits.place_of(place))


def check_losses(passed: Passed) -> None:
    """Refuse a pass that lost more than it may, or found nothing.

    Raises:
        ShardError: With the reasons; no raw id in it.
    """
    total = len(passed.visits) + len(passed.lost)
    kept = {visit.subject for visit in passed.visits}
    people = {lost.subject for lost in passed.lost} - kept - {"unknown"}
    if people or len(passed.lost) > MAX_LOST * total:
        reasons = sorted({f"{lost.error}: {lost.reason}" for lost in passed.lost})
        # What ran past a limit may be read with a higher one: the others need not be cut again.
        kind = EngineError if any(lost.error == EngineError.__name__ for lost in passed.lost) else ShardError
        raise kind(
            f"{len(passed.lost)} of {total} visits cannot be used",
            expected="at most 1 % of visits and no whole person lost",
            got=f"{len(people)} people lost whole; " + " | ".join(reasons[:3]),
            fix="repair or remove those files (`hdt-fm inspect` shows what is in one) and run again",
        )
    if not sum(visit.windows for visit in passed.visits):
        withheld = f", {passed.without_consent} visits without consent" if passed.without_consent else ""
        raise ShardError(
            "The cohort gives no window",
            got=f"{total} visits{withheld}, {sum(visit.possible for visit in passed.visits)} windows before coverage",
            fix="check the folder, preparation.modalities, window_s, min_coverage and min_modalities",
        )


def counts_of(passed: Passed) -> Counts:
    """What the manifest says of the pass."""
    return Counts(
        visits=len(passed.visits),
        recordings=sum(visit.recordings for visit in passed.visits),
        windows_possible=sum(visit.possible for visit in passed.visits),
        windows_kept=sum(visit.windows for visit in passed.visits),
        windows_dropped_coverage=sum(visit.dropped for visit in passed.visits),
        quarantined=len(passed.lost),
        without_consent=passed.without_consent,
    )
