"""A process that streams is killed a hundred times, anywhere, and goes on each time in another form: nothing is lost,
nothing comes twice. HDT_FM_STREAM_KILLS is how often.
"""

import itertools
import json
import os
import random
import signal
import sys
import time

import numpy as np
import pytest

from hdt_fm.data.loading import Loading
from hdt_fm.data.shards import ShardFolder
from hdt_fm.data.stream import WindowStream

KILLS, BATCHES, SIZE = int(os.environ.get("HDT_FM_STREAM_KILLS", "100")), 90, 24
WORLDS = (1, 2, 4)


def streams(folder, loading, world):
    return [
        WindowStream(
            folder,
            np.arange(folder.windows),
            batch_size=SIZE,
            seed=8,
            pool_blocks=3,
            batches=BATCHES,
            rank=rank,
            world=world,
            loading=loading,
        )
        for rank in range(world)
    ]


def consume(folder, work, loading, world, die_at):
    """What a training run does: goes on from the state, and what was logged after it is undone.

    Each step's ids are appended and synced, then the state replaces the last one. The process kills itself before its
    `die_at`-th operation on a file, whichever that is: before, within or after a line, and around the state.
    """
    seen = 0

    def before(operation, *arguments):
        nonlocal seen
        seen += 1
        if seen == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return operation(*arguments)

    team = streams(folder, loading, world)
    log = os.open(work / "log", os.O_RDWR | os.O_CREAT)
    if (work / "state").exists():
        state = json.loads((work / "state").read_text())
        for one in team:
            one.load_state_dict(state["stream"])
        before(os.ftruncate, log, state["logged"])
    else:
        os.ftruncate(log, 0)
    os.lseek(log, 0, os.SEEK_END)
    for parts in zip(*team, strict=True):
        line = json.dumps(list(itertools.chain(*(part.window_id.tolist() for part in parts)))) + "\n"
        half = len(line) // 2
        before(os.write, log, line[:half].encode())
        before(os.write, log, line[half:].encode())
        before(os.fsync, log)
        state = {"stream": team[0].state_dict(), "logged": os.lseek(log, 0, os.SEEK_CUR)}
        before((work / "state.new").write_text, json.dumps(state))
        before(os.replace, work / "state.new", work / "state")


def run_in_child(folder, work, loading, world, *, die_at, kill_after_s):
    """Ends by its own hand at an operation, by ours after a time, or when everything is consumed."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            consume(folder, work, loading, world, die_at)
            status = 0
        finally:
            os._exit(status)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(sys.platform != "linux", reason="forks a process that holds threads")
def test_a_hundred_kills_lose_nothing_and_repeat_nothing(f32_folder, tmp_path):
    chance = random.Random(11)
    folder = ShardFolder.open(f32_folder.path)
    expected = [batch.window_id.tolist() for batch in streams(folder, Loading(), 1)[0]]
    kills = rounds = ends = 0
    while kills < KILLS or not ends:
        rounds += 1
        # Processes are dear to start, and rare here; test_loading.py kills them too.
        loading = Loading(workers=2) if rounds % 25 == 0 else Loading(threads=chance.choice([0, 1, 2]))
        by_time = rounds % 3 == 0
        die_at = 0 if by_time else chance.randrange(1, 13) if kills < KILLS else 0
        wait = chance.uniform(0.004, 0.03) if by_time and kills < KILLS else None
        code = run_in_child(folder, tmp_path, loading, chance.choice(WORLDS), die_at=die_at, kill_after_s=wait)
        assert code in (0, -9)
        kills += code == -9
        if code == 0:
            # A fast machine may come to the end between two kills: then all of it again.
            assert [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()] == expected
            ends += 1
            (tmp_path / "state").unlink()
