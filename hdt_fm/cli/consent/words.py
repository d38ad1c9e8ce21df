"""What stands after a word of `hdt-fm consent`: the register, and settings as typed. A raw id is never shown again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hdt_fm.schema.errors import ConfigError, unknown_name
from hdt_fm.schema.subject import is_pseudonym


@dataclass(frozen=True)
class Asked:
    """The register's path, and each setting with all that was given for it, in turn."""

    word: str
    register: Path
    settings: Mapping[str, list[str]] = field(default_factory=dict)

    def one(self, name: str, default: str = "") -> str:
        """A setting that is given once.

        Raises:
            ConfigError: If it is given more than once.
        """
        found = self.settings.get(name, [default])
        if len(found) > 1:
            raise ConfigError(f"{name} is given more than once", where=name, fix="say it once")
        return found[0]

    def needed(self, name: str, example: str) -> str:
        """As `one`, of a setting that must be there.

        Raises:
            ConfigError: If it is not.
        """
        found = self.one(name)
        if not found:
            raise ConfigError(f"`consent {self.word}` needs {name}", where=name, expected=example, fix=f"say {example}")
        return found

    @property
    def roots(self) -> list[Path]:
        """Folders to look through."""
        return [Path(one) for one in self.settings.get("root", [])]

    def needed_root(self) -> None:
        """Refuse a command that looks through nothing.

        Raises:
            ConfigError: If no root is named.
        """
        if not self.roots:
            raise ConfigError(
                f"`consent {self.word}` needs a folder to look through",
                where="root",
                expected="root=FOLDER, as often as needed",
                fix="say root=runs",
            )

    def people(self) -> list[str]:
        """Of `subject=` and of the list of `--subjects`, each once.

        Raises:
            ConfigError: If there is none, or one is no pseudonym; it is not shown.
        """
        found = list(self.settings.get("subject", []))
        if not all(map(is_pseudonym, found)):
            raise ConfigError(
                "Somebody is named by something else than a pseudonym",
                where="subject",
                expected="'s' and 32 hexadecimal digits, as in the manifest of the shards",
                got="something else, which may be a raw id and is not shown",
                fix="make a pseudonym of it with the cohort's key; nothing was written",
            )
        if "subjects" in self.settings:
            from data_pipelines.revoke import read_subjects

            found += sorted(read_subjects(Path(self.one("subjects"))))
        if not found:
            raise ConfigError(
                f"`consent {self.word}` needs people",
                where="subject",
                expected="subject=PSEUDONYM, or --subjects FILE with one a line",
                fix=f"see `hdt-fm consent {self.word} --help`",
            )
        return list(dict.fromkeys(found))


def asked(word: str, arguments: Sequence[str], known: Sequence[str]) -> Asked:
    """The register's path, and settings.

    Raises:
        UnknownNameError: If a setting is none of those known.
        ConfigError: If there is not one path. What stood there is not shown: it may be a raw id.
    """
    paths = [one for one in arguments if "=" not in one]
    settings: dict[str, list[str]] = {}
    for one in arguments:
        key, given, value = one.partition("=")
        if given and key not in known:
            raise unknown_name("setting", key, known, where=f"hdt-fm consent {word}")
        if given:
            settings.setdefault(key, []).append(value)
    if len(paths) != 1:
        raise ConfigError(
            f"`consent {word}` takes one path, the register",
            expected="a path, and settings as NAME=VALUE",
            got=f"{len(paths)} paths",
            fix=f"see `hdt-fm consent {word} --help`",
        )
    return Asked(word, Path(paths[0]), settings)


def say(told: Mapping[str, Any], lines: Sequence[str], *, as_json: bool) -> None:
    """In words, or as one JSON object and nothing else."""
    print(json.dumps(told, allow_nan=False) if as_json else "\n".join(lines))
