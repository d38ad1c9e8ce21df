"""Rows of blocks in any order equal plain indexing, whatever the order, the type and what a block lacks."""

import pickle
import random

import numpy as np
import pytest
import torch

from hdt_fm.data.rows import BlockRows, RowPlan
from hdt_fm.data.shards import ShardFolder


def plans(folder):
    """Positions in many kinds of order."""
    chance, count = np.random.default_rng(2), folder.windows
    yield np.arange(count)
    yield np.arange(count)[::-1].copy()
    yield np.arange(5, 50)
    yield np.empty(0, np.int64)
    yield np.array([count - 1])
    for size in (2, 7, 63, 200):
        yield chance.integers(0, count, size)
        yield np.sort(chance.integers(0, count, size))
        first = chance.integers(0, count - size) if size < count else 0
        yield np.concatenate([np.arange(first, min(first + size, count)), chance.integers(0, count, 2)])


def plainly(rows, plan, shape, dtype):
    out = np.zeros((len(plan.row), *shape), dtype)
    for place, (block, row) in enumerate(zip(plan.block, plan.row, strict=True)):
        array = rows.array(int(block))
        if array is not None:
            out[place] = array[row]
    return out


@pytest.mark.parametrize("how", ["lasting", "moving", "far apart"])
@pytest.mark.parametrize("encoding", ["f32", "i16"])
def test_rows_equal_plain_indexing(f32_folder, i16_folder, encoding, how, monkeypatch):
    if how == "far apart":
        monkeypatch.setattr("hdt_fm.data.rows.MOST_BYTES", 0)
    if how == "moving":
        monkeypatch.setattr(BlockRows, "_lasts", lambda self, block: False)
    folder = ShardFolder.open((f32_folder if encoding == "f32" else i16_folder).path)
    seen = 0
    for positions in plans(folder):
        plan = RowPlan.of(folder.block_of[positions], folder._row[positions])
        for modality in folder._rows.values():
            for rows in (modality.values, modality.masks):
                out = torch.from_numpy(np.full((len(plan.row), *rows.row_shape), 77).astype(rows.dtype))
                rows.take(plan, out)
                assert np.array_equal(out.numpy(), plainly(rows, plan, rows.row_shape, rows.dtype))
                seen += len(plan.row)
    assert seen > 5000
    assert any(not one.masks.held.all() and one.masks.held.any() for one in folder._rows.values())


def test_stretches_in_stored_order_are_copied_as_such(f32_folder):
    block, row = f32_folder.block_of, f32_folder._row
    assert len(RowPlan.of(block, row).runs) == len(f32_folder.blocks())
    assert not RowPlan.of(block[::-1], row[::-1]).runs
    mixed = np.random.default_rng(0).permutation(len(block))
    assert not RowPlan.of(block[mixed], row[mixed]).runs


def test_what_may_move_is_not_remembered(f32_folder, monkeypatch):
    folder = ShardFolder.open(f32_folder.path)
    rows = folder._rows["acc"].values
    plan = RowPlan.of(folder.block_of[::-1].copy(), folder._row[::-1].copy())
    out = torch.empty(len(plan.row), *rows.row_shape)
    monkeypatch.setattr(BlockRows, "_lasts", lambda self, block: False)
    rows.take(plan, out)
    assert (rows._reach.start < 0).all()
    monkeypatch.undo()
    rows.take(plan, out)
    assert (rows._reach.start >= 0).all()
    # Nor do addresses travel to another process.
    assert (pickle.loads(pickle.dumps(rows))._reach.start < 0).all()


def test_a_gather_equals_itself_in_another_order(f32_folder):
    """Whole batches: in one go, against one by one in random order."""
    everything = f32_folder.gather(np.arange(f32_folder.windows))
    chance = random.Random(0)
    for _ in range(5):
        chosen = np.array(chance.sample(range(f32_folder.windows), 40))
        batch = f32_folder.gather(chosen)
        for name, signal in batch.signals.items():
            assert (signal.values == everything.signals[name].values[chosen]).all()
            assert (signal.observed == everything.signals[name].observed[chosen]).all()
