"""Processes of their own for tests, forked from one that has imported torch and Lightning: a new Python takes ten
seconds of processor to import them, and dozens of tests start one.

They come from Python's fork server, which does nothing but import: it has no threads, no checker of shapes, and nothing
of what tests did. What a script imports beside and what it reads of its environment is its own, as in a new Python.
"""

import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

REPO = Path(__file__).resolve().parents[1]
IMPORTED = ["hdt_fm.training.pretrain"]
# Read when torch is imported: for whoever is forked later it is too late to say.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}


class Started:
    """A process that runs a script; what it writes goes to files, so that nothing waits for a reader.

    Args:
        command: Script and its arguments, or "-m", module and arguments; a Python that leads is left out.
        environment: All of its variables.
        folder: Where it runs.
    """

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], folder: Path | None = None) -> None:
        self.command = [str(word) for word in command if str(word) != sys.executable]
        self._files = tempfile.TemporaryDirectory()
        self._said, self._errors = (Path(self._files.name) / name for name in ("said", "errors"))
        asked = {
            "command": self.command,
            "environment": dict(environment),
            "folder": str(folder or Path.cwd()),
            "files": (str(self._said), str(self._errors)),
        }
        # By path: test files have no package that the other process could import them from.
        self.process = _server().Process(
            target=runpy.run_path, args=(__file__,), kwargs={"init_globals": {"ASKED": asked}, "run_name": "warm"}
        )
        main = sys.modules["__main__"]
        # Or it would import what started the tests, as a process does whose function stands there.
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            self.process.start()
        finally:
            sys.modules["__main__"] = main

    def wait(self, timeout_s: float) -> subprocess.CompletedProcess:
        """What it said, when it has ended.

        Raises:
            subprocess.TimeoutExpired: If it has not ended by then; it is killed.
        """
        self.process.join(timeout_s)
        if self.process.exitcode is None:
            self.kill()
            raise subprocess.TimeoutExpired(self.command, timeout_s)
        said = [path.read_text() if path.is_file() else "" for path in (self._said, self._errors)]
        return subprocess.CompletedProcess(self.command, self.process.exitcode, *said)

    def kill(self) -> None:
        """End it without warning, if it has not ended."""
        if self.process.exitcode is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.join()


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 240,
    **_: Any,
) -> subprocess.CompletedProcess:
    """As `subprocess.run` with a Python, whose words it takes; texts are always captured."""
    return Started(command, environment=os.environ if env is None else env, folder=cwd).wait(timeout)


def several(script: Path, *arguments: str, world: int = 2, timeout_s: float = 420) -> None:
    """Run a script in `world` processes, as torchrun would; all end before this returns, or it fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(REPO),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "TORCHELASTIC_RUN_ID": "test",
        "CUDA_VISIBLE_DEVICES": "",
    }
    started = [
        Started([str(script), *arguments], environment={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(world)
    ]
    until = time.monotonic() + timeout_s
    try:
        ended = [process.wait(max(0.1, until - time.monotonic())) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [one.returncode for one in ended] == [0] * world, "\n".join(one.stdout + one.stderr for one in ended)


def _server() -> Any:
    """The fork server; the first call starts it, and its imports run while the test goes on."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    return context


def _become(command: list[str], environment: dict[str, str], folder: str, files: tuple[str, str]) -> None:
    """Go on in this process as a Python that was started with a command."""
    for number, path in enumerate(files, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    named = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    if command[0] == "-m":
        sys.argv, sys.path[:0] = command[1:], named
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[:0] = command, [str(Path(command[0]).parent), *named]
        runpy.run_path(command[0], run_name="__main__")


if "ASKED" in globals():
    _become(**globals()["ASKED"])
