"""The meal law in torch: what doses and meals do to glucose, step by step, with slopes down to every dose.

The same law as `layers/meal_law.py` has in numpy; tests hold whole courses of both to each other.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hdt_fm.schema.lives import STEP_MINUTES

# In the order of a row of numbers, with the logarithms and log-odds that they are.
NUMBERS = (
    *("level", "fades", "uptake", "liver", "gain", "depot", "uptake_rate", "liver_rate", "gut", "stomach"),
    *("fast", "power", "shown", "exchange"),
)
PASSING = ("depot", "uptake_rate", "liver_rate", "gut", "stomach", "shown", "exchange")
MOST_POWER, FASTEST_PER_MIN = 4.0, 3.0
SHARE_OF_LEVEL = (0.04, 4.0)


@dataclass(frozen=True)
class Body:
    """All that is on board of each row; insulin in U and U/min, carbohydrate in g, glucose in mg/dL."""

    skin: tuple[Tensor, Tensor]
    acts: tuple[Tensor, Tensor, Tensor]
    stomach: tuple[Tensor, Tensor]
    gut: Tensor
    blood: Tensor
    tissue: Tensor
    shown: Tensor

    def higher(self, by: Tensor) -> "Body":
        """Glucose so much higher everywhere."""
        return self._with(self.blood + by, self.tissue + by, self.shown + by)

    def twice(self) -> "Body":
        """The rows, and the same rows again."""
        skin, acts, stomach = (tuple(twice(one) for one in some) for some in (self.skin, self.acts, self.stomach))
        return Body(skin, acts, stomach, *map(twice, (self.gut, self.blood, self.tissue, self.shown)))  # type: ignore[arg-type]

    def _with(self, blood: Tensor, tissue: Tensor, shown: Tensor) -> "Body":
        return Body(self.skin, self.acts, self.stomach, self.gut, blood, tissue, shown)


class MealLaw(nn.Module):
    """Own numbers of people for the meal law, a row each, and one step of 5 minutes of it."""

    def __init__(self, numbers: Float[Tensor, "row number"]) -> None:
        super().__init__()
        # No weights: drawn at random they are no law of a body, and its steps no longer stay finite.
        self.register_buffer("numbers", numbers.double())

    def of(self, rows: Tensor) -> dict[str, Tensor]:
        """Of these rows as a step uses them: rates have become shares that pass within it."""
        value = dict(zip(NUMBERS, self.numbers[rows].T, strict=True))  # type: ignore[index]
        found = {name: value[name].exp() for name in ("level", "fades", "uptake", "liver", "gain")}
        for name in PASSING:
            found[name] = -torch.expm1(-value[name].exp().clamp(max=FASTEST_PER_MIN) * STEP_MINUTES)
        for name in ("fades", "uptake", "liver"):
            found[name] = found[name] * STEP_MINUTES
        return {**found, "fast": value["fast"].sigmoid(), "power": MOST_POWER * value["power"].sigmoid()}

    def forward(self, by: dict[str, Tensor], body: Body, units: Tensor, grams: Tensor) -> Body:
        """After a dose and a meal at the beginning of a step."""
        leaves = (body.skin[0] + units) * by["depot"]
        first, second = body.skin[0] + units - leaves, body.skin[1] + leaves
        leaves = second * by["depot"]
        insulin = leaves / STEP_MINUTES
        uptake = body.acts[0] + by["uptake_rate"] * (insulin - body.acts[0])
        early = body.acts[1] + by["liver_rate"] * (insulin - body.acts[1])
        late = body.acts[2] + by["liver_rate"] * (early - body.acts[2])
        fast, slow = body.stomach[0] + by["fast"] * grams, body.stomach[1] + (1 - by["fast"]) * grams
        fast_out, slow_out = fast * by["gut"], slow * by["stomach"]
        gut = body.gut + fast_out + slow_out
        eaten = gut * by["gut"]
        beside = (body.tissue / by["level"]).clamp(*SHARE_OF_LEVEL) ** by["power"]
        taken = by["uptake"] * torch.where(uptake > 0, uptake * beside, uptake)
        blood = body.blood + by["fades"] * (by["level"] - body.blood) - by["liver"] * late + by["gain"] * eaten
        passes = by["exchange"] * (blood - body.tissue)
        return Body(
            skin=(first, second - leaves),
            acts=(uptake, early, late),
            stomach=(fast - fast_out, slow - slow_out),
            gut=gut - eaten,
            blood=blood - passes,
            tissue=body.tissue + passes - taken,
            shown=body.shown + by["shown"] * (blood - passes - body.shown),
        )

    def at_rest(self, by: dict[str, Tensor]) -> Body:
        """Nothing on board, glucose at the person's level."""
        none, level = torch.zeros_like(by["level"]), by["level"]
        return Body((none, none), (none, none, none), (none, none), none, level, level, level)


def twice(one: Tensor) -> Tensor:
    """The rows, and the same rows again."""
    return torch.cat([one, one])
