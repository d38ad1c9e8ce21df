"""Effects of plans on people never seen, against true ones: every model told the same, several seeds, one table.

A cohort gives lives of people to learn from, lives of others, and moments of these at which the truth under several
plans is known. A model is told the life up to the moment, and what the same person showed in other lives of theirs: all
readings of their first 0, 5, 20 or 80 meals. Lives are asked in two halves, each taught by the other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.evaluation.contenders import Contender, Metric, Role, directions, rows_of
from hdt_fm.evaluation.people import people_draws
from hdt_fm.evaluation.what_if_scores import effect_metrics, plan_metrics, regret_metric
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.lives import Asked, Lives, PlanAnswers
from hdt_fm.schema.result import Result, Row

# (own lives, what other lives taught, what is asked) -> answers; nothing after a moment may be read.
Answer = Callable[[Lives, Lives, Asked], PlanAnswers]
# From training people to a model that answers; the seed is of its own chance.
Fit = Callable[[Lives, int], Answer]
OWED = ("forecast alone", "ridge", "LightGBM", "mean person's equations", "plain GRU")
MEALS = (0, 5, 20, 80)


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """One seed's.

    Attributes:
        train, test: Lives; nobody is in both.
        asked: Of rows of `test`.
        truth: (moment, plan, minute) mg/dL, without noise.
        names: Of the contrasts.
        ranked: Plans that differ in nothing but the dose.
    """

    seed: int
    train: Lives
    test: Lives
    asked: Asked
    truth: Float[np.ndarray, "moment plan minute"]
    names: tuple[str, ...]
    ranked: tuple[int, ...]

    def __post_init__(self) -> None:
        if np.intersect1d(self.train.person, self.test.person).size:
            raise ConfigError(
                "Somebody is both learned from and asked about", where="Cohort", expected="disjoint people"
            )
        wanted = (*self.asked.dose_units.shape, len(self.asked.minutes))
        if self.truth.shape != wanted:
            got = str(self.truth.shape)
            raise ShapeError("Truths do not fit what is asked", where="Cohort.truth", expected=str(wanted), got=got)


@dataclass(frozen=True)
class PlanModel:
    """A contender; `meals` of the person's own that it is taught by."""

    fit: Fit
    role: Role
    meals: int = MEALS[-1]


