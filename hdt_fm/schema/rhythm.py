"""What windows say of a rhythm: a share for each rate, and the rate in the middle."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


def middle_hz(log: Float[Tensor, "batch line"], hz: Float[Tensor, " line"]) -> Float[Tensor, " batch"]:
    """The rate with half of the shares on each side, between lines.

    Args:
        log: Log of what is shared out; it need not add up to 1.
        hz: Equal steps.
    """
    share = torch.softmax(log, dim=-1)
    below = share.cumsum(-1)
    line = (below < 0.5).sum(-1, keepdim=True).clamp(max=len(hz) - 1)
    own, before = share.gather(-1, line), (below - share).gather(-1, line)
    # A line's share is spread evenly over its step.
    between = (0.5 - before) / own - 0.5
    return (hz[0] + (hz[1] - hz[0]) * (line + between)).squeeze(-1).clamp(hz[0], hz[-1])


class RhythmFound(NamedTuple):
    """What each window says of a rhythm.

    Attributes:
        hz: Rates, in equal steps.
        log_share: Log share of each rate; NaN in windows without the modality. Windows of a person add up, since
            each tells of much the same rate anew: their sum, older ones faded, is a sharper answer.
    """

    hz: Float[Tensor, " line"]
    log_share: Float[Tensor, "batch line"]

    def per_minute(self) -> Float[Tensor, " batch"]:
        """The rate in the middle of the shares, per minute; NaN in windows without the modality."""
        known = self.log_share.isfinite().all(-1)
        found = 60 * middle_hz(torch.where(known[:, None], self.log_share, 0.0), self.hz)
        return torch.where(known, found, torch.nan)
