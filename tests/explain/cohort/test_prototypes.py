"""Patterns: planted groups of windows are found, none is told of where there is none, and none of a few people."""

import numpy as np
import pytest

from hdt_fm.explain.cohort.prototypes import _silhouette, prototypes

silhouette_score = pytest.importorskip("sklearn.metrics").silhouette_score


def windows_of(kinds: np.ndarray, *, noise: float = 0.3, seed: int = 0) -> np.ndarray:
    """(window, 2, 6) shares; the kind k puts its credit on the signal k % 2, early or late."""
    rng = np.random.default_rng(seed)
    out = np.full((len(kinds), 2, 6), 0.02)
    for row, kind in enumerate(kinds):
        out[row, kind % 2, (slice(0, 3), slice(3, 6))[kind // 2]] += 1.0
    out *= np.exp(noise * rng.normal(size=out.shape))
    return out / out.sum((1, 2), keepdims=True)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_planted_patterns_are_found_with_their_number(count: int) -> None:
    person = np.repeat(np.arange(10), 8)
    kinds = np.arange(80) % count
    patterns = windows_of(kinds)
    found = prototypes(patterns, np.ones((80, 2), dtype=bool), person, seed=3)
    assert len(found.found) == count
    assert found.silhouette > 0.6
    assert len({(kind, place) for kind, place in zip(kinds.tolist(), found.of.tolist(), strict=True)}) == count
    for place, one in enumerate(found.found):
        assert (found.of == place).sum() == one.windows
        assert one.people == 10
        assert one.pattern.sum() == pytest.approx(1.0)
        assert found.of[one.medoid] == place
        inside = [patterns[(found.of == place) & (person == who)].mean(0) for who in range(10)]
        np.testing.assert_allclose(one.pattern, np.mean(inside, axis=0))


def test_no_division_is_told_of_where_none_is_clear() -> None:
    rng = np.random.default_rng(1)
    flat = rng.dirichlet(np.full(12, 2.0), 90).reshape(90, 2, 6)
    found = prototypes(flat, np.ones((90, 2), dtype=bool), np.repeat(np.arange(9), 10))
    assert len(found.found) == 1
    assert np.isnan(found.silhouette)
    assert (found.found[0].windows, found.found[0].people) == (90, 9)


def test_a_pattern_of_few_people_is_joined() -> None:
    """Four people alone have the third kind: their pattern is told with the nearest, never by itself."""
    kinds = np.concatenate([np.arange(60) % 2, np.full(20, 2)])
    person = np.concatenate([np.repeat(np.arange(10), 6), np.repeat(np.arange(4), 5)])
    found = prototypes(windows_of(kinds), np.ones((80, 2), dtype=bool), person)
    assert len(found.found) == 2
    assert sum(one.windows for one in found.found) == 80
    assert all(one.people >= 5 for one in found.found)
    rare = np.ones((80, 2), dtype=bool)
    rare[kinds == 1, 1] = False
    rare[np.flatnonzero(kinds == 1)[:3], 1] = True  # few hold the second signal in one pattern
    assert len(prototypes(windows_of(kinds), rare, person).found) == 1


def test_windows_of_one_person_do_not_outweigh_the_others() -> None:
    person = np.concatenate([np.zeros(95, dtype=int), np.arange(1, 6)])
    kinds = np.where(person == 0, 0, 1)
    found = prototypes(windows_of(kinds, noise=0.01), np.ones((100, 2), dtype=bool), person)
    assert len(found.found) == 1  # one of the two would be one person's
    assert found.found[0].pattern[1].sum() == pytest.approx(5 / 6, abs=0.1)


def test_the_silhouette_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(40, 3))
    apart = np.abs(points[:, None] - points[None]).sum(-1) / 2
    medoids = np.array([3, 17, 30])
    want = silhouette_score(apart, apart[:, medoids].argmin(1), metric="precomputed")
    assert _silhouette(apart, medoids) == pytest.approx(want)


def test_the_same_seed_gives_the_same_patterns_of_many_windows() -> None:
    kinds = np.arange(1300) % 3
    person = np.arange(1300) % 13
    first, second = (prototypes(windows_of(kinds), np.ones((1300, 2), dtype=bool), person, seed=7) for _ in "ab")
    np.testing.assert_array_equal(first.of, second.of)
    assert [one.windows for one in first.found] == sorted((434, 433, 433), reverse=True)
