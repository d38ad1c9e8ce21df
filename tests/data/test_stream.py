"""The stream: nothing lost, nothing twice, resumable anywhere, refuses what does not fit."""

import hashlib
import itertools
import json
import random

import numpy as np
import pytest
import torch

from hdt_fm.data.shards import ShardFolder
from hdt_fm.data.stream import OrderedBatches, WindowStream
from hdt_fm.schema.errors import CheckpointError, ConfigError

TOTAL = 26


def stream(folder, positions=None, **change):
    chosen = np.arange(folder.windows) if positions is None else positions
    return WindowStream(folder, chosen, **({"batch_size": 24, "seed": 8, "pool_blocks": 3} | change))


def ids(batches):
    return [tuple(batch.window_id.tolist()) for batch in batches]


def digest(batch_ids):
    return hashlib.sha256(json.dumps(batch_ids).encode()).hexdigest()


def test_every_epoch_holds_every_window_once_across_batch_borders(f32_folder):
    assert f32_folder.windows % 24
    flat = list(itertools.chain(*ids(itertools.islice(stream(f32_folder), TOTAL))))
    for epoch in range(len(flat) // f32_folder.windows):
        part = flat[epoch * f32_folder.windows : (epoch + 1) * f32_folder.windows]
        assert sorted(part) == sorted(f32_folder.window_ids.tolist())


def test_only_the_chosen_windows_come(f32_folder):
    chosen = np.flatnonzero(f32_folder.subject_rows == 2)
    batches = list(stream(f32_folder, chosen, batches=9, batch_size=7))
    assert len(batches) == 9
    assert all((batch.subject == 2).all() for batch in batches)


def test_resume_at_30_random_kills_equals_the_unbroken_stream(f32_folder):
    whole = digest(ids(stream(f32_folder, batches=TOTAL)))
    chance = random.Random(3)
    for _ in range(30):
        stop, seen = chance.randrange(TOTAL), []
        first = stream(f32_folder, batches=TOTAL)
        for batch in itertools.islice(first, stop):
            seen += ids([batch])
        state = json.loads(json.dumps(first.state_dict()))
        second = stream(ShardFolder.open(f32_folder.path), batches=TOTAL)
        second.load_state_dict(state)
        assert digest(seen + ids(second)) == whole
        assert second.state_dict()["global_batch"] == TOTAL


def test_the_state_says_epoch_and_position(f32_folder):
    source = stream(f32_folder)
    for _ in itertools.islice(source, 25):
        pass
    state = source.state_dict()
    assert divmod(25 * 24, f32_folder.windows) == (state["epoch"], state["position"])
    assert state["manifest"] == f32_folder.digest
    assert all(type(value) in (int, str) for value in state.values())


def test_consumption_counts_not_prefetch(f32_folder):
    finished = [0]
    source = stream(f32_folder)
    source.follow(lambda: finished[0])
    iterator = iter(source)
    first = ids(next(iterator) for _ in range(5))
    finished[0] = 3
    assert source.state_dict()["global_batch"] == 3
    resumed = stream(f32_folder)
    resumed.load_state_dict(source.state_dict())
    assert ids(itertools.islice(resumed, 2)) == first[3:5]
    # A new iterator of the same stream starts at what was finished, and the counter goes on from where it is.
    assert ids(itertools.islice(source, 2)) == first[3:5]
    finished[0] = 4
    assert source.state_dict()["global_batch"] == 4


def test_ranks_take_equal_slices_of_the_same_batches(f32_folder):
    whole = ids(stream(f32_folder, batches=6))
    for world in (2, 3, 4):
        ranks = [ids(stream(f32_folder, batches=6, rank=rank, world=world)) for rank in range(world)]
        assert [sum(parts, ()) for parts in zip(*ranks, strict=True)] == whole
    with pytest.raises(ConfigError, match="cannot be divided"):
        stream(f32_folder, world=5)


def test_a_state_that_does_not_fit_is_refused(f32_folder, tiny, tmp_path):
    state = stream(f32_folder).state_dict()
    tiny.build(tmp_path / "other", seed=4)
    other = ShardFolder.open(tmp_path / "other")
    cases = {
        "manifest": stream(other),
        "batch_size": stream(f32_folder, batch_size=12),
        "seed": stream(f32_folder, seed=9),
        "windows": stream(f32_folder, np.arange(50)),
        "pool_blocks": stream(f32_folder, pool_blocks=4),
    }
    for name, target in cases.items():
        with pytest.raises(CheckpointError, match=f"{name} differs"):
            target.load_state_dict(state)


def test_ordered_batches_are_complete_and_equal_each_time(f32_folder):
    batches = OrderedBatches(f32_folder, np.arange(3, 50), batch_size=20)
    assert [len(batch) for batch in batches] == [20, 20, 7]
    assert len(batches) == 3
    assert ids(batches) == ids(batches)
    joined = torch.cat([batch.window_id for batch in batches])
    assert np.array_equal(joined.numpy(), f32_folder.window_ids[3:50])


def test_few_people_at_a_time_still_gives_every_window_once_an_epoch(f32_folder):
    everything = np.arange(f32_folder.windows)
    stream = WindowStream(f32_folder, everything, batch_size=8, seed=3, people_per_pool=2)
    order = stream.order.positions(0, 0, f32_folder.windows)
    assert sorted(order.tolist()) == everything.tolist()
    people = f32_folder.subject_rows[order]
    size = np.bincount(f32_folder.subject_rows, minlength=len(f32_folder.manifest.subjects))
    start = 0
    while start < len(order):
        # A pool ends where the windows of the two people it began with are used up.
        pair = list(dict.fromkeys(people[start:].tolist()))[:2]
        stop = start + int(size[pair].sum())
        assert set(people[start:stop].tolist()) == set(pair)
        start = stop
    mixed = WindowStream(f32_folder, everything, batch_size=8, seed=3)
    assert mixed.state_dict()["people_per_pool"] != stream.state_dict()["people_per_pool"]
