"""What is left of all that came before: leaky integrators and windows of an exposure, exact for spans of any length.

A level x that lasts from s to e moves what an integrator with time constant tau holds by

    total <- total keep + known (1 - keep) x,    mass <- mass keep + known (1 - keep),    keep = exp(-(e - s) / tau)

where `known` is the share of the span of which the level is known; an unknown span has 0 and only lets both fade. The
dose is total / mass, so a constant level x is a dose of x from the first span on, and a gap neither pulls it to zero
nor fills anything in: it is the mean of what was seen, weighted by how much of it is left. `mass` is the share of all
weights, back to the beginning of time, that rests on what was seen: 1 less that is what a dose still guesses. It starts
at 0 (burn-in) and falls in gaps by the same rule, so one bound serves both.

Nothing ahead is read. A state is two numbers for each time constant, and goes on where it stopped, bit for bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.signal import lfilter
from torch import Tensor, nn

from hdt_fm.schema.errors import ConfigError, ShapeError


@dataclass(frozen=True)
class Held:
    """What integrators hold, at one moment or at several.

    Attributes:
        total: Weighted sum of levels seen; unit of the exposure.
        mass: Share of all weights that rest on what was seen, 0 to 1.
    """

    total: Float[Tensor, "*rows tau"]
    mass: Float[Tensor, "*rows tau"]

    @property
    def dose(self) -> Float[Tensor, "*rows tau"]:
        """In the unit of the exposure; NaN where nothing was ever seen."""
        seen = self.mass > 0
        # The inner `where` keeps the gradient of the branch that is not taken finite.
        return torch.where(seen, self.total / torch.where(seen, self.mass, 1.0), torch.nan)

    def dose_where(self, enough: float) -> Float[Tensor, "*rows tau"]:
        """NaN also where less than so large a share of the mass was seen."""
        return torch.where(self.mass >= enough, self.dose, torch.nan)

    def arrays(self) -> dict[str, Float[np.ndarray, "..."]]:
        """Plain copies, of which `of` makes it again."""
        return {name: values.detach().numpy().copy() for name, values in vars(self).items()}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Held":
        """The same as the one whose `arrays` these are.

        Raises:
            ShapeError: If they are no state.
        """
        total, mass = (np.asarray(arrays.get(name, np.nan), dtype=np.float64) for name in ("total", "mass"))
        if total.shape != mass.shape or not total.ndim or not np.isfinite([total, mass]).all():
            raise ShapeError("A dose's state does not hold together", expected="finite total and mass of one shape")
        if (mass < 0).any() or (mass > 1 + 1e-9).any():
            raise ShapeError("A dose's state has a mass that cannot be", expected="shares of 0 to 1")
        return cls(torch.from_numpy(total.copy()), torch.from_numpy(mass.copy()))


def nothing_held(*shape: int) -> Held:
    """The state before anything was seen; the last axis is of time constants."""
    return Held(torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64))


def leaky(
    values: Float[Tensor, "*rows time"],
    length: Float[Tensor, "#*rows time"],
    tau: Float[Tensor, " tau"],
    *,
    gap: Float[Tensor, "#*rows time"] | None = None,
    known: Float[Tensor, "*rows time"] | None = None,
    start: Held | None = None,
) -> tuple[Held, Held]:
    """Integrate spans one after the other.

    Args:
        values: Level of each span; NaN where not known.
        length: Of each span, in the unit of `tau`.
        tau: Time constants, above 0.
        gap: Unknown time before each span; none if left out.
        known: Share of each span of which the level is known; 1 if left out. A NaN level has 0 whatever it says.
        start: State before the first span; nothing seen if left out.

    Returns:
        What is held at the end of each span (rows, time, tau), and after the last one: the state to go on from.

    Numerics: double precision; expm1 keeps short spans exact.
    """
    values, tau = values.double(), tau.double()
    there = values.isfinite()
    share = there.double() if known is None else torch.where(there, known.double(), 0.0)
    level = torch.where(there, values, 0.0)
    over = -length.double()[..., None] / tau
    keep, takes = over.exp(), -torch.expm1(over) * share[..., None]
    fades = keep if gap is None else keep * (-gap.double()[..., None] / tau).exp()
    state = nothing_held(*values.shape[:-1], len(tau)) if start is None else start
    total, mass, totals, masses = state.total, state.mass, [], []
    for step in range(values.shape[-1]):
        fade, take = fades[..., step, :], takes[..., step, :]
        total = total * fade + take * level[..., step, None]
        mass = mass * fade + take
        totals.append(total)
        masses.append(mass)
    if not totals:
        empty = state.total[..., None, :][..., :0, :]
        return Held(empty, empty), state
    return Held(torch.stack(totals, dim=-2), torch.stack(masses, dim=-2)), Held(total, mass)


def leaky_by_step(values: Float[np.ndarray, "*rows time"], tau: Float[np.ndarray, " tau"]) -> Held:
    """What `leaky` holds along spans of one step each, from nothing seen on, all at once: for learning.

    Numerics: as `leaky` but for rounding; who goes on from a state takes that one, which is the same in pieces.
    """
    there = np.isfinite(values)
    level = np.where(there, values, 0.0)
    found = [
        [lfilter([-np.expm1(-1.0 / one)], [1.0, -np.exp(-1.0 / one)], part, axis=-1) for one in tau]
        for part in (level, there.astype(np.float64))
    ]
    total, mass = (torch.from_numpy(np.stack(some, axis=-1)) for some in found)
    return Held(total, mass)


class LeakyBank(nn.Module):
    """Leaky integrators side by side whose time constants are learned; they stay above 0.

    Args:
        tau: Where they start.

    Raises:
        ConfigError: If there is none, or one is not above 0.
    """

    def __init__(self, tau: Sequence[float]) -> None:
        super().__init__()
        if not len(tau) or not all(0 < one < float("inf") for one in tau):
            raise ConfigError("The bank cannot be built", where="LeakyBank", expected="time constants above 0")
        self.log_tau = nn.Parameter(torch.tensor(list(tau), dtype=torch.float64).log())

    @property
    def tau(self) -> Float[Tensor, " tau"]:
        return self.log_tau.exp()

    def forward(
        self,
        values: Float[Tensor, "*rows time"],
        length: Float[Tensor, "#*rows time"],
        *,
        gap: Float[Tensor, "#*rows time"] | None = None,
        known: Float[Tensor, "*rows time"] | None = None,
        start: Held | None = None,
    ) -> tuple[Held, Held]:
        """As `leaky`, with gradients to the time constants."""
        return leaky(values, length, self.tau, gap=gap, known=known, start=start)
