"""Retrieval by hand, by a plain loop, at chance, and with near windows left out."""

import numpy as np
import pytest

from hdt_fm.metrics.retrieval import ranks, recall_at
from hdt_fm.schema.errors import ShapeError


def case(rows=60, dim=4, noise=1.0, seed=0):
    generator = np.random.default_rng(seed)
    query = generator.normal(size=(rows, dim))
    key = query + noise * generator.normal(size=(rows, dim))
    return query, key, np.arange(rows) // 10, (np.arange(rows) % 10) * 60.0


def test_ranks_are_those_of_a_loop():
    query, key, subject, time_s = case()
    for rule in ({}, {"exclude_within_s": 120.0}, {"exclude_same_subject": True}):
        found = ranks(query, key, subject, time_s, **rule)
        for i in range(60):
            allowed = []
            for j in range(60):
                near = subject[i] == subject[j] and (
                    rule.get("exclude_same_subject", False)
                    or abs(time_s[i] - time_s[j]) <= rule.get("exclude_within_s", -1)
                )
                if j != i and not near:
                    allowed.append(j)
            cosine = [query[i] @ key[j] / np.linalg.norm(query[i]) / np.linalg.norm(key[j]) for j in range(60)]
            assert found.greater[i] == sum(cosine[j] > cosine[i] for j in allowed)
            assert found.pool[i] == len(allowed) + 1


def test_a_perfect_space_finds_everything():
    query, _, subject, time_s = case()
    out = recall_at(query, query, subject, time_s)
    assert out["r@1"] == 1
    assert out["median_rank"] == 1
    assert out["pool"] == out["queries"] == 60
    assert out["chance@5"] == pytest.approx(5 / 60)


def test_a_collapsed_space_is_at_chance_not_at_the_top():
    _, _, subject, time_s = case()
    out = recall_at(np.ones((60, 3)), np.ones((60, 3)), subject, time_s)
    assert out["r@1"] == pytest.approx(1 / 60)
    assert out["r@10"] == pytest.approx(10 / 60)
    assert out["median_rank"] == pytest.approx(30.5)


def test_copies_that_differ_by_rounding_only_are_ties():
    generator = np.random.default_rng(0)
    key = np.outer(generator.random(60) + 0.1, generator.normal(size=7))
    found = ranks(generator.normal(size=(60, 7)), key, np.arange(60), np.zeros(60))
    assert (found.greater == 0).all()
    assert (found.ties == 59).all()


def test_unrelated_spaces_are_at_chance():
    generator = np.random.default_rng(0)
    rows = 2000
    out = recall_at(generator.normal(size=(rows, 8)), generator.normal(size=(rows, 8)), np.arange(rows), np.zeros(rows))
    assert out["r@10"] == pytest.approx(10 / rows, abs=0.005)
    assert out["median_rank"] == pytest.approx(rows / 2, rel=0.1)


def test_a_space_that_knows_only_the_person_is_near_the_top_until_the_pool_is_of_others():
    _, _, subject, time_s = case()
    person = np.random.default_rng(0).normal(size=(6, 5))[subject]
    plain = recall_at(person, person, subject, time_s)
    assert plain["r@10"] == 1
    assert plain["r@1"] == pytest.approx(0.1)
    assert recall_at(person, person, subject, time_s, exclude_same_subject=True)["r@1"] == 1


def test_a_drawn_pool_has_its_size_and_the_expected_recall():
    query, key, subject, time_s = case(rows=600, noise=1.5)
    full = ranks(query, key, subject, time_s)
    # Chance that none of 49 drawn others is among the better ones, in closed form.
    better, others = full.greater.astype(float), 599
    none_better = np.prod([(others - better - k) / (others - k) for k in range(49)], axis=0).clip(min=0).mean()
    drawn = [recall_at(query, key, subject, time_s, pool=50, seed=seed)["r@1"] for seed in range(8)]
    assert np.mean(drawn) == pytest.approx(none_better, abs=0.02)
    assert recall_at(query, key, subject, time_s, pool=50)["pool"] == 50
    assert recall_at(query, key, subject, time_s, pool=50) == recall_at(query, key, subject, time_s, pool=50)
    assert recall_at(query, key, subject, time_s, pool=5000)["pool"] == 600


def test_blocks_do_not_show(monkeypatch):
    query, key, subject, time_s = case()
    whole = ranks(query, key, subject, time_s, exclude_within_s=60.0)
    monkeypatch.setattr("hdt_fm.metrics.retrieval.BLOCK", 7)
    parts = ranks(query, key, subject, time_s, exclude_within_s=60.0)
    np.testing.assert_array_equal(parts.greater, whole.greater)
    np.testing.assert_array_equal(parts.pool, whole.pool)


def test_bad_settings_speak():
    query, key, subject, time_s = case()
    with pytest.raises(ShapeError, match="one shape"):
        recall_at(query, key[:, :2], subject, time_s)
    with pytest.raises(ShapeError, match="pool of at least 2"):
        recall_at(query, key, subject, time_s, pool=1)
    with pytest.raises(ShapeError, match="not finite"):
        recall_at(query * np.nan, key, subject, time_s)
