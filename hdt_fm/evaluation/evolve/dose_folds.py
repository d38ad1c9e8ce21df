"""How much of real outcomes doses explain in people who taught nothing: folds of people, floors asked the same.

No truth is known of real people, so the outcome itself is what is explained: within each person, and with what goes
with the season taken out of outcome and answers alike. A day on which a model says nothing counts as that mean. What
noise there is in the outcome nobody explains: models compare with each other, and with 0.
"""

from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Int

from hdt_fm.evaluation.contenders import Contender, Metric, rows_of
from hdt_fm.evaluation.evolve.dose import BURN_IN, DoseModel, Followed
from hdt_fm.evaluation.evolve.dose_floors import floors
from hdt_fm.evaluation.evolve.exposure_ridge import within
from hdt_fm.evaluation.folds import grouped_folds
from hdt_fm.evaluation.people import Score, people_draws, ratio_of_sums
from hdt_fm.schema.result import Result

METRIC, UNIT = "variance from day to day explained, people never taught", "%"
OURS = "the law"
# Of people and their days after the longest lag; with fewer the floors are not fitted.
LEAST_PEOPLE, LEAST_DAYS = 10, 300
YEAR_D = 365.25


def explained(
    what: str,
    followed: Followed,
    ours: DoseModel,
    *,
    group: Int[np.ndarray, " person"],
    folds: int = 5,
    seed: int = 0,
    draws: int = 1000,
) -> Result:
    """Fit on the people of all folds but one, ask of that one; with its 95 % interval over people.

    Args:
        what: The outcome.
        group: People who must stay on one side of every split.

    Returns:
        Floors have rows only where the record is long enough for all of them (`LEAST_DAYS` known days after 90).

    Raises:
        SplitError: If there are fewer people than folds.
        ConfigError: If ours cannot be fitted in a fold.
    """
    scored = _scored(followed)
    beside = floors() if _enough(scored) else {}
    known = scored if beside else np.isfinite(followed.outcome)
    said = {name: np.full(known.shape, np.nan) for name in (*beside, OURS)}
    for fold in grouped_folds(group, folds, seed):
        train, told = _some(followed, fold.train), _some(followed, fold.test)
        for name, model in {**beside, OURS: ours}.items():
            said[name][fold.test] = model.fit(train).effect(told.exposures, told.day)
    if not beside:
        # Nothing is asked of days of which ours cannot know: too little was seen before.
        known = known & np.isfinite(said[OURS])
    squares = {name: _squares(followed, answers, known) for name, answers in said.items()}
    contenders = [Contender(name, "ours" if name == OURS else "baseline", values) for name, values in squares.items()]
    metric = Metric(METRIC, _share, "higher", UNIT)
    counts = people_draws(len(known), draws=draws, seed=seed)
    rows = rows_of(what, contenders, [metric], counts=counts, headline=OURS)
    protocol = {"folds": folds, "seed": seed, "days": int(known.sum()), "people": int(known.any(axis=1).sum())}
    return Result(name="folds of people", protocol=protocol, rows=tuple(rows), required_baselines=tuple(beside))


def _scored(followed: Followed) -> Bool[np.ndarray, "person day"]:
    known: np.ndarray = np.isfinite(followed.outcome)
    known[:, :BURN_IN] = False
    return known


def _enough(known: Bool[np.ndarray, "person day"]) -> bool:
    return int(known.any(axis=1).sum()) >= LEAST_PEOPLE and int(known.sum()) >= LEAST_DAYS


def _some(followed: Followed, people: Int[np.ndarray, " one"]) -> Followed:
    return Followed(followed.exposures[people], followed.outcome[people], followed.day[people])


def _squares(
    followed: Followed, said: Float[np.ndarray, "person day"], known: Bool[np.ndarray, "person day"]
) -> Float[np.ndarray, "person two"]:
    """Of each person: what was explained, and what there was."""
    person = np.nonzero(known)[0]
    turn = 2 * np.pi * followed.day[known] / YEAR_D
    waves = [wave(turn * times) for times in (1, 2) for wave in (np.sin, np.cos)]
    columns = np.stack([followed.outcome[known], said[known], *waves, turn], axis=1)
    own = within(columns, person)
    outcome, answers = (own[:, :2] - own[:, 2:] @ np.linalg.lstsq(own[:, 2:], own[:, :2], rcond=None)[0]).T
    total = partial(np.bincount, person, minlength=len(known))
    there = total(weights=outcome**2)
    return np.stack([there - total(weights=(outcome - answers) ** 2), there], axis=1)


def _share(squares: Float[np.ndarray, "person two"]) -> Score:
    return ratio_of_sums(100 * squares[:, 0], squares[:, 1])
