"""How many seconds each sample of an irregular series stands for."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def durations(observed: Bool[Tensor, "batch time"], spacing_s: float, *, most_s: float) -> Float[Tensor, "batch time"]:
    """Seconds from half way to the observed sample before to half way to the one after; 0 where unobserved.

    Sums weighted by them are integrals over time: many samples of a moment count as the moment does, whatever the
    sampling rate. The first and the last sample reach to the ends of the window.

    Args:
        spacing_s: Seconds between two places of the grid, observed or not; each lies in the middle of its interval.
        most_s: No side reaches further than half of it, so that a sample beside a long gap does not speak for it.
    """
    count = observed.shape[1]
    place = torch.arange(count, device=observed.device).expand_as(observed)
    before = torch.where(observed, place, -1).cummax(1).values
    after = torch.where(observed, place, count).flip(1).cummin(1).values.flip(1)
    # A sample's neighbours lie strictly before and after it; past the ends there is none.
    before = torch.cat((before.new_full((len(before), 1), -1), before[:, :-1]), dim=1)
    after = torch.cat((after[:, 1:], after.new_full((len(after), 1), count)), dim=1)
    to_before = torch.where(before < 0, place + 0.5, (place - before) / 2)
    to_after = torch.where(after >= count, count - place - 0.5, (after - place) / 2)
    reach = most_s / 2
    seconds = (to_before * spacing_s).clamp(max=reach) + (to_after * spacing_s).clamp(max=reach)
    return torch.where(observed, seconds, 0.0)
