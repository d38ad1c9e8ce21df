"""Scores of maps against hand numbers: a perfect map, a flat one, a wrong one, a random one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hdt_fm.explain.fitness.planted import Planted
from hdt_fm.explain.fitness.score import random_map, score, smoothed
from hdt_fm.schema.batch import Batch, Signal


@pytest.fixture
def planted() -> Planted:
    """Two windows of ppg (one channel, 10 samples) and acc (two channels, 5), acc absent from the second."""
    present = torch.tensor([[True, True], [True, False]])
    observed = torch.ones(2, 10, dtype=torch.bool)
    observed[0, 8:] = False
    ppg = Signal(torch.zeros(2, 1, 10), observed, 2.0)
    acc = Signal(torch.zeros(2, 2, 5), present[:, 1:].expand(2, 5), 1.0)
    truth = torch.zeros(2, 1, 10, dtype=torch.bool)
    truth[0, 0, 2:4] = True
    truth[1, 0, 5:6] = True
    row = torch.arange(2)
    batch = Batch(("ppg", "acc"), {"ppg": ppg, "acc": acc}, present, row, row.float(), row)
    return Planted(batch, "motif", "ppg", torch.tensor([0, 1]), truth, torch.zeros(2, dtype=torch.long))


def test_the_truth_itself_scores_one(planted: Planted) -> None:
    found = score(planted, {"ppg": -planted.truth.numpy().astype(float), "acc": np.zeros((2, 2, 5))}, width=0.0)
    np.testing.assert_array_equal(found.auprc, [1.0, 1.0])
    np.testing.assert_array_equal(found.channel, [1.0, 1.0])
    np.testing.assert_array_equal(found.pointing, [1.0, 1.0])
    assert found.spill == 0.0
    np.testing.assert_allclose(found.prevalence, [2 / 8, 1 / 10])
    assert found.channels.tolist() == [3, 1]
    assert found.modalities.tolist() == [2, 1]


def test_a_flat_map_scores_the_prevalence(planted: Planted) -> None:
    found = score(planted, {"ppg": np.ones((2, 1, 10)), "acc": np.zeros((2, 2, 5))}, width=0.0)
    np.testing.assert_allclose(found.auprc, found.prevalence)
    np.testing.assert_allclose(found.pointing, found.prevalence)
    # Two samples were not observed: credit there is a fault, and is told.
    assert found.spill == 1.0


def test_shares_by_hand(planted: Planted) -> None:
    credit = {"ppg": np.zeros((2, 1, 10)), "acc": np.zeros((2, 2, 5))}
    credit["ppg"][0, 0, :3] = (1.0, -1.0, 4.0)
    credit["acc"][0, 1, 0] = -2.0
    found = score(planted, credit, width=0.0)
    np.testing.assert_allclose(found.modality, [6 / 8, 0.0])
    np.testing.assert_allclose(found.channel, [6 / 8, 0.0])
    # The planted 4 comes first; the other half of the truth is among the last ties, at 2 / 8.
    np.testing.assert_allclose(found.auprc[0], 0.5 * 1 + 0.5 * 2 / 8)
    assert found.pointing[0] == 1.0


def test_an_event_that_nobody_observed_has_no_score(planted: Planted) -> None:
    hidden = replace(planted, truth=torch.zeros_like(planted.truth))
    found = score(hidden, {"ppg": np.ones((2, 1, 10))})
    assert np.isnan(found.auprc).all()
    assert np.isnan(found.pointing).all()


def test_smoothing_is_a_mean_over_what_was_observed() -> None:
    credit = np.array([[[0.0, -3.0, 0.0, 6.0, 9.0, 0.0]]])
    observed = np.array([[True, True, True, True, False, True]])
    near = smoothed(credit, observed, width=0.4)
    np.testing.assert_allclose(near, [[[1.5, 1.0, 3.0, 3.0, 3.0, 0.0]]])
    np.testing.assert_array_equal(smoothed(credit, observed, width=0.0), np.abs(credit))


def test_a_random_map_is_at_chance_and_clear_where_nothing_was_seen(planted: Planted) -> None:
    rows = torch.zeros(400, dtype=torch.long)
    many = replace(
        planted,
        batch=planted.batch.select(rows),
        label=planted.label[rows],
        truth=planted.truth[rows],
        channel=planted.channel[rows],
    )
    found = score(many, random_map(many, seed=0), width=0.0)
    assert found.spill == 0.0
    assert abs(found.pointing.mean() - 0.25) < 0.07
    # Noise of one size in every second: 8 samples at 2 Hz give 4, 2 x 5 at 1 Hz give 10.
    assert abs(found.channel.mean() - 4 / 14) < 0.02
