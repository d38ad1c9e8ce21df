"""What comes under one plan against another, for one person: the answer, and all that says how far to trust it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

# What is asked of glucose: a dose of rapid insulin and a meal.
TREATMENTS = ("bolus", "carbs")
# What is taken so soon is a plan. What comes later answers what glucose does meanwhile, most of all where a pump doses
# by itself: told too, it would be no plan but news of the outcome. A head learns it as what is usual.
PLANNED_MIN = 40
Verdict = Literal["inside", "thin", "outside"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What came after a person's own doses and meals, beside what the law says of them.

    Attributes:
        beyond: What came less what was expected had nothing been taken, mg/dL; NaN where unknown.
        effect: By the law, of the dose and of the meal that were taken, against none of it; mg/dL.
        moment: What is known of the moment (newest reading, its trend, what is on board), in any unit.
        day: Of the record, to take whole days apart.
        minutes: After the action.
    """

    beyond: Float[np.ndarray, "action minute"]
    effect: Float[np.ndarray, "action treatment minute"]
    moment: Float[np.ndarray, "action feature"]
    day: Int[np.ndarray, " action"]
    minutes: tuple[int, ...]


@dataclass(frozen=True)
class Support:
    """Whether people do what a plan asks, at moments like this one.

    Attributes:
        verdict: "inside" answers as it is, "thin" widens, "outside" refuses.
        treatment: The one that decides it.
        density: Of the dose, over that of the likeliest dose at such a moment; 0 to 1.
        effective_size: How many of the person's own actions are like this one (Kish).
        low, high: Doses between which nine in ten lie at such a moment, U or g.
        widen: Factor of the effect's interval; 1 inside.
    """

    verdict: Verdict
    treatment: str
    density: float
    effective_size: float
    low: float
    high: float
    widen: float


@dataclass(frozen=True)
class Refuter:
    """One attempt to show that an effect is not what the record says.

    Attributes:
        name: Such as "placebo treatment".
        found: What came of it: of plans the share of the law's effect that the record shows, of a causal question SDs.
        expected: What it must be near.
        allowed: How far off it may be.
        passed: None where the record is too short to say.
        words: One sentence of what was done.
    """

    name: str
    found: float
    expected: float
    allowed: float
    passed: bool | None
    words: str


@dataclass(frozen=True, kw_only=True)
class DoseResponse:
    """The effect at one time over doses of one treatment, the rest of the plan as it is.

    Attributes:
        effect, low, high: Against the other plan, mg/dL; 90 % interval.
        supported: Where people dose so.
    """

    treatment: str
    unit: str
    minute: int
    dose: Float[np.ndarray, " dose"]
    effect: Float[np.ndarray, " dose"]
    low: Float[np.ndarray, " dose"]
    high: Float[np.ndarray, " dose"]
    supported: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A plan against another from one moment of one person; glucose in mg/dL.

    Attributes:
        minutes: From the newest reading on.
        level: Mean under the plan, then under the other.
        level_low, level_high: 90 % of what a sensor would show.
        effect: Plan less other.
        effect_low, effect_high: 90 % interval, widened where support is thin.
        support: Of the plan, then of the other.
        own_actions: The person's own doses and meals that taught it.
        own_share: Share of the law's effect that the person's record shows, with a 90 % interval (share, low, high);
            NaN where the record is too short.
        sensitivity: Share of what is left of both treatment and outcome that something unseen had to explain to bring
            the effect in the record to 0 (robustness value of Cinelli and Hazlett 2020); NaN as above.
    """

    minutes: tuple[int, ...]
    level: Float[np.ndarray, "plan minute"]
    level_low: Float[np.ndarray, "plan minute"]
    level_high: Float[np.ndarray, "plan minute"]
    effect: Float[np.ndarray, " minute"]
    effect_low: Float[np.ndarray, " minute"]
    effect_high: Float[np.ndarray, " minute"]
    support: tuple[Support, Support]
    curves: tuple[DoseResponse, ...]
    refuters: tuple[Refuter, ...]
    own_actions: int
    own_share: tuple[float, float, float]
    sensitivity: float
