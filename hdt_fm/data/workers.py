"""Batches made by worker processes in shared memory, for transforms that keep the interpreter busy.

The memory has no name: it is an anonymous map that the workers inherit by fork, so the kernel frees it with the last
process, however that ends. Only slot numbers and the table of what lies where in a slot cross the pipes.
"""

import mmap
import multiprocessing
import os
import signal
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from itertools import cycle
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import numpy as np
import torch

from hdt_fm.data.ahead import AHEAD
from hdt_fm.data.slots import Memory, Slot, warn_of_copies
from hdt_fm.data.tables import AnyBatch, lay_out, read_out
from hdt_fm.schema.errors import ConfigError, HdtError

# How often a waiting worker looks whether its parent is still there; a pipe that another fork holds open hides its end.
LOOK_S = 1.0
Make = Callable[[int, Slot], AnyBatch]


class WorkerError(HdtError):
    """A worker process ended before its batch was made."""


def in_order_of_processes(
    make: Make, numbers: Iterator[int], *, workers: int, slot_bytes: int, slots: int
) -> Iterator[AnyBatch]:
    """`make` of each number, in turn; what it raises comes in its turn too.

    A slot goes back to the workers when nobody holds a tensor of its batch. When too few are left to keep them busy,
    batches come as copies, with one warning.

    Args:
        make: Makes a batch, into the slot as far as it likes. Runs in the workers.

    Raises:
        WorkerError: If a worker dies.
        ConfigError: If this machine cannot fork.
    """
    shared = _SharedSlots(slot_bytes, max(slots, workers * AHEAD))
    team = _start(make, workers, shared)
    turns, waiting = cycle(range(workers)), deque[tuple[int, int]]()
    try:
        while True:
            while shared.free and len(waiting) < workers * AHEAD and (number := next(numbers, None)) is not None:
                worker, place = next(turns), shared.free.pop()
                _send(team[worker], (number, place))
                waiting.append((worker, place))
            if not waiting:
                return
            worker, place = waiting.popleft()
            table = _receive(team[worker])
            yield shared.batch(table, place, lend=len(shared.free) + len(waiting) >= workers)
    finally:
        _stop(team)


class _SharedSlots:
    """Memory that this process and its workers see, in `count` slots."""

    def __init__(self, slot_bytes: int, count: int) -> None:
        # The map is MAP_SHARED and anonymous; arrays over it keep it alive.
        self._memory = np.frombuffer(mmap.mmap(-1, slot_bytes * count), dtype=np.uint8).reshape(count, slot_bytes)
        self.free = deque(range(count))
        self._warned = False

    def memory(self, place: int) -> Memory:
        return self._memory[place]

    def batch(self, table: object, place: int, *, lend: bool) -> AnyBatch:
        """The batch of a slot: over its memory, which comes back when it is dropped, or copied."""
        if lend:
            lent = self._memory[place]
            weakref.finalize(lent, self.free.append, place).atexit = False
            return read_out(table, Slot(lent))
        if not self._warned:
            self._warned = True
            warn_of_copies(len(self._memory))
        batch = read_out(table, Slot(self._memory[place].copy()))
        self.free.append(place)
        return batch


def _start(make: Make, workers: int, shared: _SharedSlots) -> list[tuple[BaseProcess, Connection]]:
    if "fork" not in multiprocessing.get_all_start_methods():
        raise ConfigError("Worker processes need fork", where="workers", fix="use threads on this system")
    context = multiprocessing.get_context("fork")
    team: list[tuple[BaseProcess, Connection]] = []
    for _ in range(workers):
        ours, theirs = context.Pipe()
        inherited = [*(end for _, end in team), ours]
        process = context.Process(
            target=_work, args=(make, theirs, inherited, shared, os.getpid()), daemon=True, name="gather"
        )
        process.start()
        theirs.close()
        team.append((process, ours))
    return team


def _work(make: Make, pipe: Connection, inherited: list[Connection], shared: _SharedSlots, parent: int) -> None:
    """The life of a worker: until its parent closes the pipe, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    for end in inherited:
        end.close()
    try:
        while True:
            while not pipe.poll(LOOK_S):
                if os.getppid() != parent:
                    return
            number, place = pipe.recv()
            slot = Slot(shared.memory(place))
            try:
                answer: object = lay_out(make(number, slot), slot)
            except Exception as error:
                answer = error
            pipe.send(answer)
    except (EOFError, OSError):
        return


def _send(member: tuple[BaseProcess, Connection], task: tuple[int, int]) -> None:
    try:
        member[1].send(task)
    except OSError:
        raise _died(member) from None


def _receive(member: tuple[BaseProcess, Connection]) -> object:
    try:
        answer = member[1].recv()
    except (EOFError, OSError):
        raise _died(member) from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _died(member: tuple[BaseProcess, Connection]) -> WorkerError:
    member[0].join(LOOK_S)
    return WorkerError(
        "A worker process ended before its batch was made",
        where="workers",
        got=f"exit code {member[0].exitcode} (minus the signal; -9 is often a lack of memory)",
        fix="use fewer workers or smaller batches, or threads; the stream resumes where it was",
    )


def _stop(team: list[tuple[BaseProcess, Connection]]) -> None:
    for process, end in team:
        end.close()
        process.terminate()
    for process, _ in team:
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()
