"""What a private run may promise: epsilon and delta of so many noisy steps. The one door to opacus, and lazy."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hdt_fm.schema.errors import ConfigError

PRV, RDP = "prv", "rdp"
# The first accountant is tighter, by a grid over losses that grows with epsilon until it fills the memory; where little
# is promised, the second one does.
MOST_BY_PRV = 16.0
# How far they may lie apart before the tighter one is not believed.
BELIEVED = (0.3, 1.05)
TOLERANCE = 0.01
# Of people to the power of so much, delta's usual choice: below one over how many they are.
DELTA_POWER = 1.1


@dataclass(frozen=True)
class Budget:
    """A Gaussian mechanism on a Poisson sample of units, so many times.

    Attributes:
        noise: Standard deviation of the noise, in units of the clip; 0 promises nothing.
        rate: Chance of each unit to be drawn at a step.
        accountant: What worked the noise, or epsilon, out.
    """

    noise: float
    rate: float
    steps: int
    delta: float
    accountant: str

    def epsilon(self, steps: int | None = None) -> float:
        """After so many steps, of all by default; infinite without noise, 0 before the first."""
        done = self.steps if steps is None else steps
        if done == 0:
            return 0.0
        if self.noise == 0:
            return math.inf
        return _epsilon(self.noise, self.rate, done, self.delta, self.accountant)


def budget_of(
    *,
    people: int,
    people_per_step: int,
    steps: int,
    epsilon: float | None,
    delta: float | None,
    noise: float | None,
) -> Budget:
    """The noise that keeps a promise, or the promise that a noise keeps.

    Args:
        people: Units to draw from; taken as public.
        people_per_step: Expected at a step.
        epsilon: To be kept after all steps; None where `noise` is given.
        delta: One over people to the power of 1.1 when None.
        noise: As in `Budget`; None where `epsilon` is given.

    Raises:
        ConfigError: If not exactly one of both is given, people cannot be drawn so, delta is too large to promise
            anything, no noise keeps the promise, or opacus is missing.
    """
    if (epsilon is None) == (noise is None):
        raise ConfigError(
            "Either the promise or the noise must be said",
            where="training.private",
            expected="epsilon, or noise, and null for the other",
            got="neither" if epsilon is None else "both",
            fix="training.private.epsilon=8.0 training.private.noise=null",
        )
    if not 0 < people_per_step <= people:
        raise ConfigError(
            "So many people cannot be drawn at a step",
            where="training.private.people_per_step",
            expected=f"1 to {people}, the training people (whole groups count as one)",
            got=str(people_per_step),
            fix="lower people_per_step",
        )
    usual = float(people**-DELTA_POWER) if people > 1 else 0.5
    delta = usual if delta is None else delta
    if delta * people > 1:
        raise ConfigError(
            "Such a delta allows to give somebody away outright",
            where="training.private.delta",
            expected=f"below 1 / {people}, one over the training people",
            got=f"{delta:g}",
            fix=f"training.private.delta=null takes {usual:.2g}",
        )
    rate = people_per_step / people
    if noise is not None:
        return Budget(noise, rate, steps, delta, _accountant(noise, rate, steps, delta) if noise else RDP)
    assert epsilon is not None
    found = _noise(epsilon, rate, steps, delta, RDP)
    if epsilon <= MOST_BY_PRV and _accountant(found, rate, steps, delta) == PRV:
        return Budget(_noise(epsilon, rate, steps, delta, PRV), rate, steps, delta, PRV)
    return Budget(found, rate, steps, delta, RDP)


def _noise(epsilon: float, rate: float, steps: int, delta: float, accountant: str) -> float:
    with _plain_speech():
        from opacus.accountants.utils import get_noise_multiplier

        try:
            return float(
                get_noise_multiplier(
                    target_epsilon=epsilon,
                    target_delta=delta,
                    sample_rate=rate,
                    steps=steps,
                    accountant=accountant,
                    epsilon_tolerance=TOLERANCE,
                )
            )
        except ValueError as error:
            raise ConfigError(
                "No noise keeps this promise",
                where="training.private.epsilon",
                expected="an epsilon that so few people and so many steps can have",
                got=f"epsilon {epsilon:g} at delta {delta:.2g}, {steps} steps, {rate:.3g} of the people at each",
                fix="raise epsilon, or lower training.steps or training.private.people_per_step",
            ) from error


def _accountant(noise: float, rate: float, steps: int, delta: float) -> str:
    """The tighter one, where it can be asked and is near the other."""
    plain = _epsilon(noise, rate, steps, delta, RDP)
    if plain > 2 * MOST_BY_PRV:
        return RDP
    try:
        tight = _epsilon(noise, rate, steps, delta, PRV)
    except (ValueError, ArithmeticError, RuntimeError, MemoryError):
        return RDP
    low, high = BELIEVED
    return PRV if low * plain <= tight <= high * plain else RDP


def _epsilon(noise: float, rate: float, steps: int, delta: float, accountant: str) -> float:
    with _plain_speech():
        from opacus.accountants import create_accountant

        account = create_accountant(mechanism=accountant)
        account.history = [(noise, rate, steps)]
        return float(account.get_epsilon(delta))


@contextmanager
def _plain_speech() -> Iterator[None]:
    """Without warnings of overflows that its searches pass by; says which extra holds opacus where it is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ModuleNotFoundError as error:
        raise ConfigError(
            "Training privately needs opacus",
            where="training.private",
            got=f"no module {error.name}",
            fix='pip install "hdt-fm[private]"',
        ) from error
