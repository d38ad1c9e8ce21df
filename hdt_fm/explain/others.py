"""Other windows as the reference: credit for what tells this window from those of other people."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from hdt_fm.explain.binding import signals_of
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ExplainError

INSTEAD = "choose reference window_mean"


@dataclass(frozen=True)
class Others:
    """References drawn from other windows, several for each window; credit is the mean over them.

    Attributes:
        windows: To draw from, e.g. some of the training people's; of the same modalities, rates and lengths.
        draws: How many each window is held against.
        seed: Of the draws.

    Source: expected gradients (Erion et al. 2021), here for every method.
    """

    windows: Batch
    draws: int = 4
    seed: int = 0

    def aligned(self, batch: Batch) -> Iterator[Batch]:
        """`draws` batches as long as `batch`: row k is what row k is held against, never a window of the same person.

        One that holds all that the window holds is preferred. Draws start from the window's own id, so that a window
        is held against the same others whatever it is explained beside.

        Raises:
            ExplainError: If there is no window of another person, or one of another length.
        """
        self._refuse_misfits(batch)
        names = [name for name in signals_of(batch) if name in batch.signals]
        holds = self.windows.over(names).present.cpu().numpy()
        wants = batch.over(names).present.cpu().numpy()
        lacking = (wants[:, None] & ~holds[None]).sum(-1)
        own = (batch.subject[:, None] == self.windows.subject[None]).cpu().numpy()
        if own.all(1).any():
            raise ExplainError("There is no window of another person to hold these against", fix=INSTEAD)
        keys = [[self.seed, one % 2**64] for one in batch.window_id.tolist()]
        # Order at random, then by what is lacking: a stable sort keeps the draw among equals.
        shuffled = np.stack([np.random.default_rng(key).permutation(len(self.windows)) for key in keys])
        order = np.take_along_axis(lacking, shuffled, 1).argsort(1, kind="stable")
        ranked = np.take_along_axis(shuffled, order, 1)
        # Windows of the same person come last, behind as many as may be drawn.
        ranked = np.take_along_axis(ranked, np.take_along_axis(own, ranked, 1).argsort(1, kind="stable"), 1)
        able, rows = (~own).sum(1), np.arange(len(batch))
        for draw in range(self.draws):
            yield self.windows.select(torch.from_numpy(ranked[rows, draw % able]))

    def _refuse_misfits(self, batch: Batch) -> None:
        if not len(self.windows):
            raise ExplainError("There is no other window to hold these against", fix=INSTEAD)
        for name in signals_of(batch):
            if name not in batch.signals or name not in self.windows.signals:
                continue
            here, there = batch.signals[name].values.shape[1:], self.windows.signals[name].values.shape[1:]
            if here != there:
                raise ExplainError(
                    "Other windows have another shape",
                    where=f"modality {name}",
                    expected=f"(channel, time) {tuple(here)}",
                    got=str(tuple(there)),
                    fix="take them from the same shards",
                )
