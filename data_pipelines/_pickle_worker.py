"""Reads one pickle without the power to run anything; `unpickle.py` starts it as a process of its own.

The pickle is standard input; `answer.json` and `arrays.npz` in the working folder are the answer.
"""

import codecs
import json
import os
import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from data_pipelines._pickle_arrays import AGAIN, DISTRUST, RefusedError, printable
from data_pipelines._pickle_names import flat
from data_pipelines._pickle_stream import Stream, Unpickler

ANSWER, ARRAYS = "answer.json", "arrays.npz"


def limit_resources(limits: dict[str, int]) -> None:
    """Bound what this process can take, where the platform knows such bounds."""
    with suppress(OSError):
        # Linux: if memory runs out, this process goes first.
        Path("/proc/self/oom_score_adj").write_text("1000")
    try:
        import resource
    except ImportError:  # Windows
        return
    used = 0
    with suppress(OSError, ValueError):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    bounds = {
        resource.RLIMIT_AS: used + limits["memory_bytes"],
        resource.RLIMIT_CPU: limits["cpu_s"],
        resource.RLIMIT_FSIZE: limits["array_bytes"] + (1 << 24),
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
    }
    for bound, value in bounds.items():
        with suppress(OSError, ValueError):
            hard = resource.getrlimit(bound)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(bound, (value, value))


def seal() -> Callable[[], None]:
    """From now on any act on the outside (open, import, run, connect, ...) is an error; returns what lifts that."""
    sealed = [True]

    def watch(event: str, _: tuple[object, ...]) -> None:
        if sealed[0]:
            raise RefusedError("The pickle tried to act on this machine; it was stopped", got=printable(event))

    sys.addaudithook(watch)
    return lambda: sealed.__setitem__(0, False)


def read(handle: BinaryIO, limits: dict[str, int]) -> dict[str, np.ndarray]:
    """The arrays of one pickle, by name.

    Raises:
        RefusedError: If there is anything in it but plain data, or too much of it.
    """
    stream = Stream(handle, limits["file_bytes"])
    try:
        arrays = flat(Unpickler(stream, limits["steps"]).load(), limits)
    except RefusedError:
        raise
    except (EOFError, pickle.UnpicklingError) as error:
        if "truncated" in str(error) or isinstance(error, EOFError):
            raise RefusedError("The pickle ends in the middle", expected="a whole file", fix=AGAIN) from error
        raise RefusedError(
            "The file is no pickle, or it is damaged", expected="a pickle of arrays", fix=AGAIN
        ) from error
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        # The text of a foreign error may hold a value.
        kind = type(error).__name__
        raise RefusedError(
            "The file is no pickle, or it is damaged", got=f"{kind} while reading it", fix=AGAIN
        ) from error
    if handle.read(1):
        raise RefusedError("Something follows after the end of the pickle", expected="one pickle in a file", fix=AGAIN)
    return arrays


def main() -> None:
    """Standard input -> `answer.json`, and `arrays.npz` if all is well."""
    limits = json.loads(sys.argv[1])
    answer: dict[str, Any]
    limit_resources(limits)
    for encoding in ("latin1", "ascii", "utf-8", "raw-unicode-escape"):
        codecs.lookup(encoding)  # Python loads them on first use, which is an import.
    try:
        lift = seal()
        try:
            arrays = read(sys.stdin.buffer, limits)
        finally:
            lift()
        with open(ARRAYS, "wb") as handle:
            np.savez(handle, *arrays.values())
        answer = {"names": list(arrays)}
    except RefusedError as error:
        answer = error.said
    except (MemoryError, RecursionError):
        answer = {"problem": "The pickle needs more memory than its size allows", "fix": DISTRUST}
    except OSError as error:
        answer = {
            "problem": "The arrays of the pickle could not be written",
            "got": os.strerror(error.errno or 0),
            "fix": "make room for temporary files",
        }
    with open(ANSWER, "w") as handle:
        json.dump(answer, handle)


if __name__ == "__main__":
    main()
