"""Directions: unit variance, what is missing, and what no proposal may be."""

import numpy as np
import pytest

from hdt_fm.schema.errors import ConfigError, UnknownNameError
from hdt_fm.twin.drift.cause import ACTIONS, DIRECTIONS, JOINED, Direction, Proposal
from hdt_fm.twin.drift.streams import ACTED, CARBS, REST, SIZE, SWING

GAIN, SENSITIVITY, UNCLEAR = DIRECTIONS


def test_a_direction_by_hand_where_one_stream_is_known():
    assert GAIN.score({REST: 2.0}) == pytest.approx((2.0, 0.75))
    # Two that go together by .05, of effects .75 and .5.
    score, strength = GAIN.score({REST: 2.0, ACTED: -1.0, SIZE: np.nan})
    inverse = np.linalg.inv(np.array([[1.0, 0.05], [0.05, 1.0]]))
    effects = np.array([0.75, 0.5])
    assert strength == pytest.approx(np.sqrt(effects @ inverse @ effects))
    assert score == pytest.approx(effects @ inverse @ np.array([2.0, -1.0]) / strength)


@pytest.mark.parametrize("one", DIRECTIONS, ids=lambda one: one.cause)
def test_a_change_by_its_size_is_as_strong_as_it_says(one):
    away = dict(zip(JOINED, one.effects, strict=True))
    score, strength = one.score(away)
    assert score == pytest.approx(strength)


def test_nothing_known_says_nothing():
    assert np.isnan(GAIN.score({})).all()
    assert np.isnan(UNCLEAR.score({REST: 3.0})).all()  # it speaks of sizes of errors alone


def test_a_smaller_share_of_the_budget_is_a_higher_limit():
    one = Direction("gain", GAIN.effects, GAIN.size, share=1.0, limit=5.0, slope=2.0)
    assert one.limit_at(1.0) == 5.0
    assert one.limit_at(1 / np.e) == pytest.approx(7.0)


def test_causes_of_directions_have_an_action():
    assert {one.cause for one in DIRECTIONS} < set(ACTIONS)


def test_what_is_eaten_explains_and_accuses_nobody():
    """A day of much food swings and errs more; the same day of little food speaks more for a change."""
    day = {REST: 1.0, ACTED: 0.5, SIZE: 1.0, SWING: 1.0}
    much, little = (GAIN.score(day | {CARBS: away})[0] for away in (1.5, -1.5))
    assert much < GAIN.score(day)[0] < little
    assert all(one.effects[JOINED.index(CARBS)] == 0 for one in DIRECTIONS)


def test_what_no_proposal_may_be():
    with pytest.raises(UnknownNameError, match="gian"):
        Proposal("gian", 3, 2)
    with pytest.raises(ConfigError, match="onset 4, day 3"):
        Proposal("gain", 3, 4)
