"""Cohort -> shard folder. Pass 1 cuts each visit to a work file, pass 2 packs all windows in a seeded order."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass
from inspect import isgenerator
from itertools import count
from pathlib import Path
from typing import Any, Literal

from data_pipelines.consent import Consent, read_consent
from data_pipelines.encoding import choose_columns
from data_pipelines.plan import make_plan, pack_plan
from data_pipelines.target import WORK, claim, publish, release
from data_pipelines.work import VisitFacts, WorkFiles, cut_to_file, file_digest, visit_digest
from hdt_fm import __version__
from hdt_fm.schema.errors import ConfigError, HdtError, ShardError
from hdt_fm.schema.preparation import Preparation
from hdt_fm.schema.recording import Visit
from hdt_fm.schema.shard import (
    MANIFEST_NAME,
    NAME_PATTERN,
    SHARD_VERSION,
    SPLIT_PATTERN,
    Counts,
    Encoding,
    ShardManifest,
)
from hdt_fm.schema.subject import SubjectKey

MAX_LOST = 0.01
Progress = Callable[[int, int, str], None]


@dataclass
class _Passed:
    """What pass 1 found."""

    visits: list[VisitFacts]
    digests: list[str]
    lost: list[dict[str, str]]
    without_consent: int = 0


def build_shards(
    cohort: Any,
    *,
    folder: Path,
    name: str,
    preparation: Preparation,
    encoding: Encoding = "i16",
    block_windows: int = 512,
    shard_mb: float = 128,
    splits: Mapping[str, float] | None = None,
    seed: int = 0,
    subject_key: SubjectKey | None = None,
    consent: Path | None = None,
    on_error: Literal["strict", "quarantine"] = "quarantine",
    progress: Progress | None = None,
) -> ShardManifest:
    """Build a shard folder; equal inputs and settings give equal bytes, also after a kill and a second run.

    Args:
        cohort: See `schema.protocols.Cohort`.
        folder: Target; may be missing, empty, or left by an interrupted build.
        name: Stem of the shard files.
        block_windows: Most windows in a block; fewer where a block would pass 16 MiB.
        splits: Share of people (by group) per split; {"all": 1.0} by default. A person's split hangs only on
            `seed` and the group, so it stays when people are added.
        subject_key: Secret behind the date shift; without one the public key shifts, which hides nothing.
        consent: CSV of pseudonyms and yes/no; see `consent.py`.
        on_error: `quarantine` goes on after a visit that cannot be read or cut, lists all of them in one error or
            in quarantine.json, and fails when more than 1 % of visits or (as far as known) a whole person is lost.
        progress: Called with (done, total or 0 if unknown, what).

    Returns:
        The manifest, which is also in the folder.

    Raises:
        ShardError: If the folder holds another data set or foreign files, the cohort gives no window, or too
            much is lost. Nothing is left behind then.
        ConfigError, SplitError: If an argument cannot be.
    """
    shares = dict(splits or {"all": 1.0})
    _check_arguments(name, shares, block_windows, shard_mb)
    key, allowed, report = subject_key or SubjectKey.public(), read_consent(consent), progress or _silent
    settings = {
        "version": SHARD_VERSION,
        "name": name,
        "preparation": preparation.model_dump(mode="json"),
        "encoding": encoding,
        "block_windows": block_windows,
        "shard_mb": shard_mb,
        "splits": list(shares.items()),
        "seed": seed,
        "consent": allowed.version,
        "key": key.pseudonym("shard settings", name),
    }
    config_digest = _digest(settings)
    if (folder / MANIFEST_NAME).exists():
        return _finished(cohort, folder, allowed, config_digest)
    made = claim(folder, shares)
    try:
        passed = _cut_all(cohort, folder / WORK, preparation, allowed, key, config_digest, on_error, report)
        _check_losses(passed)
        files = WorkFiles(folder / WORK)
        plan = make_plan(passed.visits, shares=shares, seed=seed)
        columns = choose_columns(preparation, passed.visits, plan.training, files, encoding)
        out = folder / WORK / _digest([config_digest, passed.digests, __version__])[:16]
        header = plan.header(columns, preparation)
        shards = pack_plan(
            plan,
            files,
            header,
            out,
            name=name,
            block_windows=block_windows,
            shard_bytes=int(shard_mb * 1e6),
            key=key,
            report=report,
        )
        manifest = ShardManifest(
            cohort=cohort.name,
            licence=cohort.licence,
            source=cohort.source,
            preparation=preparation,
            header=header,
            splits=shards,
            subjects=plan.subjects,
            counts=_counts(passed),
            config_digest=config_digest,
            input_digest=_input_digest(cohort, passed.digests),
            code_version=__version__,
            consent=allowed.version,
        )
        publish(folder, out, manifest, passed.lost)
    except HdtError:
        release(folder, shares, made=made)
        raise
    return manifest


def _silent(done: int, total: int, what: str) -> None:
    return None


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _check_arguments(name: str, shares: Mapping[str, float], block_windows: int, shard_mb: float) -> None:
    if not NAME_PATTERN.fullmatch(name):
        raise ConfigError("The name of the shards cannot be used", where="name", expected=NAME_PATTERN.pattern)
    if not all(SPLIT_PATTERN.fullmatch(split) for split in shares):
        raise ConfigError("The name of a split cannot be used", where="splits", expected=SPLIT_PATTERN.pattern)
    if any(share <= 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise ConfigError("Shares of splits must be positive and add up to 1", where="splits", got=str(dict(shares)))
    if block_windows < 1 or shard_mb <= 0:
        raise ConfigError("block_windows and shard_mb must be positive", got=f"{block_windows} and {shard_mb}")


@dataclass(frozen=True)
class _Found:
    """One turn of the cohort: a visit, the error in its place, or neither where consent is missing."""

    digest: str = ""
    visit: Visit | None = None
    error: HdtError | None = None


def _turns(visits: Iterator[Visit], allowed: Consent) -> Iterator[_Found]:
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
            yield _Found(digest=_digest([place, "unreadable"]), error=error)
            continue
        digest = _digest([place, visit_digest(visit)])
        yield _Found(digest=digest, visit=visit) if allowed.allows(visit.subject) else _Found()


def _input_digest(cohort: Any, digests: list[str]) -> str:
    """Root over the cohort's files and what was read from them: a reader's settings count as input."""
    return _digest([sorted(file_digest(Path(path)) for path in cohort.inputs()), digests])


def _finished(cohort: Any, folder: Path, allowed: Consent, config_digest: str) -> ShardManifest:
    """A folder that is done already: the same data set, or an error."""
    try:
        manifest = ShardManifest.model_validate_json((folder / MANIFEST_NAME).read_bytes())
    except ValueError:
        raise ShardError("The folder holds a manifest that cannot be read", where=folder.name) from None
    same = manifest.config_digest == config_digest
    if same:
        digests = [found.digest for found in _turns(iter(cohort.visits()), allowed) if found.digest]
        same = manifest.input_digest == _input_digest(cohort, digests)
    if not same:
        raise ShardError(
            "The folder holds another data set",
            where=folder.name,
            expected="a new folder, or the settings and inputs that made this one",
            fix="choose another folder or delete this one",
        )
    shutil.rmtree(folder / WORK, ignore_errors=True)
    return manifest


def _cut_all(
    cohort: Any,
    work: Path,
    preparation: Preparation,
    allowed: Consent,
    key: SubjectKey,
    config_digest: str,
    on_error: str,
    report: Progress,
) -> _Passed:
    passed, visits = _Passed([], [], []), iter(cohort.visits())
    total = len(visits) if isinstance(visits, Sized) else 0
    for place, found in enumerate(_turns(visits, allowed)):
        error = found.error
        if found.digest:
            passed.digests.append(found.digest)
        else:
            passed.without_consent += 1
        if found.visit is not None:
            name = _digest([config_digest, found.digest, __version__])[:32]
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


def _lost(found: _Found, error: HdtError) -> dict[str, str]:
    """One row of the quarantine report. `where` stays out: a file's name is often a person's id."""
    reason = " ".join([error.problem, *(f"({note})" for note in getattr(error, "__notes__", []))])
    subject = found.visit.subject if found.visit else "unknown"
    return {"visit": found.digest, "subject": subject, "error": type(error).__name__, "reason": reason}


def _check_losses(passed: _Passed) -> None:
    total = len(passed.visits) + len(passed.lost)
    kept = {visit.subject for visit in passed.visits}
    people = {lost["subject"] for lost in passed.lost} - kept - {"unknown"}
    if people or len(passed.lost) > MAX_LOST * total:
        reasons = sorted({f"{lost['error']}: {lost['reason']}" for lost in passed.lost})
        raise ShardError(
            f"{len(passed.lost)} of {total} visits cannot be used",
            expected="at most 1 % of visits and no whole person lost",
            got=f"{len(people)} people lost whole; " + "; ".join(reasons[:3]),
            fix="repair or remove those files (`hdt-fm inspect` shows what is in one) and run again",
        )
    if not sum(visit.windows for visit in passed.visits):
        withheld = f", {passed.without_consent} visits without consent" if passed.without_consent else ""
        raise ShardError(
            "The cohort gives no window",
            got=f"{total} visits{withheld}, {sum(visit.possible for visit in passed.visits)} windows before coverage",
            fix="check the folder, preparation.modalities, window_s, min_coverage and min_modalities",
        )


def _counts(passed: _Passed) -> Counts:
    return Counts(
        visits=len(passed.visits),
        recordings=sum(visit.recordings for visit in passed.visits),
        windows_possible=sum(visit.possible for visit in passed.visits),
        windows_kept=sum(visit.windows for visit in passed.visits),
        windows_dropped_coverage=sum(visit.dropped for visit in passed.visits),
        quarantined=len(passed.lost),
        without_consent=passed.without_consent,
    )
