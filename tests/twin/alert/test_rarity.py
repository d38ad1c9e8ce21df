"""P-values among own scores, against ranks and the normal."""

from statistics import NormalDist

import numpy as np
import pytest

from hdt_fm.twin.alert.rarity import normal_score, rarity, tail_p


def test_p_is_the_rank_below_the_tail():
    own = np.arange(20.0)[None]
    for score, p in ((5.5, 15 / 21), (0.0, 1.0), (10.0, 11 / 21)):
        assert rarity(np.array([score]), own).p[0] == pytest.approx(p, abs=1e-3)


def test_p_is_even_for_exchangeable_scores():
    drawn = np.random.default_rng(1).normal(size=(20_000, 41))
    p = rarity(drawn[:, 0], drawn[:, 1:]).p
    for level in (0.5, 0.25, 0.12):
        assert (p <= level).mean() == pytest.approx(level, abs=0.02)
    # Past the ranks a normal tail goes on, near to right and not far over.
    assert 0.005 < (p <= 0.01).mean() < 0.02


def test_gaps_among_own_scores_do_not_count():
    own = np.array([[0.0, 1, 2, 3], [0.0, 1, np.nan, 3]])
    np.testing.assert_allclose(rarity(np.array([0.5, 0.5]), own).p, [4 / 5, 3 / 4], atol=1e-3)
    assert np.isnan(rarity(np.array([1.0]), np.full((1, 3), np.nan)).p).all()
    assert np.isnan(rarity(np.array([np.nan]), np.zeros((1, 3))).z).all()


def test_normal_scores_are_those_of_the_normal():
    for p in (0.001, 0.3, 0.5, 0.9):
        assert normal_score(np.array([p]))[0] == pytest.approx(NormalDist().inv_cdf(1 - p), abs=1e-3)
        assert tail_p(normal_score(np.array([p])))[0] == pytest.approx(p, abs=1e-3)
