"""Reads columns of HDF5 files in a process of its own; `_hdf5.py` starts it, asks, and stops it when it hangs.

The HDF5 library believes what it finds: on a damaged file it can run for ever, and no signal of Python stops it there.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_pipelines._pickle_worker import limit_resources
from data_pipelines.readers._files import MAX_BYTES
from hdt_fm.schema.errors import ReaderError

# `acc` or `group/acc`, a whole dataset; `acc[1]`, a column of one with two axes; `log[time]`, a field of records.
_COLUMN = re.compile(r"(?P<path>[^\[\]]+)(?:\[(?P<part>[^\[\]]+)\])?")
_MEMORY_BYTES = 6 << 30
_CPU_S = 24 * 3600


def main() -> None:
    """A line of JSON on standard input is a question; a file with the arrays and a line of JSON are the answer."""
    # Once, before there is a bound: it starts threads and opens libraries.
    import h5py

    limit_resources({"memory_bytes": _MEMORY_BYTES, "cpu_s": _CPU_S, "array_bytes": MAX_BYTES})
    for line in sys.stdin:
        question = json.loads(line)
        answer: dict[str, Any] = {}
        try:
            with h5py.File(question["path"], "r") as file:
                numbers = {name: _numbers(file, name) for name in question["numbers"]}
                texts = {name: _texts(file, name) for name in question["texts"]}
            _write(Path(question["out"]), numbers, texts)
        except ReaderError as error:
            parts = ("problem", "expected", "got", "where", "fix")
            answer = {part: getattr(error, part) for part in parts if getattr(error, part)}
        # Whatever the library trips over in a damaged file, it is the file's fault. Its words may hold a value.
        except Exception as error:
            problem = "The HDF5 file is truncated or damaged"
            answer = {"problem": problem, "got": type(error).__name__, "fix": "copy the file again"}
        print(json.dumps(answer), flush=True)


def _write(out: Path, numbers: dict[str, NDArray[np.float64]], texts: dict[str, list[bytes]]) -> None:
    """Texts as their bytes one after the other, and where each ends."""
    arrays: list[np.ndarray] = list(numbers.values())
    for column in texts.values():
        arrays += [np.frombuffer(b"".join(column), dtype=np.uint8), np.cumsum([len(text) for text in column])]
    np.savez(out, *arrays)


def _numbers(file: Any, name: str) -> NDArray[np.float64]:
    _, values = _column(file, name)
    if values.dtype.kind not in "iufb":
        raise _refused(name, "numbers")
    return values.astype(np.float64)


def _texts(file: Any, name: str) -> list[bytes]:
    import h5py

    dataset, values = _column(file, name)
    if values.dtype.kind != "S" and h5py.check_string_dtype(dataset.dtype) is None:
        raise _refused(name, "texts")
    return [value if isinstance(value, bytes) else str(value).encode() for value in values.tolist()]


def _column(file: Any, name: str) -> tuple[Any, np.ndarray]:
    """The dataset, and what of it makes the column."""
    found = _COLUMN.fullmatch(name)
    if found is None:
        raise _refused(name, "a name such as acc, group/acc, acc[1] or log[time]")
    dataset = _dataset(file, found["path"], name)
    if dataset.dtype.names is not None:
        if found["part"] not in dataset.dtype.names or dataset.ndim != 1:
            raise _refused(name, "a field of the records, such as log[time]")
        values = dataset.fields(found["part"])[:]
    elif dataset.ndim == 2:
        if found["part"] is None or not found["part"].isdigit() or int(found["part"]) >= dataset.shape[1]:
            raise _refused(name, f"a column of the dataset, from {found['path']}[0] to [{dataset.shape[1] - 1}]")
        values = dataset[:, int(found["part"])]
    elif dataset.ndim == 1 and found["part"] is None:
        values = dataset[:]
    else:
        raise _refused(name, "a dataset of one or two axes")
    return dataset, values


def _dataset(file: Any, path: str, name: str) -> Any:
    """By its path, without following a link out of the file."""
    import h5py

    place = file
    for part in path.strip("/").split("/"):
        link = place.get(part, getlink=True) if isinstance(place, h5py.Group) else None
        if link is None:
            raise _refused(name, "a dataset of the file")
        if not isinstance(link, h5py.HardLink):
            raise ReaderError(
                "The HDF5 file points to something else",
                where=name,
                expected="a dataset in the file itself, reached without links",
                fix="copy the data into the file, and do not trust a file that points outside",
            )
        place = place[part]
    if not isinstance(place, h5py.Dataset):
        raise _refused(name, "a dataset, not a group")
    if place.external or place.is_virtual:
        raise ReaderError("The HDF5 file keeps a dataset in other files", where=name, fix="copy the data into the file")
    if place.size * max(place.dtype.itemsize, 8) > MAX_BYTES:
        raise ReaderError("The dataset is too large to be one recording", expected=f"at most {MAX_BYTES} bytes")
    return place


def _refused(name: str, expected: str) -> ReaderError:
    return ReaderError(
        "A column of the mapping is not in the file as it should be",
        where=name,
        expected=expected,
        fix="correct the column's name in the mapping",
    )
