"""Doses of days by the accumulators that heads use, in the place of plain numpy of the protocol that judges them."""

import numpy as np
import torch
from jaxtyping import Float

from hdt_fm.evaluation.evolve.exposure_doses import LEAST_MASS, SPANS_DAYS, windowed
from hdt_fm.layers.accumulators import leaky


def accumulated(values: Float[np.ndarray, "*batch day"]) -> Float[np.ndarray, "*batch day dose"]:
    """The day itself, leaky doses and plain means of a few spans: as `leaky_and_windowed`, by `leaky`.

    Time constants are set, not learned: those that were learned knew the outcome, and placebos could not.
    """
    tau = torch.tensor(SPANS_DAYS, dtype=torch.float64)
    days = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))
    along, _ = leaky(days, torch.ones(values.shape[-1], dtype=torch.float64), tau)
    # `LEAST_MASS` is counted in full days, a mass here in shares of all weights.
    enough = along.mass >= LEAST_MASS * -torch.expm1(-1 / tau)
    leaking = torch.where(enough, along.dose, torch.nan).numpy()
    return np.concatenate([values[..., None], leaking, windowed(values)], axis=-1)
