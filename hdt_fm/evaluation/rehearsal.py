"""What a fold begins with: the population's probe, and training people played through as if they were new."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.evaluation.adapt import Population, population
from hdt_fm.evaluation.audit import refuse_fitted_on_test
from hdt_fm.evaluation.contest import QUICK_C, Contest, Maker
from hdt_fm.evaluation.folds import inner_folds
from hdt_fm.evaluation.probes import INNER_FOLDS


@dataclass(frozen=True)
class Rehearsal:
    """A training person, and a probe that has not met that person.

    Attributes:
        asked: Rows after those of the largest budget.
        own: Rows that each budget gives.
    """

    probe: Population
    person: int
    asked: Int[np.ndarray, " asked"]
    own: Sequence[Int[np.ndarray, " _"]]


@dataclass(frozen=True)
class Opening:
    """One fold of one maker before anyone's own labels.

    Attributes:
        x: The maker's features of the whole table.
        played: The training people, on whom it is chosen how far a method moves.
    """

    number: int
    x: Float[np.ndarray, "row feature"]
    probe: Population
    played: Sequence[Rehearsal]


def openings(contest: Contest, maker: Maker, own: Sequence[Mapping[int, Int[np.ndarray, " _"]]]) -> list[Opening]:
    """Every fold of a maker.

    Args:
        own: For each budget, the largest last, the rows that it gives of a person.

    Raises:
        LeakError: If a probe reports that it saw a test person.
    """
    made = []
    for number, fold in enumerate(contest.folds):
        x, rows = maker.in_fold(number).values, contest.training(fold)
        probe = population(contest.base(), x[rows], contest.target.values[rows], contest.table.group[rows])
        refuse_fitted_on_test(probe.fitted_on, test_groups=fold.test_groups, what="a population probe")
        made.append(Opening(number, x, probe, list(_rehearsals(contest, x, rows, own))))
    return made


def _rehearsals(
    contest: Contest,
    x: Float[np.ndarray, "row feature"],
    rows: Int[np.ndarray, " some"],
    own: Sequence[Mapping[int, Int[np.ndarray, " _"]]],
) -> Iterator[Rehearsal]:
    """Everyone on the training side, each met by the probe of an inner fold without them."""
    values, group, subject = contest.target.values, contest.table.group, contest.table.subject
    for inner in inner_folds(group[rows], INNER_FOLDS, contest.seed):
        inside, left = rows[inner.train], rows[inner.test]
        probe = population(contest.base(strength=QUICK_C), x[inside], values[inside], group[inside])
        for person in np.unique(subject[left]):
            of_person = left[subject[left] == person]
            given = [budget[int(person)] for budget in own]
            last = given[-1]
            after = contest.table.time_s[last].max() + contest.table.window_s if len(last) else -np.inf
            yield Rehearsal(probe, int(person), of_person[contest.table.time_s[of_person] >= after], given)


def balanced_loss(z: Float[np.ndarray, " row"], y: Float[np.ndarray, " row"]) -> float:
    """Mean log-loss of each class, summed."""
    loss = np.logaddexp(0.0, np.where(y > 0, -z, z))
    return float(sum(loss[y == one].mean() for one in np.unique(y)))
