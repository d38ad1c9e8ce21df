"""Reductions over context windows by hand numbers."""

import torch

from hdt_fm.layers.context import last_known, masked_mean


def test_masked_mean_reads_observed_windows_only():
    values = torch.tensor([[[1.0], [3.0], [torch.nan]], [[9.0], [9.0], [9.0]]])
    observed = torch.tensor([[True, True, False], [False, False, False]])
    torch.testing.assert_close(masked_mean(values, observed), torch.tensor([[2.0], [0.0]]))


def test_last_known_is_the_newest_number():
    nan = torch.nan
    values = torch.tensor([[1.0, 2.0, nan], [nan, nan, nan], [5.0, nan, 0.0]])
    last, known = last_known(values)
    assert last.tolist() == [2.0, 0.0, 0.0]
    assert known.tolist() == [True, False, True]
