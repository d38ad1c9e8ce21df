"""Tasks that do next to nothing, and tasks that do what a bad recording may do; nothing heavy is imported."""

import os
import signal
import time
from pathlib import Path


def echo(value: object) -> object:
    return value


def leave(folder: Path, name: str) -> str:
    """A file of one certain content; leaves a mark each time that it is done."""
    with (folder / f"{name}.marks").open("a") as marks:
        marks.write("x")
    (folder / name).write_text(name * 3)
    return name


def slow(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


def eat(megabytes: int) -> int:
    return len(bytearray(megabytes << 20))


def die(folder: Path, times: int) -> str:
    """End the process with no word, the first `times` times."""
    marks = folder / "died"
    died = len(marks.read_text()) if marks.exists() else 0
    if died < times:
        marks.write_text("x" * (died + 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return f"after {died}"


def fail(text: str) -> None:
    raise ValueError(text)


class OddError(Exception):
    """Cannot be rebuilt from its words."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__("odd")


def fail_oddly() -> None:
    raise OddError(1, 2)


def where() -> int:
    return os.getpid()
