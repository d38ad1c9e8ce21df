"""How long each sample stands for: by hand, as an integral, and against a loop."""

from itertools import pairwise

import pytest
import torch

from hdt_fm.layers.durations import durations


def rows(*masks):
    return torch.tensor([[mark == "x" for mark in mask] for mask in masks])


def test_by_hand():
    observed = rows("xxxx", "x..x", ".x..", "....")
    expected = torch.tensor([[2.0, 2, 2, 2], [4, 0, 0, 4], [0, 8, 0, 0], [0, 0, 0, 0]])
    torch.testing.assert_close(durations(observed, 2.0, most_s=100.0), expected)


def test_no_side_reaches_past_half_of_the_most():
    # Sides of 1 + 2, 2 + 1; 3 + 4 (the ends of the window); at most 2.5 each.
    observed = rows("x..x", ".x..")
    expected = torch.tensor([[3.5, 0, 0, 3.5], [0, 5.0, 0, 0]])
    torch.testing.assert_close(durations(observed, 2.0, most_s=5.0), expected)


@pytest.mark.parametrize("most_s", [7.0, 1e9])
def test_against_a_loop(most_s):
    observed = torch.rand(9, 23, generator=torch.Generator().manual_seed(0)) < 0.3
    found = durations(observed, 3.0, most_s=most_s)
    for row, mask in enumerate(observed.tolist()):
        middles = [3.0 * (k + 0.5) for k, there in enumerate(mask) if there]
        edges = [0.0, *((a + b) / 2 for a, b in pairwise(middles)), 69.0]
        sides = (
            [
                min(middle - low, most_s / 2) + min(high - middle, most_s / 2)
                for middle, low, high in zip(middles, edges[:-1], edges[1:], strict=True)
            ]
            if middles
            else []
        )
        torch.testing.assert_close(found[row][observed[row]], torch.tensor(sides))


def test_weights_make_a_mean_an_integral_over_time():
    """A curve seen densely in its first half only: the plain mean follows the samples, the weighted one the clock."""
    time = (torch.arange(400) + 0.5) / 400
    curve = time**2
    observed = (torch.arange(400) < 200) | (torch.arange(400) % 20 == 10)
    weight = durations(observed[None], 1 / 400, most_s=1.0)[0]
    assert weight.sum().item() == pytest.approx(1)
    assert (weight @ curve).item() == pytest.approx(1 / 3, abs=2e-3)
    assert curve[observed].mean().item() < 0.2
