"""True counterfactuals: the same body at the same meal under several plans, and nothing else for four hours."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from hdt_fm.schema.errors import ConfigError
from hdt_fm.simulation.glucose_life import MealStates
from hdt_fm.simulation.glucose_plan import checked_amounts
from hdt_fm.simulation.glucose_run import simulate
from hdt_fm.simulation.glucose_sensor import READING_MINUTES, in_range
from hdt_fm.simulation.virtual_people import VirtualPeople


@dataclass(frozen=True, kw_only=True)
class MealPlans:
    """What is tried at a meal, as shares of what was recommended and of what was served.

    Args:
        dose: Share of the recommended dose, per plan.
        carbs: Share of the meal, per plan.
        bolus_after_minutes: When the dose is injected, counted from the meal.

    Raises:
        ConfigError: If the two differ in length, a share is negative, or the dose would lie in the past.
    """

    dose: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5, 0.0, 0.5, 1.0, 1.5)
    carbs: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5)
    bolus_after_minutes: int = 0

    def __post_init__(self) -> None:
        shares = (*self.dose, *self.carbs)
        if len(self.dose) != len(self.carbs) or not shares or not np.isfinite(shares).all() or min(shares) < 0:
            expected = "a share of the dose and one of the meal per plan, 0 or more"
            raise ConfigError("These are no plans", expected=expected, where="MealPlans")
        if self.bolus_after_minutes < 0:
            fix = "start the rollout earlier if the dose should come before the meal"
            expected = "minutes from the meal on"
            raise ConfigError("The plan lies in the past", expected=expected, where="MealPlans", fix=fix)

    def __len__(self) -> int:
        return len(self.dose)

    def index(self, dose: float, carbs: float = 1.0) -> int:
        """Which plan has these shares.

        Raises:
            ConfigError: If none has.
        """
        pairs = list(zip(self.dose, self.carbs, strict=True))
        if (dose, carbs) not in pairs:
            raise ConfigError("No plan has these shares", expected=f"one of {pairs}", where="MealPlans.index")
        return pairs.index((dose, carbs))


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """What would have followed each plan.

    Attributes:
        run, reading: (meal,) Where in the history the meal was.
        plans: What was tried.
        dose_units, carbs_g: (meal, plan) What that was for this meal.
        minute: (time,) From the meal on, each 5 minutes.
        glucose_mg_dl: (meal, plan, time) Under the skin, without noise, cut to 39 to 400; the first is one for all.
        clipped_share: (plan,) Share of values that were cut.
    """

    run: Int64[np.ndarray, " meal"]
    reading: Int64[np.ndarray, " meal"]
    plans: MealPlans
    dose_units: Float64[np.ndarray, "meal plan"]
    carbs_g: Float64[np.ndarray, "meal plan"]
    minute: Int64[np.ndarray, " time"]
    glucose_mg_dl: Float64[np.ndarray, "meal plan time"]
    clipped_share: Float64[np.ndarray, " plan"]

    def effect(self, plan: int, against: int, minute: int) -> Float64[np.ndarray, " meal"]:
        """How much higher (mg/dL) each meal's glucose is under one plan than under another, so long after.

        Raises:
            ConfigError: If the minute was not kept.
        """
        if minute not in self.minute:
            expected = f"0 to {int(self.minute[-1])} in steps of {READING_MINUTES}"
            raise ConfigError("This minute was not kept", expected=expected, where="Rollouts.effect")
        at = self.glucose_mg_dl[:, :, minute // READING_MINUTES]
        difference: np.ndarray = at[:, plan] - at[:, against]
        return difference


def rollouts(runs: VirtualPeople, meals: MealStates, plans: MealPlans | None = None, *, minutes: int = 240) -> Rollouts:
    """Start every kept meal anew under each plan. What was eaten and injected before goes on working.

    Args:
        runs: The person of each row that `meals.run` names.
        meals: As `live` kept them.
        plans: The eight of doses 0, .5, 1, 1.5 by meals 1, .5 by default.
        minutes: How long; a multiple of 5.

    Raises:
        ConfigError: If the time is none, or the dose comes after its end.
        UnitError: If a plan's dose or meal is above what anybody takes.
    """
    plans = plans or MealPlans()
    if minutes < READING_MINUTES or minutes % READING_MINUTES or plans.bolus_after_minutes >= minutes:
        expected = f"minutes in steps of {READING_MINUTES}, past the dose"
        raise ConfigError("A rollout cannot last so long", expected=expected, where="rollouts")
    count = len(meals)
    dose = checked_amounts(meals.recommended_units[:, None] * np.array(plans.dose), "U", where="rollouts, dose")
    carbs = checked_amounts(meals.carbs_g[:, None] * np.array(plans.carbs), "g", where="rollouts, meal")
    rows = np.repeat(np.arange(count), len(plans))
    table, doses = np.zeros((len(rows), minutes)), np.zeros((len(rows), minutes))
    table[:, 0], doses[:, plans.bolus_after_minutes] = carbs.ravel(), dose.ravel()
    people = runs.people.take(meals.run[rows])
    run = simulate(people, table, doses, start=meals.state.take(rows), every_minutes=READING_MINUTES)
    glucose = run.tissue_mg_dl.reshape(count, len(plans), len(run.minute))
    shown = in_range(glucose)
    return Rollouts(
        run=meals.run,
        reading=meals.reading,
        plans=plans,
        dose_units=dose,
        carbs_g=carbs,
        minute=run.minute,
        glucose_mg_dl=shown,
        clipped_share=(shown != glucose).mean(axis=(0, 2)) if count else np.zeros(len(plans)),
    )
