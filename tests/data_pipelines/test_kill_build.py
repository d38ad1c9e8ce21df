"""A build that is killed, or whose disk fails, at any point ends in the same bytes when it is run again.

HDT_FM_KILLS is how many kills of each of the four kinds are made, and how many faults of the disk.
"""

import errno
import os
import random
import signal
import sys
import threading
import time
import traceback

import pytest

from data_pipelines import pack
from data_pipelines.build import build_shards
from data_pipelines.engine import local
from data_pipelines.engine.settings import EngineSettings
from data_pipelines.engine.task import Limits

KILLS = int(os.environ.get("HDT_FM_KILLS", "2"))
WRITES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")


class Counter:
    """Sees each file operation of this process by an audit hook (which cannot be taken off again), and may act."""

    def __init__(self):
        self.seen, self.act, self.at, self.process = 0, None, 0, 0
        self.renames = []
        sys.addaudithook(self._watch)

    def _watch(self, event, arguments):
        if self.act is None or os.getpid() != self.process:
            return
        if event in WRITES or (event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")):
            self.step()
            if event == "os.rename" and self.act is not None:
                self.renames.append((self.seen, str(arguments[1])))

    def step(self):
        if self.act is None or os.getpid() != self.process:
            return
        self.seen += 1
        if self.seen == self.at:
            self.act()

    def start(self, act, at):
        self.seen, self.act, self.at, self.process = 0, act, at, os.getpid()
        self.renames = []

    def stop(self):
        self.act = None

    def points(self, draws, number):
        """Operations to act at: the first rename and those around the manifest's; renames; any."""
        manifest = min(at for at, path in self.renames if path.endswith("manifest.json"))
        last = [at for at, path in self.renames if at <= manifest][-4:]
        some = draws.sample([at for at, _ in self.renames], min(len(self.renames), number))
        return [self.renames[0][0], *last, manifest + 1, *some, *(draws.randrange(1, self.seen) for _ in range(number))]


@pytest.fixture(scope="module")
def counter():
    return Counter()


@pytest.fixture(scope="module")
def made(repo):
    sys.path.insert(0, str(repo / "tests" / "data_pipelines"))
    import fabricate_engine

    yield fabricate_engine
    sys.path.remove(str(repo / "tests" / "data_pipelines"))


@pytest.fixture
def setting(made, tmp_path, monkeypatch):
    """(build into a folder, bytes that it must have)."""
    monkeypatch.setattr(local, "_start", made.start_by_fork)
    source = made.write_people(tmp_path / "in", 4, seconds=20)

    def build(folder, workers=1):
        settings = made.BUILD | {"subject_key": made.KEY, "splits": {"train": 0.5, "test": 0.5}, "seed": 2}
        build_shards(made.Files(source), folder=folder, **settings, engine=EngineSettings(workers=workers))

    build(tmp_path / "whole")
    return build, made.content(tmp_path / "whole")


def child(work):
    """Start a process that does one thing."""
    started = os.fork()
    if started == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return started


def kill(process):
    os.kill(process, signal.SIGKILL)


def killed_until_done(made, setting, folders, start, kills):
    """Kill one build after the other, each going on from the last, until enough died; all that ended are compared."""
    build, expected = setting
    died = ended = 0
    while died < kills:
        folder = folders / f"{ended}"
        status = os.waitpid(start(folder), 0)[1]
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            died += 1
            continue
        assert status == 0
        assert made.content(folder) == expected, f"after {died} kills"
        ended += 1
    last = folders / f"{ended}"
    build(last)
    assert made.content(last) == expected
    assert [path.name for path in last.iterdir() if path.name.startswith(".")] == []


def test_killed_before_a_file_operation(made, setting, counter, tmp_path):
    build, expected = setting
    counter.start(lambda: None, 0)
    build(tmp_path / "count")
    operations = counter.seen
    counter.stop()
    assert operations > 60
    for number, point in enumerate(counter.points(random.Random(5), KILLS)):
        folder = tmp_path / f"{number}"

        def work(folder=folder, point=point):
            counter.start(lambda: kill(os.getpid()), point)
            build(folder)

        assert os.WTERMSIG(os.waitpid(child(work), 0)[1]) == signal.SIGKILL
        build(folder)
        assert made.content(folder) == expected, f"killed before operation {point} of {operations}"


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_any_moment(made, setting, tmp_path, workers):
    build, _ = setting
    begin = time.monotonic()
    os.waitpid(child(lambda: build(tmp_path / "time", workers)), 0)
    usual = time.monotonic() - begin
    draws = random.Random(workers)

    def start(folder):
        process = child(lambda: build(folder, workers))
        time.sleep(draws.uniform(0, usual))
        kill(process)
        return process

    killed_until_done(made, setting, tmp_path / "killed", start, KILLS)


def test_workers_killed_at_any_moment(made, setting, tmp_path, monkeypatch):
    build, expected = setting
    pools = []
    # Nothing else would stop the same task from being hit until it counts as what ends its process.
    monkeypatch.setattr(local, "TRIES", 10**6)
    monkeypatch.setattr(
        EngineSettings, "start", lambda self, scratch: pools.append(local.Local(2, Limits())) or pools[-1]
    )
    stop, killed, draws = threading.Event(), [], random.Random(3)

    def hunt():
        while not stop.wait(draws.uniform(0, 0.06)):
            for process in pools[-1].processes[:1] if pools else ():
                if draws.random() < 0.2:
                    killed.append(process)
                    kill(process)

    thread = threading.Thread(target=hunt)
    thread.start()
    try:
        number = 0
        while len(killed) < KILLS:
            build(tmp_path / f"{number}", 2)
            assert made.content(tmp_path / f"{number}") == expected
            number += 1
    finally:
        stop.set()
        thread.join()


def test_a_disk_that_fails_at_any_operation(made, setting, counter, tmp_path, monkeypatch):
    build, expected = setting
    sync, put = os.fsync, pack.TarWriter._put
    monkeypatch.setattr(os, "fsync", lambda handle: (counter.step(), sync(handle))[1])
    monkeypatch.setattr(pack.TarWriter, "_put", lambda writer, data: (counter.step(), put(writer, data))[1])

    def fail():
        raise OSError(errno.ENOSPC, "made in a test")

    counter.start(lambda: None, 0)
    build(tmp_path / "count")
    operations = counter.seen
    counter.stop()
    assert operations > 200
    points = counter.points(random.Random(7), KILLS)
    for number, point in enumerate(points):
        folder = tmp_path / f"{number}"
        counter.start(fail, point)
        try:
            build(folder)
            failed = False
        except OSError:
            failed = True
        finally:
            counter.stop()
        # What fails while a finished folder is tidied is not worth an error.
        assert failed or made.content(folder) == expected
        build(folder)
        assert made.content(folder) == expected, f"a fault at operation {point} of {operations}"
