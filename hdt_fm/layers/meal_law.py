"""How glucose follows meals and insulin: compartments that fill and empty, with numbers of each person's own.

What is injected passes two stages under the skin (`depot`); what leaves the second, beside the basal insulin, acts on
uptake with one delay (`uptake_rate`) and on the liver with two (`liver_rate`). Of what is eaten a share (`fast`) goes
to the gut at its rate, the rest as slowly as a stomach empties. Glucose in blood is drawn back to the person's level,
exchanges with tissue (`exchange`), where uptake grows with a power of what is there, and shows under the skin with a
delay (`shown`):

    blood'  = fades (level - blood) - liver l2 + gain eaten - exchange (blood - tissue)
    tissue' = exchange (blood - tissue) - uptake x1 (tissue / level) ^ power

The textbook form of a minimal model (Bergman et al. 1979) with first-order absorption (Hovorka et al. 2004). All its
numbers are learned from what people showed. A simulator of the same family is a friend to it: see the limits in
`hdt_fm/evaluation/README.md`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hdt_fm.schema.lives import STEP_MINUTES

# Uptake grows with at most the fourth power of glucose, whatever a record that holds more than doses and meals says.
MOST_POWER = 4.0
# Where the search begins. Logarithms, but for the share (its log-odds) and the power (those of its part of the most).
START = {
    "level": np.log(120.0),
    "fades": np.log(0.0035),
    "uptake": np.log(60.0),
    "liver": np.log(20.0),
    "gain": np.log(6.0),
    "depot": np.log(0.018),
    "uptake_rate": np.log(0.035),
    "liver_rate": np.log(0.006),
    "gut": np.log(0.06),
    "stomach": np.log(0.0076),
    "fast": -1.5,
    "power": 0.2,
    "shown": np.log(0.06),
    "exchange": np.log(0.05),
}
NUMBERS = tuple(START)
STATES = ("skin_1", "skin_2", "x1", "l1", "l2", "stomach_fast", "stomach_slow", "gut", "blood", "tissue", "shown")
_BLOOD, _TISSUE, _SHOWN = (STATES.index(name) for name in ("blood", "tissue", "shown"))
# Of the level: beyond these the power of tissue glucose stays.
_LEAST_SHARE, _MOST_SHARE = 0.04, 4.0
_FASTEST_PER_MIN = 3.0


@dataclass(frozen=True)
class _Steps:
    """Numbers of rows as they are used within a step of 5 minutes; rates have become shares that pass."""

    level: np.ndarray
    fades: np.ndarray
    uptake: np.ndarray
    liver: np.ndarray
    gain: np.ndarray
    depot: np.ndarray
    uptake_rate: np.ndarray
    liver_rate: np.ndarray
    gut: np.ndarray
    stomach: np.ndarray
    fast: np.ndarray
    power: np.ndarray
    shown: np.ndarray
    exchange: np.ndarray


def at_rest(numbers: Float[np.ndarray, "row number"]) -> Float[np.ndarray, "state row"]:
    """Nothing on board, glucose at the person's level."""
    state = np.zeros((len(STATES), len(numbers)))
    state[[_BLOOD, _TISSUE, _SHOWN]] = np.exp(numbers[:, NUMBERS.index("level")])
    return state


def moved(state: Float[np.ndarray, "state row"], by_mg_dl: Float[np.ndarray, " row"]) -> Float[np.ndarray, "state row"]:
    """The same with glucose so much higher everywhere."""
    out: np.ndarray = state.copy()
    out[[_BLOOD, _TISSUE, _SHOWN]] += by_mg_dl
    return out


def shown(state: Float[np.ndarray, "... state row"]) -> Float[np.ndarray, "... row"]:
    """What a sensor without error shows, mg/dL."""
    level: np.ndarray = state[..., _SHOWN, :]
    return level


def play(
    numbers: Float[np.ndarray, "row number"],
    units: Float[np.ndarray, "step row"],
    grams: Float[np.ndarray, "step row"],
    *,
    start: Float[np.ndarray, "state row"] | None = None,
    every_state: bool = False,
) -> np.ndarray:
    """Live through steps of 5 minutes; no row depends on another, no step on a later one.

    Args:
        units: Bolus insulin at the beginning of each step.
        grams: Carbohydrate, likewise.
        start: Rest by default.
        every_state: Also keep all that is on board.

    Returns:
        Glucose under the skin before each step and after the last (step + 1, row), mg/dL; or (step + 1, state, row).
    """
    by = _steps(numbers)
    state = at_rest(numbers) if start is None else start
    rows = range(len(STATES)) if every_state else (_SHOWN,)
    kept = np.empty((len(units) + 1, len(rows), state.shape[1]))
    kept[0] = state[list(rows)]
    parts = tuple(state)
    for step in range(len(units)):
        parts = _step(by, parts, units[step], grams[step])
        for place, row in enumerate(rows):
            kept[step + 1, place] = parts[row]
    return kept if every_state else kept[:, 0]


def _steps(numbers: np.ndarray) -> _Steps:
    value = dict(zip(NUMBERS, numbers.T, strict=True))
    plain = {name: np.exp(value[name]) for name in ("level", "fades", "uptake", "liver", "gain")}
    rates = ("depot", "uptake_rate", "liver_rate", "gut", "stomach", "shown", "exchange")
    passes = {name: -np.expm1(-np.minimum(np.exp(value[name]), _FASTEST_PER_MIN) * STEP_MINUTES) for name in rates}
    for name in ("fades", "uptake", "liver"):
        plain[name] = plain[name] * STEP_MINUTES
    return _Steps(**plain, **passes, fast=_share(value["fast"]), power=MOST_POWER * _share(value["power"]))


def _share(log_odds: np.ndarray) -> np.ndarray:
    out: np.ndarray = 1 / (1 + np.exp(-log_odds))
    return out


def _step(by: _Steps, state: tuple[np.ndarray, ...], units: np.ndarray, grams: np.ndarray) -> tuple[np.ndarray, ...]:
    skin_1, skin_2, x1, l1, l2, fast, slow, gut, blood, tissue, seen = state
    skin_1 = skin_1 + units
    leaves = skin_1 * by.depot
    skin_1, skin_2 = skin_1 - leaves, skin_2 + leaves
    leaves = skin_2 * by.depot
    skin_2, insulin = skin_2 - leaves, leaves / STEP_MINUTES
    x1 = x1 + by.uptake_rate * (insulin - x1)
    l1 = l1 + by.liver_rate * (insulin - l1)
    l2 = l2 + by.liver_rate * (l1 - l2)
    fast, slow = fast + by.fast * grams, slow + (1 - by.fast) * grams
    fast_out, slow_out = fast * by.gut, slow * by.stomach
    fast, slow, gut = fast - fast_out, slow - slow_out, gut + fast_out + slow_out
    eaten = gut * by.gut
    gut = gut - eaten
    beside = np.clip(tissue / by.level, _LEAST_SHARE, _MOST_SHARE) ** by.power
    taken = by.uptake * np.where(x1 > 0, x1 * beside, x1)
    blood = blood + by.fades * (by.level - blood) - by.liver * l2 + by.gain * eaten
    passes = by.exchange * (blood - tissue)
    blood, tissue = blood - passes, tissue + passes - taken
    seen = seen + by.shown * (blood - seen)
    return skin_1, skin_2, x1, l1, l2, fast, slow, gut, blood, tissue, seen
