"""How the rows of a batch lie in several processes, and what processes exchange of them."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, distributed


@dataclass(frozen=True)
class Rows:
    """How the rows of a batch lie in processes, in the order of ranks.

    Attributes:
        counts: Of each process.
        rank: This process.
    """

    counts: tuple[int, ...]
    rank: int

    @classmethod
    def of(cls, rows: int, device: torch.device) -> "Rows":
        """Ask all processes how many they have."""
        mine = torch.tensor([rows], device=device)
        counts = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
        distributed.all_gather(counts, mine)
        return cls(tuple(int(count) for count in counts), distributed.get_rank())

    @property
    def mine(self) -> slice:
        """Place of this process's rows among all."""
        return slice(sum(self.counts[: self.rank]), sum(self.counts[: self.rank + 1]))

    def gather(self, rows: Shaped[Tensor, "row ..."]) -> Shaped[Tensor, "all ..."]:
        """Rows of all processes; without gradient."""
        # Collectives need equal shapes: short ones are filled up.
        sent = rows.new_zeros(max(self.counts), *rows.shape[1:])
        sent[: len(rows)] = rows.detach()
        received = [torch.empty_like(sent) for _ in self.counts]
        distributed.all_gather(received, sent)
        return torch.cat([part[:count] for part, count in zip(received, self.counts, strict=True)])

    def sum_to_owners(self, rows: Float[Tensor, "all ..."]) -> Float[Tensor, "row ..."]:
        """Each process's own rows of the sum over processes."""
        sent = rows.new_zeros(len(self.counts), max(self.counts), *rows.shape[1:])
        for rank, part in enumerate(rows.split(self.counts)):
            sent[rank, : len(part)] = part
        own = torch.empty_like(sent[0])
        distributed.reduce_scatter_tensor(own, sent.flatten(0, 1))
        return own[: self.counts[self.rank]]


class Known(NamedTuple):
    """What is known of all rows of a batch, and where this process's lie among them (None: they are all)."""

    rows: Rows | None
    present: Bool[Tensor, "all modality"]
    subject: Int[Tensor, " all"] | None
    time_s: Float[Tensor, " all"] | None
    weight: Float[Tensor, " all"] | None


def of_all_rows(
    spread: bool, present: Tensor, subject: Tensor | None, time_s: Tensor | None, weight: Tensor | None = None
) -> Known:
    """What is given, of the rows of all processes where the batch is spread over them; all know a thing, or none."""
    if not spread:
        return Known(None, present, subject, time_s, weight)
    rows = Rows.of(len(present), present.device)
    known = (None if one is None else rows.gather(one) for one in (subject, time_s, weight))
    return Known(rows, rows.gather(present), *known)
