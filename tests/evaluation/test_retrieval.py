"""Retrieval by hand-made projections."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.evaluation.retrieval import OURS, Part, retrieval, retrieval_over
from hdt_fm.schema.errors import ConfigError, ShapeError


def two_modalities(make_table, **settings):
    return make_table(modalities=("ppg", "eda"), width=7, **settings)


def with_projections(table, first, second):
    projections = np.stack([first, second], axis=1).astype(np.float32)
    projections /= np.linalg.norm(projections, axis=2, keepdims=True)
    return replace(table, projections=projections, present=np.ones((len(table), 2), dtype=bool))


def test_hand_computed_ranks():
    """Three windows on a half circle; the queries point 10, 100 and 20 degrees, the keys 0, 90 and 60.

    Query 0 is nearest to its own key (rank 1); query 1 as well (rank 1); query 2 (20 degrees) lies 20 from key 0,
    40 from its own and 70 from key 1: rank 2. Recall@1 = 2/3, recall@5 = 1, median rank 1.
    """
    from hdt_fm.schema.embedding import EmbeddingTable

    def circle(degrees):
        angle = np.deg2rad(degrees)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)

    projections = np.stack([circle([10, 100, 20]), circle([0, 90, 60])], axis=1).astype(np.float32)
    table = EmbeddingTable(
        modalities=("ppg", "eda"),
        embeddings=projections,
        projections=projections,
        present=np.ones((3, 2), dtype=bool),
        subject=np.arange(3),
        group=np.arange(3),
        time_s=np.zeros(3),
        window_id=np.arange(3),
        labels={},
        label_columns=(),
        subjects=("a", "b", "c"),
        window_s=60.0,
        hop_s=60.0,
        model_digest="m",
        data_digest="d",
    )
    result = retrieval(table, random_table=table, exclude_same_subject=False, draws=20)
    what = "retrieval ppg->eda, pool all, own windows kept"
    assert result.find(OURS, "recall@1", what).value == pytest.approx(2 / 3)
    assert result.find(OURS, "recall@5", what).value == 1.0
    assert result.find(OURS, "median_rank", what).value == 1.0
    assert result.find("chance", "recall@1", what).value == pytest.approx(1 / 3)
    assert result.find("chance", "median_rank", what).value == 2.0
    assert result.find(OURS, "recall@1", what).columns["pool"] == 3
    # Keys as queries: 0 -> 10 is nearest; 90 -> 100; 60 -> 100 and 20 tie at 40: the match is one of the two.
    back = result.find(OURS, "recall@1", "retrieval eda->ppg, pool all, own windows kept")
    assert back.value == pytest.approx((1 + 1 + 0.5) / 3, abs=0.17)


def test_perfect_and_random_projections(make_table):
    table = two_modalities(make_table)
    rng = np.random.default_rng(0)
    same = rng.normal(size=(len(table), 7))
    good = with_projections(table, same, same)
    random = with_projections(table, rng.normal(size=same.shape), rng.normal(size=same.shape))
    result = retrieval(good, random_table=random, pools=(20, None), draws=100)
    assert len({row.what for row in result.rows}) == 2 * 2 * 2
    for row in result.rows:
        if row.model == OURS:
            assert row.value == 1.0
    for what in {row.what for row in result.rows}:
        noise, chance = (result.find(model, "recall@10", what) for model in ("random encoder", "chance"))
        assert noise.low <= chance.value + 0.02
        assert noise.high >= chance.value - 0.02
    row = result.find("chance", "recall@5", "retrieval ppg->eda, pool 20, own windows kept")
    assert row.value == pytest.approx(5 / 20)
    assert row.columns["pool"] == 20


def test_knowing_only_who_it_is_wins_nothing_once_own_windows_are_excluded(make_table):
    """Projections that hold the person and nothing else: alone of its person, a match is found at once;
    among the person's own windows it is one of 22 at random."""
    table = two_modalities(make_table)
    who = np.eye(9, 7)[table.subject] + 2 * np.eye(9, 7, k=-2)[table.subject]
    noise = 1e-3 * np.random.default_rng(0).normal(size=(2, *who.shape))
    person_only = with_projections(table, who + noise[0], who + noise[1])
    result = retrieval(person_only, random_table=person_only, draws=50)
    kept = result.find(OURS, "recall@1", "retrieval ppg->eda, pool all, own windows kept")
    alone = result.find(OURS, "recall@1", "retrieval ppg->eda, pool all, own windows excluded")
    assert kept.value == pytest.approx(1 / 22, abs=0.05)
    assert alone.value == pytest.approx(1.0)
    assert alone.columns["own_windows"] == "excluded"
    assert alone.columns["pool"] == len(table) - 22 + 1


def test_only_the_people_in_play_are_asked_and_pooled(make_table):
    table = two_modalities(make_table)
    result = retrieval(table, random_table=table, subjects=table.subjects[:4], exclude_same_subject=False, draws=20)
    row = result.find(OURS, "recall@1")
    assert row.n == 4
    assert row.columns["pool"] == int(table.present[table.subject < 4].all(axis=1).sum())


def test_refusals(make_table):
    table = two_modalities(make_table)
    with pytest.raises(ConfigError, match="No pair of modalities"):
        retrieval(table, random_table=table, subjects=())
    with pytest.raises(ShapeError, match="same windows"):
        retrieval(table, random_table=two_modalities(make_table, windows=21))


def test_folds_are_pools_of_their_own_and_people_are_joined(make_table):
    """Two parts whose people do not meet: each query is ranked in its own part; the score is over all people."""
    table = two_modalities(make_table, people=6)
    table = replace(table, present=np.ones_like(table.present))
    first, second = table.subjects[:3], table.subjects[3:]
    parts = [Part(table, table, first), Part(table, table, second)]
    joined = retrieval_over(parts, exclude_same_subject=False, draws=20)
    alone = [
        retrieval(table, random_table=table, subjects=one, exclude_same_subject=False, draws=20)
        for one in (first, second)
    ]
    what = "retrieval ppg->eda, pool all, own windows kept"
    mean = np.mean([one.find(OURS, "recall@5", what).value for one in alone])
    assert joined.find(OURS, "recall@5", what).value == pytest.approx(mean)
    assert joined.find(OURS, "recall@5", what).columns["pool"] == 66
    assert joined.find(OURS, "recall@5", what).n == 6
    assert joined.protocol["encoders"] == 2


def test_one_person_alone_gives_no_number(make_table):
    table = two_modalities(make_table)
    with pytest.raises(ConfigError, match="No pair"):
        retrieval(table, random_table=table, subjects=table.subjects[:1], exclude_same_subject=False)
