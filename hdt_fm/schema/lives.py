"""Lives with meals and insulin: what a model of plans is taught, what it is told, and what it is asked."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.schema.errors import ConfigError, ShapeError

STEP_MINUTES = 5
STEPS_PER_HOUR = 60 // STEP_MINUTES


@dataclass(frozen=True, kw_only=True)
class Lives:
    """Stretches of lives on a grid of 5 minutes. A column begins with its reading; then its dose and its meal come.

    Attributes:
        person: Whose life it is; several may be the same person's.
        glucose_mg_dl: As a sensor shows it; NaN where unknown.
        bolus_units, carbs_g: 0 where none.
        basal_units_per_hour: Of the life.
        basal_change_units: What basal insulin gives in each step beyond that, below 0 where less; none by default.

    Raises:
        ShapeError: If tables differ in shape.
        ConfigError: If an amount is negative or no number, or somebody has no basal insulin.
    """

    person: Int[np.ndarray, " life"]
    glucose_mg_dl: Float[np.ndarray, "life time"]
    bolus_units: Float[np.ndarray, "life _"]
    carbs_g: Float[np.ndarray, "life _"]
    basal_units_per_hour: Float[np.ndarray, " life"]
    basal_change_units: Float[np.ndarray, "life _"] | None = None

    def __post_init__(self) -> None:
        shape = (len(self.person), self.glucose_mg_dl.shape[1])
        if self.basal_change_units is None:
            object.__setattr__(self, "basal_change_units", np.zeros(shape))
        for name in ("glucose_mg_dl", "bolus_units", "carbs_g", "basal_change_units"):
            if getattr(self, name).shape != shape:
                got = str(getattr(self, name).shape)
                raise ShapeError("Tables of lives do not fit", where=f"Lives.{name}", expected=str(shape), got=got)
        amounts = (self.bolus_units, self.carbs_g, self.basal_units_per_hour)
        if not all(np.isfinite(some).all() and (some >= 0).all() for some in amounts) or not _finite(self):
            fix = "put 0 where nothing was taken, and leave out lives of which it is not known"
            raise ConfigError("An amount cannot be", where="Lives", expected="finite amounts of 0 or more", fix=fix)
        if not (self.basal_units_per_hour > 0).all():
            expected = "U/h above 0: it tells how much insulin a body needs"
            raise ConfigError("Somebody has no basal insulin", where="Lives.basal_units_per_hour", expected=expected)

    def __len__(self) -> int:
        return len(self.person)

    @property
    def insulin_units(self) -> Float[np.ndarray, "life time"]:
        """All of a step beyond the life's basal rate."""
        assert self.basal_change_units is not None
        out: np.ndarray = self.bolus_units + self.basal_change_units
        return out

    def take(self, rows: np.ndarray) -> "Lives":
        """These lives, in this order."""
        return Lives(**{name: values[rows] for name, values in vars(self).items()})

    def first_meals(self, count: int) -> "Lives":
        """The same with readings known up to the end of each person's first so many meals, in the order of lives.

        A meal ends where the next one begins. After the last known reading nothing may teach, doses included.
        """
        glucose = self.glucose_mg_dl.copy()
        for person in np.unique(self.person):
            left = count
            for life in np.flatnonzero(self.person == person):
                meals = np.flatnonzero(self.carbs_g[life] > 0)
                end = 0 if left <= 0 else meals[left] if left < len(meals) else glucose.shape[1]
                glucose[life, end:] = np.nan
                left -= len(meals)
        return Lives(**{**vars(self), "glucose_mg_dl": glucose})


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Plans at moments of lives: a dose and a meal at once, then nothing.

    Attributes:
        life, time: (moment,) Row and column of the life; its reading there and all before are known, nothing after.
        dose_units, carbs_g: (moment, plan) What is tried.
        contrasts: Pairs of plans whose difference is asked, first minus second.
        minutes: When, from the moment on; in steps of 5.
    """

    life: Int[np.ndarray, " moment"]
    time: Int[np.ndarray, " moment"]
    dose_units: Float[np.ndarray, "moment plan"]
    carbs_g: Float[np.ndarray, "moment plan"]
    contrasts: tuple[tuple[int, int], ...]
    minutes: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_asked(self.dose_units.shape[1], self.contrasts, self.minutes)

    def __len__(self) -> int:
        return len(self.life)

    @property
    def steps(self) -> tuple[int, ...]:
        """Of the minutes."""
        return tuple(minute // STEP_MINUTES for minute in self.minutes)

    @property
    def plans(self) -> "Plans":
        """The same, step by step."""
        return Plans(
            life=self.life,
            time=self.time,
            units=self.dose_units[:, :, None],
            grams=self.carbs_g[:, :, None],
            contrasts=self.contrasts,
            minutes=self.minutes,
        )

    def take(self, rows: np.ndarray, life: Int[np.ndarray, " row"]) -> "Asked":
        """Some moments, whose lives stand in other rows now."""
        return Asked(
            life=life,
            time=self.time[rows],
            dose_units=self.dose_units[rows],
            carbs_g=self.carbs_g[rows],
            contrasts=self.contrasts,
            minutes=self.minutes,
        )


@dataclass(frozen=True, kw_only=True)
class Plans:
    """Plans of any course at moments of lives.

    Attributes:
        life, time: As of `Asked`.
        units, grams: What is taken at the beginning of each step of 5 minutes from the moment on; then nothing.
        contrasts, minutes: As of `Asked`.
    """

    life: Int[np.ndarray, " moment"]
    time: Int[np.ndarray, " moment"]
    units: Float[np.ndarray, "moment plan step"]
    grams: Float[np.ndarray, "moment plan step"]
    contrasts: tuple[tuple[int, int], ...]
    minutes: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_asked(self.units.shape[1], self.contrasts, self.minutes)

    def __len__(self) -> int:
        return len(self.life)

    @property
    def steps(self) -> tuple[int, ...]:
        """Of the minutes."""
        return tuple(minute // STEP_MINUTES for minute in self.minutes)


@dataclass(frozen=True, kw_only=True)
class PlanAnswers:
    """What would come.

    Attributes:
        level: (moment, plan, minute) Glucose, mg/dL.
        low, high: (moment, contrast, minute) 90 % interval of each effect; None if the model gives none.
    """

    level: Float[np.ndarray, "moment plan minute"]
    low: Float[np.ndarray, "moment contrast minute"] | None = None
    high: Float[np.ndarray, "moment contrast minute"] | None = None


def _finite(lives: Lives) -> bool:
    return bool(np.isfinite(lives.insulin_units).all())


def _check_asked(plans: int, contrasts: tuple[tuple[int, int], ...], minutes: tuple[int, ...]) -> None:
    if not minutes or any(minute <= 0 or minute % STEP_MINUTES for minute in minutes):
        expected = f"minutes after the moment, in steps of {STEP_MINUTES}"
        raise ConfigError("This cannot be asked", where="minutes", expected=expected)
    if not all(0 <= plan < plans for pair in contrasts for plan in pair):
        raise ConfigError("A contrast names no plan", where="contrasts", expected=f"0 to {plans - 1}")
