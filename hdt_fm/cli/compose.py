"""Hydra's one door: overrides in, checked plain settings out. Configs end here; rooms get plain arguments."""

import copy
import hashlib
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue, OmegaConfBaseException
from pydantic import ValidationError

from hdt_fm.cli.config_files import config_root, group_names, groups
from hdt_fm.schema import registry
from hdt_fm.schema.errors import ConfigError, HdtError, unknown_name
from hdt_fm.schema.manifest import Part
from hdt_fm.schema.preparation import Plain

Section = TypeVar("Section", bound=Plain)
# Sections whose keys are the signature of a registered part: a default that stands there need not stand in YAML.
PARTS = {
    "cohort": "cohorts",
    "encoder": "encoders",
    "projection": "heads",
    "fusion": "fusion",
    "loss": "losses",
    "head": "heads",
    "static": "encoders",
}
# Keys below may be missing in YAML; a record of the same names checks them where the section is read.
OPEN = "preparation.modalities."
OPTIONAL_GROUPS = ("experiment", "debug")
_OVERRIDE = re.compile(r"(?P<sign>\+\+|\+|~)?(?P<key>[A-Za-z0-9_./@]+)=(?P<value>.*)", re.DOTALL)


class Config:
    """A composed config; sections are resolved and checked when a verb asks for them."""

    def __init__(self, tree: DictConfig, overrides: list[str]) -> None:
        self._tree = tree
        self.overrides = list(overrides)

    @property
    def chosen(self) -> str:
        """The overrides as they were typed: they lead the next verb to the same run."""
        return " ".join(shlex.quote(override) for override in self.overrides)

    def value(self, key: str) -> Any:
        """One resolved value, e.g. `config.value("root")`."""
        try:
            found = OmegaConf.select(self._tree, key, throw_on_missing=True)
        except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
            raise _missing(_origin(self._tree, key)) from error
        if OmegaConf.is_config(found):
            return self._plain(key)
        return found

    def section(self, key: str, form: type[Section]) -> Section:
        """A section as a checked record.

        Raises:
            ConfigError: If a value is missing, unknown or of the wrong kind; the message names the key.
        """
        try:
            return form(**self._plain(key))
        except ValidationError as error:
            raise _wrong_value(key, error) from error

    def part(self, key: str) -> Part:
        """A registered part and its arguments, checked against the part's signature where it is built."""
        args = self._plain(key)
        name = args.pop("name", None)
        if name not in registry.names(PARTS[key]):
            raise unknown_name(key, str(name), registry.names(PARTS[key]), where=f"{key}.name")
        return Part(name=name, args=args)

    def part_or_none(self, key: str) -> Part | None:
        """As `part`; None where the config chose to do without one, by a name that is null."""
        args = self._plain(key)
        if args.pop("name", None) is not None:
            return self.part(key)
        if args:
            raise ConfigError(
                f"There are settings of a {key}, but no {key}",
                where=key,
                expected=f"{key}={' or '.join(registry.names(PARTS[key]))}",
                got=", ".join(args),
                fix=f"choose one, or leave the settings of {key} out",
            )
        return None

    def yaml(self) -> str:
        """The composed config as text, interpolations unresolved."""
        return OmegaConf.to_yaml(self._tree)

    def digest(self, *keys: str) -> str:
        """sha256 over some sections, for provenance."""
        text = json.dumps({key: self._plain(key) for key in keys}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _plain(self, key: str) -> Any:
        try:
            node = OmegaConf.select(self._tree, key)
            return OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
        except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
            raise _missing(_origin(self._tree, getattr(error, "full_key", None) or key)) from error


def compose_config(verb: str, overrides: list[str]) -> Config:
    """Compose a verb's config.

    Raises:
        ConfigError: If an override cannot be read, has several values, or names an unknown group, name or setting.
    """
    for override in overrides:
        if len(values_of(override)) > 1:
            raise ConfigError(
                f"The override {override.split('=')[0]!r} has several values",
                where=f"hdt-fm {verb}",
                expected="one value, or --multirun to run each (pretrain and evaluate)",
                fix="add --multirun; put a single value with a comma in quotes, or in [ ] where a list is meant",
            )
    chosen, settings = _sorted_overrides(overrides)
    tree = copy.deepcopy(_composed(verb, tuple(chosen), _files()))
    known = _flat_keys(tree)
    _set(tree, [_checked(override, known) for override in settings], verb)
    return Config(tree, overrides)


def values_of(override: str) -> list[str]:
    """The override once for each value that Hydra's sweep syntax gives it (`a,b`, `range(0,3)`); else itself.

    Raises:
        ConfigError: If there is no end to its values, or they cannot be listed.
    """
    value = override.partition("=")[2]
    if "," not in value and "(" not in value:
        return [override]
    try:
        read = OverridesParser.create().parse_override(override)
    except HydraException:
        return [override]  # refused with the nearest words where it is composed
    if not read.is_sweep_override():
        return [override]
    try:
        return [f"{read.get_key_element()}={value}" for value in read.sweep_string_iterator()]
    except (HydraException, AssertionError) as error:
        raise ConfigError(
            f"The values of {read.get_key_element()!r} cannot be listed",
            where="overrides",
            expected="a,b or range(start,stop)",
            got=value,
        ) from error


def _sorted_overrides(overrides: list[str]) -> tuple[list[str], list[str]]:
    known = groups()
    chosen, settings = [], []
    for override in overrides:
        match = _OVERRIDE.fullmatch(override)
        if not match or match["sign"] == "~":
            raise ConfigError(
                f"Cannot read the override {override.split('=')[0]!r}",
                expected="key=value or group=name",
                fix="write it without spaces around '=', in quotes if the value has special signs",
            )
        if match["key"] in known:
            _check_group_value(match["key"], match["value"])
            chosen.append(f"{match['key']}={match['value']}")
        else:
            settings.append(override)
    return chosen, settings


def _check_group_value(group: str, value: str) -> None:
    names = group_names(group)
    if value not in names and not (value == "null" and group in OPTIONAL_GROUPS):
        raise unknown_name(group, value, names, where=f"configs/{group}/")


def _checked(override: str, known: list[str]) -> str:
    match = _OVERRIDE.fullmatch(override)
    assert match is not None
    key = match["key"]
    room = PARTS.get(key.split(".")[0])
    if "@" not in key and ((room and key.count(".") >= 1) or key.startswith(OPEN)):
        return f"++{key}={match['value']}"
    if key not in known:
        raise unknown_name("setting", key, [*known, *groups()], where="overrides")
    return f"{key}={match['value']}"


def _flat_keys(tree: DictConfig, prefix: str = "") -> list[str]:
    keys: list[str] = []
    for key in map(str, tree):
        name = f"{prefix}{key}"
        keys.append(name)
        node = tree._get_node(key)
        if isinstance(node, DictConfig) and not node._is_missing() and not node._is_none():
            keys += _flat_keys(node, f"{name}.")
    return keys


def _files() -> tuple[tuple[str, int, int], ...]:
    """Every config file, when it was written and its size: what was composed of others is not taken."""
    stats = ((path, path.stat()) for path in sorted(config_root().rglob("*.yaml")))
    return tuple((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in stats)


@lru_cache(maxsize=16)
def _composed(verb: str, chosen: tuple[str, ...], files: tuple[tuple[str, int, int], ...]) -> DictConfig:
    """The files that a verb and the chosen groups name, by Hydra: reading them again costs a fifth of a second.

    It is kept within the process, so whoever changes it changes a copy; `files` is there to tell apart.
    """
    GlobalHydra.instance().clear()
    with _refused(verb), initialize_config_dir(str(config_root()), version_base="1.3"):
        return compose(config_name=verb, overrides=list(chosen))


def _set(tree: DictConfig, settings: list[str], verb: str) -> None:
    """Set values in a composed tree, as Hydra does with overrides that choose no file."""
    with _refused(verb):
        for override in OverridesParser.create().parse_overrides(settings):
            if override.is_sweep_override():
                raise ConfigCompositionException(f"{override.input_line} is a sweep, where one value is meant")
            key, new = override.key_or_group, override.is_force_add()
            OmegaConf.update(tree, key, override.value(), merge=True, force_add=new)


@contextmanager
def _refused(verb: str) -> Iterator[None]:
    """Errors of Hydra as ours."""
    try:
        yield
    except HdtError:
        raise
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(
            "The config cannot be composed",
            got=" ".join(str(error).split())[:300],
            where=f"hdt-fm {verb}",
            fix=f"see `hdt-fm {verb} --cfg job` and `hdt-fm list`",
        ) from error


def _origin(tree: DictConfig, key: str) -> str:
    """The setting that a missing value comes from: `cohort.path: ${source}` is missing because `source` is."""
    raw = OmegaConf.to_container(tree, resolve=False)
    for part in key.split("."):
        raw = raw.get(part) if isinstance(raw, dict) else None
    link = re.fullmatch(r"\$\{([\w.]+)\}", raw) if isinstance(raw, str) else None
    return _origin(tree, link[1]) if link else key


def _missing(key: str) -> ConfigError:
    return ConfigError(f"The setting {key!r} is required", where=key, fix=f"give it on the command line: {key}=...")


def _wrong_value(section: str, error: ValidationError) -> ConfigError:
    first = error.errors()[0]
    key = ".".join([section, *[str(part) for part in first["loc"]]])
    if first["type"] == "extra_forbidden":
        return ConfigError(f"Unknown setting {key!r}", where=key, fix=f"see the file configs/{section}/ it came from")
    return ConfigError(f"The setting {key!r} has a wrong value", where=key, expected=first["msg"])
