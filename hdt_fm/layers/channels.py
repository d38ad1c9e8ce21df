"""What tells the channels of a modality apart, and what each window's level and spread say."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class ChannelTable(nn.Module):
    """A learned vector for each channel number; all numbers past the end share the last one."""

    def __init__(self, *, width: int, size: int = 16) -> None:
        super().__init__()
        self.table = nn.Embedding(size, width)
        nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, channels: int) -> Float[Tensor, "channel width"]:
        index: Int[Tensor, " channel"] = torch.arange(channels, device=self.table.weight.device)
        return self.table(index.clamp(max=self.table.num_embeddings - 1))


class SummaryToken(nn.Module):
    """Level and spread of each channel -> one vector a window (mean over channels, so any number fits)."""

    def __init__(self, *, width: int, table_size: int = 16) -> None:
        super().__init__()
        self.enter = nn.Linear(2, width)
        self.channel = ChannelTable(width=width, size=table_size)
        # Wider than in the tokens: before a GELU the identity must reach past its bend to matter.
        nn.init.normal_(self.channel.table.weight, std=0.5)
        self.leave = nn.Linear(width, width)

    def forward(self, summary: Float[Tensor, "batch channel 2"]) -> Float[Tensor, "batch width"]:
        hidden = nn.functional.gelu(self.enter(summary) + self.channel(summary.shape[1]))
        return self.leave(hidden.mean(1))
