"""Arrays that are kept: within a bound, shared by shards and threads, each unpacked once while it is."""

import multiprocessing
import pickle
import threading

import numpy as np
import pytest

from hdt_fm.data.held import HeldArrays, ProcessLock
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema import codec


@pytest.fixture(scope="module")
def packed(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("folders") / "packed"
    made.write_folder(path, "b2")
    return path


@pytest.fixture
def unpackings(monkeypatch):
    """Counts how often a member is unpacked."""
    seen, real = [], codec._DECODE["b2"]
    monkeypatch.setitem(codec._DECODE, "b2", lambda *what: (seen.append(1), real(*what))[1])
    return seen


def test_the_bound_holds_and_the_oldest_goes_first():
    held = HeldArrays(limit_bytes=100)
    for name in "abcd":
        held.put(name, np.zeros(30, np.uint8))
        held.get("a")
    assert held.bytes == 90
    assert [name for name in "abcd" if held.get(name) is not None] == ["a", "c", "d"]
    held.put("large", np.zeros(1000, np.uint8))
    assert len(held) == 1
    held.put("a", np.zeros(10, np.uint8))
    held.put("a", np.zeros(20, np.uint8))
    assert held.bytes == 20
    assert len(pickle.loads(pickle.dumps(held))) == 0


def test_a_pool_is_unpacked_once_and_a_small_bound_costs_time_but_no_window(packed, unpackings):
    opened = ShardFolder.open(packed, split="train")
    members = sum(bool(record["codec"]) for shard in opened._shards for record in shard.members)
    chance = np.random.default_rng(0)
    for _ in range(5):
        expected = opened.gather(chance.permutation(opened.windows))
    assert len(unpackings) == members
    small = ShardFolder.open(packed, split="train")
    for shard in small._shards:
        shard._held.limit_bytes = 1
    order = np.argsort(expected.window_id.numpy())
    found = small.gather(np.arange(small.windows))
    other = np.argsort(found.window_id.numpy())
    assert (found.signals["acc"].values[other] == expected.signals["acc"].values[order]).all()
    assert small._shards[0]._held.bytes <= max(array.nbytes for array in small._shards[0]._held._arrays.values())


def test_a_whole_member_goes_straight_into_the_callers_memory(packed, made, unpackings):
    shard = ShardFolder.open(packed, split="test")._shards[0]
    number = next(n for n, record in enumerate(shard.members) if record["name"] == b"acc")
    out = np.ones((2, *shard.members[number]["shape"]), np.int16)
    shard.read_into(number, out[1])
    assert (out[0] == 1).all()
    assert np.array_equal(out[1][2], made.window(38)["acc"])
    assert len(unpackings) == 1
    assert len(shard._held) == 0
    assert np.array_equal(shard.array(number), out[1])
    assert not shard.array(number).flags.writeable
    shard.read_into(number, out[0])
    assert (out[0] == out[1]).all()
    assert len(unpackings) == 2


def test_threads_may_read_at_once(packed):
    opened, wrong = ShardFolder.open(packed, split="train"), []
    opened._shards[0]._held.limit_bytes = 9000
    expected = opened.gather(np.arange(opened.windows))

    def read(seed):
        order = np.random.default_rng(seed).permutation(opened.windows)
        batch = opened.gather(order)
        if not (batch.signals["ppg"].values == expected.signals["ppg"].values[order]).all():
            wrong.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def _take(lock, queue):
    with lock:
        queue.put("taken")


def test_a_fork_does_not_inherit_a_locked_lock():
    lock, context = ProcessLock(), multiprocessing.get_context("fork")
    queue = context.Queue()
    with lock:
        child = context.Process(target=_take, args=(lock, queue))
        child.start()
        assert queue.get(timeout=20) == "taken"
        child.join()
