"""Retrieval and rank of a pool, against spaces whose answer is known."""

import math

import pytest
import torch

from hdt_fm.schema.batch import Batch
from hdt_fm.schema.protocols import Embeddings
from hdt_fm.training.validation import POOL, Pool


def _batch(present: torch.Tensor) -> Batch:
    row = torch.arange(len(present))
    return Batch(("acc", "eda", "temp")[: present.shape[1]], {}, present, row, row.float(), row)


def _embeddings(values: torch.Tensor, present: torch.Tensor) -> tuple[Embeddings, Batch]:
    return Embeddings(values * present[..., None], present), _batch(present)


def test_equal_spaces_are_found_and_a_shifted_one_is_not() -> None:
    basis = torch.eye(5)
    present = torch.ones(5, 3, dtype=torch.bool)
    pool = Pool(["acc", "eda", "temp"])
    pool.add(*_embeddings(torch.stack([basis, basis, basis.roll(1, 0)], dim=1), present))
    scores = pool.scores()
    assert (scores["r1/acc-eda"], scores["r1/acc-temp"], scores["r1/eda-temp"]) == (1.0, 0.0, 0.0)
    assert scores["pool/acc-eda"] == 5
    # Five points at the corners of a simplex span four equal directions.
    assert scores["effective_rank/acc"] == pytest.approx(4.0, rel=1e-4)


def test_pool_counts_only_windows_that_hold_both() -> None:
    values = torch.eye(6)[:, None].repeat(1, 2, 1)
    present = torch.tensor([[1, 1], [1, 1], [1, 1], [1, 0], [0, 1], [1, 0]], dtype=torch.bool)
    pool = Pool(["acc", "eda"])
    pool.add(*_embeddings(values, present))
    assert pool.scores()["pool/acc-eda"] == 3
    assert pool.scores()["r1/acc-eda"] == 1.0


def test_a_pair_without_two_windows_has_no_score_and_a_point_has_rank_zero() -> None:
    values = torch.ones(3, 2, 4) / 2
    present = torch.tensor([[1, 1], [1, 0], [1, 0]], dtype=torch.bool)
    pool = Pool(["acc", "eda"])
    assert pool.scores() == {}
    pool.add(*_embeddings(values, present))
    assert pool.scores() == {"effective_rank/acc": 0.0}


def test_pool_stops_growing() -> None:
    generator = torch.Generator().manual_seed(0)
    pool = Pool(["acc", "eda"])
    for _ in range(3):
        values = torch.randn(POOL // 2 - 3, 2, 4, generator=generator)
        pool.add(*_embeddings(values, torch.ones(len(values), 2, dtype=torch.bool)))
    scores = pool.scores()
    assert scores["pool/acc-eda"] == POOL
    # Unrelated spaces: chance is 1 / POOL in each direction.
    assert scores["r1/acc-eda"] < 10 / POOL
    assert math.isfinite(scores["effective_rank/eda"])
