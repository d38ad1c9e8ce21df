"""How two versions of a folder differ: which files, and how far the tensors in them moved; never what is in a file."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from hdt_fm.checkpoint.folder import sha256
from hdt_fm.checkpoint.version_files import files_of

_TENSORS = ".safetensors"


@dataclass(frozen=True)
class Moved:
    """One tensor of a file that is in both versions.

    Attributes:
        change: Euclidean norm of the difference; None where shapes differ or one of the two has no such tensor.
        before: Euclidean norm in the first version; None where it has none.
        what: "moved", "new", "gone" or "reshaped".
    """

    change: float | None
    before: float | None
    what: str = "moved"


@dataclass(frozen=True)
class Differences:
    """Names of files that changed, are new, are gone, are the same; and tensors of those that changed."""

    changed: tuple[str, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]
    same: tuple[str, ...]
    tensors: dict[str, dict[str, Moved]] = field(default_factory=dict)


def differences(before: Path, after: Path) -> Differences:
    """Of two folders of plain files. A file of tensors that cannot be read counts as one of bytes."""
    old, new = files_of(before), files_of(after)
    both = [name for name in old if name in new]
    changed = tuple(name for name in both if sha256(old[name]) != sha256(new[name]))
    tensors = {name: _moved(old[name], new[name]) for name in changed if name.endswith(_TENSORS)}
    return Differences(
        changed=changed,
        new=tuple(name for name in new if name not in old),
        gone=tuple(name for name in old if name not in new),
        same=tuple(name for name in both if name not in changed),
        tensors={name: moved for name, moved in tensors.items() if moved},
    )


def _moved(before: Path, after: Path) -> dict[str, Moved]:
    """Tensors that differ, by name; one at a time in memory."""
    try:
        with safe_open(before, framework="pt") as old, safe_open(after, framework="pt") as new:
            known, found = set(old.keys()), set(new.keys())
            moved = {name: _one(old.get_tensor(name), new.get_tensor(name)) for name in sorted(known & found)}
            gone = {name: Moved(None, _norm(old.get_tensor(name)), "gone") for name in sorted(known - found)}
            fresh = {name: Moved(None, None, "new") for name in sorted(found - known)}
    except (SafetensorError, OSError):
        return {}
    return {name: one for name, one in {**moved, **gone, **fresh}.items() if one.change != 0.0}


def _one(before: torch.Tensor, after: torch.Tensor) -> Moved:
    if before.shape != after.shape:
        return Moved(None, _norm(before), "reshaped")
    return Moved(_norm(after.double() - before.double()), _norm(before))


def _norm(values: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(values.double()))
