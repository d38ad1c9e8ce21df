"""Small models against closed forms and sklearn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from hdt_fm.evaluation import people, probes
from hdt_fm.evaluation.folds import grouped_folds
from hdt_fm.evaluation.standardise import Standardise

ROWS, FEATURES = 90, 4


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    x = rng.normal(2.0, 3.0, (ROWS, FEATURES))
    group = rng.integers(0, 6, ROWS)
    y = (x[:, 0] + rng.normal(size=ROWS) > 2.0).astype(np.float64)
    return x, y, group


def test_standardise_is_sklearns_and_ignores_gaps(sample):
    x, _, group = sample
    assert np.allclose(Standardise.fit(x, group)(x), StandardScaler().fit_transform(x))
    holed = x.copy()
    holed[::3, 1] = np.nan
    fitted = Standardise.fit(holed, group)
    assert fitted.center[1] == pytest.approx(np.nanmean(holed[:, 1]))
    assert (fitted(holed)[::3, 1] == 0).all()
    assert np.isfinite(Standardise.fit(np.full((5, 2), np.nan), np.zeros(5, int))(np.ones((3, 2)))).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_is_sklearns_at_its_own_strength(sample, classes, monkeypatch):
    x, y, group = sample
    if classes == 3:
        y = y + (x[:, 1] > 4)
    monkeypatch.setattr(probes, "STRENGTHS_C", (0.1,))
    got = probes.logistic(classes, seed=0)(x, y, group).predict(x)
    scaled = StandardScaler().fit_transform(x)
    want = LogisticRegression(C=0.1, class_weight="balanced").fit(scaled, y.astype(int)).predict_proba(scaled)
    assert np.allclose(got, want, atol=1e-6)


def test_ridge_is_sklearns_at_its_own_alpha(sample, monkeypatch):
    x, _, group = sample
    y = x @ np.array([1.0, -2.0, 0.5, 0.0]) + 7
    monkeypatch.setattr(probes, "RIDGE_ALPHAS", (30.0,))
    got = probes.ridge(seed=0)(x, y, group).predict(x)[:, 0]
    scaled = StandardScaler().fit_transform(x)
    assert np.allclose(got, Ridge(alpha=30.0).fit(scaled, y).predict(scaled))


def test_ridge_chooses_weak_penalty_for_truth_and_strong_for_noise(sample):
    x, _, group = sample
    truth = x @ np.array([1.0, -2.0, 0.5, 0.0]) + 7
    assert np.abs(probes.ridge(seed=0)(x, truth, group).predict(x)[:, 0] - truth).mean() < 0.1
    noise = np.random.default_rng(1).normal(size=ROWS)
    assert probes.ridge(seed=0)(x, noise, group).predict(x)[:, 0].std() < 0.3


def test_sparse_ridge_finds_the_few_that_tell(sample):
    """Of 60 columns of noise and one of truth, the one; so people never seen are answered better than from all."""
    _, _, group = sample
    generator = np.random.default_rng(2)
    wide = generator.normal(size=(ROWS, 61))
    y = wide[:, 7] + 0.5 * generator.normal(size=ROWS)
    seen = group < 4
    errors = {}
    for name, few in (("all", ()), ("few", (1, 10))):
        fitted = probes.ridge(seed=0, few=few)(wide[seen], y[seen], group[seen])
        errors[name] = np.abs(fitted.predict(wide[~seen])[:, 0] - wide[~seen, 7]).mean()
    assert errors["few"] < 0.7 * errors["all"]
    fitted = probes.ridge(seed=0, few=(1,))(wide[seen], y[seen], group[seen])
    other = wide[~seen].copy()
    other[:, [0, 30, 60]] += 100.0
    assert np.array_equal(fitted.predict(other), fitted.predict(wide[~seen]))


def test_sparse_ridge_keeps_all_where_all_tell(sample):
    _, _, group = sample
    generator = np.random.default_rng(3)
    wide = generator.normal(size=(ROWS, 30))
    y = wide @ np.ones(30)
    plain, sparse = (probes.ridge(seed=0, few=few)(wide, y, group).predict(wide) for few in ((), (3, 6)))
    assert np.allclose(plain, sparse)


def test_nearest_votes_by_hand():
    """Two neighbours of three: the far one does not vote; priors 2/3 and 1/3 are divided out."""
    x = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    y = np.array([0.0, 1.0, 0.0])
    fitted = probes.nearest(2, neighbours=2, temperature=1.0)(x, y, np.arange(3))
    scale = Standardise.fit(x, np.arange(3))
    unit = scale(x) / np.linalg.norm(scale(x), axis=1, keepdims=True)
    new = scale(np.array([[0.9, 0.5]]))[0]
    weight = np.exp(unit @ new / np.linalg.norm(new) - 1)
    votes = np.array([weight[0] / (2 / 3), weight[1] / (1 / 3)])
    assert np.allclose(fitted.predict(np.array([[0.9, 0.5]])), votes / votes.sum())


def test_one_class_in_training_is_answered_without_failing(sample):
    x, _, group = sample
    ones = np.ones(ROWS)
    for fit in (probes.logistic(3, seed=0), probes.boosted_classes(3, seed=0), probes.nearest(3)):
        assert np.allclose(fit(x, ones, group).predict(x[:7]), np.tile([0.0, 1.0, 0.0], (7, 1)))


def test_features_never_known_do_not_break_any_model(sample):
    x, y, group = sample
    x = x.copy()
    x[:, 2] = np.nan
    for fit in (probes.logistic(2, seed=0), probes.boosted_classes(2, seed=0), probes.ridge(seed=0, few=(1,))):
        assert np.isfinite(fit(x, y, group).predict(x)).all()
    assert np.isfinite(probes.boosted_value(seed=0)(x, y, group).predict(x)).all()


def test_every_model_says_on_whom_it_was_fitted(sample):
    x, y, group = sample
    fits = [
        probes.logistic(2, seed=0),
        probes.nearest(2),
        probes.boosted_classes(2, seed=0),
        probes.uninformed(2),
        probes.ridge(seed=0),
        probes.ridge(seed=0, few=(2,)),
        probes.boosted_value(seed=0),
        probes.constant(np.mean),
    ]
    for fit in fits:
        assert fit(x, y, group).fitted_on.groups == frozenset(range(6))


def test_noise_is_worth_nothing_on_held_out_people():
    """Mean AUROC of ten cohorts of pure noise is one half (its own deviation is about 0.015)."""
    areas = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(10), 24)
        x, y = rng.normal(size=(240, 9)), rng.integers(0, 2, 240).astype(np.float64)
        scores = probes.out_of_fold(probes.logistic(2, seed=0), [x], y, group, grouped_folds(group, 2, 0), outputs=2)
        areas.append(people.auroc(scores, y.astype(np.int64), group).over(np.ones((1, 10)))[0])
    assert abs(np.mean(areas) - 0.5) < 0.045