def halves(lives: Lives) -> tuple[Int[np.ndarray, " life"], Int[np.ndarray, " life_too"]]:
    """Rows of each person's first lives and of the later ones.

    Raises:
        ConfigError: If somebody has a single life, which nothing else could teach about.
    """
    first = np.zeros(len(lives), dtype=np.bool_)
    for person in np.unique(lives.person):
        rows = np.flatnonzero(lives.person == person)
        if len(rows) < 2:
            raise ConfigError("Somebody has a single life", where="halves", expected="two lives or more of everybody")
        first[rows[: (len(rows) + 1) // 2]] = True
    return np.flatnonzero(first), np.flatnonzero(~first)


def ask(answer: Answer, cohort: Cohort, meals: int) -> PlanAnswers:
    """Each half of the lives, taught by so many meals of the other half.

    Raises:
        ShapeError: If answers do not fit, or are no numbers.
    """
    asked, contrasts = cohort.asked, len(cohort.asked.contrasts)
    level = np.full(cohort.truth.shape, np.nan)
    bounds = np.full((2, len(asked), contrasts, len(asked.minutes)), np.nan)
    one, other = halves(cohort.test)
    for own, teaching in ((one, other), (other, one)):
        rows = np.flatnonzero(np.isin(asked.life, own))
        some = asked.take(rows, np.searchsorted(own, asked.life[rows]))
        got = answer(cohort.test.take(own), cohort.test.take(teaching).first_meals(meals), some)
        if got.level.shape != level[rows].shape or not np.isfinite(got.level).all():
            expected = f"finite, {level[rows].shape}"
            raise ShapeError("A model's answers do not fit", expected=expected, got=str(got.level.shape))
        level[rows] = got.level
        for place, side in enumerate((got.low, got.high)):
            if side is not None:
                bounds[place, rows] = side
    return PlanAnswers(level=level, low=bounds[0], high=bounds[1])


def what_if(
    name: str,
    cohorts: Sequence[Cohort],
    models: Mapping[str, PlanModel],
    *,
    headline: str,
    owed: Sequence[str] = OWED,
    draws: int = 1000,
    progress: Callable[[int, int, str], None] | None = None,
) -> Result:
    """Fit each model on each cohort, ask it, and score.

    Args:
        cohorts: One a seed; all ask the same contrasts and minutes.
        models: Those of one `fit` are fitted once.
        headline: Of ours, whose paired differences from the others are told.
        progress: Called as (done, total, what) after each cohort.

    Raises:
        ConfigError: If the headline is no model, there is no cohort, or cohorts ask different things.
    """
    if headline not in models or not cohorts:
        expected = "a headline among the models, one cohort or more"
        raise ConfigError("The what-if cannot be run", expected=expected, got=f"{headline!r}, {len(cohorts)} cohorts")
    if len({(one.names, one.ranked, one.asked.contrasts, one.asked.minutes) for one in cohorts}) > 1:
        raise ConfigError("Cohorts ask different things", where="what_if", expected="the same contrasts and minutes")
    found: dict[str, list[PlanAnswers]] = {model: [] for model in models}
    for number, cohort in enumerate(cohorts):
        fitted: dict[int, Answer] = {}
        for model, one in models.items():
            if id(one.fit) not in fitted:
                fitted[id(one.fit)] = one.fit(cohort.train, cohort.seed)
            found[model].append(ask(fitted[id(one.fit)], cohort, one.meals))
        if progress:
            progress(number + 1, len(cohorts), "cohorts")
    table = _Table(cohorts, found, {model: one.role for model, one in models.items()}, headline, draws)
    return Result(
        name=name,
        protocol={
            "task": "what-if",
            "people": len(table.seed),
            "moments": len(table.person),
            "minutes": list(cohorts[0].asked.minutes),
            "seeds": [one.seed for one in cohorts],
            "intervals": f"95 % percentile, {draws} resamples of people, each seed's mean apart, paired across models",
            "headline": headline,
            "better": directions(table.all_metrics()),
        },
        rows=tuple(table.rows()),
        required_baselines=tuple(owed),
    )


class _Table:
    """Cohorts side by side, and their rows."""

    def __init__(
        self,
        cohorts: Sequence[Cohort],
        found: Mapping[str, Sequence[PlanAnswers]],
        roles: Mapping[str, Role],
        headline: str,
        draws: int,
    ) -> None:
        self.first, self.roles, self.headline = cohorts[0], roles, headline
        codes = [np.unique(one.test.person[one.asked.life], return_inverse=True) for one in cohorts]
        starts = np.cumsum([0] + [len(people) for people, _ in codes])
        self.person = np.concatenate([code + start for (_, code), start in zip(codes, starts[:-1], strict=True)])
        self.seed = np.repeat(np.arange(len(cohorts)), np.diff(starts))
        self.truth = np.concatenate([one.truth for one in cohorts])
        self.dose, self.carbs = (
            np.concatenate([getattr(one.asked, amount) for one in cohorts]) for amount in ("dose_units", "carbs_g")
        )
        sides = ("level", "low", "high")
        self.answers = {
            model: [np.concatenate([getattr(one, side) for one in each]) for side in sides]
            for model, each in found.items()
        }
        self.counts = people_draws(len(self.seed), draws=draws, seed=0)

    def rows(self) -> list[Row]:
        out: list[Row] = []
        for place, minute in enumerate(self.first.asked.minutes):
            for number, name in enumerate(self.first.names):
                out += self._rows(f"{name}, {minute} min", self._effects(number, place), [self._metrics(number, place)])
            levels = {model: level[:, :, place] for model, (level, _, _) in self.answers.items()}
            out += self._rows(f"all plans, {minute} min", levels, [self._plan_metrics(place)])
        ranked = list(self.first.ranked)
        courses = {model: level[:, ranked] for model, (level, _, _) in self.answers.items()}
        choice = [regret_metric(self.truth[:, ranked], self.person, self.seed)]
        return out + self._rows("choice of a dose", courses, [choice])

    def all_metrics(self) -> list[Metric]:
        ranked = list(self.first.ranked)
        choice = regret_metric(self.truth[:, ranked], self.person, self.seed)
        return [*self._metrics(0, 0), *self._plan_metrics(0), choice]

    def _effects(self, number: int, place: int) -> dict[str, np.ndarray]:
        plan, against = self.first.asked.contrasts[number]
        return {
            model: np.stack(
                [level[:, plan, place] - level[:, against, place], low[:, number, place], high[:, number, place]],
                axis=1,
            )
            for model, (level, low, high) in self.answers.items()
        }

    def _metrics(self, number: int, place: int) -> list[Metric]:
        plan, against = self.first.asked.contrasts[number]
        moves = (self.dose[:, plan] != self.dose[:, against]) | (self.carbs[:, plan] != self.carbs[:, against])
        true = self.truth[:, plan, place] - self.truth[:, against, place]
        return effect_metrics(true, moves, self.person, self.seed)

    def _plan_metrics(self, place: int) -> list[Metric]:
        return plan_metrics(self.truth[:, :, place], self.dose, list(self.first.ranked), self.person, self.seed)

    def _rows(self, what: str, scores: Mapping[str, np.ndarray], metrics: Sequence[Sequence[Metric]]) -> list[Row]:
        """With each seed's own value beside, as lowest and highest."""
        contenders = [Contender(model, self.roles[model], some) for model, some in scores.items()]
        asked = [metric for some in metrics for metric in some]
        rows = rows_of(what, contenders, asked, counts=self.counts, headline=self.headline)
        by_name = {metric.name: metric for metric in asked}
        alone = np.eye(int(self.seed.max()) + 1)[:, self.seed]
        out = []
        for row in rows:
            each = by_name[row.metric].score(scores[row.model]).over(alone)
            columns = {**row.columns, "lowest_seed": float(each.min()), "highest_seed": float(each.max())}
            out.append(row.model_copy(update={"columns": columns}))
        return out
