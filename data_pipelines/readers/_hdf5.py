"""Columns of HDF5 files: plain numbers and texts of the file itself, read by a process that can be stopped."""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data_pipelines.isolated import KEPT
from hdt_fm.schema.errors import ConfigError, ReaderError

# Its own modules come from where ours do, after Python's own; an isolated Python sees installed packages only.
_START = """import json, sys
at = next((at for at, place in enumerate(sys.path) if place.endswith("-packages")), len(sys.path))
sys.path[at:at] = [place for place in json.loads(sys.argv.pop()) if place not in sys.path[:at]]
from data_pipelines.readers._hdf5_worker import main
main()"""
# What a gigabyte takes on a slow disk, several times over.
LIMIT_S = 120.0
_ALONE = threading.Lock()
_worker: tuple[int, "subprocess.Popen[str]"] | None = None


def read_hdf5(path: Path, *, numbers: list[str], texts: list[str]) -> pa.Table:
    """The named columns as a table.

    Raises:
        ConfigError: If h5py is not installed.
        ReaderError: If the file is damaged, or a column is missing, of another kind, or not in the file itself.
    """
    if find_spec("h5py") is None:
        raise ConfigError(
            "Reading HDF5 needs a package that is not installed", expected="h5py", fix="pip install 'hdt-fm[readers]'"
        )
    with tempfile.TemporaryDirectory(prefix="hdt_fm_") as folder:
        out = Path(folder) / "columns.npz"
        question = {"path": str(path.resolve()), "numbers": numbers, "texts": texts, "out": str(out)}
        with _ALONE:
            said = _ask(question)
        if said:
            raise ReaderError(said.pop("problem"), **said)
        with np.load(out, allow_pickle=False) as found:
            arrays = [found[f"arr_{index}"] for index in range(len(found.files))]
    columns: dict[str, Any] = dict(zip(numbers, arrays[: len(numbers)], strict=True))
    for index, name in enumerate(texts):
        data, ends = arrays[len(numbers) + 2 * index : len(numbers) + 2 * index + 2]
        raw, starts = data.tobytes(), [0, *ends[:-1].tolist()]
        columns[name] = [raw[a:b].decode("utf-8", "replace") for a, b in zip(starts, ends.tolist(), strict=True)]
    if len({len(column) for column in columns.values()}) > 1:
        raise ReaderError(
            "The columns of the mapping have different lengths",
            expected="one rate in a mapping",
            fix="write a file with a mapping of its own for each rate",
        )
    return pa.table(columns)


def _ask(question: dict[str, Any]) -> dict[str, Any]:
    """The worker's answer; one that does not come, or dies, is stopped, and the file blamed."""
    global _worker
    # A process that was forked must not talk to its parent's worker.
    if _worker is None or _worker[0] != os.getpid() or _worker[1].poll() is not None:
        _worker = os.getpid(), _started()
    worker = _worker[1]
    assert worker.stdin is not None
    assert worker.stdout is not None
    answers: queue.Queue[str] = queue.Queue()
    listener = threading.Thread(target=lambda out=worker.stdout: answers.put(out.readline()), daemon=True)
    listener.start()
    try:
        worker.stdin.write(json.dumps(question) + "\n")
        worker.stdin.flush()
        line = answers.get(timeout=LIMIT_S)
    except (queue.Empty, OSError):
        line = ""
    if not line:
        worker.kill()
        worker.wait()
        listener.join()
        _worker = None
        return {
            "problem": "The HDF5 file needs more time or memory than it should; reading it was stopped",
            "expected": "a whole file with plain datasets",
            "fix": "it is most likely damaged; copy it again",
        }
    return json.loads(line)


def _started() -> "subprocess.Popen[str]":
    places = sorted({str(Path(file).parents[up]) for file, up in ((__file__, 2), (np.__file__, 1))})
    environment = {name: os.environ[name] for name in KEPT if name in os.environ} | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-I", "-B", "-c", _START, json.dumps(places)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    )
