"""The pool of processes: every task comes back once, whatever happens to a process."""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import pytest

from data_pipelines.engine.here import Here
from data_pipelines.engine.local import Local, bounded
from data_pipelines.engine.settings import EngineSettings
from data_pipelines.engine.task import TRIES, EngineError, Limits, Task
from data_pipelines.engine.wait import row_of, rows_of
from hdt_fm.schema.errors import ConfigError


@pytest.fixture
def tasks(repo, monkeypatch):
    monkeypatch.syspath_prepend(str(repo / "tests" / "data_pipelines"))
    import fabricate_tasks

    return fabricate_tasks


@pytest.fixture
def pool():
    pools = []

    def make(workers=2, **limits):
        pools.append(Local(workers, Limits(**limits)))
        return pools[-1]

    yield make
    for one in pools:
        one.cancel()
        assert not one.processes


def alive(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_every_task_comes_back_once_by_any_engine(tasks, pool):
    for engine in (Here(), pool(2)):
        for number in range(9):
            engine.submit(Task(str(number), partial(tasks.echo, number)))
        done = list(engine.as_completed())
        assert sorted(one.row for one in done) == list(range(9))
        assert all(one.name == str(one.row) and one.tries == 1 and one.error is None for one in done)
        # And another round by the same processes.
        engine.submit(Task("more", partial(tasks.echo, "more")))
        assert [one.row for one in engine.as_completed()] == ["more"]
        assert list(engine.as_completed()) == []


def test_tasks_run_apart_and_processes_are_kept(tasks, pool):
    engine = pool(2)
    for number in range(12):
        engine.submit(Task(str(number), tasks.where))
    processes = {one.row for one in engine.as_completed()}
    assert os.getpid() not in processes
    assert processes <= set(engine.processes)
    assert len(engine.processes) <= 2


def test_a_task_whose_process_is_killed_is_begun_again(tasks, pool, tmp_path):
    engine = pool(2)
    engine.submit(Task("a", partial(tasks.die, tmp_path, 1)))
    for number in range(4):
        engine.submit(Task(f"b{number}", partial(tasks.echo, number)))
    done = {one.name: one for one in engine.as_completed()}
    assert (done["a"].row, done["a"].tries) == ("after 1", 2)
    assert [done[f"b{number}"].row for number in range(4)] == [0, 1, 2, 3]


def test_a_process_killed_from_outside_loses_nothing(tasks, pool):
    engine = pool(2)
    for number in range(6):
        engine.submit(Task(str(number), partial(tasks.slow, 0.15)))
    stop = threading.Event()

    def kill():
        for _ in range(3):
            stop.wait(0.2)
            for process in engine.processes[:1]:
                os.kill(process, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    rows = [one.row for one in engine.as_completed()]
    stop.set()
    thread.join()
    assert rows == ["slept"] * 6


def test_a_task_that_always_ends_its_process_is_lost_and_the_others_are_not(tasks, pool, tmp_path):
    engine = pool(2)
    engine.submit(Task("a", partial(tasks.die, tmp_path, 99)))
    engine.submit(Task("b", partial(tasks.echo, 1)))
    done = {one.name: one for one in engine.as_completed()}
    assert (done["a"].lost, done["a"].tries) == ("ended", TRIES)
    assert len((tmp_path / "died").read_text()) == TRIES
    assert done["b"].row == 1
    with pytest.raises(EngineError, match="did not end: packing"):
        row_of(done["a"], "packing")


def test_a_task_past_its_time_is_ended_and_the_others_go_on(tasks, pool):
    engine = pool(1, seconds=0.3)
    engine.submit(Task("a", partial(tasks.slow, 60)))
    engine.submit(Task("b", partial(tasks.slow, 0.05)))
    start = time.monotonic()
    done = {one.name: one for one in engine.as_completed()}
    assert time.monotonic() - start < 30
    assert (done["a"].lost, done["b"].row) == ("time", "slept")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory of a process")
def test_a_task_past_its_memory_is_lost_and_the_others_are_not(tasks, pool):
    engine = pool(1, memory_bytes=200 << 20)
    for megabytes in (1 << 12, 50, 300):
        engine.submit(Task(str(megabytes), partial(tasks.eat, megabytes)))
    done = {one.name: (one.row, one.lost) for one in engine.as_completed()}
    assert done == {"4096": (None, "memory"), "50": (50 << 20, None), "300": (None, "memory")}


def test_what_a_task_raises_comes_back(tasks, pool):
    for engine in (Here(), pool(1)):
        engine.submit(Task("a", partial(tasks.fail, "seven")))
        with pytest.raises(ValueError, match="seven"):
            list(rows_of(engine, "a test"))
    engine.submit(Task("b", tasks.fail_oddly))
    with pytest.raises(RuntimeError, match="ended with OddError"):
        list(rows_of(engine, "a test"))


def test_cancel_ends_what_runs_and_forgets_the_rest(tasks, pool, tmp_path):
    engine = pool(2)
    engine.submit(Task("a", partial(tasks.echo, 1)))
    engine.submit(Task("b", partial(tasks.slow, 60)))
    engine.submit(Task("c", partial(tasks.leave, tmp_path, "c")))
    next(engine.as_completed())
    processes = engine.processes
    engine.cancel()
    engine.cancel()
    assert list(engine.as_completed()) == []
    assert not any(alive(process) for process in processes)


def test_workers_end_with_the_process_that_started_them(tasks, repo):
    code = """if True:
        import sys, time
        from functools import partial
        from data_pipelines.engine.local import Local
        from data_pipelines.engine.task import Task
        import fabricate_tasks
        pool = Local(2)
        for number in range(2):
            pool.submit(Task(str(number), fabricate_tasks.where))
        for number in range(2):
            pool.submit(Task(f"long{number}", partial(fabricate_tasks.slow, 600)))
        done = pool.as_completed()
        next(done), next(done)
        print(*pool.processes, flush=True)
        next(done)
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    processes = [int(word) for word in child.stdout.readline().split()]
    assert len(processes) == 2
    assert all(alive(process) for process in processes)
    child.kill()
    child.wait()
    child.stdout.close()
    end = time.monotonic() + 20
    while any(alive(process) for process in processes) and time.monotonic() < end:
        time.sleep(0.02)
    assert not any(alive(process) for process in processes)


def test_processes_that_cannot_start_are_an_error_and_no_endless_loop(tasks, pool, monkeypatch):
    monkeypatch.setattr("data_pipelines.engine.local.START", "raise SystemExit(1)")
    engine = pool(1)
    engine.submit(Task("a", partial(tasks.echo, 1)))
    with pytest.raises(EngineError, match="cannot start"):
        list(engine.as_completed())


def test_tasks_of_other_engines_run_beside_their_process(tasks):
    first, second = (bounded(Task(str(number), tasks.where), Limits(seconds=9)) for number in range(2))
    assert first.row == second.row != os.getpid()
    assert bounded(Task("c", partial(tasks.fail, "no")), Limits(seconds=9)).error is not None


def test_settings_choose_the_engine(tmp_path, monkeypatch):
    assert isinstance(EngineSettings().start(tmp_path), Here)
    assert isinstance(EngineSettings(workers=3).start(tmp_path), Local)
    assert EngineSettings(workers=0).at_once >= 1
    assert not EngineSettings(workers=3).leaves_machine
    for name, library in (("ray", "ray"), ("slurm", "submitit")):
        settings = EngineSettings(name=name)
        assert settings.leaves_machine
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(ConfigError, match=rf"hdt-fm\[{name}\]"):
            settings.require()
