"""Finding the checkpoint that a run goes on from, and refusing one of another run. Read with weights_only=True."""

import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from hdt_fm.schema.errors import CheckpointError, ConfigError

SETTINGS_KEY = "hdt_fm_run"
_NAME = re.compile(r"step-(?P<step>\d{8})\.ckpt")


def path_of(folder: Path, step: int) -> Path:
    """Name order is step order, so the newest is the last name: there is no pointer that could go stale."""
    return folder / f"step-{step:08d}.ckpt"


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run, newest first."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), reverse=True)


def find_checkpoint(folder: Path, resume: str | Path, *, say: Callable[[str], None]) -> Path | None:
    """The checkpoint to go on from; None starts at step 0.

    Args:
        folder: Where the run keeps its checkpoints.
        resume: "auto" takes the newest readable one in `folder`, if there is any; "never" refuses a folder that has
            some; anything else is a path to one.
        say: Told when the newest one is damaged and the one before is taken.

    Raises:
        CheckpointError: If the one asked for, or every one in the folder, cannot be read.
        ConfigError: If "never" meets earlier checkpoints, or a path rewinds the run that it belongs to.
    """
    found = checkpoints(folder)
    if resume == "never":
        if found:
            raise ConfigError(
                "The run folder holds checkpoints of an earlier run",
                where=str(folder),
                fix="resume=auto goes on with it; for a new run choose another folder",
            )
        return None
    if resume != "auto":
        return _asked_for(Path(resume), found)
    for path in found:
        problem = damage(path)
        if problem is None:
            return path
        say(f"{path.name} is damaged ({problem}); trying the one before")
    if found:
        raise CheckpointError(
            "No checkpoint of the run can be read",
            where=str(folder),
            got=", ".join(path.name for path in found),
            fix="delete the folder to start at step 0",
        )
    return None


def _asked_for(path: Path, found: list[Path]) -> Path:
    problem = damage(path)
    if problem is not None:
        raise CheckpointError(
            "The checkpoint to resume from cannot be read",
            where=str(path),
            got=problem,
            expected="a step-XXXXXXXX.ckpt that `hdt-fm pretrain` wrote",
            fix="give the path of another one, or resume=auto",
        )
    if found and path.resolve().parent == found[0].resolve().parent and path.name != found[0].name:
        raise ConfigError(
            "Going back inside a run would leave later checkpoints beside the new ones",
            where=str(path),
            fix="give the new run its own folder; resume may name this file from there",
        )
    return path


def damage(path: Path) -> str | None:
    """What is wrong with the file, or None. Every byte is checked against the archive's checksums."""
    if not path.is_file():
        return "there is no such file"
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
        if member is not None:
            return "a part of it does not match its checksum"
        _read(path)
    except (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        return f"{type(error).__name__}"
    return None


def _read(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def check_settings(path: Path, settings: Mapping[str, Any], *, must_match: tuple[str, ...] | None = None) -> int:
    """Refuse a checkpoint of a run with other settings; returns its step.

    Args:
        settings: Of the run that wants to go on.
        must_match: Only these keys; all when None.

    Raises:
        CheckpointError: If a setting differs; says which.
    """
    content = _read(path)
    stored = content.get(SETTINGS_KEY)
    if not isinstance(stored, dict):
        raise CheckpointError("The file is not a checkpoint of a pretraining run", where=str(path))
    differing = [key for key in must_match or settings if stored.get(key) != settings[key]]
    if differing:
        raise CheckpointError(
            "The checkpoint was made with other settings, so going on would not be the same run",
            where=str(path),
            expected=", ".join(f"{key} {stored.get(key)}" for key in differing),
            got=", ".join(f"{key} {settings[key]}" for key in differing),
            fix="restore the settings, or start a new run in another folder",
        )
    return int(content["global_step"])
