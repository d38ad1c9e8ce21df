"""The engine that is none: tasks run in this process, one after another."""

import time
from collections import deque
from collections.abc import Iterator

from data_pipelines.engine.task import Done, Task


class Here:
    """In the order of `submit`. Nothing bounds a task: no process can end itself and go on."""

    apart = False

    def __init__(self) -> None:
        self._waiting: deque[Task] = deque()

    def submit(self, task: Task) -> None:
        self._waiting.append(task)

    def as_completed(self) -> Iterator[Done]:
        while self._waiting:
            task, start = self._waiting.popleft(), time.monotonic()
            try:
                done = Done(task.name, row=task.call())
            except MemoryError:
                done = Done(task.name, lost="memory")
            except Exception as error:
                done = Done(task.name, error=error)
            yield Done(done.name, done.row, done.error, done.lost, time.monotonic() - start)

    def cancel(self) -> None:
        self._waiting.clear()
