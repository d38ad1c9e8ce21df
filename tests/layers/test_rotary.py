"""Rotary positions: lengths kept, products depend on distance only."""

import torch

from hdt_fm.layers.rotary import rotary_angles, rotate


def test_lengths_stay():
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    turned = rotate(x, rotary_angles(torch.arange(5.0), 8))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert not torch.allclose(turned[:, :, 1:], x[:, :, 1:])


def test_products_depend_on_the_distance_only():
    query, key = torch.randn(1, 1, 1, 8).double(), torch.randn(1, 1, 1, 8).double()

    def product(at, other):
        turned = rotate(query, rotary_angles(torch.tensor([at]), 8))
        return (turned * rotate(key, rotary_angles(torch.tensor([other]), 8))).sum()

    torch.testing.assert_close(product(2.0, 7.0), product(102.0, 107.0), atol=1e-4, rtol=0)
    assert not torch.isclose(product(2.0, 7.0), product(2.0, 9.0))
