"""`plan.yaml`: what is to be made of a folder of recordings; written by `hdt-fm inspect`, edited by people.

Plain YAML with the reason of each value as a comment. Its digest covers the values alone, and goes into the manifest
of the shards that were built by it.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.preparation import Plain, Preparation

PLAN_VERSION = 1
MAX_BYTES = 1 << 20
_HEAD = """\
# What to make of these recordings. Every value is yours to change; each stands beside its reason.
# Build by it: hdt-fm shard cohort=folder source=FOLDER plan=THIS_FILE
"""
_COMMENT_COLUMN = 34


@dataclass(frozen=True)
class Reason:
    """Why a value is what it is; `key` is its place below `preparation`, or `reader`."""

    key: str
    why: str


class BuildPlan(Plain):
    """The values.

    Attributes:
        reader: Which reader takes the files; `auto` asks each file.
        left_out: Modalities that are there and not taken, with the reason; for people.
    """

    version: int = PLAN_VERSION
    reader: str = "auto"
    preparation: Preparation
    left_out: dict[str, str] = {}

    @property
    def digest(self) -> str:
        """sha256 over what changes the shards; comments and what was left out do not."""
        text = self.model_dump_json(include={"version", "reader", "preparation"})
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def plan_text(plan: BuildPlan, reasons: Iterable[Reason] = ()) -> str:
    """The file: each value, and its reason as a comment behind it."""
    why = {reason.key: reason.why for reason in reasons}
    lines = [
        _line("", "version", plan.version),
        _line("", "reader", plan.reader, why.get("reader")),
        "preparation:",
        *_preparation(plan.preparation, why),
    ]
    if plan.left_out:
        lines += ["left_out:", *[_line("  ", name, reason) for name, reason in plan.left_out.items()]]
    return _HEAD + "\n".join(lines) + "\n"


def _preparation(preparation: Preparation, why: Mapping[str, str]) -> Iterator[str]:
    values = preparation.model_dump(mode="json", exclude={"modalities"}, exclude_none=True)
    for key, value in values.items():
        yield _line("  ", key, value, why.get(key))
    yield "  modalities:"
    for name, settings in preparation.modalities.items():
        yield f"    {name}:"
        for key, value in settings.model_dump(mode="json").items():
            because = why.get(f"modalities.{name}.{key}")
            if value is not None or because:
                yield _line("      ", key, value, because)


def _line(indent: str, key: str, value: Any, why: str | None = None) -> str:
    scalar = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
    line = f"{indent}{key}: {scalar}"
    return f"{line:<{_COMMENT_COLUMN}}  # {why}" if why else line


def write_plan(plan: BuildPlan, path: Path, reasons: Iterable[Reason] = ()) -> None:
    """Write by a temporary name; a file that is there is never replaced, since someone may have edited it.

    Raises:
        ConfigError: If there is a file already.
    """
    if path.exists():
        raise ConfigError(
            "There is a plan already", where=path.name, fix="give another name (plan=FILE), or remove that file first"
        )
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(plan_text(plan, reasons), encoding="utf-8")
    os.replace(temporary, path)


def read_plan(path: Path) -> BuildPlan:
    """Read a plan.

    Raises:
        ConfigError: If it is missing, is no YAML, or holds a value that cannot be; the message names the key.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        tree = yaml.safe_load(data.decode("utf-8-sig")) if len(data) <= MAX_BYTES else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(
            "The plan cannot be read",
            where=path.name,
            expected="the YAML file that `hdt-fm inspect` wrote",
            got=type(error).__name__,
            fix="write it again with `hdt-fm inspect FOLDER plan=NEW_FILE`",
        ) from None
    if not isinstance(tree, dict):
        raise ConfigError("The plan is no mapping", where=path.name, expected="version, reader, preparation")
    try:
        plan = BuildPlan(**{str(key): value for key, value in tree.items()})
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            "A value of the plan cannot be",
            where=f"{path.name}: {'.'.join(map(str, first['loc']))}",
            expected=first["msg"],
            fix="correct it, or write the plan again with `hdt-fm inspect`",
        ) from None
    if plan.version != PLAN_VERSION:
        raise ConfigError("The plan is of another version", expected=str(PLAN_VERSION), got=str(plan.version))
    return plan
