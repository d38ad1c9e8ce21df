"""Names become classes here and nowhere else.

A part is called by its room and its file: `encoders` + `patch_transformer` is the class
`PatchTransformer` of `hdt_fm/encoders/patch_transformer.py`. Configs and checkpoints hold the name only,
so nothing that we read can name a callable of its own. A lab's package adds parts through the entry
point group `hdt_fm.<room>`, which only an installed package can do.
"""

import inspect
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hdt_fm.schema.errors import ConfigError, unknown_name

ROOMS = {
    "encoders": "hdt_fm.encoders",
    "fusion": "hdt_fm.fusion",
    "heads": "hdt_fm.heads",
    "losses": "hdt_fm.losses",
    "readers": "data_pipelines.readers",
    "cohorts": "data_pipelines.cohorts",
    "exposures": "data_pipelines.exposures",
}
# Parts that live beside their kin rather than in the room that calls them.
ELSEWHERE = {("cohorts", "synthetic"): "hdt_fm.data.synthetic"}
# The one class that runs an encoder per modality: not a choice, so it has no name in a config.
BODY = ("hdt_fm.encoders", "ModalityEncoders")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@cache
def _plugged(room: str) -> Mapping[str, EntryPoint]:
    """Parts of installed packages; the look-up reads every installed package once."""
    return {point.name: point for point in entry_points(group=f"hdt_fm.{room}")}


def names(room: str) -> tuple[str, ...]:
    """Registered names of a room, without importing any of them."""
    spec = find_spec(ROOMS[room])
    if spec is None or not spec.submodule_search_locations:
        return ()
    folder = Path(next(iter(spec.submodule_search_locations)))
    files = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    elsewhere = {name for kin, name in ELSEWHERE if kin == room}
    return tuple(sorted(files | set(_plugged(room)) | elsewhere))


def find(room: str, name: str) -> type:
    """The class behind a registered name.

    Raises:
        UnknownNameError: If the room has no part of that name.
    """
    if not _NAME.fullmatch(name) or name not in names(room):
        raise unknown_name(f"{room} part", name, names(room))
    if name in _plugged(room):
        return _plugged(room)[name].load()
    class_name = name.replace("_", " ").title().replace(" ", "")
    return getattr(import_module(ELSEWHERE.get((room, name), f"{ROOMS[room]}.{name}")), class_name)


def body() -> type:
    """The class that holds one encoder per modality, for `hdt_fm.checkpoint`, which may not import that room."""
    return getattr(import_module(BODY[0]), BODY[1])


def build(room: str, name: str, args: Mapping[str, Any]) -> Any:
    """Build a part from its name and plain arguments.

    Raises:
        UnknownNameError: If the room has no part of that name.
        ConfigError: If an argument is unknown or missing; the nearest known one is suggested.
    """
    part = find(room, name)
    check_arguments(part, args, where=f"{room}/{name}")
    return part(**args)


def check_arguments(part: Any, args: Mapping[str, Any], *, where: str) -> None:
    """Bind arguments to a signature; a signature is the schema of its part."""
    known = inspect.signature(part).parameters
    for key in args:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            raise ConfigError(
                f"Unknown setting {key!r}",
                where=where,
                expected=f"one of: {', '.join(known)}",
                fix=f"did you mean {near[0]!r}?" if near else "remove it",
            )
    missing = [k for k, p in known.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD and k not in args]
    if missing:
        raise ConfigError(f"Missing setting: {', '.join(missing)}", where=where, fix="give it in the config")
