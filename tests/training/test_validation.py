"""Retrieval and rank of a pool, against spaces whose answer is known."""

import math

import pytest
import torch

from hdt_fm.schema.batch import Batch
from hdt_fm.schema.protocols import Embeddings
from hdt_fm.training.validation import COLLAPSE_WINDOWS, POOL, UNIFORMITY_ROWS, Pool


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
    assert pool.scores() == {"effective_rank/acc": 0.0, "uniformity/acc": 0.0}


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


def test_alignment_and_uniformity_by_hand() -> None:
    # Partners at right angles: a squared distance of 2.
    values = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [0.0, -1.0]]])
    pool = Pool(["acc", "eda"])
    pool.add(*_embeddings(values, torch.ones(2, 2, dtype=torch.bool)))
    scores = pool.scores()
    assert scores["alignment/acc-eda"] == pytest.approx(2.0)
    # One pair of opposite points: squared distance 4, kernel exp(-2 * 4).
    assert scores["uniformity/acc"] == scores["uniformity/eda"] == pytest.approx(-8.0)


def test_uniformity_looks_at_no_more_rows_than_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.nn.functional.normalize(torch.randn(UNIFORMITY_ROWS + 50, 1, 4, generator=generator), dim=-1)
    present = torch.ones(len(values), 1, dtype=torch.bool)
    whole, first = Pool(["acc"]), Pool(["acc"])
    whole.add(*_embeddings(values, present))
    first.add(*_embeddings(values[:UNIFORMITY_ROWS], present[:UNIFORMITY_ROWS]))
    assert whole.scores()["uniformity/acc"] == first.scores()["uniformity/acc"]


@pytest.mark.parametrize(("windows", "found"), [(COLLAPSE_WINDOWS, {"eda"}), (COLLAPSE_WINDOWS - 1, set())])
def test_a_line_has_collapsed_and_a_ball_has_not_when_enough_windows_say_so(windows: int, found: set) -> None:
    generator = torch.Generator().manual_seed(0)
    ball = torch.randn(windows, 6, generator=generator)
    line = torch.randn(windows, 1, generator=generator) * torch.ones(6)
    pool = Pool(["acc", "eda"])
    pool.add(*_embeddings(torch.stack([ball, line], 1), torch.ones(windows, 2, dtype=torch.bool)))
    collapsed = pool.collapsed(pool.scores())
    assert set(collapsed) == found
    assert all(rank == pytest.approx(1.0, abs=1e-3) for rank in collapsed.values())


def test_an_empty_pool_has_not_collapsed() -> None:
    assert Pool(["acc"]).collapsed({}) == {}


def test_facts_about_people_find_no_window_and_cannot_collapse() -> None:
    """Two people's facts fill one direction, whatever the encoder does."""
    size = 2 * COLLAPSE_WINDOWS
    values = torch.nn.functional.normalize(torch.randn(size, 2, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    values[:, 1] = values[torch.arange(size) % 2, 1]
    present = torch.ones(size, 2, dtype=torch.bool)
    for name, judged in (("static", False), ("eda", True)):
        pool = Pool(["acc", name])
        pool.add(*_embeddings(values, present))
        scores = pool.scores()
        assert (f"r1/acc-{name}" in scores) == judged
        assert set(pool.collapsed(scores)) == ({name} if judged else set())
        assert "effective_rank/acc" in scores
