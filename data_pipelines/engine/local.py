"""A pool of processes on this machine, of which any may end at any time."""

import contextlib
import os
import pickle
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from data_pipelines.engine._worker import BEGINS, ERROR, MEMORY, READY, ROW
from data_pipelines.engine.task import TRIES, Done, EngineError, Limits, LostBy, Task
from hdt_fm.schema.errors import ConfigError

START = "from data_pipelines.engine._worker import main; main()"
# A process that has a task and does not begin: its imports hang.
START_S = 300.0


@dataclass
class _Worker:
    """A process and the task that it has."""

    process: subprocess.Popen[bytes]
    connection: Connection
    task: Task | None = None
    deadline: float | None = None
    ready: bool = False


class Local:
    """`workers` processes, each started anew (nothing is forked) and kept for the next task.

    A process that ends in the middle of a task is replaced and the task begun again, `TRIES` times in all. One that
    runs past a limit is killed, and the task comes back as lost. They end with this process, however it ends.

    Raises:
        ConfigError: On a system without what this needs (Windows).
    """

    apart = True

    def __init__(self, workers: int, limits: Limits | None = None) -> None:
        if os.name != "posix":
            raise ConfigError(
                "A pool of processes needs Linux or macOS", where="engine.workers", fix="engine.workers=1"
            )
        self._most, self._limits = workers, limits or Limits()
        self._waiting: deque[Task] = deque()
        self._workers: list[_Worker] = []
        self._tries: dict[str, int] = {}
        self._failed_starts = 0

    @property
    def processes(self) -> tuple[int, ...]:
        """Numbers of the processes that are there now."""
        return tuple(worker.process.pid for worker in self._workers)

    def submit(self, task: Task) -> None:
        self._waiting.append(task)

    def as_completed(self) -> Iterator[Done]:
        while self._waiting or any(worker.task for worker in self._workers):
            self._hand_out()
            busy = [worker for worker in self._workers if worker.task]
            ends = [worker.deadline for worker in busy if worker.deadline is not None]
            pause = max(0.0, min(ends) - time.monotonic()) if ends else None
            ready = set(wait([worker.connection for worker in busy], pause))
            for worker in busy:
                if worker.connection in ready:
                    yield from self._listen(worker)
                elif worker.deadline is not None and time.monotonic() >= worker.deadline:
                    yield self._lose(worker, "time")

    def cancel(self) -> None:
        self._waiting.clear()
        for worker in list(self._workers):
            self._end(worker)

    def _hand_out(self) -> None:
        for worker in self._workers:
            if self._waiting and worker.task is None:
                self._give(worker)
        while self._waiting and len(self._workers) < self._most:
            self._workers.append(_start(self._limits))
            self._give(self._workers[-1])

    def _give(self, worker: _Worker) -> None:
        worker.task = self._waiting.popleft()
        worker.deadline = time.monotonic() + START_S
        # One that has just ended is noticed where its answer would be read.
        with contextlib.suppress(OSError):
            worker.connection.send_bytes(pickle.dumps(worker.task.call))

    def _listen(self, worker: _Worker) -> Iterator[Done]:
        task = worker.task
        assert task is not None
        try:
            kind, value, seconds = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._begin_again(worker, task)
            return
        if kind == READY:
            worker.ready, self._failed_starts = True, 0
        elif kind == BEGINS:
            limit = self._limits.seconds
            worker.deadline = None if limit is None else time.monotonic() + limit
        elif kind == MEMORY:
            yield self._lose(worker, "memory")
        else:
            assert kind in (ROW, ERROR)
            worker.task = worker.deadline = None
            row, error = (value, None) if kind == ROW else (None, value)
            yield Done(task.name, row, error, seconds=seconds, tries=1 + self._tries.pop(task.name, 0))

    def _begin_again(self, worker: _Worker, task: Task) -> Iterator[Done]:
        """After the process of a task has ended."""
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts > TRIES * self._most:
                raise EngineError(
                    "The processes of the pool cannot start",
                    where="engine=local",
                    got=f"{self._failed_starts} ended before their first word",
                    fix="engine.workers=1 shows what is wrong; `hdt-fm doctor` checks the installation",
                )
        tries = self._tries[task.name] = self._tries.get(task.name, 0) + worker.ready
        if tries >= TRIES:
            yield self._lose(worker, "ended")
            return
        self._end(worker)
        self._waiting.appendleft(task)

    def _lose(self, worker: _Worker, why: LostBy) -> Done:
        task = worker.task
        assert task is not None
        self._end(worker)
        tries = self._tries.pop(task.name, 0) + (why != "ended")
        return Done(task.name, lost=why, seconds=self._limits.seconds or 0.0 if why == "time" else 0.0, tries=tries)

    def _end(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.process.kill()
        worker.process.wait()
        worker.connection.close()


def _start(limits: Limits) -> _Worker:
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-P", "-c", START, str(theirs.fileno()), str(limits.memory_bytes or 0)]
        # What this process can import, its workers can.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        process = subprocess.Popen(
            command, pass_fds=(theirs.fileno(),), env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
    return _Worker(process, Connection(ours.detach()))


_own: dict[Limits, Local] = {}


def bounded(task: Task, limits: Limits) -> Done:
    """Run a task under its limits in a process beside this one, which is kept for the next (Ray and SLURM)."""
    pool = _own.setdefault(limits, Local(1, limits))
    pool.submit(task)
    return next(iter(list(pool.as_completed())))
