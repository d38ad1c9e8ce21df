"""No person, and no group of people, on two sides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdt_fm.data.selection import fold_subjects, positions_of, subject_split
from hdt_fm.schema.errors import SplitError
from hdt_fm.schema.shard import ShardManifest, SubjectRow


def manifest_of(groups, windows=None):
    """As much of a manifest as a split looks at."""
    counts = windows or [3] * len(groups)
    rows = [
        SubjectRow(subject=f"s{row}", group=f"g{group}", windows=count, hours=1.0)
        for row, (group, count) in enumerate(zip(groups, counts, strict=True))
    ]
    return ShardManifest.model_construct(subjects=tuple(rows))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=30, max_size=60), st.integers(0, 5))
def test_groups_never_part(groups, seed):
    if len(set(groups)) < 5:
        return
    parts = subject_split(manifest_of(groups), fractions={"a": 0.5, "b": 0.3, "c": 0.2}, seed=seed)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(groups)))
    sets = [{groups[row] for row in rows} for rows in parts.values()]
    assert sum(map(len, sets)) == len(set(groups))


def test_shares_count_groups():
    parts = subject_split(manifest_of(range(20)), fractions={"train": 0.7, "val": 0.1, "test": 0.2}, seed=1)
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 14, "val": 2, "test": 4}
    other = subject_split(manifest_of(range(20)), fractions={"train": 0.7, "val": 0.1, "test": 0.2}, seed=2)
    assert parts["test"].tolist() != other["test"].tolist()


def test_people_without_windows_are_nowhere():
    parts = subject_split(manifest_of(range(6), [3, 0, 3, 3, 0, 3]), fractions={"a": 0.5, "b": 0.5}, seed=0)
    assert sorted(np.concatenate(list(parts.values()))) == [0, 2, 3, 5]


def test_impossible_splits_are_refused():
    with pytest.raises(SplitError, match="'b' of the split would be empty"):
        subject_split(manifest_of([1, 1, 1]), fractions={"a": 0.9, "b": 0.1}, seed=0)
    for bad in ({}, {"a": 0.5}, {"a": 1.2, "b": -0.2}):
        with pytest.raises(SplitError, match="add up to 1"):
            subject_split(manifest_of(range(5)), fractions=bad, seed=0)


def test_folds_hold_each_person_out_once():
    groups = [0, 0, 1, 2, 2, 2, 3, 4, 5, 6]
    folds = fold_subjects(groups, 3, seed=4)
    assert sorted(np.concatenate(folds)) == list(range(10))
    held = [{groups[row] for row in fold} for fold in folds]
    assert sum(map(len, held)) == 7
    assert {len(part) for part in held} == {2, 3}
    assert [fold.tolist() for fold in fold_subjects(groups[::-1], 3, seed=4)] == [
        sorted(9 - row for row in fold) for fold in folds
    ]
    assert len(fold_subjects(groups, 7, seed=0)) == 7
    for k in (1, 8):
        with pytest.raises(SplitError, match="2 to 7 folds"):
            fold_subjects(groups, k, seed=0)


def test_positions_are_the_windows_of_these_people(f32_folder):
    rows = np.array([0, 3])
    positions = positions_of(f32_folder, rows)
    assert set(f32_folder.subject_rows[positions]) == {0, 3}
    counted = sum(f32_folder.manifest.subjects[row].windows for row in rows)
    assert len(positions) == counted
    assert len(positions_of(f32_folder, rows[:0])) == 0
