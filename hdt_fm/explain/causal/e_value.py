"""How strongly something unmeasured had to go with both treatment and outcome to explain an effect away.

Source: VanderWeele and Ding 2017; means by the conversion that they give, a standardised difference d as a risk ratio
of exp(0.91 d), and the ends of its interval alike.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from hdt_fm.explain.causal.effect import Effect
from hdt_fm.schema.errors import ExplainError

PER_SD = 0.91
Scale = Literal["risk ratio", "standardised difference"]


@dataclass(frozen=True)
class EValue:
    """E-values of an effect.

    Attributes:
        estimate: Of the estimate itself.
        interval: Of the end of its interval nearer no effect; 1 where no effect is inside.
        ratio, low, high: The risk ratio that they were made of.
    """

    estimate: float
    interval: float
    ratio: float
    low: float
    high: float
    scale: Scale


def e_value(ratio: float) -> float:
    """Of a risk ratio; below 1 of its inverse.

    Raises:
        ExplainError: If the ratio is not a positive number.
    """
    if not (np.isfinite(ratio) and ratio > 0):
        raise ExplainError("An E-value needs a risk ratio", expected="a finite number above 0", where="e_value")
    far = max(ratio, 1 / ratio)
    return float(far + np.sqrt(far * (far - 1)))


def e_value_of(effect: Effect) -> EValue:
    """By the risk ratio where there is one, else by the standardised difference."""
    if effect.risk_ratio is not None:
        return e_values(*effect.risk_ratio, scale="risk ratio")
    ratio, low, high = (float(np.exp(PER_SD * value)) for value in effect.standardised)
    return e_values(ratio, low, high, scale="standardised difference")


def e_values(ratio: float, low: float, high: float, *, scale: Scale) -> EValue:
    """Of a risk ratio and of the end of its interval that is nearer 1."""
    nearer = 1.0 if low <= 1 <= high else low if low > 1 else high
    return EValue(e_value(ratio), e_value(nearer), ratio, low, high, scale)
