"""Runs one configured verb: compose, check, call, and leave `config.yaml` and `result.json` behind."""

import errno
import hashlib
import json
import os
import platform
import resource
import sys
import time
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import hdt_fm
from hdt_fm.cli.compose import Config, compose_config
from hdt_fm.cli.cost import Meter
from hdt_fm.cli.environment import guarded_environment
from hdt_fm.cli.launch import refuse_launcher
from hdt_fm.cli.main import EXIT_INTERRUPTED, EXIT_OK, Options
from hdt_fm.cli.progress import Report, reporter
from hdt_fm.cli.settings import CostSettings
from hdt_fm.schema.errors import HdtError
from hdt_fm.schema.result import Result, RunRecord

# Verbs whose words are runs of their own, each in a folder of its name: the setting that has the word.
PARTS = {"audit": "audit.what"}
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class Run:
    """What a verb works in: its folder, and ways to tell the user something.

    Attributes:
        meter: What it spends; None where nobody counts.
    """

    verb: str
    config: Config
    folder: Path
    meter: Meter | None = None
    started: float = field(default_factory=time.monotonic)

    def progress(self, what: str) -> Report:
        """A progress reporter for one task of this verb."""
        return reporter(what) if leads() else _silent

    def say(self, line: str) -> None:
        """One plain line for the user."""
        if leads():
            print(line, file=sys.stderr, flush=True)

    def finish(
        self,
        *,
        outputs: dict[str, Path],
        following: tuple[str, ...] = (),
        summary: dict[str, Any] | None = None,
        results: tuple[Result, ...] = (),
        provenance: dict[str, Any] | None = None,
    ) -> RunRecord:
        """Write `result.json` and return it."""
        told = summary or {}
        going_on = {"finished": not told.get("stopped by"), "resumed": told.get("resumed from step") is not None}
        record = RunRecord(
            verb=self.verb,
            name=str(self.config.value("name")),
            outputs={name: os.path.relpath(path, self.folder) for name, path in outputs.items()},
            next=following,
            seconds=round(time.monotonic() - self.started, 3),
            summary=told,
            provenance={
                **_versions(),
                "seed": self.config.value("seed"),
                "config_file": _digest(self.config),
                **(provenance or {}),
            },
            cost=self.meter.close(**going_on) if self.meter else None,
            results=results,
        )
        write_text(self.folder / "result.json", record.model_dump_json(indent=1) + "\n")
        return record


def run_verb(name: str, options: Options, overrides: list[str]) -> int:
    """Run a verb from the command line."""
    with guarded_environment():
        return _run_verb(name, options, overrides)


def _run_verb(name: str, options: Options, overrides: list[str]) -> int:
    if options.multirun:
        return import_module("hdt_fm.cli.sweep").run_sweep(name, options, overrides)
    config = compose_config(name, overrides)
    if options.show_config:
        print(config.yaml(), end="")
        return EXIT_OK
    refuse_launcher(config)
    module = import_module(f"hdt_fm.cli.{name}")
    if options.dry_run:
        plan = module.plan(config)
        print(json.dumps(plan) if options.json else "\n".join(f"{key:<28} {value}" for key, value in plan.items()))
        return EXIT_OK
    record = call(name, config)
    if leads():
        print(record.model_dump_json(indent=1) if options.json else ending(record, _folder(name, config)))
    return EXIT_INTERRUPTED if record.summary.get("stopped by") else EXIT_OK


def call(name: str, config: Config) -> RunRecord:
    """Run a verb on a composed config, in its own run folder (scripts and `demo` use this).

    Raises:
        HdtError: If the disk is full, and whatever the verb raises.
    """
    folder = _folder(name, config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        settings = config.section("cost", CostSettings)
        write_text(folder / "config.yaml", config.yaml())
        with Meter(settings, folder, config=_digest(config), write=write_text) as meter:
            return import_module(f"hdt_fm.cli.{name}").run(Run(name, config, folder, meter))
    except HdtError:
        raise
    except Exception as error:
        if not _disk_is_full(error):
            raise
        raise HdtError(
            "The disk is full", where=str(folder), fix="make room, then run the same command again"
        ) from error


def _disk_is_full(error: Exception) -> bool:
    # Libraries below Python, such as safetensors, have errors of their own and only quote the system's words.
    words = [os.strerror(number) for number in FULL]
    return getattr(error, "errno", None) in FULL or any(word in str(error) for word in words)


def _silent(done: int, total: int, note: str = "") -> None:
    """The progress of a process that does not speak."""


def leads() -> bool:
    """Whether this process speaks and writes: the only one, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def write_text(path: Path, text: str) -> None:
    """Write a whole file or nothing; of several processes, only the first one does."""
    if not leads():
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    os.replace(temporary, path)


def peak_memory_gb() -> float:
    """Largest resident size of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def _folder(name: str, config: Config) -> Path:
    return Path(config.value("root")) / name / (config.value(PARTS[name]) or "" if name in PARTS else "")


def _digest(config: Config) -> str:
    """sha256 of `config.yaml`, as it lies beside the record."""
    return hashlib.sha256(config.yaml().encode()).hexdigest()


def _versions() -> dict[str, str]:
    return {"hdt_fm": hdt_fm.__version__, "python": platform.python_version()}


def ending(record: RunRecord, folder: Path) -> str:
    lines = [f"{record.verb}: done in {record.seconds:.1f} s"]
    lines += [f"  {key}: {value}" for key, value in record.summary.items() if value is not None]
    lines += [f"  {name} -> {os.path.normpath(folder / path)}" for name, path in record.outputs.items()]
    lines += [f"  result -> {folder / 'result.json'}"]
    lines += [f"next: {command}" for command in record.next]
    return "\n".join(lines)
