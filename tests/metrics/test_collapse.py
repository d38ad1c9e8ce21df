"""Signs of collapse in closed form."""

import math

import numpy as np
import pytest

from hdt_fm.metrics.collapse import alignment, effective_rank, uniformity


def test_effective_rank_of_a_point_a_line_and_a_ball():
    assert effective_rank(np.ones((20, 5)) * 0.3) == 0
    line = np.outer(np.linspace(-1, 1, 20), np.arange(1, 6)) + 7
    assert effective_rank(line) == pytest.approx(1)
    assert effective_rank(np.concatenate((np.eye(5), -np.eye(5)))) == pytest.approx(5)
    # Singular values 3 and 1: entropy of (3/4, 1/4).
    two = np.array([[3.0, 0], [-3, 0], [0, 1], [0, -1]])
    assert effective_rank(two) == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))


def test_alignment_of_equal_opposite_and_orthogonal_partners():
    eye = np.eye(3)
    assert alignment(eye, eye) == 0
    assert alignment(eye, -eye) == 4
    assert alignment(eye, np.roll(eye, 1, 0)) == 2


def test_uniformity_by_hand():
    assert uniformity(np.ones((4, 1))) == 0
    assert uniformity(np.eye(3)) == pytest.approx(-4)
    assert math.isnan(uniformity(np.eye(3)[:1]))
