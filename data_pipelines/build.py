"""Cohort -> shard folder. Pass 1 cuts each visit to a work file, pass 2 packs all windows in a seeded order."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from data_pipelines.consent import Consent, read_consent
from data_pipelines.encoding import choose_columns
from data_pipelines.first_pass import Progress, check_losses, counts_of, cut_all, digest_of, turns
from data_pipelines.plan import make_plan, pack_plan
from data_pipelines.target import WORK, claim, publish, release
from data_pipelines.work import WorkFiles, file_digest
from hdt_fm import __version__
from hdt_fm.schema.errors import ConfigError, HdtError, ShardError
from hdt_fm.schema.preparation import Preparation
from hdt_fm.schema.shard import MANIFEST_NAME, NAME_PATTERN, SHARD_VERSION, SPLIT_PATTERN, Encoding, ShardManifest
from hdt_fm.schema.subject import SubjectKey


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
    config_digest = digest_of(settings)
    if (folder / MANIFEST_NAME).exists():
        return _finished(cohort, folder, allowed, config_digest)
    made = claim(folder, shares)
    try:
        passed = cut_all(cohort, folder / WORK, preparation, allowed, key, config_digest, on_error, report)
        check_losses(passed)
        files = WorkFiles(folder / WORK)
        plan = make_plan(passed.visits, shares=shares, seed=seed)
        columns = choose_columns(preparation, passed.visits, plan.training, files, encoding)
        out = folder / WORK / digest_of([config_digest, passed.digests, __version__])[:16]
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
            counts=counts_of(passed),
            config_digest=config_digest,
            input_digest=_inputdigest_of(cohort, passed.digests),
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


def _check_arguments(name: str, shares: Mapping[str, float], block_windows: int, shard_mb: float) -> None:
    if not NAME_PATTERN.fullmatch(name):
        raise ConfigError("The name of the shards cannot be used", where="name", expected=NAME_PATTERN.pattern)
    if not all(SPLIT_PATTERN.fullmatch(split) for split in shares):
        raise ConfigError("The name of a split cannot be used", where="splits", expected=SPLIT_PATTERN.pattern)
    if any(share <= 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise ConfigError("Shares of splits must be positive and add up to 1", where="splits", got=str(dict(shares)))
    if block_windows < 1 or shard_mb <= 0:
        raise ConfigError("block_windows and shard_mb must be positive", got=f"{block_windows} and {shard_mb}")


def _inputdigest_of(cohort: Any, digests: list[str]) -> str:
    """Root over the cohort's files and what was read from them: a reader's settings count as input."""
    return digest_of([sorted(file_digest(Path(path)) for path in cohort.inputs()), digests])


def _finished(cohort: Any, folder: Path, allowed: Consent, config_digest: str) -> ShardManifest:
    """A folder that is done already: the same data set, or an error."""
    try:
        manifest = ShardManifest.model_validate_json((folder / MANIFEST_NAME).read_bytes())
    except ValueError:
        raise ShardError("The folder holds a manifest that cannot be read", where=folder.name) from None
    same = manifest.config_digest == config_digest
    if same:
        digests = [found.digest for found in turns(iter(cohort.visits()), allowed) if found.digest]
        same = manifest.input_digest == _inputdigest_of(cohort, digests)
    if not same:
        raise ShardError(
            "The folder holds another data set",
            where=folder.name,
            expected="a new folder, or the settings and inputs that made this one",
            fix="choose another folder or delete this one",
        )
    shutil.rmtree(folder / WORK, ignore_errors=True)
    return manifest
