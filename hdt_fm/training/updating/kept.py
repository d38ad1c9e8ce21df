"""What a strategy keeps between updates, on disk: plain arrays and plain values."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from hdt_fm.schema.errors import CheckpointError
from hdt_fm.training.updating.anchors import Anchor
from hdt_fm.training.updating.memory import Memory, RowMemory
from hdt_fm.training.updating.prototypes import PrototypeMemory
from hdt_fm.training.updating.rows import Layout

FORMAT = 1
WORDS, ARRAYS = "memory.json", "memory.safetensors"
ANCHORS, ADAPTERS = "anchors.safetensors", "adapters.safetensors"
_KINDS: dict[str, Any] = {"rows": RowMemory, "prototypes": PrototypeMemory}


def save_memory(folder: Path, memory: Memory) -> None:
    """Into a folder that is being filled."""
    arrays, plain = memory.kept()
    kind = next(name for name, one in _KINDS.items() if isinstance(memory, one))
    words = {"format": FORMAT, "kind": kind, "layout": vars(memory.layout), **plain}
    (folder / WORDS).write_text(json.dumps(words, indent=1) + "\n")
    save_file({name: np.ascontiguousarray(one) for name, one in arrays.items()}, folder / ARRAYS)


def load_memory(folder: Path) -> Memory | None:
    """What `save_memory` wrote; None where there is none.

    Raises:
        CheckpointError: If it is damaged or of a later version.
    """
    if not (folder / WORDS).is_file():
        return None
    try:
        words = json.loads((folder / WORDS).read_text())
        if words["format"] > FORMAT:
            raise CheckpointError(
                "The memory was written by a later hdt_fm",
                where=WORDS,
                expected=f"format {FORMAT}",
                got=f"format {words['format']}",
                fix="update hdt_fm: pip install -U hdt-fm",
            )
        found: Memory = _KINDS[words["kind"]].of(Layout(**words["layout"]), _read(folder / ARRAYS), words)
    except (KeyError, TypeError, ValueError, IndexError, OSError) as error:
        raise CheckpointError(
            "The memory cannot be read",
            where=WORDS,
            expected="what an update wrote",
            got=type(error).__name__,
            fix="go back to a version that is whole: hdt-fm twin rollback FOLDER",
        ) from error
    return found


def save_anchors(folder: Path, anchors: Sequence[Anchor]) -> None:
    """Into a folder that is being filled; no file where there are none."""
    parts = {
        f"{number}.{part}.{name}": tensor.numpy()
        for number, anchor in enumerate(anchors)
        for part in ("at", "mattered")
        for name, tensor in getattr(anchor, part).items()
    }
    if parts:
        save_file(parts, folder / ANCHORS)


def load_anchors(folder: Path) -> tuple[Anchor, ...]:
    """What `save_anchors` wrote."""
    if not (folder / ANCHORS).is_file():
        return ()
    found: dict[int, dict[str, dict[str, torch.Tensor]]] = {}
    for key, values in _read(folder / ANCHORS).items():
        number, part, name = key.split(".", 2)
        found.setdefault(int(number), {"at": {}, "mattered": {}})[part][name] = torch.from_numpy(values)
    return tuple(Anchor(**found[number]) for number in sorted(found))


def save_adapters(folder: Path, adapters: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
    """Of each domain, into a folder that is being filled; no file where there are none."""
    parts = {f"{domain}/{name}": one.numpy() for domain, own in adapters.items() for name, one in own.items()}
    if parts:
        save_file(parts, folder / ADAPTERS)


def load_adapters(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """What `save_adapters` wrote."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    if (folder / ADAPTERS).is_file():
        for key, values in _read(folder / ADAPTERS).items():
            domain, name = key.split("/", 1)
            found.setdefault(domain, {})[name] = torch.from_numpy(values)
    return found


def _read(path: Path) -> dict[str, np.ndarray]:
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
