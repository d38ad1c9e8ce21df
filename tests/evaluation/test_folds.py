"""Folds: people on one side, all rows tested once, the same seed the same folds."""

import numpy as np
import pytest

from hdt_fm.evaluation.folds import (
    every_split,
    grouped_folds,
    inner_folds,
    leave_one_group_out,
    repeated,
    stated_fold,
)
from hdt_fm.schema.errors import SplitError

GROUP = np.repeat([7, 3, 11, 20, 5, 8, 90], [4, 9, 2, 6, 3, 5, 7])


def check_cover(folds, group):
    tested = np.concatenate([fold.test for fold in folds])
    assert sorted(tested) == list(range(len(group)))
    for fold in folds:
        train, test = set(group[fold.train]), set(group[fold.test])
        assert not train & test
        assert test == fold.test_groups
        assert len(test) >= 1
        assert len(fold.train) + len(fold.test) == fold.rows == len(group)


@pytest.mark.parametrize("k", [2, 3, 7])
def test_every_row_is_tested_once_and_people_stay_together(k):
    check_cover(grouped_folds(GROUP, k, seed=1), GROUP)


@pytest.mark.parametrize("k", [2, 3, 7])
def test_stratified_folds_cover_too(k):
    stratify = np.random.default_rng(0).integers(0, 3, len(GROUP)).astype(float)
    stratify[::5] = np.nan
    check_cover(grouped_folds(GROUP, k, seed=1, stratify=stratify), GROUP)


def test_group_counts_differ_by_one_at_most():
    sizes = [len(fold.test_groups) for fold in grouped_folds(GROUP, 3, seed=2)]
    assert sorted(sizes) == [2, 2, 3]


def test_the_seed_decides():
    one, again, other = (grouped_folds(GROUP, 3, seed=seed) for seed in (4, 4, 5))
    assert [fold.test_groups for fold in one] == [fold.test_groups for fold in again]
    assert [fold.test_groups for fold in one] != [fold.test_groups for fold in other]


def test_stratify_spreads_a_rare_class():
    """Four of twelve people hold all of class 1: each of four folds must get one of them."""
    group = np.repeat(np.arange(12), 5)
    stratify = np.where(group < 4, 1.0, 0.0)
    for seed in range(5):
        folds = grouped_folds(group, 4, seed=seed, stratify=stratify)
        assert [len(fold.test_groups & {0, 1, 2, 3}) for fold in folds] == [1, 1, 1, 1]


def test_leave_one_group_out_holds_one_group_each():
    folds = leave_one_group_out(GROUP)
    check_cover(folds, GROUP)
    assert [set(fold.test_groups) for fold in folds] == [{3}, {5}, {7}, {8}, {11}, {20}, {90}]


def test_a_stated_split_is_taken_as_it_is():
    side = {7: "train", 3: "test", 11: "train", 20: None, 5: "test", 8: "train", 90: "train"}
    fold = stated_fold(GROUP, [side[group] for group in GROUP])
    assert (set(GROUP[fold.train]), set(GROUP[fold.test])) == ({7, 11, 8, 90}, {3, 5})
    assert (fold.rows, fold.test_groups) == (len(GROUP), {3, 5})


@pytest.mark.parametrize(
    ("side", "told"),
    [
        ([None] * len(GROUP), "0 in train, 0 in test, 0 in both"),
        (["test"] * len(GROUP), "0 in train, 7 in test, 0 in both"),
        (["train", "test"] * (len(GROUP) // 2), "7 in train, 7 in test, 7 in both"),
    ],
)
def test_a_split_that_is_none_is_refused(side, told):
    with pytest.raises(SplitError, match=told):
        stated_fold(GROUP, side)


def test_repeats_differ_and_each_covers():
    runs = repeated(GROUP, 3, repeats=4, seed=0)
    assert len(runs) == 4
    for folds in runs:
        check_cover(folds, GROUP)
    assert len({tuple(fold.test_groups for fold in folds) for folds in runs}) > 1


@pytest.mark.parametrize("k", [1, 8])
def test_more_folds_than_people_are_refused(k):
    with pytest.raises(SplitError, match=f"7 groups cannot be dealt into {k} folds"):
        grouped_folds(GROUP, k, seed=0)


def test_one_group_cannot_be_left_out():
    with pytest.raises(SplitError, match="left out of itself"):
        leave_one_group_out(np.zeros(4, dtype=np.int64))


def test_inner_folds_shrink_with_the_number_of_people():
    assert len(inner_folds(GROUP, 3, seed=0)) == 3
    assert len(inner_folds(np.array([1, 1, 2]), 3, seed=0)) == 2
    assert inner_folds(np.array([1, 1]), 3, seed=0) == []


def test_every_split_lists_all_when_few_and_draws_when_many():
    group = np.repeat(np.arange(6), [1, 2, 3, 1, 2, 3])
    folds, complete = every_split(group, 2)
    assert complete
    assert len(folds) == 15
    assert len({fold.test_groups for fold in folds}) == 15
    for fold in folds:
        assert not set(group[fold.train]) & fold.test_groups
        assert len(fold.train) + len(fold.test) == len(group)
    some, complete = every_split(group, 3, most=7, seed=1)
    assert not complete
    assert len({fold.test_groups for fold in some}) == 7
    assert [one.test_groups for one in some] == [one.test_groups for one in every_split(group, 3, most=7, seed=1)[0]]
    with pytest.raises(SplitError, match="6 of 6 groups"):
        every_split(group, 6)
