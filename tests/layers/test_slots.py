"""Slots: closed forms, symmetry, and what is not observed."""

import pytest
import torch

from hdt_fm.layers.slots import slot_means, slot_shares

CPU = torch.device("cpu")


def test_shares_by_hand() -> None:
    # Four patches, two slots with centres at 1/4 and 3/4 of the window; patches lie at 1/8, 3/8, 5/8, 7/8.
    expected = torch.tensor([[1.0, 0.75, 0.25, 0.0], [0.0, 0.25, 0.75, 1.0]])
    assert torch.allclose(slot_shares(4, 2, CPU), expected)


@pytest.mark.parametrize(("count", "slots"), [(1, 6), (6, 6), (7, 3), (60, 6), (5, 1)])
def test_no_patch_is_lost_and_time_reverses_with_the_slots(count: int, slots: int) -> None:
    shares = slot_shares(count, slots, CPU)
    assert torch.allclose(shares.sum(0), torch.ones(count), atol=1e-6)
    assert torch.allclose(shares, shares.flip(0, 1), atol=1e-6)


def test_a_slot_is_the_mean_of_its_own_tokens() -> None:
    tokens = torch.tensor([[[1.0], [3.0], [5.0], [7.0]]])
    shares = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    means = slot_means(tokens, torch.tensor([[1.0, 1.0, 0.5, 1.5]]), shares=shares)
    assert means.squeeze().tolist() == pytest.approx([2.0, (5 * 0.5 + 7 * 1.5) / 2])


def test_an_unobserved_slot_is_zero_and_its_tokens_do_not_matter() -> None:
    shares = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    weight = torch.tensor([[1.0, 1.0, 0.0]])
    first = slot_means(torch.ones(1, 3, 2), weight, shares=shares)
    second = slot_means(torch.tensor([[[1.0, 1.0], [1.0, 1.0], [9.0, -4.0]]]), weight, shares=shares)
    assert torch.equal(first, second)
    assert first[0, 1].tolist() == [0.0, 0.0]


def test_a_moved_event_moves_between_slots() -> None:
    early, late = torch.zeros(1, 12, 1), torch.zeros(1, 12, 1)
    early[0, 1], late[0, 10] = 1.0, 1.0
    shares, weight = slot_shares(12, 3, CPU), torch.ones(1, 12)
    a, b = (slot_means(x, weight, shares=shares) for x in (early, late))
    assert torch.allclose(a, b.flip(1))
    assert not torch.allclose(a, b)
