"""What stands after a word of `hdt-fm exposure`: a path and settings as typed."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from hdt_fm.schema.errors import ConfigError, unknown_name
from hdt_fm.schema.exposure import EXPOSURES, exposure_kind


def kinds_told() -> str:
    """Every exposure with its unit, as lines of help."""
    told = ", ".join(f"{one.name} ({one.unit})" for one in EXPOSURES.values())
    return fill(told, 116, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def path_and_settings(word: str, arguments: Sequence[str], known: Sequence[str]) -> tuple[Path, dict[str, str]]:
    """One path, and settings as typed.

    Raises:
        UnknownNameError: If a setting is none of those known.
        ConfigError: If there is not one path.
    """
    paths = [one for one in arguments if "=" not in one or os.path.exists(one)]
    settings = dict(one.split("=", 1) for one in arguments if one not in paths)
    for key in settings:
        if key not in known:
            raise unknown_name("setting", key, known, where=f"hdt-fm exposure {word}")
    if len(paths) != 1:
        raise ConfigError(
            f"`exposure {word}` takes one path",
            expected="a path, and settings as NAME=VALUE",
            got=f"{len(paths)} paths",
            fix=f"see `hdt-fm exposure {word} --help`",
        )
    return Path(paths[0]), settings


def listed(settings: Mapping[str, str], name: str) -> list[str]:
    """A setting of several words, parted by commas; none where it is not set."""
    return [word.strip() for word in settings.get(name, "").split(",") if word.strip()]


def units_of(settings: Mapping[str, str]) -> dict[str, str]:
    """`units=ozone:ppb,temperature:kelvin` -> kind and unit.

    Raises:
        ConfigError: If it cannot be read.
        UnknownNameError: If a kind is none.
    """
    found = {}
    for word in listed(settings, "units"):
        kind, colon, unit = (part.strip() for part in word.partition(":"))
        if not colon or not unit:
            raise ConfigError(
                "units cannot be read", where="units", expected="units=ozone:ppb,temperature:kelvin", fix="say it so"
            )
        found[exposure_kind(kind).name] = unit
    return found


def pairs_of(settings: Mapping[str, str], exposures: Sequence[str]) -> list[tuple[str, str]]:
    """`pairs=temperature*pm2_5` -> exposures that matter together.

    Raises:
        ConfigError: If it cannot be read.
        UnknownNameError: If one of them is not in the table.
    """
    found = []
    for word in listed(settings, "pairs"):
        both = [part.strip() for part in word.split("*")]
        for name in both:
            if name not in exposures:
                raise unknown_name("exposure", name, exposures, where="pairs")
        if len(both) != 2 or both[0] == both[1]:
            raise ConfigError(
                "A pair is not of two exposures", where="pairs", expected="pairs=temperature*pm2_5", fix="say it so"
            )
        found.append((both[0], both[1]))
    return found


def chosen(name: str, told: str, known: Sequence[str]) -> Any:
    """A setting that is one of some words, as the literal that it is.

    Raises:
        UnknownNameError: If it is none of them.
    """
    if told not in known:
        raise unknown_name(f"value of {name}", told, known, where=name)
    return told
