"""Machines fail: no window is lost or seen twice, the last good checkpoint stays, and the message says what to do."""

import errno
import hashlib
import importlib.util
import os
import random
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from hdt_fm.data.shards import ShardFolder
from hdt_fm.data.stream import WindowStream
from hdt_fm.schema.errors import CheckpointError, CorruptShardError
from hdt_fm.training import callbacks
from hdt_fm.training.resume import damage

HERE = Path(__file__).parent
STEPS = 16


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shard_run(tiny: ModuleType) -> ModuleType:
    return _load(HERE / "shard_run.py")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults") / "tiny"
    _load(HERE.parent / "tiny_cohort.py").build(folder)
    return folder


def _digest(steps: dict[int, list[int]]) -> str:
    assert sorted(steps) == list(range(len(steps)))
    return hashlib.sha256(b"".join(np.array(steps[step]).tobytes() for step in sorted(steps))).hexdigest()


def _expected(shards: Path, steps: int) -> dict[int, list[int]]:
    """What the stream holds, asked for without any run."""
    folder = ShardFolder.open(shards)
    stream = WindowStream(folder, np.arange(folder.windows), batch_size=12, seed=2, pool_blocks=2)
    return {step: stream.batch(step).window_id.tolist() for step in range(steps)}


@pytest.mark.slow
def test_killed_at_random_steps_the_same_windows_are_consumed(
    shard_run: ModuleType, warm: ModuleType, shards: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1])}
    # Always one before the first checkpoint (5); the others may fall on a checkpoint's own step.
    kills = [3, *sorted(random.Random(7).sample(range(6, STEPS), 2))]
    for kill in kills:
        command = [str(HERE / "shard_run.py"), str(shards), str(tmp_path), str(STEPS), str(kill)]
        done = warm.run(command, env=environment, timeout=180)
        assert done.returncode == -signal.SIGKILL, done.stderr
    outcome = shard_run.run(shards, tmp_path, steps=STEPS)
    assert outcome.resumed_from == (kills[-1] - 1) // 5 * 5
    attempts = [line.split(maxsplit=1) for line in (tmp_path / "seen-0.txt").read_text().splitlines()]
    assert len(attempts) > STEPS
    # A step that was made again after a kill saw what it saw before.
    assert len({tuple(attempt) for attempt in attempts}) == STEPS
    assert _digest(shard_run.read_diary([tmp_path / "seen-0.txt"])) == _digest(_expected(shards, STEPS))


def test_each_epoch_has_every_window_once_and_the_position_is_of_no_rank(shards: Path) -> None:
    folder = ShardFolder.open(shards)
    settings: dict[str, Any] = {"batch_size": 12, "seed": 2, "pool_blocks": 2}
    everything = np.arange(folder.windows)
    whole = WindowStream(folder, everything, **settings)
    ids = np.concatenate([whole.batch(number).window_id.numpy() for number in range(folder.windows // 12 + 1)])
    assert sorted(ids[: folder.windows]) == sorted(folder.window_ids)
    # One process makes 3 steps, two make 4, three make 2: together what one would have seen.
    state, seen, number = whole.state_dict(), [], 0
    for world, steps in ((1, 3), (2, 4), (3, 2)):
        streams = [WindowStream(folder, everything, rank=rank, world=world, **settings) for rank in range(world)]
        for stream in streams:
            stream.load_state_dict(state)
        parts = [iter(stream) for stream in streams]
        for _ in range(steps):
            seen += [next(part).window_id.numpy() for part in parts]
        number += steps
        assert {stream.global_batch for stream in streams} == {number}
        state = streams[-1].state_dict()
    assert np.array_equal(np.concatenate(seen), ids[: 12 * number])


def _full_from(step: int, begin: Callable[[], None]) -> Callable[[int, int, str], None]:
    def progress(done: int, total: int, note: str) -> None:
        if done == step:
            begin()

    return progress


def _assert_stopped_whole(folder: Path, caught: CheckpointError) -> None:
    assert "The checkpoint of step 8 cannot be written" in str(caught)
    assert "resume=auto" in str(caught)
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-00000004.ckpt"]
    assert damage(folder / "checkpoints" / "step-00000004.ckpt") is None
    assert not (folder / "checkpoint").exists()


def test_a_file_that_cannot_grow_leaves_the_checkpoint_before(tiny: ModuleType, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A real limit on a real write, which stops in the middle of the file.
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(CheckpointError) as caught:
            tiny.run(tmp_path, progress=_full_from(7, limit))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "too large" in str(caught.value)
    _assert_stopped_whole(tmp_path, caught.value)
    outcome = tiny.run(tmp_path)
    assert (outcome.resumed_from, outcome.finished) == (4, True)


def test_no_space_at_the_rename_leaves_the_checkpoint_before(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*paths: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    begin = lambda: monkeypatch.setattr(callbacks, "_put_in_place", full)
    with pytest.raises(CheckpointError, match="No space left on device") as caught:
        tiny.run(tmp_path, progress=_full_from(7, begin))
    _assert_stopped_whole(tmp_path, caught.value)


def test_a_shard_that_cannot_be_read_is_named_and_training_stops(
    shard_run: ModuleType, shards: Path, tmp_path: Path
) -> None:
    shard, members = ShardFolder.open(shards)._blocks[-1]
    path = shards / shard.entry.path
    good = path.read_bytes()
    record = shard.members[members["ppg"]]
    bad = bytearray(good)
    bad[int(record["offset"]) + int(record["length"]) - 1] ^= 1
    try:
        path.write_bytes(bad)
        with pytest.raises(CorruptShardError) as caught:
            shard_run.run(shards, tmp_path, steps=STEPS * 3)
        assert shard.entry.path in str(caught.value)
        assert "hdt-fm shard" in str(caught.value)
        path.write_bytes(good[:-512])
        with pytest.raises(CorruptShardError, match="cut off or changed"):
            shard_run.run(shards, tmp_path, steps=STEPS * 3)
    finally:
        path.write_bytes(good)
    # What was saved before is good to go on from.
    assert shard_run.run(shards, tmp_path, steps=STEPS * 3).finished
    assert _digest(shard_run.read_diary([tmp_path / "seen-0.txt"])) == _digest(_expected(shards, STEPS * 3))
