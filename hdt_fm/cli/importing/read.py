"""Starts the process that reads a foreign file, and takes what it wrote."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_pipelines.isolated import read_apart
from hdt_fm.schema.errors import CheckpointError

ANSWER, TENSORS = "answer.json", "tensors.safetensors"
MAX_BYTES, SECONDS = 64 << 30, 600
# The file, what is read of it and its copy, and what torch takes to work.
_ROOM_TIMES, _ROOM_BYTES = 4, 2 << 30


@dataclass(frozen=True)
class Foreign:
    """What was in a file.

    Attributes:
        tensors: A safetensors file of its weights, which goes when the block ends.
        kind: What it was found in.
        others: Entries beside the weights that were no tensors.
        digest: SHA-256 of the file.
    """

    tensors: Path
    kind: str
    others: int
    digest: str


@contextmanager
def apart(path: Path) -> Iterator[Foreign]:
    """The weights of a file, read in a process without network, with bounds on memory, time and what it writes.

    Raises:
        CheckpointError: If there is no such file, or it cannot be read without trusting it.
    """
    size = path.stat().st_size if path.is_file() else 0
    if not 0 < size <= MAX_BYTES:
        raise CheckpointError(
            "There is no file of weights here" if not size else "The file is too large to be read at once",
            where=str(path),
            expected=f".safetensors, .ckpt, .pt, .pth or .bin of at most {MAX_BYTES >> 30} GiB",
            fix="check the path",
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with tempfile.TemporaryDirectory(prefix="hdt_fm_import_") as folder:
        said = _said(path, Path(folder), size)
        if "kind" not in said:
            raise CheckpointError(said.pop("problem"), where=path.name, **said)
        yield Foreign(Path(folder) / TENSORS, said["kind"], said["others"], digest)


def _said(path: Path, folder: Path, size: int) -> dict[str, Any]:
    bounds = {
        "memory_bytes": _ROOM_BYTES + _ROOM_TIMES * size,
        "cpu_s": SECONDS,
        "array_bytes": 2 * size,
    }
    import torch

    places = [Path(module).parents[up] for module, up in ((__file__, 3), (str(torch.__file__), 1))]
    module = "hdt_fm.cli.importing.worker"
    done = read_apart(path, folder, module=module, bounds=bounds, places=places, seconds=SECONDS)
    if not done or not (folder / ANSWER).is_file():
        raise _gave_up(path)
    return dict(json.loads((folder / ANSWER).read_text()))


def _gave_up(path: Path) -> CheckpointError:
    return CheckpointError(
        "The file needs more time or memory than its size allows; reading it was stopped",
        where=path.name,
        expected="a state_dict or safetensors",
        fix="do not trust this file; ask its author for model.safetensors",
    )
