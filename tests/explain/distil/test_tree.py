"""The tree: known steps, people in every leaf, round thresholds, what is missing; against scikit-learn's."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.tree import DecisionTreeRegressor

from hdt_fm.explain.distil.named import NamedFeatures
from hdt_fm.explain.distil.rules import conditions, lines
from hdt_fm.explain.distil.tree import Node, Split, Tree, _Binned, _grown, fit_tree


def test_a_step_is_found_at_a_round_threshold(named: NamedFeatures) -> None:
    output = np.where(named.values[:, 0] > 85, 2.0, -1.0)
    tree = fit_tree(named.values, output, named.subject, most=1)
    assert tree.root.split is not None
    assert tree.root.split.feature == 0
    assert tree.root.split.threshold == pytest.approx(85, abs=1.0)
    assert tree.root.split.threshold == round(tree.root.split.threshold, 1)
    assert np.corrcoef(tree.predict(named.values), output)[0, 1] > 0.93


def test_it_fits_about_as_well_as_a_tree_that_may_cut_anywhere(named: NamedFeatures) -> None:
    x = named.values
    output = np.where(x[:, 0] > 85, 2.0, 0.0) + np.where(x[:, 2] > 0.25, 1.0, 0.0) * (x[:, 0] <= 85) + 0.01 * x[:, 1]
    ours = np.square(fit_tree(x, output, named.subject, most=2).predict(x) - output).sum()
    theirs = DecisionTreeRegressor(max_depth=2, min_samples_leaf=10, random_state=0).fit(x, output)
    best = np.square(theirs.predict(x) - output).sum()
    whole = np.square(output - output.mean()).sum()
    assert best <= ours <= best + 0.06 * whole


def test_base_and_parts_are_the_answer_and_leaves_hold_everybody(named: NamedFeatures) -> None:
    x = named.values.copy()
    x[::5, 1] = np.nan
    output = np.where(x[:, 0] > 80, 1.0, 0.0) + np.where(np.nan_to_num(x[:, 1], nan=99) > 45, 3.0, 0.0)
    tree = fit_tree(x, output, named.subject)
    np.testing.assert_allclose(tree.base + tree.parts(x).sum(1), tree.predict(x), atol=1e-12)
    assert tree.base == pytest.approx(output.mean())
    assert set(np.flatnonzero(np.abs(tree.parts(x)).sum(0))) == {0, 1}
    assert sum(leaf.windows for leaf in tree.root.leaves()) == len(x)
    assert all(leaf.people >= 5 for leaf in tree.root.leaves())
    for way, rows in tree.walk(x):
        assert way[-1].windows == len(rows)
        assert way[-1].people == len(np.unique(named.subject[rows]))
        assert way[-1].value == pytest.approx(output[rows].mean())


@pytest.mark.parametrize(("people", "found"), [(4, False), (5, True)])
def test_a_rule_about_four_people_is_not_made(
    new_people: Callable[..., NamedFeatures], people: int, found: bool
) -> None:
    named = new_people(30, 20)
    few = np.isin(named.subject, np.unique(named.subject)[:people])
    values = np.where(few, 100.0, 1.0)[:, None]
    root = _grown(_Binned.of(values), few.astype(float), named.subject, np.arange(len(few)), 1)
    assert (root.split is not None) == found
    root = _grown(_Binned.of(-values), few.astype(float), named.subject, np.arange(len(few)), 1)
    assert (root.split is not None) == found
    lacking = np.where(few, np.nan, 1.0)[:, None]
    root = _grown(_Binned.of(lacking), few.astype(float), named.subject, np.arange(len(few)), 1)
    assert (root.split is not None) == found


def test_a_rule_that_people_left_out_do_not_bear_out_is_not_kept(new_people: Callable[..., NamedFeatures]) -> None:
    named = new_people(30, 20)
    for people, depth in ((5, 0), (10, 1)):
        few = np.isin(named.subject, np.unique(named.subject)[:people])
        values = np.where(few, 100.0, 1.0)[:, None]
        # Of five people an inner fold leaves three or four, too few for a rule.
        assert fit_tree(values, few.astype(float), named.subject).root.depth == depth


def test_noise_grows_nothing(named: NamedFeatures) -> None:
    tree = fit_tree(named.values, np.random.default_rng(1).standard_normal(len(named)), named.subject)
    assert tree.root.depth == 0


def test_a_question_may_be_who_lacks_a_feature(named: NamedFeatures) -> None:
    values = named.values.copy()
    gone = np.random.default_rng(2).random(len(values)) < 0.4
    values[gone, 3] = np.nan
    tree = fit_tree(values, gone.astype(float), named.subject, most=1)
    np.testing.assert_array_equal(tree.predict(values), gone)
    first, second = lines(tree.root, named, "points", 1)
    assert first.startswith("Skin temperature: level known: 0.0 points (")
    assert second.startswith("Skin temperature: level not known: 1.0 points (")


def test_windows_that_lack_a_feature_go_where_they_went_in_training(named: NamedFeatures) -> None:
    values = named.values.copy()
    gone = np.random.default_rng(2).random(len(values)) < 0.2
    values[gone, 0] = np.nan
    tree = fit_tree(values, np.where(gone | (values[:, 0] > 80), 1.0, 0.0), named.subject, most=1)
    assert tree.root.split is not None
    assert tree.root.split.was_lacking
    assert (tree.predict(values)[gone] > 0.9).all()
    assert ", or not known: " in list(lines(tree.root, named, "", 1))[1]
    complete = fit_tree(named.values, named.values[:, 0] * 1.0, named.subject, most=1)
    assert "not known" not in " ".join(lines(complete.root, named, "", 1))
    # Nobody lacked it: whoever does goes with the many.
    sizes = [branch.windows for branch in complete.root.branches]
    lost = np.full((1, 4), np.nan)
    assert complete.predict(lost)[0] == complete.root.branches[int(np.argmax(sizes))].value


def test_two_bounds_of_a_feature_are_told_as_a_range(named: NamedFeatures) -> None:
    leaf = Node(1.0, 40, 6)
    inner = Node(1.0, 80, 9, Split(0, 95.0, True, False), (leaf, leaf))
    middle = Node(1.0, 90, 9, Split(2, 0.25, False, False), (inner, leaf))
    root = Node(0.0, 200, 14, Split(0, 70.0, False, False), (leaf, middle))
    # Branches that are equal must still be told apart by where they stand.
    way = (root, middle, inner, inner.branches[0])
    told = conditions(way, named)
    assert "Acceleration: movement at most 0.250 g" in told
    assert len(told) in (2, 3)
    assert Tree(root).root.depth == 3
