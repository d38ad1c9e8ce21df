"""`hdt-fm twin delete FOLDER --yes`: a twin removed, with every version of it."""

import os
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.twin.arguments import is_twin, path_and_settings, say, yes_or_no
from hdt_fm.schema.errors import CheckpointError, ConfigError, ReaderError

USAGE = """\
usage: hdt-fm twin delete FOLDER --yes [--json]

  Removes the folder of a twin: every version, its ledger, and what an interrupted command left beside it. Without
  --yes it says what would go, and removes nothing. Exports, reports and copies elsewhere stay, and files are removed,
  not written over: on a disk that is not encrypted their bytes may be found for a while.

  --yes     remove it
  --json    one JSON object, and nothing else

example:
  hdt-fm twin delete my_twin --yes
"""


def run(options: Options, arguments: list[str]) -> int:
    """Count, ask, remove, say."""
    if options.help or not arguments:
        print(USAGE, end="")
        return EXIT_OK
    folder, settings = path_and_settings("delete", arguments, ("yes",))
    whole = folder.resolve()
    left = _left_behind(whole)
    _check(whole, left)
    counted = _counted([one for one in (whole, *left) if one.exists()])
    if not yes_or_no(settings, "yes"):
        raise ConfigError(
            "Nothing was removed",
            where="yes",
            expected="--yes, since it cannot be undone",
            got=f"a twin of {counted['files']} files, {counted['mb']:g} MB, in {counted['versions']} versions",
            fix="take what the person wants to keep with `hdt-fm twin export FOLDER --to FILE`, then say --yes",
        )
    _remove(whole, left)
    say({**counted, "removed": True}, folder, _lines, {}, as_json=options.json)
    return EXIT_OK


def _left_behind(whole: Path) -> list[Path]:
    """Hidden folders of a create or a delete that was killed."""
    return [one for one in (_fresh(whole), _going(whole)) if one.exists()]


def _fresh(whole: Path) -> Path:
    return whole.with_name(f".{whole.name}.new")


def _going(whole: Path) -> Path:
    return whole.with_name(f".{whole.name}.gone")


def _check(whole: Path, left: list[Path]) -> None:
    """A folder of anything else is not touched."""
    empty = whole.is_dir() and not any(whole.iterdir())
    if any(whole.glob("versions/*/domains.json")):
        raise ReaderError(
            "This is a line of a model, no person's twin, so nothing is removed",
            expected="a folder that `hdt-fm twin create` made",
            fix="remove the folder by hand, if nobody needs the model any more",
        )
    if is_twin(whole) or (left and (empty or not whole.exists())):
        return
    raise ReaderError(
        "There is no twin in this folder, so nothing is removed",
        expected="a folder that `hdt-fm twin create` made",
        got="a folder without a ledger" if whole.is_dir() else "no folder",
        fix="look for a slip in the path",
    )


def _counted(places: list[Path]) -> dict[str, Any]:
    files = [path for place in places for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
    versions = [path for place in places for path in place.glob("versions/*") if path.name.isdigit()]
    size = sum(path.stat().st_size for path in files)
    return {"files": len(files), "mb": round(size / 1e6, 3), "versions": len(versions)}


def _remove(whole: Path, left: list[Path]) -> None:
    """Away from its name at once, so that a kill leaves no half of a twin there; then file by file."""
    from hdt_fm.checkpoint.ledger import writing
    from hdt_fm.checkpoint.version_files import sync

    try:
        if whole.exists():
            with writing(whole) if is_twin(whole) else nullcontext():
                shutil.rmtree(_going(whole), ignore_errors=True)
                os.rename(whole, _going(whole))
        for place in {*left, _going(whole)}:
            if place.exists():
                shutil.rmtree(place)
        sync(whole.parent)
    except OSError as error:
        raise CheckpointError(
            "Not all of the twin could be removed",
            where=type(error).__name__,
            expected="a folder that this user may remove",
            fix="make it writable, and say the same again: it goes on where it was",
        ) from error


def _lines(told: Mapping[str, Any]) -> list[str]:
    return [
        f"removed: {told['files']} files, {told['mb']:g} MB, {told['versions']} versions; nothing of it is left here"
    ]
