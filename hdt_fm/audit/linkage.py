"""Whose windows are these? Templates of enrolled people, windows of another session, how often the answer is right."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_softmax

from hdt_fm.evaluation.people import Score, mean_of_people

Attacker = Literal["nearest mean", "trained"]
ATTACKERS: tuple[Attacker, ...] = ("nearest mean", "trained")
# Share of the within-person spread that is taken to be the same in all directions: there are fewer windows than
# directions in small cohorts.
SHRINKAGE = 0.03
# Groups of windows that are asked of each person; more of them say the same again and cost time.
ASKED_EACH = 20
TOP = 5


@dataclass(frozen=True)
class Linked:
    """Similarities of what was asked to everyone enrolled.

    Attributes:
        likeness: (query, person); larger is more alike.
        truth: Column of the person each query is of.
    """

    likeness: Float[np.ndarray, "query person"]
    truth: Int[np.ndarray, " query"]

    @property
    def people(self) -> int:
        """How many are enrolled; each is asked at least once."""
        return self.likeness.shape[1]


def link(
    enrolled: Float[np.ndarray, "window feature"],
    enrolled_of: Int[np.ndarray, " window"],
    asked: Float[np.ndarray, "other feature"],
    asked_of: Int[np.ndarray, " other"],
    *,
    together: int | None,
    attacker: Attacker,
) -> Linked:
    """Compare windows of a later session with the means of an earlier one.

    Features are scaled by the enrolled windows; unknown ones (NaN) count as their mean. `nearest mean` compares by
    cosine. `trained` first learns from the enrolled windows, which are told by person, what varies within people, and
    counts it less (linear discriminant analysis with one spread for all): the attack of one who has a labelled
    earlier session.

    Args:
        enrolled_of, asked_of: Person of each window, 0 .. people-1, everyone in both; in order of time within a person.
        together: How many windows, next to each other in time, are asked as one by their mean; None takes all.
    """
    people = int(enrolled_of.max()) + 1
    center, spread = _center_and_spread(enrolled)
    enrolled, asked = _scaled(enrolled, center, spread), _scaled(asked, center, spread)
    templates = np.stack([enrolled[enrolled_of == person].mean(axis=0) for person in range(people)])
    queries, truth = _asked_together(asked, asked_of, together)
    if attacker == "nearest mean":
        return Linked(_unit(queries) @ _unit(templates).T, truth)
    whiten = _whitening(enrolled - templates[enrolled_of])
    queries, templates = queries @ whiten, templates @ whiten
    squares = (queries**2).sum(1)[:, None] - 2 * queries @ templates.T + (templates**2).sum(1)
    # As the share of each person in the likelihood of all, so that one threshold serves near and far queries.
    return Linked(log_softmax(-squares / 2, axis=1), truth)


def rank_scores(linked: Linked) -> dict[str, Score]:
    """`rank-1`, `top-5` and `mean reciprocal rank`: each the mean of one value a person who is asked, so that whoever
    has many windows counts once; the pool stays as it is. Ties count as if broken by chance."""
    own = linked.likeness[np.arange(len(linked.truth)), linked.truth][:, None]
    above = (linked.likeness > own).sum(axis=1)
    ties = (linked.likeness == own).sum(axis=1)
    found = {
        "rank-1": _hits(above, ties, 1),
        f"top-{TOP}": _hits(above, ties, TOP),
        "mean reciprocal rank": np.array(
            [np.mean(1.0 / np.arange(a + 1, a + t + 1)) for a, t in zip(above, ties, strict=True)]
        ),
    }
    return {name: mean_of_people(_by_person(values, linked)) for name, values in found.items()}


def equal_error_rate(linked: Linked) -> Score:
    """Where as many own queries are refused as others' are taken, one threshold for all; straight between thresholds.

    Each person's queries weigh together as much as anyone's. .5 is chance, whatever the number of people.
    """
    genuine = np.zeros(linked.likeness.shape, dtype=bool)
    genuine[np.arange(len(linked.truth)), linked.truth] = True
    each = 1.0 / np.bincount(linked.truth, minlength=linked.people)
    order = np.argsort(-linked.likeness.ravel(), kind="stable")
    values, own = linked.likeness.ravel()[order], genuine.ravel()[order]
    person = np.repeat(linked.truth, linked.people)[order]
    last = np.append(np.diff(values) != 0, True)

    def over(counts: np.ndarray) -> np.ndarray:
        return np.array([_crossing((row * each)[person], own, last) for row in counts])

    return Score(over, linked.people)


def chance(people: int) -> dict[str, float]:
    """What each score is where likeness says nothing."""
    ranks = np.arange(1, people + 1)
    return {
        "rank-1": 1 / people,
        f"top-{TOP}": min(TOP, people) / people,
        "mean reciprocal rank": float(np.mean(1 / ranks)),
        "equal error rate": 0.5,
    }


def _crossing(weight: np.ndarray, own: np.ndarray, last: np.ndarray) -> float:
    """First point at which false acceptance reaches false refusal, as the threshold falls."""
    taken = np.cumsum(np.where(own, 0.0, weight))
    found = np.cumsum(np.where(own, weight, 0.0))
    if taken[-1] <= 0 or found[-1] <= 0:
        return float("nan")
    accept = np.concatenate([[0.0], taken[last] / taken[-1]])
    refuse = 1 - np.concatenate([[0.0], found[last] / found[-1]])
    past = int(np.argmax(accept >= refuse))
    step = (refuse[past - 1] - accept[past - 1]) / (
        (accept[past] - accept[past - 1]) + (refuse[past - 1] - refuse[past])
    )
    return float(accept[past - 1] + step * (accept[past] - accept[past - 1]))


def _hits(above: np.ndarray, ties: np.ndarray, first: int) -> np.ndarray:
    return np.clip((first - above) / ties, 0.0, 1.0)


def _by_person(values: np.ndarray, linked: Linked) -> np.ndarray:
    asked = np.bincount(linked.truth, minlength=linked.people)
    return np.bincount(linked.truth, weights=values, minlength=linked.people) / asked


def _asked_together(asked: np.ndarray, asked_of: np.ndarray, together: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Means of neighbouring windows; whoever has fewer than `together` is asked once, with all."""
    means, truth = [], []
    for person in np.unique(asked_of):
        own = asked[asked_of == person]
        groups = 1 if together is None else max(1, len(own) // together)
        parts = np.array_split(own, groups)
        spread = np.unique(np.linspace(0, groups - 1, min(groups, ASKED_EACH)).round().astype(int))
        means += [parts[number].mean(axis=0) for number in spread]
        truth += [person] * len(spread)
    return np.stack(means), np.array(truth)


def _center_and_spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    center = np.where(known, values, 0.0).sum(axis=0) / count
    spread = np.sqrt(np.where(known, (values - center) ** 2, 0.0).sum(axis=0) / count)
    return center, spread


def _scaled(values: np.ndarray, center: np.ndarray, spread: np.ndarray) -> np.ndarray:
    # What does not vary among the enrolled is left at zero: it cannot have been learned from.
    scaled = (values - center) / np.where(spread > 0, spread, 1.0)
    return np.where(np.isfinite(scaled) & (spread > 0), scaled, 0.0)


def _whitening(within: np.ndarray) -> np.ndarray:
    spread = within.T @ within / len(within)
    level = float(np.trace(spread)) / len(spread)
    variance, axes = np.linalg.eigh((1 - SHRINKAGE) * spread + SHRINKAGE * max(level, 1e-12) * np.eye(len(spread)))
    return axes / np.sqrt(variance)


def _unit(values: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(length > 0, length, 1.0)
