"""What an engine is given, what it gives back, and what every engine promises."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from hdt_fm.schema.errors import ShardError

# A task whose process was ended from outside is begun again, but not for ever: it may be what ends the process.
TRIES = 3
LostBy = Literal["time", "memory", "ended"]


class EngineError(ShardError):
    """A task came to no end, which it may do another time: what was done until then is kept."""


@dataclass(frozen=True)
class Limits:
    """How much one task may take; None is no bound."""

    seconds: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Task:
    """Work that may be done anywhere, twice, or begun and not ended, and gives the same files and the same row.

    Attributes:
        name: A digest of what goes in; equal tasks have equal names.
        call: Can be pickled and is small: paths, numbers and pseudonyms, never a signal. What it returns is small too.
    """

    name: str
    call: Callable[[], Any]


@dataclass(frozen=True)
class Done:
    """The end of one task.

    Attributes:
        row: What its call returned.
        error: What its call raised instead.
        lost: Why there is neither: it ran past a limit, or its process ended each time it was begun.
        seconds: From its beginning to its end, in the process that ran it.
        tries: How often it was begun.
    """

    name: str
    row: Any = None
    error: Exception | None = None
    lost: LostBy | None = None
    seconds: float = 0.0
    tries: int = 1


class Engine(Protocol):
    """Runs tasks in any order. A task that was submitted MUST come back from `as_completed` once.

    Attributes:
        apart: Whether tasks run in other processes than this one.
    """

    apart: bool

    def submit(self, task: Task) -> None:
        """Take a task; it may begin now or when `as_completed` is asked."""
        ...

    def as_completed(self) -> Iterator[Done]:
        """Every task that was submitted and has not come back, as they end."""
        ...

    def cancel(self) -> None:
        """Forget what has not come back, end what runs, and let go of processes. Does nothing the second time."""
        ...
