"""Learning a law of doses: a search over time constants and knots, Gauss-Newton from the best; what chance would do.

Slopes follow from the rest in closed form, so only time constants and knots are searched.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float

from hdt_fm.layers.dose_law import DoseLaw, three
from hdt_fm.layers.dose_spread import spread_of
from hdt_fm.layers.within_people import WithinPeople, orthonormal

# Of training doses: a knot beyond them has nothing on one side.
KNOT_SHARES = (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98)
ROUNDS, MOST_HALVINGS, SETTLED = 40, 8, 1e-7
SIGNS = 999
# Of a candidate's sum of squares.
NOTHING_OWN = 1e-4

# Time constants (exposure, several) -> doses (several, row, exposure).
Doses = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Fitted:
    """A law's numbers.

    Attributes:
        log_tau, knots, slopes: See `DoseLaw`.
        spread: Covariance of all three in that order; 0 for a number that was held at its limit.
        held: Which numbers were.
        noise: SD of what is left.
    """

    log_tau: Float[np.ndarray, " exposure"]
    knots: Float[np.ndarray, " knot"]
    slopes: Float[np.ndarray, " column"]
    spread: Float[np.ndarray, "number number_too"]
    held: np.ndarray
    noise: float


@dataclass(frozen=True)
class Start:
    """Where the search for the best begins, and what it may not leave."""

    log_tau: Float[np.ndarray, " exposure"]
    knots: Float[np.ndarray, " knot"]
    low: Float[np.ndarray, " bent"]
    high: Float[np.ndarray, " bent"]


def candidates(
    law: DoseLaw, place: int, doses: Float[np.ndarray, "tau row"]
) -> tuple[list[np.ndarray], list[tuple[int, np.ndarray]]]:
    """Columns of one exposure for each time constant and its knots that are tried, and which those are."""
    many, columns, which = law.bending.count(place), [], []
    for at, dose in enumerate(doses):
        # Of pairs of knots every second is tried.
        for knots in combinations(np.quantile(dose, KNOT_SHARES[:: max(many, 1)]), many):
            columns.append(law.own_columns(place, dose, np.array(knots)))
            which.append((at, np.array(knots)))
    return columns, which


def search(
    law: DoseLaw,
    within: WithinPeople,
    outcome: Float[np.ndarray, " row"],
    doses: Float[np.ndarray, "tau row exposure"],
    taus: Float[np.ndarray, " tau"],
) -> Start:
    """The best of all that is tried for each exposure, the others held at their best so far; pairs left out."""
    places = range(len(law.forms))
    chosen: dict[int, tuple[int, np.ndarray, np.ndarray]] = {}
    for _ in range(1 if len(places) == 1 else 2):
        for place in places:
            others = [chosen[other][2] for other in places if other in chosen and other != place]
            left = _Rest(within, outcome, others)
            columns, which = candidates(law, place, doses[:, :, place])
            best = int(np.argmax([_gain(left, own) for own in columns]))
            chosen[place] = (*which[best], columns[best])
    ends = [np.quantile(doses[chosen[place][0], :, place], KNOT_SHARES[:: len(KNOT_SHARES) - 1]) for place in places]
    span = np.log(taus[[0, -1]])
    low, high = (np.array([span[side]] * len(places) + [ends[place][side] for place in law.bending]) for side in (0, 1))
    log_tau = np.log(taus[[chosen[place][0] for place in places]])
    return Start(log_tau, np.concatenate([chosen[place][1] for place in places]), low, high)


class _Rest:
    """An outcome after means, calendar and other columns; columns are brought to the same before they are compared."""

    def __init__(self, within: WithinPeople, outcome: np.ndarray, others: list[np.ndarray]) -> None:
        self.within = within
        self.basis = orthonormal(within.left(np.concatenate(others, axis=1))) if others else None
        self.outcome = self.of(outcome[:, None])[:, 0]

    def of(self, columns: np.ndarray) -> np.ndarray:
        left = self.within.left(columns)
        return left if self.basis is None else left - self.basis @ (self.basis.T @ left)


def _gain(rest: _Rest, columns: np.ndarray) -> float:
    """How much of the sum of squares they explain."""
    left = rest.of(columns)
    told = left.T @ rest.outcome
    return float(told @ np.linalg.pinv(left.T @ left, rcond=1e-9, hermitian=True) @ told)


def refine(
    law: DoseLaw, within: WithinPeople, outcome: Float[np.ndarray, " row"], doses: Doses, start: Start
) -> Fitted:
    """Gauss-Newton steps from the start, shortened until they help; a number stays at a limit that it reaches."""
    target = within.left(outcome[:, None])[:, 0]
    taus, bent = len(start.log_tau), np.concatenate([start.log_tau, start.knots])

    def at(point: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        some = doses(three(np.exp(point[:taus])))
        columns = within.left(law.columns(some[1], point[taus:]))
        slopes = np.linalg.lstsq(columns, target, rcond=1e-9)[0]
        return some, columns, slopes, target - columns @ slopes

    some, columns, slopes, left = at(bent)
    for _ in range(ROUNDS):
        moves = within.left(law.bends(some, bent[taus:], slopes))
        step = np.linalg.lstsq(np.concatenate([moves, columns], axis=1), left, rcond=1e-9)[0][: len(bent)]
        for halving in range(MOST_HALVINGS):
            tried = (bent + step * 0.5**halving).clip(start.low, start.high)
            found = at(tried)
            if found[3] @ found[3] < left @ left:
                break
        else:
            break
        gained = (left @ left - found[3] @ found[3]) / (left @ left)
        bent, (some, columns, slopes, left) = tried, found
        if gained < SETTLED:
            break
    held = np.concatenate([(bent <= start.low) | (bent >= start.high), np.zeros(len(slopes), dtype=np.bool_)])

    def look(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        some = doses(three(np.exp(point[:taus])))
        columns = within.left(law.columns(some[1], point[taus:]))
        moves = within.left(law.bends(some, point[taus:], slopes))
        return np.concatenate([moves, columns], axis=1), target - columns @ slopes

    spread = spread_of(within, look, bent, held, (start.low, start.high))
    return Fitted(bent[:taus], bent[taus:], slopes, spread, held, float(left.std()))


def chance_of_none(
    within: WithinPeople,
    outcome: Float[np.ndarray, " row"],
    columns: list[np.ndarray],
    others: list[np.ndarray],
    rng: np.random.Generator,
) -> float:
    """How often as much as the best candidate shows would show by chance, were the exposure without effect.

    The best was searched for, so its own interval says too much. Scores of people are given random signs, all
    candidates the same ones, and the best is searched for again.

    Args:
        columns: Of the candidates; of those with two columns the better one counts.
        others: What else explains the outcome.
    """
    rest, found = _Rest(within, outcome, others), [np.zeros((within.people, 0))]
    for some in columns:
        left = rest.of(some)
        scores = within.sums(left * rest.outcome[:, None])
        size = np.sqrt(np.square(scores).sum(axis=0))
        # A candidate that the others nearly are has nothing of its own but rounding.
        own = np.square(left).sum(axis=0) > NOTHING_OWN * np.square(within.left(some)).sum(axis=0)
        found.append(scores[:, own & (size > 0)] / size[own & (size > 0)])
    scores = np.concatenate(found, axis=1)
    signs = rng.choice((-1.0, 1.0), size=(SIGNS, within.people))
    best = np.abs(scores.sum(axis=0)).max(initial=0.0)
    drawn = np.abs(signs @ scores).max(axis=1, initial=0.0)
    return float((1 + (drawn >= best * (1 - 1e-12)).sum()) / (1 + SIGNS))
