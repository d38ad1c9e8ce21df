"""Score against the number of people whose labels the probe may learn from; encoders are as they are."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from hdt_fm.evaluation.audit import refuse_fitted_on_test
from hdt_fm.evaluation.baselines import DUMMY, HAND, RANDOM_ENCODER
from hdt_fm.evaluation.contenders import Contender
from hdt_fm.evaluation.contest import OURS, Contest, over_variants
from hdt_fm.evaluation.folds import Fold
from hdt_fm.schema.result import Result, Row

PROBE = "linear probe"
HEADLINE = f"{OURS} + {PROBE}"
REQUIRED = (DUMMY, f"{HAND} + {PROBE}", f"{RANDOM_ENCODER} + {PROBE}")
SHOTS = (1, 2, 4, 8)
REPEATS = 10
TRIES = 50


def few_shot(contest: Contest, *, shots: Sequence[int] = SHOTS, repeats: int = REPEATS) -> Result:
    """Probes on the labels of a few training people, drawn again and again; test people stay those of the folds.

    Args:
        contest: Audited inputs, of classes or of a value.
        shots: Numbers of labelled people; those that a fold cannot give are left out, all people come last.
        repeats: Draws of people. Every maker of features learns from the same draws.

    Returns:
        Rows for each number: the mean over draws of people to learn from, taken inside each bootstrap draw of
        people to test on. The interval is over test people, not over who happened to be labelled.
    """
    fewest = min(len(np.unique(contest.table.group[contest.training(fold)])) for fold in contest.folds)
    numbers: list[int | None] = [*sorted({one for one in shots if one < fewest}), None]
    rows: list[Row] = []
    dummy = contest.dummy()
    for shot in numbers:
        draws = 1 if shot is None else repeats
        picked = [
            [people_to_learn_from(contest, fold, shot, [contest.seed, n, r]) for r in range(draws)]
            for n, fold in enumerate(contest.folds)
        ]
        contenders = [_contender(contest, maker.name, picked) for maker in contest.makers]
        contenders.append(Contender(dummy.model, dummy.role, np.repeat(dummy.scores[:, None], draws, axis=1)))
        name = "all training people" if shot is None else f"{shot} {'person' if shot == 1 else 'people'}"
        rows += contest.rows(
            f"{contest.target.name}, labels of {name}",
            contenders,
            headline=HEADLINE,
            metrics=lambda truth, person: over_variants(contest.metrics(truth, person)),
        )
    record = contest.record("few shot", headline=HEADLINE, shots=[one or fewest for one in numbers], repeats=repeats)
    name = f"few-shot curve, {contest.target.name}"
    return Result(name=name, protocol=record, rows=tuple(rows), required_baselines=REQUIRED)


def people_to_learn_from(
    contest: Contest, fold: Fold, shot: int | None, seed: Sequence[int]
) -> Int[np.ndarray, " row"]:
    """Labelled rows of some training people; drawn anew while a class of the training people is missing."""
    rows = contest.training(fold)
    group = contest.table.group[rows]
    if shot is None:
        return rows
    generator = np.random.default_rng([*seed, shot])
    wanted = len(np.unique(contest.target.values[rows])) if contest.is_class else 0
    some = rows
    for _ in range(TRIES):
        some = rows[np.isin(group, generator.permutation(np.unique(group))[:shot])]
        if len(np.unique(contest.target.values[some])) >= wanted:
            break
    return some


def _contender(contest: Contest, name: str, picked: Sequence[Sequence[np.ndarray]]) -> Contender:
    maker = next(one for one in contest.makers if one.name == name)
    target, group = contest.target.values, contest.table.group
    scores = np.full((len(target), len(picked[0]), contest.outputs), np.nan)
    for number, (fold, draws) in enumerate(zip(contest.folds, picked, strict=True)):
        x = maker.in_fold(number).values
        for draw, rows in enumerate(draws):
            fitted = contest.base()(x[rows], target[rows], group[rows])
            refuse_fitted_on_test(fitted.fitted_on, test_groups=fold.test_groups, what="a probe")
            scores[fold.test, draw] = fitted.predict(x[fold.test])
    return Contender(f"{name} + {PROBE}", maker.role, scores, {"draws_of_people": len(picked[0])})
