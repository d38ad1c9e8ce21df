"""Pass 1 of a build, the loop: every visit of a cohort is cut, or counted as lost or as not agreed to."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass
from inspect import isgenerator
from itertools import count
from pathlib import Path
from typing import Any

from data_pipelines.consent import Consent
from data_pipelines.work import VisitFacts, cut_to_file, visit_digest
from hdt_fm import __version__
from hdt_fm.schema.errors import HdtError, ShardError
from hdt_fm.schema.preparation import Preparation
from hdt_fm.schema.recording import Visit
from hdt_fm.schema.shard import Counts
from hdt_fm.schema.subject import SubjectKey

MAX_LOST = 0.01
Progress = Callable[[int, int, str], None]


@dataclass
class Passed:
    """What pass 1 found."""

    visits: list[VisitFacts]
    digests: list[str]
    lost: list[dict[str, str]]
    without_consent: int = 0


@dataclass(frozen=True)
class Found:
    """One turn of the cohort: a visit, the error in its place, or neither where consent is missing."""

    digest: str = ""
    visit: Visit | None = None
    error: HdtError | None = None


def digest_of(value: object) -> str:
    """SHA-256 of plain data, the same for equal data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def cut_all(
    cohort: Any,
    work: Path,
    preparation: Preparation,
    allowed: Consent,
    key: SubjectKey,
    config_digest: str,
    on_error: str,
    report: Progress,
) -> Passed:
    """Cut every visit that may be read; in `strict` mode the first error ends it."""
    passed, visits = Passed([], [], []), iter(cohort.visits())
    total = len(visits) if isinstance(visits, Sized) else 0
    for place, found in enumerate(turns(visits, allowed)):
        error = found.error
        if found.digest:
            passed.digests.append(found.digest)
        else:
            passed.without_consent += 1
        if found.visit is not None:
            name = digest_of([config_digest, found.digest, __version__])[:32]
            try:
                passed.visits.append(cut_to_file(found.visit, preparation, work, digest=name, key=key))
            except HdtError as caught:
                error = caught
        if error is not None:
            if on_error == "strict":
                raise error
            passed.lost.append(_lost(found, error))
        report(place + 1, total, "cut")
    return passed


def turns(visits: Iterator[Visit], allowed: Consent) -> Iterator[Found]:
    """Every visit with its digest, going on after one that cannot be read if the cohort's iterator does."""
    for place in count():
        try:
            visit = next(visits)
        except StopIteration:
            return
        except HdtError as error:
            if isgenerator(visits):
                # A generator ends with its first error: going on would lose all later visits in silence.
                raise
            yield Found(digest=digest_of([place, "unreadable"]), error=error)
            continue
        digest = digest_of([place, visit_digest(visit)])
        yield Found(digest=digest, visit=visit) if allowed.allows(visit.subject) else Found()


def _lost(found: Found, error: HdtError) -> dict[str, str]:
    """One row of the quarantine report. `where` stays out: a file's name is often a person's id."""
    parts = [("expected", error.expected), ("got", error.got), ("what to do", error.fix)]
    said = [error.problem, *(f"{label}: {text}" for label, text in parts if text)]
    reason = "; ".join(said) + "".join(f" ({note})" for note in getattr(error, "__notes__", []))
    subject = found.visit.subject if found.visit else "unknown"
    return {"visit": found.digest, "subject": subject, "error": type(error).__name__, "reason": reason}


def check_losses(passed: Passed) -> None:
    """Refuse a pass that lost more than it may, or found nothing.

    Raises:
        ShardError: With the reasons; no raw id in it.
    """
    total = len(passed.visits) + len(passed.lost)
    kept = {visit.subject for visit in passed.visits}
    people = {lost["subject"] for lost in passed.lost} - kept - {"unknown"}
    if people or len(passed.lost) > MAX_LOST * total:
        reasons = sorted({f"{lost['error']}: {lost['reason']}" for lost in passed.lost})
        raise ShardError(
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
