"""The process behind the pool: takes a task, says how it ended, takes the next. Imports nothing heavy by itself."""

import os
import pickle
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

# Words of a worker: it is there; it begins a task; how the task ended.
READY, BEGINS, ROW, ERROR, MEMORY = "ready", "begins", "row", "error", "memory"
# One process a core, so libraries must not take all cores each.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> None:
    """Serve the connection whose number is the first argument, until its other end is closed."""
    handle, memory_bytes = int(sys.argv[1]), int(sys.argv[2])
    os.environ.update(dict.fromkeys(THREADS, "1"))
    # Ctrl-C reaches every process of a terminal; the one that started us decides what becomes of us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(handle,), daemon=True).start()
    with suppress(EOFError, OSError):
        _serve(Connection(handle), memory_bytes)


def _end_with_parent(handle: int) -> None:
    poll = select.poll()
    poll.register(handle, 0)  # the end of the other side is told whether asked for or not
    while not poll.poll():
        pass
    os._exit(1)


def _serve(connection: Connection, memory_bytes: int) -> None:
    connection.send((READY, None, 0.0))
    bounded = False
    while True:
        data = connection.recv_bytes()
        start = time.monotonic()
        try:
            call = pickle.loads(data)
            if memory_bytes and not bounded:
                _bound_memory(memory_bytes)
                bounded = True
            connection.send((BEGINS, None, 0.0))
            start = time.monotonic()  # what it imported is not the task's
            kind, value = ROW, call()
        except MemoryError:
            connection.send((MEMORY, None, time.monotonic() - start))
            return  # what is left of the memory may be in pieces
        except Exception as error:
            kind, value = ERROR, _sendable(error)
        connection.send((kind, value, time.monotonic() - start))


def _bound_memory(more: int) -> None:
    """Private memory from here on; mapped files do not count. Linux knows this bound, others let it pass."""
    try:
        import resource
    except ImportError:  # Windows
        return
    used = 0
    with suppress(OSError), open("/proc/self/status") as status:
        used = next((int(line.split()[1]) << 10 for line in status if line.startswith("VmData")), 0)
    with suppress(OSError, ValueError):
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        bound = used + more if hard == resource.RLIM_INFINITY else min(used + more, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))


def _sendable(error: Exception) -> Any:
    """The error itself, or where it cannot travel one that names its kind; its text may hold a value."""
    with suppress(Exception):
        return pickle.loads(pickle.dumps(error))
    return RuntimeError(f"a task ended with {type(error).__name__}, which cannot be sent to another process")
