"""The task of pass 1: read one visit, ask for consent if that is still open, cut it to a work file."""

import errno
from collections.abc import Callable
from dataclasses import dataclass

from data_pipelines.cohorts._twice import Trace, trace_of
from data_pipelines.cohorts._visits import OneVisit
from data_pipelines.consent import Consent
from data_pipelines.local_time import with_local_time
from data_pipelines.work import WORK_VERSION, VisitFacts, cut_to_file, digest_of, visit_digest
from data_pipelines.work_place import WorkPlace
from hdt_fm import __version__
from hdt_fm.schema.errors import ConfigError, HdtError, ReaderError, RecordingError
from hdt_fm.schema.preparation import Preparation
from hdt_fm.schema.recording import Visit
from hdt_fm.schema.subject import SubjectKey, is_pseudonym

# Of this machine, not of a recording: the next one would meet it too.
OURS = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EROFS)


@dataclass(frozen=True)
class CutSettings:
    """What is the same for all visits of a build.

    Attributes:
        preparation: None only reads, for the digests.
        consent: Where it must be asked after reading; None where it was asked before.
        traced: Whether visits are compared with each other.
        ranged: Whether int16 is asked for.
        key: Makes a group that is no pseudonym into one of the study; None where it may not travel.
    """

    work: WorkPlace
    config_digest: str
    preparation: Preparation | None
    consent: Consent | None = None
    traced: bool = False
    ranged: bool = False
    key: SubjectKey | None = None
    study: str = ""


@dataclass(frozen=True)
class Found:
    """One visit after pass 1: its facts, the error in their place, or neither where consent is missing.

    Attributes:
        digest: Of the visit and its place; empty without consent.
    """

    digest: str = ""
    facts: VisitFacts | None = None
    error: HdtError | None = None
    subject: str = ""
    trace: Trace | None = None


def unreadable(place: int, error: HdtError, subject: str = "") -> Found:
    """A visit of which nothing can be said but its place."""
    return Found(digest_of([place, "unreadable"]), error=error, subject=subject)


def cut_part(part: OneVisit, place: int, settings: CutSettings) -> Found:
    """The task. A recording that breaks its reader comes back as an error, so that the others go on."""
    try:
        visit = _read(part)
    except HdtError as error:
        return unreadable(place, error, part.subject)
    return cut_visit(visit, place, settings)


def cut_visit(visit: Visit, place: int, settings: CutSettings) -> Found:
    """The same for a visit that is read already."""
    if settings.consent is not None and not settings.consent.allows(visit.subject):
        return Found(subject=visit.subject)
    visit = with_local_time(visit)
    digest = digest_of([place, visit_digest(visit)])
    trace = trace_of(visit) if settings.traced else None
    if settings.preparation is None:
        return Found(digest, subject=visit.subject, trace=trace)
    try:
        facts = cut_to_file(
            visit,
            settings.preparation,
            settings.work,
            digest=digest_of([settings.config_digest, digest, __version__, WORK_VERSION])[:32],
            group=_group(visit, settings),
            ranged=settings.ranged,
        )
    except HdtError as error:
        return Found(digest, error=error, subject=visit.subject, trace=trace)
    return Found(digest, facts, subject=visit.subject, trace=trace)


def _read(part: Callable[[], Visit]) -> Visit:
    try:
        visit = part()
    except (HdtError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in OURS:
            raise
        # The text of a foreign error may hold a value.
        raise ReaderError(
            "The reader broke on this recording",
            got=type(error).__name__,
            fix="`hdt-fm inspect` on it; if the file is whole, please report the reader",
        ) from error
    subject = getattr(part, "subject", "")
    if subject and visit.subject != subject:
        raise RecordingError(
            "A visit is of someone else than was said before it was read",
            expected=f"subject {subject}",
            got=f"subject {visit.subject}",
            fix="correct `visits()` of the cohort",
        )
    return visit


def _group(visit: Visit, settings: CutSettings) -> str:
    if is_pseudonym(visit.group):
        return visit.group
    if settings.key is None:
        raise ConfigError(
            "A group is not a pseudonym, and the key that would make it one does not leave this machine",
            where=f"subject {visit.subject}",
            fix="give groups as pseudonyms in the cohort, or engine=local",
        )
    return settings.key.reference("group", settings.study, visit.group)
