"""What follows meals and insulin under a plan: the meal law with a person's own numbers, and how far it can be trusted.

Effects are differences of two courses that start from the same body, so they rest on the law and not on readings; the
newest reading moves where both start. Trust has three parts: doubt of a person's numbers (draws), what the law itself
gets wrong about doses and meals (a share of their effect), and how far the level may be off, which matters where an end
of the range cuts one course and not the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.layers import meal_law
from hdt_fm.layers.meal_courses import (
    Missed,
    Moments,
    boards,
    courses,
    factual,
    meals_known,
    own_errors,
    within_range,
)
from hdt_fm.layers.own_numbers import CommonNumbers, OwnNumbers, Shown, common_numbers, own_numbers
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.lives import STEP_MINUTES, Asked, Lives, PlanAnswers, Plans

# Readings there only say that glucose is there or beyond: no number is learned from them.
LOWEST_MG_DL, HIGHEST_MG_DL = 39.0, 400.0
# Of what is missed, from a reading to the next. With the first, levels teach too; with the second hardly more than
# changes do, and whatever is slow and unseen drops out. A law that holds says the same with both. Where the summed
# effects of doses or of meals differ by more than `AGREES`, either way, the second is believed (Hausman 1978).
MEMORIES = (0.9, 0.98)
AGREES = 1.25
INTERVAL = (0.05, 0.95)
DRAWS, DRAWS_OF_EACH = 16, 12
# How much of a reading's surprise the start takes over; training people choose.
SHARES = (0.4, 0.6, 0.8, 1.0)
GAP_STEPS = 3
# Errors as shares of an effect. Insulin acts some 20 to 30 % otherwise on another day (Heinemann 2002), and grams are
# guessed: half is generous. Who is off by the whole effect has a law that says nothing.
MOST_OF_EACH, MOST_ALWAYS = 0.5, 1.0
# Minutes so near to each other have one error, the mean of theirs: with few people each for itself is told by chance.
NEAR_MINUTES = 30


@dataclass(frozen=True)
class Trust:
    """What training people's own readings say of the law, by minute asked.

    Attributes:
        share: Of a reading's surprise that the start takes over.
        level_sd: Of what is missed after meals, mg/dL; the sensor's error is in it.
        effect_sd: Of an effect of doses and of meals, as a share of it.
    """

    share: float
    level_sd: Float[np.ndarray, " minute"]
    effect_sd: Float[np.ndarray, "treatment minute"]


class MealResponse:
    """Learned by `learn`; then answers for people never seen, from what they showed.

    Args:
        minutes: That will be asked.
        seed: Of the draws behind intervals.
    """

    def __init__(self, *, minutes: tuple[int, ...] = (60, 120, 240), seed: int = 0) -> None:
        self.minutes, self.seed = minutes, seed
        self._basal_center = 0.0
        self._learned: tuple[CommonNumbers, Trust] | None = None

    @property
    def learned(self) -> tuple[CommonNumbers, Trust]:
        """What people have in common, and the trust in it.

        Raises:
            ConfigError: If there was nobody to learn from yet.
        """
        if self._learned is None:
            raise ConfigError("Nothing was learned yet", where="MealResponse", fix="call `learn` with training people")
        return self._learned

    def learn(self, first: Lives, second: Lives) -> None:
        """Learn what people have in common from lives, and how far the law can be trusted from others of the same.

        Args:
            first: Of training people.
            second: Other lives of these people, which their numbers have not seen.

        Raises:
            ConfigError: If the second holds somebody who is not in the first, or no meal is followed by readings.
        """
        people = np.unique(first.person)
        if not np.isin(second.person, people).all():
            raise ConfigError("Nobody knows these people's numbers", where="learn", expected="the people of `first`")
        self._basal_center = float(np.log(_basal(first, people)).mean())
        start = np.array([meal_law.START[name] for name in meal_law.NUMBERS])
        traits, shown = self._traits(first, people), _shown(first, people)
        found = []
        for memory in MEMORIES:
            common, own = common_numbers(_play, shown, traits, start, memory=memory)
            found.append((common, *self._trust(second, own.mean[np.searchsorted(people, second.person)])))
        both = np.abs([effects for _, _, effects in found])
        agree = bool((both.max(axis=0) <= AGREES * both.min(axis=0)).all())
        self._learned = found[0 if agree else 1][:2]

    def own(self, taught: Lives, people: Int[np.ndarray, " person"]) -> OwnNumbers:
        """Numbers of these people after what their lives taught."""
        common, _ = self.learned
        return own_numbers(_play, common, _shown(taught, people), self._traits(taught, people))

    def answer(self, own: Lives, taught: Lives, asked: Asked | Plans) -> PlanAnswers:
        """Levels and effects under plans.

        Args:
            own: Lives in which is asked; read up to the moment.
            taught: Other lives of the same people, from which their numbers come.
            asked: Of rows of `own`.

        Raises:
            ConfigError: If other minutes are asked than were learned, or of somebody without a life in `taught`.
        """
        plans = asked.plans if isinstance(asked, Asked) else asked
        people = np.unique(own.person)
        if not np.isin(people, taught.person).all():
            fix = "give a life without a known reading for somebody who has shown nothing yet"
            raise ConfigError("Somebody has no life to learn from", where="MealResponse", fix=fix)
        numbers = self.own(taught, people).take(np.searchsorted(people, own.person))
        level = self.courses(numbers, own, plans)
        low, high = self.effect_intervals(numbers, own, plans)
        return PlanAnswers(level=within_range(level), low=low, high=high)

    def courses(self, numbers: OwnNumbers, own: Lives, plans: Plans) -> Float[np.ndarray, "moment plan minute"]:
        """Under each plan, not cut to what a sensor shows.

        Args:
            numbers: Of each life's person.

        Raises:
            ConfigError: If other minutes are asked than were learned.
        """
        share = self.learned[1].share
        if plans.minutes != self.minutes:
            raise ConfigError("Other minutes are asked", where="MealResponse", expected=str(self.minutes))
        return courses(numbers.mean, own, boards(numbers.mean, own), plans, share)

    def done(self, numbers: OwnNumbers, own: Lives, actions: Moments, *, together: int) -> Missed:
        """What was missed after doses and meals, and their effects; all that was taken later is told.

        Args:
            actions: So early that the last minute is still in the life.
            together: Columns from there on whose doses and meals are one action.
        """
        steps = tuple(minute // STEP_MINUTES for minute in self.minutes)
        board, share = boards(numbers.mean, own), self.learned[1].share
        return factual(numbers.mean, own, board, actions, steps, share, together=together)

    def effect_intervals(
        self,
        numbers: OwnNumbers,
        own: Lives,
        plans: Plans,
        *,
        beyond: Float[np.ndarray, "moment minute"] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """90 % of the effect of each contrast, over draws of numbers, of the law's error, and of the level.

        Args:
            numbers: Of each life's person.
            beyond: What else moves all courses of a moment alike.
        """
        generator, trust = np.random.default_rng(self.seed), self.learned[1]
        some, plan, between, against = _pairs(plans)
        drawn = []
        for _ in range(DRAWS):
            of_lives = numbers.draw(generator)
            level = courses(of_lives, own, boards(of_lives, own), some, trust.share)
            base, parts = level[:, against], (level[:, plan] - level[:, between], level[:, between] - level[:, against])
            if beyond is not None:
                base = base + beyond[:, None]
            shape = (DRAWS_OF_EACH, *base.shape[:2], 1)
            wrong = (
                part * (1 + generator.normal(size=shape) * sd) for part, sd in zip(parts, trust.effect_sd, strict=True)
            )
            start = base + generator.normal(size=(*shape[:2], 1, 1)) * trust.level_sd
            drawn.append(within_range(start + sum(wrong)) - within_range(start))
        low, high = np.quantile(np.concatenate(drawn), INTERVAL, axis=0)
        return low, high

    def arrays(self) -> dict[str, Float[np.ndarray, "..."]]:
        """All that was learned, of which `of` makes it again."""
        common, trust = self.learned
        return {
            "basal_center": np.array(self._basal_center),
            "by_trait": common.by_trait,
            "spread": common.spread,
            "noise": np.array(common.noise),
            "memory": np.array(common.memory),
            "repeats": np.array(common.repeats),
            "share": np.array(trust.share),
            "level_sd": trust.level_sd,
            "effect_sd": trust.effect_sd,
        }

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], *, minutes: tuple[int, ...], seed: int = 0) -> "MealResponse":
        """The same as the one whose `arrays` these are."""
        made = cls(minutes=minutes, seed=seed)
        made._basal_center = float(arrays["basal_center"])
        scalars = (float(arrays[name]) for name in ("noise", "memory", "repeats"))
        common = CommonNumbers(arrays["by_trait"], arrays["spread"], *scalars)
        made._learned = common, Trust(float(arrays["share"]), arrays["level_sd"], arrays["effect_sd"])
        return made

    def _traits(self, lives: Lives, people: np.ndarray) -> Float[np.ndarray, "person trait"]:
        """A one, and how much basal insulin a body needs."""
        basal = np.log(_basal(lives, people))
        return np.stack([np.ones_like(basal), basal - self._basal_center], axis=1)

    def _trust(
        self, lives: Lives, numbers: Float[np.ndarray, "life number"]
    ) -> tuple[Trust, Float[np.ndarray, " treatment"]]:
        """Two errors of the law: one that a meal has for itself, one that a person always has; and the effects of all
        doses and of all meals at the last minute, summed.

        To the first all that is missed is put down, the sensor's error too, by squared effects: doses come with meals,
        so what is wrong of both may cancel and not show. It is held at `MOST_OF_EACH`: in free life most of what is
        missed is neither. The second is how far persons' misses go with their doses and with their meals, less what
        that would be by chance.
        """
        steps = tuple(minute // STEP_MINUTES for minute in self.minutes)
        board = boards(numbers, lives)
        meals = meals_known(lives, max(steps))
        if not len(meals.life):
            expected = "meals with known readings after them"
            raise ConfigError("Trust cannot be learned", where="MealResponse.learn", expected=expected)
        found = [factual(numbers, lives, board, meals, steps, share) for share in SHARES]
        squares = [np.nanmean(np.square(one.missed), axis=0) for one in found]
        best = int(np.argmin([float(some.sum()) for some in squares]))
        each = squares[best] / np.square(found[best].effects).sum(axis=1).mean(axis=0)
        always = own_errors(found[best], lives.person[meals.life])
        wrong = np.minimum(each, MOST_OF_EACH**2) + np.minimum(always, MOST_ALWAYS**2)
        near = np.abs(np.subtract.outer(self.minutes, self.minutes)) <= NEAR_MINUTES
        trust = Trust(SHARES[best], np.sqrt(squares[best]), np.sqrt(wrong @ near / near.sum(axis=0)))
        return trust, found[best].effects[..., -1].sum(axis=0)


def _pairs(plans: Plans) -> tuple[Plans, np.ndarray, np.ndarray, np.ndarray]:
    """Plans behind the contrasts, each once; of each contrast the plan, the one with its meal but the dose of the
    other, and the other."""
    plan, against = np.array(plans.contrasts, dtype=np.int64).reshape(-1, 2).T
    units = _first_alike(plans.units)[np.concatenate([plan, against, against])]
    grams = _first_alike(plans.grams)[np.concatenate([plan, plan, against])]
    once, place = np.unique(np.stack([units, grams]), axis=1, return_inverse=True)
    some = Plans(
        life=plans.life,
        time=plans.time,
        units=plans.units[:, once[0]],
        grams=plans.grams[:, once[1]],
        contrasts=(),
        minutes=plans.minutes,
    )
    first, second, third = np.split(place.reshape(-1), 3)
    return some, first, second, third


def _first_alike(table: Float[np.ndarray, "moment plan step"]) -> Int[np.ndarray, " plan"]:
    """Of each plan the first one in which the same is taken."""
    _, first, place = np.unique(table, axis=1, return_index=True, return_inverse=True)
    out: np.ndarray = first[place.reshape(-1)]
    return out


def _play(numbers: np.ndarray, doses: np.ndarray) -> np.ndarray:
    out: np.ndarray = meal_law.play(numbers, doses[0], doses[1])[:-1]
    return out


def _basal(lives: Lives, people: np.ndarray) -> Float[np.ndarray, " person"]:
    """Of each person's first life."""
    out: np.ndarray = lives.basal_units_per_hour[[int(np.argmax(lives.person == person)) for person in people]]
    return out


def between(glucose: Float[np.ndarray, "life time"]) -> Float[np.ndarray, "life time"]:
    """Lines between readings no further apart than `GAP_STEPS`: a sensor may show every third step alone."""
    out = glucose.copy()
    for row in out:
        seen = np.flatnonzero(np.isfinite(row))
        for gap in range(2, GAP_STEPS + 1):
            left = seen[:-1][np.diff(seen) == gap]
            for step in range(1, gap):
                row[left + step] = row[left] + (row[left + gap] - row[left]) * step / gap
    return out


def _shown(lives: Lives, people: np.ndarray) -> Shown:
    glucose = between(lives.glucose_mg_dl)
    inside = (glucose > LOWEST_MG_DL) & (glucose < HIGHEST_MG_DL)
    doses = np.stack([lives.insulin_units, lives.carbs_g])
    return Shown(np.searchsorted(people, lives.person), doses, np.where(inside, glucose, np.nan))
