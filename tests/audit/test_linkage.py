"""Ranks and equal error rates by hand, and against counting one by one."""

import numpy as np
import pytest

from hdt_fm.audit.linkage import Linked, chance, equal_error_rate, link, rank_scores

ONCE = np.ones((1, 3))


def value(score, people: int) -> float:
    return float(score.over(np.ones((1, people)))[0])


def test_ranks_by_hand() -> None:
    # Person 0 is found first once and third once, person 1 second, person 2 first.
    likeness = np.array([[0.9, 0.1, 0.2], [0.1, 0.5, 0.4], [0.8, 0.7, 0.1], [0.0, 0.1, 0.9]])
    scores = rank_scores(Linked(likeness, np.array([0, 0, 1, 2])))
    assert value(scores["rank-1"], 3) == pytest.approx((0.5 + 0 + 1) / 3)
    assert value(scores["mean reciprocal rank"], 3) == pytest.approx(((1 + 1 / 3) / 2 + 1 / 2 + 1) / 3)
    assert value(scores["top-5"], 3) == 1.0
    # A draw in which person 1 is missing and person 2 counts twice.
    assert scores["rank-1"].over(np.array([[1.0, 0.0, 2.0]]))[0] == pytest.approx((0.5 + 2) / 3)


def test_likeness_that_says_nothing_is_chance() -> None:
    people = 7
    linked = Linked(np.zeros((people, people)), np.arange(people))
    scores = {**rank_scores(linked), "equal error rate": equal_error_rate(linked)}
    for name, expected in chance(people).items():
        assert value(scores[name], people) == pytest.approx(expected), name


def test_equal_error_by_hand() -> None:
    # Own: .9 .8 .3; others: .6 .4 .2 .1 .1 .1. At .4 a third of own are refused and a third of others taken.
    likeness = np.array([[0.9, 0.6, 0.1], [0.4, 0.8, 0.1], [0.2, 0.1, 0.3]])
    assert value(equal_error_rate(Linked(likeness, np.arange(3))), 3) == pytest.approx(1 / 3)
    apart = np.where(np.eye(3, dtype=bool), 0.9, 0.1)
    assert value(equal_error_rate(Linked(apart, np.arange(3))), 3) == 0.0
    assert value(equal_error_rate(Linked(-apart, np.arange(3))), 3) == 1.0


def test_equal_error_of_two_gaussians() -> None:
    """Scores one standard deviation and a half apart cross at the normal tail of half of that."""
    generator = np.random.default_rng(0)
    people = 300
    likeness = generator.normal(size=(people, people)) + 1.5 * np.eye(people)
    assert value(equal_error_rate(Linked(likeness, np.arange(people))), people) == pytest.approx(0.2266, abs=0.04)


def test_a_drawn_person_counts_as_if_asked_twice() -> None:
    generator = np.random.default_rng(1)
    likeness = generator.normal(size=(9, 3))
    truth = np.repeat([0, 1, 2], 3)
    twice = np.concatenate([likeness, likeness[truth == 1]])
    # Queries of a person weigh 1 / their number: doubled queries and doubled weight say the same.
    doubled = np.concatenate([truth, truth[truth == 1]])
    one = equal_error_rate(Linked(likeness, truth)).over(np.array([[1.0, 2.0, 1.0]]))[0]
    other = equal_error_rate(Linked(twice, doubled)).over(np.array([[1.0, 2.0, 1.0]]))[0]
    assert one == pytest.approx(other)


@pytest.mark.parametrize("together", [1, 4, None])
def test_the_trained_attacker_looks_past_what_varies_within_people(together) -> None:
    """A feature that differs between people a little hides under one that varies in everyone a lot."""
    generator = np.random.default_rng(2)
    people, windows = 12, 16
    of = np.repeat(np.arange(people), windows)

    def windows_of() -> np.ndarray:
        loud = generator.normal(size=(people * windows, 1)) * np.ones((1, 6))
        own = 0.5 * np.eye(people)[:, :6][of] - 0.5 * np.eye(people)[:, 6:][of]
        return loud * 3 + own + 0.05 * generator.normal(size=(people * windows, 6))

    enrolled, asked = windows_of(), windows_of()
    found = {
        attacker: value(
            rank_scores(link(enrolled, of, asked, of, together=together, attacker=attacker))["rank-1"], people
        )
        for attacker in ("nearest mean", "trained")
    }
    assert found["trained"] > 0.9
    if together == 1:
        assert found["nearest mean"] < 0.6


def test_unknown_features_and_constant_ones_say_nothing() -> None:
    generator = np.random.default_rng(3)
    of = np.repeat(np.arange(4), 5)
    own = np.eye(4)[of] + 0.01 * generator.normal(size=(20, 4))
    padded = np.concatenate([own, np.full((20, 1), np.nan), np.full((20, 1), 3.0)], axis=1)
    for attacker in ("nearest mean", "trained"):
        linked = link(padded, of, padded, of, together=None, attacker=attacker)
        assert np.isfinite(linked.likeness).all()
        assert value(rank_scores(linked)["rank-1"], 4) == 1.0
