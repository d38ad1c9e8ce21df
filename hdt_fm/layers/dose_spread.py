"""How sure numbers of a law are: each person is left out once, and the sum of squares bends as it truly does.

Days of a person are not independent, people are. How far numbers move without a person follows from one Gauss-Newton
step, which takes an effect for straight in its numbers. In a knot it is not: days cross it when it moves, and where
people have time constants of their own the days close to it are missed alike. So the slopes of the sum of squares are
looked at from both ends of an interval, and steps are stretched by how much less it bends than a straight effect would.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from hdt_fm.layers.within_people import WithinPeople

# Ends of an interval are so many SD away. A curvature below such a share of the straight one is not believed, and none
# above it: days that cross a knot one by one make ripples, which must not shorten an interval.
ENDS, LEAST_BEND, MOST_BEND = 2.0, 0.2, 1.0
# A direction of less is none; no look is nearer than such a share of the limits.
NO_DIRECTION, NEAREST = 1e-10, 1e-4

# Bent numbers -> how the effect moves with each number of the law, and what is left of the outcome.
Look = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def spread_of(
    within: WithinPeople,
    look: Look,
    bent: Float[np.ndarray, " bent"],
    held: Bool[np.ndarray, " number"],
    limits: tuple[Float[np.ndarray, " bent"], Float[np.ndarray, " bent"]],
) -> Float[np.ndarray, "number number_too"]:
    """Covariance of all numbers at the bottom; 0 for one that is held.

    Args:
        look: See `Look`; slopes stay as they are.
        bent: Numbers that columns bend with, at the bottom; slopes come after these.
        held: Which numbers are at a limit.
        limits: Lowest and highest of bent numbers.
    """
    free = np.flatnonzero(~held)
    moves, left = look(bent)
    moves = moves[:, free]
    straight, flat = over_people(within, moves, left), moves.T @ moves
    curve, many = flat.copy(), int((free < len(bent)).sum())
    for place, number in enumerate(free[:many]):
        low, high = (side[number] for side in limits)
        reach = max(ENDS * float(np.sqrt(straight[place, place])), NEAREST * (high - low))
        pulls, ends = [], np.clip(bent[number] + np.array([-reach, reach]), low, high)
        for end in ends:
            there, off = look(np.where(np.arange(len(bent)) == number, end, bent))
            pulls.append(there[:, free].T @ off)
        curve[:, place] = (pulls[0] - pulls[1]) / (ends[1] - ends[0])
    curve[:many, many:] = curve[many:, :many].T
    stretch = _stretch(flat, (curve + curve.T) / 2)
    out = np.zeros((len(held), len(held)))
    out[np.ix_(free, free)] = stretch @ straight @ stretch.T
    return out


def over_people(
    within: WithinPeople, moves: Float[np.ndarray, "row number"], left: Float[np.ndarray, " row"]
) -> Float[np.ndarray, "number number_too"]:
    """Covariance of the numbers: each person is left out once, of the calendar too, by one Gauss-Newton step.

    Source: Bell and McCaffrey 2002 (Survey Methodology 28:169), the jackknife form; CR3.
    """
    size = np.sqrt(np.square(moves).sum(axis=0)).clip(min=1e-300)
    # The season that all share was learned of the person as well.
    unit = np.concatenate([moves / size, within.shared], axis=1)
    whole, off = unit.T @ unit, []
    for at, many in zip(within.first, within.count, strict=True):
        rows = unit[at : at + many]
        step = np.linalg.lstsq(whole - rows.T @ rows, rows.T @ left[at : at + many], rcond=1e-10)[0]
        off.append(step[: len(size)] / size)
    people = np.stack(off)
    out: np.ndarray = (len(people) - 1) / len(people) * people.T @ people
    return out


def _stretch(
    flat: Float[np.ndarray, "number number"], curve: Float[np.ndarray, "number number"]
) -> Float[np.ndarray, "number number"]:
    """What turns a step by the flat matrix into one by the curve: its inverse times the flat one."""
    size = np.sqrt(np.diag(flat)).clip(min=1e-300)
    share, ways = np.linalg.eigh(flat / size / size[:, None])
    some = share > NO_DIRECTION
    into, back = (
        ways[:, some] / np.sqrt(share[some]) / size[:, None],
        ways[:, some] * np.sqrt(share[some]) * size[:, None],
    )
    bends, turns = np.linalg.eigh(into.T @ curve @ into)
    out: np.ndarray = into @ (turns / bends.clip(LEAST_BEND, MOST_BEND)) @ turns.T @ back.T
    return out
