"""Arrays out of a pickle, without running anything that stands in it.

Some published sets (WESAD, PPG-DaLiA) come as pickles, and a pickle is a program. `_pickle_worker.py` reads it with an
unpickler that knows only dictionaries, numbers, text and plain numpy arrays, in a process of its own with bounds on
memory, time and output; what comes back is a `.npz` without objects.
"""

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines._pickle_arrays import DISTRUST
from data_pipelines._pickle_worker import ANSWER, ARRAYS
from data_pipelines.isolated import read_apart
from hdt_fm.schema.errors import ReaderError

# Beside the file itself (as text of protocol 0 it is held several times), what Python and numpy need to work.
ROOM_BYTES, ROOM_TIMES = 1 << 29, 6


@dataclass(frozen=True)
class Limits:
    """How much a pickle may hold. A WESAD file, the largest that we know of, has a few hundred MB in 20 arrays."""

    file_bytes: int = 3 << 30
    array_bytes: int = 2 << 30
    entries: int = 10_000
    depth: int = 16
    steps: int = 20_000_000
    seconds: int = 300


def converted(path: Path, *, limits: Limits | None = None) -> dict[str, np.ndarray]:
    """Every array in a pickle of (nested) dictionaries; nothing in the file can run.

    Nested names are joined with "/" (`signal/wrist/BVP`). Numbers and text become arrays without axes, lists of them
    arrays with one, other lists entries under their numbers. Byte strings are read as latin1, as Python 2 wrote them.

    Args:
        path: A file as `pickle.dump` writes it, any protocol, Python 2 or 3. No message repeats it: it may be an id.
        limits: How much of everything is too much.

    Lossy: `None` and empty dictionaries are left out; arrays are handed on in the byte order of this machine.

    Raises:
        ReaderError: If the file is missing, broken or too large, or holds anything but plain data.
    """
    limits = limits or Limits()
    size = _size(path, limits)
    bounds = asdict(limits) | {
        "file_bytes": size,
        "memory_bytes": ROOM_BYTES + ROOM_TIMES * size,
        "cpu_s": limits.seconds,
    }
    with tempfile.TemporaryDirectory(prefix="hdt_fm_") as folder:
        # An isolated Python sees installed packages only; where we or numpy were found otherwise, the place is told.
        places = [Path(str(module)).parents[1] for module in (__file__, np.__file__)]
        module = "data_pipelines._pickle_worker"
        done = read_apart(path, Path(folder), module=module, bounds=bounds, places=places, seconds=limits.seconds)
        return _arrays(Path(folder), done)


def _size(path: Path, limits: Limits) -> int:
    if not path.is_file():
        raise ReaderError("There is no such file", expected="a pickle", fix="check the path")
    size = path.stat().st_size
    if size > limits.file_bytes:
        raise ReaderError(
            "The pickle is too large",
            expected=f"at most {limits.file_bytes} bytes",
            got=f"{size} bytes",
            fix="split the file, or do not trust it",
        )
    return size


def _arrays(folder: Path, done: bool) -> dict[str, np.ndarray]:
    answer = folder / ANSWER
    if not done or not answer.is_file():
        raise _gave_up()
    said: dict[str, Any] = json.loads(answer.read_text())
    if "names" not in said:
        raise ReaderError(said.pop("problem"), **said)
    with np.load(folder / ARRAYS, allow_pickle=False) as found:
        return {name: found[f"arr_{number}"] for number, name in enumerate(said["names"])}


def _gave_up() -> ReaderError:
    return ReaderError(
        "The pickle needs more time or memory than its size allows; reading it was stopped",
        expected="dictionaries of arrays",
        fix=DISTRUST,
    )
