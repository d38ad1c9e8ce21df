"""How large the tiles of the Triton kernels are: a table that ships, found by `scripts/gpu_check.py --tune`.

The choice depends on the device's generation, the precision, the width and whether there is an exclusion, never on a
measurement of this run, so that a run repeats. `HDT_FM_TRITON_CONFIGS` may name a JSON file that the tuner wrote.
"""

import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from hdt_fm.schema.errors import ConfigError

OVERRIDE = "HDT_FM_TRITON_CONFIGS"
# Entries of the panel of pushes, all pairs together: 512 MiB in half precision. It bounds memory, not results' shape.
PANEL_ENTRIES = 2**28
LEAST_PANEL = 512


class Tile(NamedTuple):
    """Rows and columns of a tile, the step of its sum, and how the compiler shares it out.

    Attributes:
        registers: Most registers of a thread; 0 for as many as it likes. 128 let two programs of 8 warps share a
            processor, so that one multiplies while the other takes exponentials.
    """

    rows: int
    columns: int
    depth: int
    warps: int
    stages: int
    registers: int = 0


class Config(NamedTuple):
    """Tiles of the stages, the most query rows of a panel, and by which route gradients are made.

    Attributes:
        sums: Of the forward pass.
        push: Of dL/ds, on the route by panels.
        pull: Of the products with it; its `columns` run along the width.
        chip: Of the route on chip; its `depth` is the width that rows are filled up to, a power of two. None for
            panels, which wider rows take in any case.
    """

    sums: Tile
    push: Tile
    pull: Tile
    panel: int = 4096
    chip: Tile | None = None

    @property
    def room(self) -> int:
        """What numbers of packed rows are rounded up to."""
        chip = self.chip or self.push
        sides = (self.sums.rows, self.sums.columns, self.push.rows, self.push.columns, self.pull.rows)
        return max(*sides, chip.rows, chip.columns)

    def on_chip(self, width: int) -> bool:
        """Whether gradients of so wide rows are made on chip."""
        return self.chip is not None and width <= self.chip.depth

    def packed_width(self, width: int) -> int:
        """What rows are filled up to with zeros."""
        if self.chip is not None and width <= self.chip.depth:
            return self.chip.depth
        depth = max(self.sums.depth, self.push.depth)
        return -(-width // depth) * depth

    def panel_rows(self, pairs: int, query_room: int, key_room: int) -> int:
        """Query rows of one panel, so that all pairs' panels together stay small."""
        fitting = PANEL_ENTRIES // max(1, pairs * key_room) // self.room * self.room
        return min(query_room, max(self.room, min(self.panel, max(LEAST_PANEL, fitting)) // self.room * self.room))


class Key(NamedTuple):
    """What a configuration is chosen by.

    Attributes:
        arch: "sm90" (Hopper and later), "sm80" (before), or "interpret".
        precision: "half" or "float32".
        width: The widest embeddings that it is for.
        rule: Whether rows are excluded.
    """

    arch: str
    precision: str
    width: int
    rule: bool


WIDE = 1 << 30
_HALF_TILE = Tile(128, 128, 64, 8, 3)
_HALF = Config(_HALF_TILE._replace(registers=128), _HALF_TILE, _HALF_TILE)
# With masks 128 registers do not do.
_HALF_RULE = _HALF._replace(sums=_HALF_TILE)
_FULL = Config(Tile(128, 128, 32, 8, 3), Tile(128, 64, 32, 8, 3), Tile(128, 64, 32, 8, 3))
_OLD = Config(Tile(128, 64, 32, 8, 3), Tile(128, 64, 32, 8, 3), Tile(128, 64, 32, 8, 3))
_OLD_FULL = Config(Tile(64, 64, 16, 8, 2), Tile(64, 64, 16, 8, 2), Tile(64, 64, 16, 8, 2))
_TINY = Config(Tile(16, 32, 16, 1, 1), Tile(32, 16, 16, 1, 1), Tile(16, 32, 16, 1, 1), panel=64)
# By architecture, precision and rule: the panels' tiles, and those on chip for rows of up to 64 and 128.
_SHIPPED: Mapping[tuple[str, str, bool], tuple[Config, tuple[Tile, ...]]] = MappingProxyType(
    {
        ("sm90", "half", False): (_HALF, (Tile(128, 64, 64, 8, 3), Tile(128, 64, 128, 8, 3))),
        ("sm90", "half", True): (_HALF_RULE, (Tile(128, 64, 64, 8, 3), Tile(128, 32, 128, 8, 3))),
        ("sm90", "float32", False): (_FULL, ()),
        ("sm90", "float32", True): (_FULL, ()),
        ("sm80", "half", False): (_OLD, (Tile(64, 32, 64, 4, 2), Tile(64, 32, 128, 4, 2))),
        ("sm80", "half", True): (_OLD, ()),
        ("sm80", "float32", False): (_OLD_FULL, ()),
        ("sm80", "float32", True): (_OLD_FULL, ()),
        **{
            ("interpret", precision, rule): (_TINY, (Tile(16, 32, 64, 1, 1), Tile(32, 16, 128, 1, 1)))
            for precision in ("half", "float32")
            for rule in (False, True)
        },
    }
)
CONFIGS: Mapping[Key, Config] = MappingProxyType(
    {
        Key(arch, precision, width, rule): config
        for (arch, precision, rule), (panels, chips) in _SHIPPED.items()
        for width, config in [*((chip.depth, panels._replace(chip=chip)) for chip in chips), (WIDE, panels)]
    }
)


def config_for(arch: str, precision: str, width: int, rule: bool) -> Config:
    """The entry for the least width that holds `width`; an override file's entries come first."""
    for table in (_override(os.environ.get(OVERRIDE)), CONFIGS):
        fitting = [key for key in table if key[:2] == (arch, precision) and key.rule == rule and width <= key.width]
        if fitting:
            return table[min(fitting, key=lambda key: key.width)]
    raise ConfigError(
        "No configuration of the Triton kernels fits", expected="sm80 or later", got=f"{arch}, {precision}"
    )


@functools.cache
def _override(path: str | None) -> Mapping[Key, Config]:
    return {} if path is None else read_configs(Path(path))


def read_configs(path: Path) -> dict[Key, Config]:
    """What a tuner wrote.

    Raises:
        ConfigError: If the file cannot be read or is no table.
    """
    try:
        return {
            Key(**entry["key"]): Config(
                Tile(**entry["sums"]),
                Tile(**entry["push"]),
                Tile(**entry["pull"]),
                int(entry["panel"]),
                None if entry["chip"] is None else Tile(**entry["chip"]),
            )
            for entry in json.loads(path.read_text())
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            "A table of Triton configurations cannot be read",
            expected="a JSON list as scripts/gpu_check.py --tune writes it",
            got=f"{type(error).__name__} in {path.name}",
            where=OVERRIDE,
        ) from error


def write_configs(path: Path, table: Mapping[Key, Config]) -> None:
    """What `read_configs` reads."""
    entries = [
        {"key": key._asdict(), **{name: getattr(config, name)._asdict() for name in ("sums", "push", "pull")}}
        | {"panel": config.panel, "chip": config.chip and config.chip._asdict()}
        for key, config in table.items()
    ]
    path.write_text(json.dumps(entries, indent=1) + "\n")
