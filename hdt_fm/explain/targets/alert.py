"""The score that a night's alert rests on, as a function of the night's indicators, and its exact parts.

A night is compared with the person's usual nights: what is usual, how far nights differ and how indicators go together
were learned from the nights before, and are held. Then the score (`hdt_fm/twin/alert/score.py`) is a sum with one term
for each indicator that was measured: how far it is from what was expected times its weight, where a direction is known;
its square, where either way counts. So no path and no sample of coalitions is needed: the terms are the Shapley values,
against a night just as expected, to the last digit. Which indicators were measured is no player: weights depend on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ExplainError

# As `twin/alert/score.py` has them; a test compares scores.
MOST_SHIFT, MOST_SURPRISE, MOST_SQUARE = 4.0, 3.0, 25.0
FEWEST_NIGHTS = 4.0


@dataclass(frozen=True)
class UsualNight:
    """What was learned of a person's nights, for each indicator of one channel.

    Attributes:
        names: Of indicators.
        expected: Tonight, by the usual and the last nights, in the indicator's unit.
        chance: SD of what is left to chance, in that unit.
        shift: What illness adds, in SDs of a night; all 0 where either way counts.
        between: Correlations of surprises.
        nights: That these were learned from.
    """

    names: tuple[str, ...]
    expected: Float[np.ndarray, " indicator"]
    chance: Float[np.ndarray, " indicator"]
    shift: Float[np.ndarray, " indicator"]
    between: Float[np.ndarray, "indicator indicator"]
    nights: float


class AlertTarget(nn.Module):
    """Nights -> (batch, 1), the channel's score: high is unlike the person.

    The last sample of each indicator's signal is the night's; one that is not observed was not measured.

    Raises:
        ExplainError: If a night has none of the indicators.
    """

    def __init__(self, usual: UsualNight) -> None:
        super().__init__()
        self.usual = usual
        for name in ("expected", "chance", "shift", "between"):
            self.register_buffer(name, torch.from_numpy(np.asarray(getattr(usual, name), dtype=np.float64)))

    def forward(self, batch: Batch) -> Float[Tensor, "batch score"]:
        values, known = self._tonight(batch)
        return self._parts(values, known).sum(1, keepdim=True) - self._of_chance(known)

    def parts(self, batch: Batch) -> Mapping[str, Float[np.ndarray, " batch"]]:
        """What each indicator adds to the score beyond a night just as expected; 0 where it was not measured."""
        with torch.no_grad():
            found = self._parts(*self._tonight(batch)).numpy()
        return {name: found[:, place] for place, name in enumerate(self.usual.names)}

    def _tonight(self, batch: Batch) -> tuple[Tensor, Bool[Tensor, "batch indicator"]]:
        values = torch.zeros(len(batch), len(self.usual.names), dtype=torch.float64)
        known = torch.zeros(values.shape, dtype=torch.bool)
        columns = []
        for place, name in enumerate(self.usual.names):
            if name in batch.signals:
                known[:, place] = batch.signals[name].observed[:, -1] & batch.column(name)
                columns.append(batch.signals[name].values[:, 0, -1].double())
            else:
                columns.append(values[:, place])
        if not known.any(1).all():
            raise ExplainError(
                "A night has no indicator that is watched",
                expected=f"some of: {', '.join(self.usual.names)}",
                fix="choose a night that was measured",
            )
        return torch.stack(columns, dim=1), known

    def _parts(self, values: Tensor, known: Tensor) -> Float[Tensor, "batch indicator"]:
        surprise = torch.where(known, (values - self.expected) / self.chance, 0.0)  # type: ignore[operator]
        if not bool((self.shift != 0).any()):  # type: ignore[union-attr]
            return surprise.square().clamp(max=MOST_SQUARE) / (2.0 * _counted(known)).sqrt()
        if len(self.usual.names) == 1:
            return surprise * self.shift.sign()  # type: ignore[operator]
        weight, size = self._weights(known)
        return weight * surprise.clamp(-MOST_SURPRISE, MOST_SURPRISE) / size

    def _of_chance(self, known: Tensor) -> Float[Tensor, "batch 1"]:
        """What squares add up to by chance."""
        if bool((self.shift != 0).any()):  # type: ignore[union-attr]
            return torch.zeros(len(known), 1, dtype=torch.float64)
        return (_counted(known) / 2.0).sqrt()

    def _weights(self, known: Tensor) -> tuple[Tensor, Float[Tensor, "batch 1"]]:
        """By how much each indicator that was measured speaks for illness, and the SD of the sum of all."""
        between: Tensor = self.between  # type: ignore[assignment]
        pair = known[:, :, None] & known[:, None, :]
        both = torch.where(pair, between, torch.eye(len(between), dtype=torch.float64))
        shift = torch.where(known, self.shift.clamp(-MOST_SHIFT, MOST_SHIFT), 0.0)  # type: ignore[operator]
        weight = torch.linalg.solve(both, shift[..., None])[..., 0]
        weight = torch.where(weight * shift > 0, weight, 0.0)
        size = torch.einsum("bi,ij,bj->b", weight, between, weight).sqrt()
        learned = 1 + (_counted(known)[:, 0] - 1) / max(self.usual.nights, FEWEST_NIGHTS)
        return weight, (size * learned.sqrt())[:, None]


def _counted(known: Bool[Tensor, "batch indicator"]) -> Float[Tensor, "batch 1"]:
    """As double numbers: a whole number times a float would be rounded as a single one."""
    return known.sum(1, keepdim=True).double()
