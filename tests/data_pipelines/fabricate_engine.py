"""Recordings that misbehave, a cohort of them, and small tasks: all can be imported by a worker by name."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from data_pipelines.cohorts._twice import Seen
from data_pipelines.cohorts._visits import OneVisit, Visits
from data_pipelines.engine._worker import _end_with_parent, _serve
from data_pipelines.engine.local import _Worker
from data_pipelines.engine.task import Limits
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.recording import NS_PER_S, Channel, LabelTrack, Recording, Visit
from hdt_fm.schema.subject import SubjectKey

KEY = SubjectKey(b"a key of the lab that nobody else has")
START_NS = 1_600_000_000 * NS_PER_S
RATES = {"ppg": 16.0, "acc": 8.0}
PREPARATION = Preparation(
    window_s=4,
    hop_s=2,
    modalities={
        "ppg": ModalityPreparation(sampling_rate_hz=16.0),
        "acc": ModalityPreparation(sampling_rate_hz=8.0, channels=3),
    },
)
BUILD = {"name": "files", "preparation": PREPARATION, "block_windows": 16, "shard_mb": 0.02, "seed": 3}


def pseudonym(number: int) -> str:
    return KEY.pseudonym("files", f"rawid{number}")


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_people(folder: Path, people: int, *, seconds: int = 40, **wrong: int) -> Path:
    """One file a person, `rawidN.npy`; `hang=2` makes the second person's file one that hangs its reader."""
    folder.mkdir(parents=True)
    kinds = {number: kind for kind, number in wrong.items()}
    for number in range(people):
        kind = f".{kinds[number]}" if number in kinds else ""
        samples = int((seconds + 4 * number) * 16)
        values = np.random.default_rng(number).normal(size=(4, samples)).cumsum(axis=1).astype(np.float32) * 0.05
        np.save(folder / f"rawid{number}{kind}.npy", values)
    return folder


class Files:
    """The cohort of such a folder.

    Args:
        opened: Where each read leaves the number of the person.
        known: Whether persons and files are told before reading.
    """

    name, licence, source = "files", "CC0-1.0", "made in a test"

    def __init__(self, folder: Path, *, opened: Path | None = None, known: bool = True, twins: bool = False) -> None:
        self.folder, self.opened, self.known, self.twins = folder, opened, known, twins

    def inputs(self) -> list[Path]:
        return sorted(self.folder.glob("*.npy"), key=number_of)

    def visits(self) -> Iterator[Visit]:
        reads: list[Callable[[], Visit]] = []
        for path in self.inputs():
            subject = pseudonym(number_of(path))
            group = KEY.pseudonym("files", "twins") if self.twins and number_of(path) < 2 else subject
            read = partial(read_visit, path, subject, group, self.opened)
            reads.append(OneVisit(read, subject, (path,)) if self.known else read)
        return Visits(reads, seen=partial(Seen, ("give both one group", "give each an id")))


def number_of(path: Path) -> int:
    return int(path.name.split(".")[0].removeprefix("rawid"))


def read_visit(path: Path, subject: str, group: str, opened: Path | None) -> Visit:
    number = number_of(path)
    if opened is not None:
        with opened.open("a") as file:
            file.write(f"{number}\n")
    misbehave(path.name.split(".")[1])
    values = np.load(path, allow_pickle=False)
    recordings = {
        "ppg": _recording("ppg", values[:1], subject),
        "acc": _recording("acc", np.ascontiguousarray(values[1:, ::2]), subject),
    }
    times = np.array([START_NS, START_NS + 20 * NS_PER_S])
    rest = LabelTrack("rest", "class", times, times + 10 * NS_PER_S, np.array([0.0, 1]), ("no", "yes"))
    return Visit(subject, recordings, {"rest": rest}, {"sex": "f" if number % 3 else "m"}, group=group)


def misbehave(kind: str) -> None:
    if kind == "hang":
        time.sleep(600)
    if kind == "eat":
        np.ones(1 << 29)  # 4 GB
    if kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "raise":
        raise KeyError("rawid7 weighs 81 kg")


def _recording(name: str, values: np.ndarray, subject: str) -> Recording:
    observed = np.ones(values.shape[1], dtype=np.bool_)
    parts = tuple(Channel(f"axis{axis}", "au") for axis in range(len(values)))
    return Recording(name, parts, RATES[name], START_NS, values, observed, subject, "made", "wrist")


class Forked:
    """What the pool knows of a process, for one that was forked."""

    def __init__(self, pid: int) -> None:
        self.pid, self._over = pid, False

    def kill(self) -> None:
        if not self._over:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        if not self._over:
            os.waitpid(self.pid, 0)
            self._over = True


def start_by_fork(limits: Limits) -> _Worker:
    """In the place of `local._start`: the same process without its imports, which would be most of a test's time."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            ours.close()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            connection = Connection(theirs.detach())
            threading.Thread(target=_end_with_parent, args=(connection.fileno(),), daemon=True).start()
            with contextlib.suppress(EOFError, OSError):
                _serve(connection, limits.memory_bytes or 0)
        finally:
            os._exit(0)
    theirs.close()
    return _Worker(Forked(child), Connection(ours.detach()))
