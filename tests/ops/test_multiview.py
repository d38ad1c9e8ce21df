"""Shared and own directions: what they find, what they must not read, and what they are in simple cases."""

import pytest
import torch

from hdt_fm.ops.multiview import own_directions, shared_directions
from hdt_fm.schema.errors import ConfigError

ROWS = 500


def views(shared=3, own=5, widths=(12, 9, 10)):
    """Each view mixes a common state with a state of its own; centered."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    common = normal(ROWS, shared)
    found = []
    for width in widths:
        view = common @ normal(shared, width) + 0.8 * normal(ROWS, own) @ normal(own, width)
        found.append(view + 0.1 * normal(ROWS, width))
    return common, [view - view.mean(0) for view in found]


def explained(target, by):
    """Share of the variance of `target` that is linear in `by`."""
    fit = by @ torch.linalg.lstsq(by, target).solution
    return float(1 - (target - fit).square().sum() / (target - target.mean(0)).square().sum())


def test_shared_directions_read_the_common_state_from_every_view():
    common, tables = views()
    directions = shared_directions(tables, torch.ones(ROWS, 3, dtype=torch.bool), dim=3, ridge=0.01)
    first, second, third = (table @ some for table, some in zip(tables, directions, strict=True))
    for scores in (first, second, third):
        assert explained(common, scores) > 0.9
    # In one space: the same component of two views is the same thing, and no other.
    between = torch.corrcoef(torch.cat((first, second), dim=1).T)[:3, 3:]
    assert between.diagonal().min() > 0.8
    assert (between - between.diagonal().diag()).abs().max() < 0.3


def test_rows_are_read_only_where_both_views_are_present():
    _, tables = views()
    present = torch.ones(ROWS, 3, dtype=torch.bool)
    present[::3, 0] = False
    before = shared_directions(tables, present, dim=4, ridge=0.1)
    tables[0][::3] = float("nan")
    for some, other in zip(before, shared_directions(tables, present, dim=4, ridge=0.1), strict=True):
        assert torch.equal(some, other)


def test_own_directions_are_what_the_shared_ones_leave():
    common, tables = views()
    directions = shared_directions(tables, torch.ones(ROWS, 3, dtype=torch.bool), dim=3, ridge=0.01)
    rows, shared = tables[0], directions[0]
    own = own_directions(rows, shared, count=5, ridge=0.0)
    scores = rows @ own
    assert explained(rows, torch.cat((rows @ shared, scores), dim=1)) > 0.98
    assert (scores.T @ (rows @ shared) / ROWS).abs().max() < 1e-8
    torch.testing.assert_close(scores.T @ scores / ROWS, torch.eye(5, dtype=torch.float64), atol=1e-6, rtol=0)
    assert explained(common, scores) < 0.2


def test_directions_past_the_rank_are_zero():
    _, tables = views(widths=(4, 3, 3))
    directions = shared_directions(tables, torch.ones(ROWS, 3, dtype=torch.bool), dim=20, ridge=0.1)
    assert [tuple(some.shape) for some in directions] == [(4, 20), (3, 20), (3, 20)]
    assert (directions[0][:, 10:] == 0).all()
    own = own_directions(tables[1], directions[1][:, :2], count=6, ridge=0.1)
    assert own.shape == (3, 6)
    assert (own[:, 3:] == 0).all()


def test_views_that_never_meet_are_refused():
    _, tables = views()
    present = torch.zeros(ROWS, 3, dtype=torch.bool)
    present[torch.arange(ROWS), torch.arange(ROWS) % 3] = True
    with pytest.raises(ConfigError, match="No two modalities"):
        shared_directions(tables, present, dim=4, ridge=0.1)
