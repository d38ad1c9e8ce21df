"""What stands after a word of `hdt-fm twin`: a path and settings as typed, and where the files go."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from hdt_fm.schema.errors import ConfigError, unknown_name

ROOT = Path("runs/twin")


def path_and_settings(word: str, arguments: Sequence[str], known: Sequence[str]) -> tuple[Path, dict[str, str]]:
    """One path, and settings as typed.

    Raises:
        UnknownNameError: If a setting is none of those known.
        ConfigError: If there is not one path.
    """
    paths, settings = paths_and_settings(word, arguments, known, expected=("one path",))
    return paths[0], settings


def paths_and_settings(
    word: str, arguments: Sequence[str], known: Sequence[str], *, expected: Sequence[str]
) -> tuple[list[Path], dict[str, str]]:
    """Paths, and settings as typed.

    Args:
        expected: A way to say each of the paths; one that ends with `?` may be left out.

    Raises:
        UnknownNameError: If a setting is none of those known.
        ConfigError: If there are fewer or more paths.
    """
    # A long plan is no path; Path.exists would raise.
    paths = [one for one in arguments if "=" not in one or os.path.exists(one)]
    settings = dict(one.split("=", 1) for one in arguments if one not in paths)
    for key in settings:
        if key not in known:
            raise unknown_name("setting", key, known, where=f"hdt-fm twin {word}")
    least = sum(not one.endswith("?") for one in expected)
    if not least <= len(paths) <= len(expected):
        raise ConfigError(
            f"`twin {word}` takes {' and '.join(one.rstrip('?') for one in expected)}",
            expected=f"{'a path' if len(expected) == 1 else 'paths'}, and settings as NAME=VALUE",
            got=f"{len(paths)} path{'s' * (len(paths) != 1)}",
            fix=f"see `hdt-fm twin {word} --help`",
        )
    return [Path(one) for one in paths], settings


def yes_or_no(settings: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    """A setting that is true or false.

    Raises:
        ConfigError: If it is neither.
    """
    told = settings.get(name, str(default)).lower()
    if told not in ("true", "false"):
        raise ConfigError(f"{name} cannot be read", where=name, expected="true or false", fix=f"say {name}=true")
    return told == "true"


def is_twin(path: Path) -> bool:
    """Whether a folder of versions is there, rather than a recording; not whether it is whole."""
    return (path / "ledger.jsonl").is_file()


def dates_of(settings: Mapping[str, str]) -> bool:
    """Whether dates may be told.

    Raises:
        ConfigError: If it is neither yes nor no.
    """
    told = settings.get("dates", "true").lower()
    if told not in ("true", "false"):
        raise ConfigError(
            "dates cannot be read",
            where="dates",
            expected="true or false",
            fix="say dates=false for files without a date, or leave it out",
        )
    return told == "true"


def whole_number(settings: Mapping[str, str], name: str) -> int:
    """A setting that is one.

    Raises:
        ConfigError: If it is not.
    """
    try:
        return int(settings[name])
    except ValueError:
        raise ConfigError(
            f"{name} is no whole number",
            where=name,
            expected="a whole number, such as 3",
            fix=f"write it without a unit: {name}=3",
        ) from None


def refuse(settings: Mapping[str, str], names: Sequence[str], what: str) -> None:
    """Settings that would not be heard.

    Raises:
        ConfigError: If one of the names is set.
    """
    for name in names:
        if name in settings:
            raise ConfigError(f"{name} does not go with {what}", where=name, fix="leave it out")


def target_of(settings: Mapping[str, str]) -> Path | None:
    """The folder that was asked for; None asks for none.

    Raises:
        ConfigError: If it is a file, or none is named.
    """
    if "to" not in settings:
        return None
    folder = Path(settings["to"])
    if not settings["to"] or (folder.exists() and not folder.is_dir()):
        raise ConfigError(
            "The report cannot go there",
            where="to",
            expected="a folder, there or not",
            got="a file" if settings["to"] else "nothing",
            fix="say --to FOLDER",
        )
    return folder


def say(
    told: Mapping[str, Any],
    folder: Path,
    lines: Callable[[Mapping[str, Any]], Sequence[str]],
    files: Mapping[str, str],
    *,
    as_json: bool,
) -> None:
    """What was told, in words or as one JSON object, and where it was written to.

    Args:
        lines: The words of it.
        files: What a file is -> its name in the folder.
    """
    if as_json:
        print(json.dumps({**told, "folder": str(folder)}, allow_nan=False))
    else:
        print("\n".join([*lines(told), *(f"{kind} -> {folder / name}" for kind, name in files.items())]))


@contextmanager
def folder_for(word: str, target: Path | None) -> Iterator[Path]:
    """The folder to write to; one that was taken for this run and got nothing goes again.

    Raises:
        ConfigError: If it cannot be written to.
    """
    folder = target or _next_folder(word)
    try:
        yield folder
    except OSError as error:
        raise ConfigError(
            f"The {word} cannot be written",
            where="to",
            expected="a folder that can be made and written to, with room on its disk",
            got=type(error).__name__,
            fix="say --to another FOLDER",
        ) from error
    finally:
        if target is None and not any(folder.iterdir()):
            folder.rmdir()


def _next_folder(word: str) -> Path:
    """The next number that is free; taken at once, so that two runs side by side have one each."""
    for number in count(1):
        folder = ROOT / f"{word}-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("numbers do not end")
