"""What follows meals and insulin under a plan: the meal law with a person's own numbers, and how far it can be trusted.

Effects are differences of two courses that start from the same body, so they rest on the law and not on readings; the
newest reading moves where both start. Trust has three parts: doubt of a person's numbers (draws), what the law itself
gets wrong about doses and meals (a share of their effect), and how far the level may be off, which matters where an end
of the range cuts one course and not the other.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.layers import meal_law
from hdt_fm.layers.meal_courses import boards, courses, factual, meals_known, own_errors, within_range
from hdt_fm.layers.own_numbers import CommonNumbers, OwnNumbers, Shown, common_numbers, own_numbers
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.lives import STEP_MINUTES, Asked, Lives, PlanAnswers

# Readings there only say that glucose is there or beyond: no number is learned from them.
LOWEST_MG_DL, HIGHEST_MG_DL = 39.0, 400.0
# Of what is missed, from a reading to the next.
MEMORY = 0.9
INTERVAL = (0.05, 0.95)
DRAWS, DRAWS_OF_EACH = 16, 12
# How much of a reading's surprise the start takes over; training people choose.
SHARES = (0.4, 0.6, 0.8, 1.0)


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
        traits = self._traits(first, people)
        common, own = common_numbers(_play, _shown(first, people), traits, start, memory=MEMORY)
        self._learned = common, self._trust(second, own.mean[np.searchsorted(people, second.person)])

    def own(self, taught: Lives, people: Int[np.ndarray, " person"]) -> OwnNumbers:
        """Numbers of these people after what their lives taught."""
        common, _ = self.learned
        return own_numbers(_play, common, _shown(taught, people), self._traits(taught, people))

    def answer(self, own: Lives, taught: Lives, asked: Asked) -> PlanAnswers:
        """Levels and effects under plans.

        Args:
            own: Lives in which is asked; read up to the moment.
            taught: Other lives of the same people, from which their numbers come.
            asked: Of rows of `own`.

        Raises:
            ConfigError: If other minutes are asked than were learned, or of somebody without a life in `taught`.
        """
        share = self.learned[1].share
        if asked.minutes != self.minutes:
            raise ConfigError("Other minutes are asked", where="MealResponse", expected=str(self.minutes))
        people = np.unique(own.person)
        if not np.isin(people, taught.person).all():
            fix = "give a life without a known reading for somebody who has shown nothing yet"
            raise ConfigError("Somebody has no life to learn from", where="MealResponse", fix=fix)
        numbers, place = self.own(taught, people), np.searchsorted(people, own.person)
        of_lives = numbers.mean[place]
        level = courses(of_lives, own, boards(of_lives, own), asked, share)
        low, high = self._intervals(numbers, place, own, asked)
        return PlanAnswers(level=within_range(level), low=low, high=high)

    def _intervals(
        self, numbers: OwnNumbers, place: np.ndarray, own: Lives, asked: Asked
    ) -> tuple[np.ndarray, np.ndarray]:
        """Quantiles of effects over draws of numbers, of the law's error, and of the level."""
        generator, trust = np.random.default_rng(self.seed), self.learned[1]
        some, plan, between, against = _pairs(asked)
        drawn = []
        for _ in range(DRAWS):
            of_lives = numbers.draw(generator)[place]
            level = courses(of_lives, own, boards(of_lives, own), some, trust.share)
            base, parts = level[:, against], (level[:, plan] - level[:, between], level[:, between] - level[:, against])
            shape = (DRAWS_OF_EACH, *base.shape[:2], 1)
            wrong = (
                part * (1 + generator.normal(size=shape) * sd) for part, sd in zip(parts, trust.effect_sd, strict=True)
            )
            start = base + generator.normal(size=(*shape[:2], 1, 1)) * trust.level_sd
            drawn.append(within_range(start + sum(wrong)) - within_range(start))
        low, high = np.quantile(np.concatenate(drawn), INTERVAL, axis=0)
        return low, high

    def _traits(self, lives: Lives, people: np.ndarray) -> Float[np.ndarray, "person trait"]:
        """A one, and how much basal insulin a body needs."""
        basal = np.log(_basal(lives, people))
        return np.stack([np.ones_like(basal), basal - self._basal_center], axis=1)

    def _trust(self, lives: Lives, numbers: Float[np.ndarray, "life number"]) -> Trust:
        """Two errors of the law: one that a meal has for itself, one that a person always has.

        To the first all that is missed is put down, the sensor's error too, by squared effects; the second is how far
        persons' misses go with their doses and with their meals, less what that would be by chance.
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
        return Trust(SHARES[best], np.sqrt(squares[best]), np.sqrt(each + always))


def _pairs(asked: Asked) -> tuple[Asked, np.ndarray, np.ndarray, np.ndarray]:
    """Plans behind the contrasts, each once; of each contrast the plan, the one with its meal but the dose of the
    other, and the other."""
    plan, against = np.array(asked.contrasts, dtype=np.int64).reshape(-1, 2).T
    dose, carbs = asked.dose_units, asked.carbs_g
    doses = np.concatenate([dose[:, plan], dose[:, against], dose[:, against]], axis=1)
    meals = np.concatenate([carbs[:, plan], carbs[:, plan], carbs[:, against]], axis=1)
    once, place = np.unique(np.concatenate([doses, meals]), axis=1, return_inverse=True)
    some = replace(asked, dose_units=once[: len(asked)], carbs_g=once[len(asked) :], contrasts=())
    first, second, third = np.split(place.reshape(-1), 3)
    return some, first, second, third


def _play(numbers: np.ndarray, doses: np.ndarray) -> np.ndarray:
    out: np.ndarray = meal_law.play(numbers, doses[0], doses[1])[:-1]
    return out


def _basal(lives: Lives, people: np.ndarray) -> Float[np.ndarray, " person"]:
    """Of each person's first life."""
    out: np.ndarray = lives.basal_units_per_hour[[int(np.argmax(lives.person == person)) for person in people]]
    return out


def _shown(lives: Lives, people: np.ndarray) -> Shown:
    glucose = lives.glucose_mg_dl
    inside = (glucose > LOWEST_MG_DL) & (glucose < HIGHEST_MG_DL)
    doses = np.stack([lives.bolus_units, lives.carbs_g])
    return Shown(np.searchsorted(people, lives.person), doses, np.where(inside, glucose, np.nan))
