"""Linear multiview CCA: finds what modalities share, and only from training rows."""

import numpy as np
import pytest

from hdt_fm.evaluation.hand_features import course_features
from hdt_fm.evaluation.multiview import multiview_cca
from hdt_fm.schema.errors import ConfigError

ROWS = 400


def views(seed=0, shared=4):
    """Three modalities that are different mixtures of one hidden state, with noise of their own."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(ROWS, shared))
    return {
        name: hidden @ rng.normal(size=(shared, width)) + 0.3 * rng.normal(size=(ROWS, width)) * scale
        for name, width, scale in (("ppg", 12, 1.0), ("acc", 9, 1.0), ("eda", 7, 2.0))
    }


def recall(projections, rows, i, j, k=1):
    similarity = projections[rows, i] @ projections[rows, j].T
    return float(((similarity > np.diag(similarity)[:, None]).sum(axis=1) < k).mean())


def test_finds_shared_states_in_rows_it_was_not_fitted_on():
    present = np.ones((ROWS, 3), dtype=bool)
    found = multiview_cca(views(), present, np.arange(200), dim=8)
    test = np.arange(200, ROWS)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        assert recall(found, test, i, j, k=5) > 0.5
    assert np.linalg.norm(found, axis=2) == pytest.approx(1, abs=1e-5)
    shuffled = views()
    shuffled["acc"] = np.random.default_rng(1).permutation(shuffled["acc"])
    lost = multiview_cca(shuffled, present, np.arange(200), dim=8)
    assert recall(lost, test, 0, 1, k=5) < 0.15


def test_agrees_with_canonical_correlation_for_two_views():
    """The first directions of two views without a ridge give sklearn's first canonical correlation."""
    from sklearn.cross_decomposition import CCA

    both = {name: table for name, table in views(shared=1).items() if name != "eda"}
    found = multiview_cca(both, np.ones((ROWS, 2), dtype=bool), np.arange(ROWS), dim=1, ridge=0.0)
    # One dimension of unit length keeps only the sign; the sign agrees wherever the canonical variates do.
    first, second = CCA(n_components=1, max_iter=5000).fit_transform(both["ppg"], both["acc"])
    clear = np.minimum(np.abs(first), np.abs(second))[:, 0] > 0.5
    side = np.sign(first[clear, 0])
    agreement = np.abs((found[clear, 0, 0] * side).mean())
    assert agreement > 0.99


def test_rows_outside_training_change_nothing_and_absent_rows_are_zero():
    tables, present = views(), np.ones((ROWS, 3), dtype=bool)
    present[:50, 2] = False
    tables["eda"][:50] = np.nan
    tables["ppg"][300, 3] = np.nan
    train = np.arange(250)
    before = multiview_cca(tables, present, train, dim=8)
    assert np.isfinite(before).all()
    assert (before[:50, 2] == 0).all()
    changed = {name: table.copy() for name, table in tables.items()}
    for table in changed.values():
        table[350:] *= 100
    after = multiview_cca(changed, present, train, dim=8)
    assert np.array_equal(after[:350], before[:350])


def test_no_shared_window_is_refused():
    present = np.zeros((ROWS, 3), dtype=bool)
    present[np.arange(ROWS), np.arange(ROWS) % 3] = True
    with pytest.raises(ConfigError, match="No two modalities"):
        multiview_cca(views(), present, np.arange(ROWS))


def test_course_features_by_hand():
    values = np.zeros((1, 1, 8))
    values[0, 0, 4:] = [2, 4, 2, 4]
    seen = np.ones((1, 8), dtype=bool)
    level0, energy0, first0, _, level1, energy1, first1, _ = course_features(values, seen)[0]
    assert (level0, level1) == (0, 3)
    assert (energy0, first0) == (pytest.approx(np.log(1e-4)),) * 2
    assert energy1 == pytest.approx(0.0, abs=1e-6)
    assert first1 == pytest.approx(np.log(2), abs=1e-6)


def test_course_features_do_not_read_what_was_not_observed():
    rng = np.random.default_rng(0)
    values, seen = rng.normal(size=(3, 2, 300)), np.ones((3, 300), dtype=bool)
    seen[1, 90:130] = False
    seen[2] = False
    hidden = np.where(seen[:, None, :], values, np.nan)
    assert np.array_equal(course_features(values, seen), course_features(hidden, seen), equal_nan=True)
    assert np.isnan(course_features(values, seen)[2]).all()
