"""Dose recovery: how much of what doses truly did within people each model tells, of people whose outcome it never saw.

A cohort gives exposures, outcomes and days of training people, and the true effect in others. A model is told the
exposures of the others, and no outcome of theirs. R2 is 1 - (missed / true) of squares within persons, summed over all
people and seeds; days before the longest lag of any model are not scored; a day on which a model says nothing counts as
the person's mean. Every model is asked twice, the second time without the last days: who answers otherwise is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hdt_fm.evaluation.contenders import Contender, Metric, Role, directions, rows_of
from hdt_fm.evaluation.people import Score, mean_of_people, people_draws
from hdt_fm.schema.errors import ConfigError, LeakError, ShapeError
from hdt_fm.schema.result import Result, Row

BURN_IN = 90
# So many of the last days are hidden to see whether a model looks ahead.
HIDDEN_DAYS, SAME = 60, 1e-8
OWED = ("same day", "7-day mean", "30-day mean", "bank of 7", "bank of 7 with hinges", "cross-basis")
R2, NUMBERS = "R2 within people", "numbers learned"
OFF, BIAS, INSIDE = "mean error", "bias", "in its 95 % interval"


@dataclass(frozen=True)
class Followed:
    """People on one grid of days; NaN where not known."""

    exposures: Float[np.ndarray, "person exposure day"]
    outcome: Float[np.ndarray, "person day"]
    day: Float[np.ndarray, "person day"]


@dataclass(frozen=True, kw_only=True)
class DoseCohort:
    """One seed's.

    Attributes:
        what: Of which world.
        train: People to learn from.
        test: Others; their outcome is told to nobody.
        train_effect, effect: True, for the model that is told the truth, and for scores.
    """

    what: str
    seed: int
    train: Followed
    test: Followed
    train_effect: Float[np.ndarray, "person day"]
    effect: Float[np.ndarray, "other day"]

    def __post_init__(self) -> None:
        if self.effect.shape != self.test.outcome.shape or self.train_effect.shape != self.train.outcome.shape:
            raise ShapeError(
                "True effects are not of these people", where="DoseCohort", expected="a row for each, a day for each"
            )
        if self.effect.shape[1] <= BURN_IN:
            got = f"{self.effect.shape[1]} days"
            raise ConfigError("No day can be scored", where="DoseCohort", expected=f"over {BURN_IN} days", got=got)


@dataclass(frozen=True)
class Told:
    """A fitted model: exposures and days of people to the effect of their doses; how many numbers it learned."""

    effect: Callable[[np.ndarray, np.ndarray], np.ndarray]
    numbers: int


@dataclass(frozen=True)
class DoseModel:
    """A contender. One that is `told_truth` gets true effects in place of exposures: the reference."""

    fit: Callable[[Followed], Told]
    role: Role
    told_truth: bool = False


def recover(
    name: str,
    cohorts: Sequence[DoseCohort],
    models: Mapping[str, DoseModel],
    *,
    headline: str,
    owed: Sequence[str] = OWED,
    draws: int = 1000,
    progress: Callable[[int, int, str], None] | None = None,
) -> Result:
    """Fit each model on each cohort, ask it, and score; cohorts of one world make one part of the table.

    Args:
        headline: Of ours, whose paired differences from the others are told.
        progress: Called as (done, total, what) after each cohort.

    Raises:
        ConfigError: If the headline is no model, or there is no cohort.
        LeakError: If a model looks ahead.
    """
    if headline not in models or not cohorts:
        got = f"{headline!r}, {len(cohorts)} cohorts"
        raise ConfigError("Doses cannot be scored", expected="a headline among the models, a cohort", got=got)
    squares: dict[str, dict[str, list[np.ndarray]]] = {}
    numbers: dict[str, dict[str, int]] = {}
    for place, cohort in enumerate(cohorts):
        for model, one in models.items():
            found, count = asked(cohort, one)
            squares.setdefault(cohort.what, {}).setdefault(model, []).append(squares_of(found, cohort.effect))
            most = numbers.setdefault(cohort.what, {})
            most[model] = max(count, most.get(model, 0))
        if progress:
            progress(place + 1, len(cohorts), "cohorts")
    rows = [row for what in squares for row in _rows(what, squares[what], numbers[what], models, headline, draws)]
    protocol = {
        "people": [len(cohorts[0].train.outcome), len(cohorts[0].effect)],
        "days": cohorts[0].effect.shape[1],
        "burn_in": BURN_IN,
        "seeds": len({cohort.seed for cohort in cohorts}),
        "better": directions([_R2]),
    }
    return Result(name=name, protocol=protocol, rows=tuple(rows), required_baselines=tuple(owed))


def asked(cohort: DoseCohort, model: DoseModel) -> tuple[Float[np.ndarray, "other day"], int]:
    """What a model says of the others, and how many numbers it learned.

    Raises:
        ShapeError: If the answer does not fit.
        LeakError: If the model looks ahead.
    """
    train, told = cohort.train, cohort.test.exposures
    if model.told_truth:
        train, told = Followed(cohort.train_effect[:, None], train.outcome, train.day), cohort.effect[:, None]
    fitted = model.fit(train)
    found = fitted.effect(told, cohort.test.day)
    if found.shape != cohort.effect.shape:
        raise ShapeError("A model's effects do not fit", expected=str(cohort.effect.shape), got=str(found.shape))
    refuse_look_ahead(fitted.effect, told, cohort.test.day, found)
    return found, fitted.numbers


def refuse_look_ahead(
    effect: Callable[[np.ndarray, np.ndarray], np.ndarray], exposures: np.ndarray, day: np.ndarray, found: np.ndarray
) -> None:
    """Hide the last days and ask again.

    Raises:
        LeakError: If what was said of the days before has changed.
    """
    blind = exposures.copy()
    blind[..., -HIDDEN_DAYS:] = np.nan
    again = effect(blind, day)[:, :-HIDDEN_DAYS]
    before = found[:, :-HIDDEN_DAYS]
    if not np.allclose(again, before, rtol=0.0, atol=SAME, equal_nan=True):
        raise LeakError(
            "A model of doses looks ahead",
            expected="effects of a day by exposures up to it",
            got="other effects once later days were hidden",
            fix="let windows end with the day, not lie around it",
        )


def squares_of(
    found: Float[np.ndarray, "person day"], effect: Float[np.ndarray, "person day"]
) -> Float[np.ndarray, "person two"]:
    """Of each person, after burn-in and within the person: what was missed, and what there was."""
    said, true = found[:, BURN_IN:], effect[:, BURN_IN:]
    known = np.isfinite(said)
    mean = np.where(known, said, 0.0).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    said, true = np.where(known, said - mean, 0.0), true - true.mean(axis=1, keepdims=True)
    return np.stack([np.square(true - said).sum(axis=1), np.square(true).sum(axis=1)], axis=1)


def _r2(squares: np.ndarray) -> Score:
    def over(counts: np.ndarray) -> np.ndarray:
        missed, there = (counts @ squares).T
        return np.where(there > 0, 1 - missed / np.where(there > 0, there, 1.0), np.nan)

    return Score(over, len(squares))


_R2 = Metric(R2, _r2, "higher")


def _rows(
    what: str,
    squares: Mapping[str, list[np.ndarray]],
    numbers: Mapping[str, int],
    models: Mapping[str, DoseModel],
    headline: str,
    draws: int,
) -> list[Row]:
    contenders = [Contender(model, models[model].role, np.concatenate(some)) for model, some in squares.items()]
    counts = people_draws(len(contenders[0].scores), draws=draws, seed=0)
    out = []
    for row in rows_of(what, contenders, [_R2], counts=counts, headline=headline):
        each = [float(_r2(some).over(np.ones((1, len(some))))[0]) for some in squares[row.model]]
        columns = {**row.columns, "lowest_seed": min(each), "highest_seed": max(each)}
        out.append(row.model_copy(update={"columns": columns}))
    people = len(contenders[0].scores)
    return out + [
        Row(what=what, model=model, metric=NUMBERS, value=count, n=people, role=models[model].role)
        for model, count in numbers.items()
    ]


@dataclass(frozen=True)
class Learned:
    """A number that was learned, its interval (NaN where there is none), and the true one."""

    value: float
    low: float
    high: float
    true: float


def numbers_table(name: str, found: Mapping[str, Mapping[str, Sequence[Learned]]], roles: Mapping[str, Role]) -> Result:
    """How far off numbers are, and how often their 95 % intervals hold the true one.

    Args:
        found: By what, then by model; one for each cohort.

    Returns:
        Mean error and bias as shares of the truth; how often intervals hold it, beside how often they should. Intervals
        of these are over cohorts. The mean width of the intervals, as a share of the truth, stands in a column.
    """
    rows: list[Row] = []
    for what, models in found.items():
        for model, some in models.items():
            off = np.array([100 * (one.value / one.true - 1) for one in some])
            told = np.isfinite([one.low for one in some])
            inside = np.array([100.0 * (one.low <= one.true <= one.high) for one in some])
            for metric, values in ((OFF, np.abs(off)), (BIAS, off)):
                rows += _over_cohorts(what, model, metric, values, "%", roles[model])
            held = _over_cohorts(what, model, INSIDE, np.where(told, inside, np.nan), "%", roles[model])
            wide = [100 * (one.high - one.low) / one.true for one, known in zip(some, told, strict=True) if known]
            rows += [row.model_copy(update={"columns": {"mean_width_%": float(np.mean(wide))}}) for row in held]
        marks = {OFF: 0.0, BIAS: 0.0, INSIDE: 95.0}
        rows += [
            Row(what=what, model="as should be", metric=metric, value=value, unit="%", n=rows[-1].n, role="reference")
            for metric, value in marks.items()
        ]
    return Result(name=name, protocol={"interval_over": "cohorts"}, rows=tuple(rows), required_baselines=())


def shares_table(
    name: str, metric: str, found: Mapping[str, Mapping[str, np.ndarray]], roles: Mapping[str, Role]
) -> Result:
    """How often something was said, in % of cohorts.

    Args:
        metric: What was said.
        found: By what, then by model; whether it was, in each cohort.
    """
    rows = [
        row
        for what, models in found.items()
        for model, some in models.items()
        for row in _over_cohorts(what, model, metric, 100.0 * some, "%", roles[model])
    ]
    return Result(name=name, protocol={"interval_over": "cohorts"}, rows=tuple(rows), required_baselines=())


def _over_cohorts(what: str, model: str, metric: str, values: np.ndarray, unit: str, role: Role) -> list[Row]:
    score = mean_of_people(values)
    if not score.people:
        return []
    drawn = score.over(people_draws(len(values), draws=1000, seed=0))
    low, high = (float(side) for side in np.nanquantile(drawn[1:], [0.025, 0.975]))
    value = float(drawn[0])
    return [
        Row(
            what=what, model=model, metric=metric, value=value, low=low, high=high, unit=unit, n=score.people, role=role
        )
    ]
