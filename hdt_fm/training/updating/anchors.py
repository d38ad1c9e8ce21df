"""Anchors: which weights mattered for what was learned, so that a new domain moves the others (EWC)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hdt_fm.training.members import HasMembers
from hdt_fm.training.updating.rows import Taught, read

ROWS = 256


@dataclass(frozen=True)
class Anchor:
    """Where a member's weights were, and how much each mattered, summed over domains."""

    at: dict[str, Tensor]
    mattered: dict[str, Tensor]

    def penalty(self, member: nn.Module) -> Tensor:
        """How far they have gone, each by how much it mattered."""
        named = dict(member.named_parameters())
        moved = [(self.mattered[name] * (named[name] - at) ** 2).sum() for name, at in self.at.items()]
        return torch.stack(moved).sum()


def anchors_of(
    head: HasMembers, rows: Taught, before: Sequence[Anchor] = (), *, most: int = ROWS, seed: int = 0
) -> tuple[Anchor, ...]:
    """One for each member, where it stands now.

    How much a weight matters is the mean square of the loss's slope, row by row (the empirical Fisher information),
    added to what it mattered before.

    Source: Kirkpatrick et al. 2017, with the sum over tasks of Schwarz et al. 2018.
    """
    draws = np.random.default_rng([seed, 3])
    known = draws.permutation(np.flatnonzero(np.isfinite(rows.target).any(axis=1)))[:most]
    inputs, target = torch.from_numpy(rows.inputs[known]), torch.from_numpy(rows.target[known])
    out = []
    for number, member in enumerate(head.members):
        at = {name: one.detach().clone() for name, one in member.named_parameters()}
        mattered = {name: torch.zeros_like(one) for name, one in at.items()}
        # Row by row: the square of a mean slope is not the mean square.
        for one, came in zip(inputs, target, strict=True):
            loss = head.member_loss(member(read(rows.layout, one[None])), came[None])
            slopes = torch.autograd.grad(loss, list(member.parameters()))
            for name, slope in zip(at, slopes, strict=True):
                mattered[name] += slope.square() / len(inputs)
        if before:
            mattered = {name: one + before[number].mattered[name] for name, one in mattered.items()}
        out.append(Anchor(at, mattered))
    return tuple(out)
