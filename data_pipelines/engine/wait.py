"""Tasks that must all come back, since a build cannot go on without one of them."""

from collections.abc import Iterator
from typing import Any

from data_pipelines.engine.task import Done, Engine, EngineError

WORDS = {
    "time": "it took longer than engine.timeout_s",
    "memory": "it needed more memory than engine.memory_gb",
    "ended": "its process ended each time",
}


def rows_of(engine: Engine, what: str) -> Iterator[Any]:
    """What each task returned, as they end.

    Raises:
        EngineError: If a task was lost. What a task raised is raised here.
    """
    for done in engine.as_completed():
        yield row_of(done, what)


def row_of(done: Done, what: str) -> Any:
    """The row of one task, or the error in its place."""
    if done.error is not None:
        raise done.error
    if done.lost is not None:
        raise EngineError(
            f"A part of the build did not end: {what}",
            got=WORDS[done.lost],
            fix="raise that limit, or use fewer workers, and run again: the build goes on where it stopped",
        )
    return done.row
