"""What glucose does under a plan: the meal law with a person's own numbers, and a decoder on frozen encoder states.

The *edit encoder* is the law (`meal_response.py`): doses and meals of the past and of the plan, played with what the
person has shown; under a plan less under none is its effect. The *decoder* (`series_forecast.py`) says from embeddings
of the frozen encoder, the moment, and the law's course without a plan what comes beside it. It never sees the plan, so
all plans of a moment are moved alike: an effect rests on the law alone, and what goes with a treatment is not taken for
what the treatment does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from hdt_fm.heads.meal_response import MealResponse
from hdt_fm.heads.series_forecast import SeriesForecast
from hdt_fm.layers import meal_law
from hdt_fm.layers.moment import Kind
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.lives import STEP_MINUTES, Lives
from hdt_fm.schema.protocols import HeadInput

TRAITS = 2
LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


class PlanResponse(nn.Module):
    """Both parts as one head of a checkpoint.

    Args:
        known, in_features, kind, width, members, hidden, dropout: Of the decoder, see `SeriesForecast`.
        minutes: After a moment that are answered, rising, in steps of 5.
        levels: Of quantiles.
        asked: What this head must be told and what it answers (a `ForecastTask`), as plain values. Kept, not read here.
        habits: How training people dose (`hdt_fm.twin.what_if.habits.Habits`), as plain values. Kept, not read here.

    Units: mg/dL, U, g, minutes.

    Raises:
        ConfigError: If the minutes do not rise in steps of 5, or the decoder cannot be built.
    """

    def __init__(
        self,
        *,
        known: int,
        in_features: int = 0,
        minutes: Sequence[int],
        levels: Sequence[float] = LEVELS,
        kind: Kind = "gru",
        width: int = 32,
        members: int = 3,
        hidden: int = 128,
        dropout: float = 0.1,
        asked: Mapping[str, Any] | None = None,
        habits: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        steps = np.diff([0, *minutes])
        if not len(minutes) or (steps <= 0).any() or (steps % STEP_MINUTES).any():
            raise ConfigError(
                "The head cannot be built",
                where="heads/plan_response.minutes",
                expected=f"rising minutes in steps of {STEP_MINUTES}",
                got=str(list(minutes)),
            )
        self.minutes, self.asked, self.habits = tuple(minutes), dict(asked or {}), dict(habits or {})
        self.decoder = SeriesForecast(
            known=known + len(self.minutes),
            in_features=in_features,
            horizons=len(self.minutes),
            levels=levels,
            kind=kind,
            width=width,
            members=members,
            hidden=hidden,
            dropout=dropout,
        )
        numbers = len(meal_law.NUMBERS)
        for name in ("basal_center", "noise", "memory", "repeats", "share"):
            self.register_buffer(f"law_{name}", torch.full((), torch.nan, dtype=torch.float64))
        self._table("law_by_trait", TRAITS, numbers)
        self._table("law_spread", numbers, numbers)
        self._table("law_level_sd", len(self.minutes))
        self._table("law_effect_sd", 2, len(self.minutes))

    def _table(self, name: str, *shape: int) -> None:
        self.register_buffer(name, torch.full(shape, torch.nan, dtype=torch.float64))

    @property
    def levels(self) -> tuple[float, ...]:
        return self.decoder.levels

    @property
    def law(self) -> MealResponse:
        """What was learned of doses and meals.

        Raises:
            ConfigError: If nothing was learned yet.
        """
        law = {name.removeprefix("law_"): value for name, value in self.named_buffers() if name.startswith("law_")}
        if not all(value.isfinite().all() for value in law.values()):
            raise ConfigError("Nothing was learned yet", where="PlanResponse", fix="call `learn_law` first")
        return MealResponse.of({name: value.numpy() for name, value in law.items()}, minutes=self.minutes)

    @torch.no_grad()
    def learn_law(self, first: Lives, second: Lives) -> None:
        """See `MealResponse.learn`."""
        law = MealResponse(minutes=self.minutes)
        law.learn(first, second)
        for name, value in law.arrays().items():
            self.get_buffer(f"law_{name}").copy_(torch.from_numpy(np.asarray(value, dtype=np.float64)))

    @property
    def trainable(self) -> int:
        """Numbers that training moves: the decoder's weights and the law's."""
        law = sum(value.numel() for name, value in self.named_buffers() if name.startswith("law_"))
        return law + sum(value.numel() for value in self.decoder.parameters())


def beside_law(inputs: HeadInput, nothing: Float[np.ndarray, "moment minute"]) -> HeadInput:
    """What the decoder is told: of the law how far it goes from the newest reading if nothing is taken."""
    assert inputs.recent is not None
    assert inputs.known is not None
    change = torch.from_numpy(nothing) - inputs.recent[:, -1:]
    return replace(inputs, known=torch.cat([inputs.known, change.to(inputs.known.dtype)], dim=1))


def quantiles(
    effect: Float[np.ndarray, "moment plan minute"], said: Float[np.ndarray, "moment minute mean_and_level"]
) -> Float[np.ndarray, "moment plan minute mean_and_level"]:
    """Mean and quantiles under each plan: the law's effect of it, on what comes without a plan; not cut."""
    out: np.ndarray = effect[..., None] + said[:, None]
    return out
