"""Encoders that are moved towards one person: made elsewhere, asked here about the same windows as all other methods.

This room sees no signal and trains nothing. It says which rows a person may learn from, which rows are asked, and how
far to move; it hands out no label of a row that is asked, and it refuses answers that do not begin at the population's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.evaluation.adapt import Population
from hdt_fm.evaluation.contest import Contest
from hdt_fm.evaluation.rehearsal import Opening, Rehearsal, balanced_loss
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.result import Scalar

FULL = "full fine-tune"
LOW_RANK = "low-rank adapter"
# Steps of training, from cautious to bold; the first is none at all.
STOPS = (0, 2, 6, 20)
# Training people a fold on whom the steps are chosen: each costs more than a test person.
REHEARSED = 6
# Encoders run in single precision and in other batches than when the table was made.
SAME_START = 1e-2


@dataclass(frozen=True)
class Question:
    """One person's turn: rows are of the table.

    Attributes:
        fold: Whose encoder is moved.
        probe: The population's; where the moved probe begins.
        own, labels: What is learned from.
        asked: What is to be answered; no label of theirs is given.
        stops: Steps after which to answer, rising.
        seed: Follows from the contest's seed, the person and the budget.
    """

    fold: int
    probe: Population
    own: Int[np.ndarray, " own"]
    labels: Float[np.ndarray, " own"]
    asked: Int[np.ndarray, " asked"]
    stops: tuple[int, ...]
    seed: int


Answer = Callable[[Question], Float[np.ndarray, "stop asked"]]


@dataclass(frozen=True)
class Tuned:
    """A way of moving the encoder of one of the contest's makers.

    Attributes:
        maker: Whose encoder, by name.
        method: As the rows call it.
        answer: Log-odds of the second class for each stop and asked row.
        columns: What rows say of it besides.
    """

    maker: str
    method: str
    answer: Answer
    columns: Mapping[str, Scalar] = field(default_factory=dict)


def tuned_log_odds(
    contest: Contest,
    tuned: Tuned,
    begun: Sequence[Opening],
    own: Sequence[Mapping[int, Int[np.ndarray, " _"]]],
    scored: Int[np.ndarray, " scored"],
    rehearsed: int = REHEARSED,
) -> tuple[list[Float[np.ndarray, " row"]], list[list[int]]]:
    """Log-odds of the scored rows at each budget, and for each fold and budget the steps that were chosen.

    Args:
        begun: The folds of the maker whose encoder is moved.
        own: For each budget, the largest last, the rows that it gives of a person.
        rehearsed: Training people a fold, drawn by seed, on whom the steps are chosen.

    Raises:
        ShapeError: If answers do not fit what was asked, or do not begin at the population's scores.
    """
    found = [np.full(len(contest.table), np.nan) for _ in own]
    steps = []
    for fold, opening in zip(contest.folds, begun, strict=True):
        chosen = _steps(contest, tuned, opening, len(own), rehearsed)
        for person in np.unique(contest.table.subject[fold.test]):
            asked = scored[contest.table.subject[scored] == person]
            met = Rehearsal(opening.probe, int(person), asked, [budget[int(person)] for budget in own])
            for place, stop in enumerate(chosen):
                found[place][asked] = _moved(contest, tuned, opening, met, place, (stop,))[0]
        steps.append(chosen)
    return found, steps


def _steps(contest: Contest, tuned: Tuned, opening: Opening, budgets: int, rehearsed: int) -> list[int]:
    """For each budget after how many steps to stop: those of least class-balanced log-loss on some training people."""
    able = [one for one in opening.played if len(one.own[-1]) and len(one.asked)]
    order = np.random.default_rng([contest.seed, opening.number]).permutation(len(able))
    losses = np.zeros((budgets, len(STOPS)))
    for one in (able[at] for at in np.sort(order[:rehearsed])):
        for place in range(budgets):
            answers = _moved(contest, tuned, opening, one, place, STOPS)
            losses[place] += [balanced_loss(z, contest.target.values[one.asked]) for z in answers]
    # The first of equals is the most cautious.
    return [STOPS[int(np.argmin(each))] for each in losses]


def _moved(
    contest: Contest, tuned: Tuned, opening: Opening, met: Rehearsal, place: int, stops: tuple[int, ...]
) -> Float[np.ndarray, "stop asked"]:
    """Log-odds of a person's asked windows after each number of steps; the population's where nothing is learned."""
    plain, own = met.probe.logits(met.probe.scale(opening.x[met.asked])), met.own[place]
    if not len(own) or not len(met.asked) or stops == (0,):
        return np.tile(plain, (len(stops), 1))
    # The population's own answer is always asked for too, to see that it is that.
    asked = (0, *(stop for stop in stops if stop))
    seed = int(np.random.SeedSequence([contest.seed, met.person, place]).generate_state(1)[0])
    labels = contest.target.values[own]
    answers = tuned.answer(Question(opening.number, met.probe, own, labels, met.asked, asked, seed))
    _check_answers(tuned, answers, asked, plain, opening.number)
    by_stop = {stop: answers[at] for at, stop in enumerate(asked)}
    # Exactly the population's, so that who is not moved is neither helped nor hurt by a last bit.
    by_stop[0] = plain
    return np.stack([by_stop[stop] for stop in stops])


def _check_answers(
    tuned: Tuned, answers: np.ndarray, asked: tuple[int, ...], plain: Float[np.ndarray, " asked"], number: int
) -> None:
    """Refuse answers of another encoder or of other windows: a gain would be that difference."""
    where = f"{tuned.maker} + {tuned.method}, fold {number + 1}"
    if answers.shape != (len(asked), len(plain)):
        raise ShapeError(
            "The answers of a moved encoder do not fit what was asked",
            expected=f"({len(asked)}, {len(plain)}): a row a stop, a column a window",
            got=str(answers.shape),
            where=where,
        )
    apart = np.abs(answers[0] - plain)
    if not (apart <= SAME_START * (1 + np.abs(plain))).all():
        raise ShapeError(
            "A moved encoder does not begin at the population's scores",
            expected="the same log-odds before the first step",
            got=f"up to {apart.max():.2g} apart",
            where=where,
            fix="move the encoder that made the fold's table, over the same windows and modalities",
        )


def tuned_record(minutes: Sequence[float], steps: Mapping[str, list[list[int]]], rehearsed: int) -> dict[str, Any]:
    """What a reader must know of moved encoders, for the record of a Result."""
    by_budget = {
        name: {f"{number:g} min": [fold[place] for fold in folds] for place, number in enumerate(minutes) if number}
        for name, folds in steps.items()
    }
    return {
        "fine_tune_steps": by_budget,
        "fine_tune_grid": list(STOPS),
        "fine_tune_chosen_on": f"{rehearsed} training people of each fold at most, drawn by seed; unlike test people "
        "they were seen, unlabelled, where the encoder was pretrained on this cohort",
    }


def check_tuned(tuned: Sequence[Tuned], makers: Sequence[str], taken: Sequence[str]) -> None:
    """Refuse ways of moving an encoder that no maker has, or that go by a name that is taken.

    Raises:
        ConfigError: As said.
    """
    for one in tuned:
        if one.maker not in makers or one.method in taken:
            raise ConfigError(
                "An encoder cannot be moved under these names",
                where="personalisation.tuned",
                expected=f"a maker of: {', '.join(makers)}; a method that is none of: {', '.join(taken)}",
                got=f"{one.maker} + {one.method}",
            )
