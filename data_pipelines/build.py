"""Cohort -> shard folder. Pass 1 cuts each visit to a work file, pass 2 packs all windows in a seeded order."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

from data_pipelines.consent import Consent, check_again, read_consent
from data_pipelines.covariates import check_coarse
from data_pipelines.cutting import CutSettings
from data_pipelines.encoding import choose_steps
from data_pipelines.engine.settings import EngineSettings
from data_pipelines.engine.task import Engine, EngineError
from data_pipelines.first_pass import Passed, Progress, check_losses, counts_of, cut_all
from data_pipelines.inputs import input_digest
from data_pipelines.packing import forget_plans, pack_all
from data_pipelines.plan import make_plan
from data_pipelines.report import BuildReport, Watched
from data_pipelines.target import OWNER, WORK, claim, publish, release
from data_pipelines.work import WORK_VERSION, digest_of, modality_columns
from data_pipelines.work_place import WorkPlace, begin
from hdt_fm import __version__
from hdt_fm.schema.age import Identity, recipients
from hdt_fm.schema.codec import Codec, need_codec
from hdt_fm.schema.errors import ConfigError, HdtError, ShardError, unknown_name
from hdt_fm.schema.preparation import Preparation
from hdt_fm.schema.shard import MANIFEST_NAME, NAME_PATTERN, SHARD_VERSION, SPLIT_PATTERN, Encoding, ShardManifest
from hdt_fm.schema.shard_manifest import local_manifest
from hdt_fm.schema.shard_seal import SEALED_MANIFEST
from hdt_fm.schema.subject import SubjectKey


def build_shards(
    cohort: Any,
    *,
    folder: Path,
    name: str,
    preparation: Preparation,
    encoding: Encoding = "i16",
    codec: Codec | Mapping[str, Codec] = "none",
    block_windows: int = 512,
    shard_mb: float = 128,
    splits: Mapping[str, float] | None = None,
    seed: int = 0,
    subject_key: SubjectKey | None = None,
    consent: Path | None = None,
    purpose: str | None = None,
    on: date | None = None,
    plan_digest: str = "",
    sealed: bool = False,
    on_error: Literal["strict", "quarantine"] = "quarantine",
    engine: EngineSettings | None = None,
    report: Path | None = None,
    progress: Progress | None = None,
) -> ShardManifest:
    """Build a shard folder; equal inputs and settings give equal bytes, by any engine, also when killed and run again.

    A sealed one has the digest and, once opened, the bytes of the plain one.

    Args:
        cohort: See `schema.protocols.Cohort`. Where `visits()` gives `cohorts._visits.Visits`, visits are read by the
            engine, else one after another here.
        folder: Target; may be missing, empty, or left by an interrupted build.
        name: Stem of the shard files.
        codec: What values are packed by in the shards, of all modalities or by name. int16 steps then follow the noise
            of the recordings, since finer ones would pack noise (see `encoding.py`).
        block_windows: Most windows in a block; fewer where a block would pass 16 MiB.
        splits: Share of people (by group) per split; {"all": 1.0} by default. A person's split hangs only on
            `seed` and the group, so it stays when people are added.
        subject_key: Secret behind the date shift; without one the public key shifts, which hides nothing.
        consent: Table of who agreed; see `consent.py`, also for `purpose` and the day (`on`).
        plan_digest: Of the plan that the preparation was taken from, if there was one.
        sealed: Seal it for HDT_FM_RECIPIENTS, and what is cut on the way with a key of the build (`work_place.py`).
        on_error: `quarantine` goes on after a visit that cannot be read or cut, lists all of them in one error or
            in quarantine.json, and fails when more than 1 % of visits or (as far as known) a whole person is lost.
        engine: Who does the work; this process by default.
        report: File for times and counts of the stages and all that was lost, written however the build ends.
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
    codecs, to = _codecs(codec, preparation), recipients(needed=True) if sealed else ()
    key, allowed = subject_key or SubjectKey.public(), read_consent(consent, purpose=purpose, on=on)
    settings: dict[str, Any] = {
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
    later = {
        "codec": (codecs, dict.fromkeys(codecs, "none")),
        "plan": (plan_digest, ""),
        "agreed": (allowed.agreed, allowed.version),
    }
    # What says nothing stays out: the digest of settings that an earlier hdt_fm knew is the one that it gave.
    settings |= {name: value for name, (value, nothing) in later.items() if value != nothing}
    build = _Build(
        cohort=cohort,
        folder=folder,
        name=name,
        preparation=preparation,
        encoding=encoding,
        codecs=codecs,
        block_windows=block_windows,
        shard_bytes=int(shard_mb * 1e6),
        shares=shares,
        seed=seed,
        key=key,
        allowed=allowed,
        plan_digest=plan_digest,
        to=to,
        config_digest=digest_of(settings),
        strict=on_error == "strict",
        engine=engine or EngineSettings(),
        progress=progress or _silent,
        said=BuildReport(),
    )
    return build.run(report)


def _silent(done: int, total: int, what: str) -> None:
    return None


@dataclass
class _Build:
    """One build and all that it was asked for; see `build_shards`."""

    cohort: Any
    folder: Path
    name: str
    preparation: Preparation
    encoding: Encoding
    codecs: dict[str, Codec]
    block_windows: int
    shard_bytes: int
    shares: dict[str, float]
    seed: int
    key: SubjectKey
    allowed: Consent
    plan_digest: str
    to: tuple[str, ...]
    config_digest: str
    strict: bool
    engine: EngineSettings
    progress: Progress
    said: BuildReport

    def run(self, report: Path | None) -> ShardManifest:
        """The manifest of the finished folder; the report says how it ended either way."""
        ended, counts = "interrupted", {}
        try:
            there = any((self.folder / name).exists() for name in (MANIFEST_NAME, SEALED_MANIFEST))
            manifest = self._finished() if there else self._fill()
            ended, counts = "done", manifest.counts.model_dump()
        except HdtError as error:
            ended = error.problem
            raise
        finally:
            forget_plans()
            if report is not None:
                self._say(report, ended, counts)
        return manifest

    def _fill(self) -> ShardManifest:
        self.engine.require()
        travels = not self.engine.leaves_machine
        if self.to and not travels:
            # Tasks open the key of the build with it, wherever they run.
            Identity().require()
        made = claim(self.folder, self.shares)
        work = begin(self.folder / WORK, self.to, owner=OWNER, travels=travels)
        engine = self._start()
        try:
            return self._pack(self._cut(engine, work), engine, work)
        except EngineError:
            raise  # a second run may end well and needs what was done
        except HdtError:
            engine.cancel()  # nobody writes any more
            release(self.folder, self.shares, made=made)
            raise
        finally:
            engine.cancel()

    def _start(self) -> Engine:
        return Watched(self.engine.start(self.folder / WORK), self.said)

    def _cut(self, engine: Engine, work: WorkPlace, *, only_read: bool = False) -> Passed:
        settings = CutSettings(
            work=work,
            config_digest=self.config_digest,
            preparation=None if only_read else self.preparation,
            ranged=self.encoding == "i16",
        )
        with self.said.stage("read" if only_read else "cut"):
            return cut_all(
                self.cohort,
                settings,
                self.allowed,
                self.key,
                engine,
                self.progress,
                strict=self.strict and not only_read,
                leaves_machine=self.engine.leaves_machine,
            )

    def _pack(self, passed: Passed, engine: Engine, work: WorkPlace) -> ShardManifest:
        self.said.passed(passed)
        check_losses(passed)
        check_coarse(passed.visits)
        check_again(self.allowed, [visit.subject for visit in passed.visits])
        plan = make_plan(passed.visits, shares=self.shares, seed=self.seed)
        with self.said.stage("encode"):
            columns = modality_columns(self.preparation, self.codecs)
            if self.encoding == "i16":
                columns = choose_steps(columns, passed.visits, plan.training, work, engine)
        header = plan.header(columns, self.preparation)
        kept = [visit.digest for visit in passed.visits]
        # Of all that decides what lies in a shard: a visit that was lost then and is read now makes other shards.
        inside = [self.config_digest, passed.digests, kept, header.model_dump(mode="json"), __version__, WORK_VERSION]
        out = work.folder / digest_of([*inside, "sealed", *self.to] if self.to else inside)[:16]
        with self.said.stage("pack"):
            shards, seals = pack_all(
                plan,
                header,
                work,
                out,
                name=self.name,
                block_windows=self.block_windows,
                shard_bytes=self.shard_bytes,
                key=self.key,
                engine=engine,
                report=self.progress,
            )
        manifest = ShardManifest(
            cohort=self.cohort.name,
            licence=self.cohort.licence,
            source=self.cohort.source,
            preparation=self.preparation,
            header=header,
            splits=shards,
            subjects=plan.subjects,
            counts=counts_of(passed),
            config_digest=self.config_digest,
            input_digest=self._input_digest(passed, engine),
            code_version=__version__,
            consent=self.allowed.version,
            plan_digest=self.plan_digest,
        )
        engine.cancel()
        publish(self.folder, out, manifest, passed.lost, seals=seals, to=self.to)
        return manifest

    def _input_digest(self, passed: Passed, engine: Engine) -> str:
        with self.said.stage("inputs"):
            return input_digest(self.cohort, passed, self.allowed, engine)

    def _finished(self) -> ShardManifest:
        """A folder that is done already: the same data set, or an error."""
        data, sealed = local_manifest(self.folder)
        if (sealed is not None) != bool(self.to):
            raise ShardError(
                "The folder is there already, " + ("and lies sealed" if sealed else "and lies plain"),
                where=self.folder.name,
                expected="a sealed one" if self.to else "a plain one",
                fix=f"write it again with `hdt-fm shard {'seal' if self.to else 'unseal'} FOLDER --to FOLDER`, "
                "or change shard.sealed",
            )
        try:
            manifest = ShardManifest.model_validate_json(data)
        except ValueError:
            raise ShardError("The folder holds a manifest that cannot be read", where=self.folder.name) from None
        same = manifest.config_digest == self.config_digest
        if same:
            self.engine.require()
            engine = self._start()
            try:
                passed = self._cut(engine, WorkPlace(self.folder / WORK), only_read=True)
                same = manifest.input_digest == self._input_digest(passed, engine)
            finally:
                engine.cancel()
        if not same:
            raise ShardError(
                "The folder holds another data set",
                where=self.folder.name,
                expected="a new folder, or the settings and inputs that made this one",
                fix="choose another folder or delete this one",
            )
        shutil.rmtree(self.folder / WORK, ignore_errors=True)
        return manifest

    def _say(self, report: Path, ended: str, counts: Mapping[str, int]) -> None:
        engine = {"name": self.engine.name, "workers": self.engine.at_once}
        self.said.facts |= {"cohort": self.cohort.name, "engine": engine, "code version": __version__}
        self.said.write(report, ended=ended, counts=counts)


def _codecs(codec: Codec | Mapping[str, Codec], preparation: Preparation) -> dict[str, Codec]:
    """By modality; refused before hours of work where a library is missing."""
    given = dict.fromkeys(preparation.modalities, codec) if isinstance(codec, str) else dict(codec)
    for name, one in given.items():
        if name not in preparation.modalities:
            raise unknown_name("modality", name, preparation.modalities, where="shard.codec")
        need_codec(one)
    return {name: given.get(name, "none") for name in preparation.modalities}


def _check_arguments(name: str, shares: Mapping[str, float], block_windows: int, shard_mb: float) -> None:
    if not NAME_PATTERN.fullmatch(name):
        raise ConfigError("The name of the shards cannot be used", where="name", expected=NAME_PATTERN.pattern)
    if not all(SPLIT_PATTERN.fullmatch(split) for split in shares):
        raise ConfigError("The name of a split cannot be used", where="splits", expected=SPLIT_PATTERN.pattern)
    if any(share <= 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise ConfigError("Shares of splits must be positive and add up to 1", where="splits", got=str(dict(shares)))
    if block_windows < 1 or shard_mb <= 0:
        raise ConfigError("block_windows and shard_mb must be positive", got=f"{block_windows} and {shard_mb}")
