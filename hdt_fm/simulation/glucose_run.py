"""From what people eat and inject to their glucose: the open loop, in which every meal and dose is fixed before."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.simulation.glucose_integrator import GlucoseState, Integrator
from hdt_fm.simulation.glucose_people import STATES, GlucosePeople
from hdt_fm.simulation.glucose_plan import checked_amounts, checked_table

# So many people at a time stay in the processor's cache.
BLOCK = 1024
_IP, _GP, _GS = STATES.index("ip"), STATES.index("gp"), STATES.index("gs")


@dataclass(frozen=True, kw_only=True)
class GlucoseRun:
    """What the body did, without any noise.

    Attributes:
        minute: (time,) On the clock of the run; each row of the others is taken before that minute's meal or dose.
        plasma_mg_dl: (person, time) Glucose in plasma.
        tissue_mg_dl: (person, time) Glucose under the skin, which a sensor without noise shows.
        insulin_pmol_l: (person, time) In plasma.
        state: Where the people stand at the last minute; `simulate` goes on from there.
    """

    minute: Int64[np.ndarray, " time"]
    plasma_mg_dl: Float64[np.ndarray, "person time"]
    tissue_mg_dl: Float64[np.ndarray, "person time"]
    insulin_pmol_l: Float64[np.ndarray, "person time"]
    state: GlucoseState


def simulate(
    people: GlucosePeople,
    meals_g: np.ndarray,
    bolus_units: np.ndarray,
    *,
    basal_units_per_hour: np.ndarray | None = None,
    start: GlucoseState | None = None,
    every_minutes: int = 5,
    steps_per_minute: int = 1,
) -> GlucoseRun:
    """Live through a plan.

    Args:
        people: A batch; no one's answer rests on who else is in it.
        meals_g: (person, minute) Grams of carbohydrate put on the plate; eaten at 5 g/min.
        bolus_units: (person, minute) Units injected within the minute, beside the basal insulin.
        basal_units_per_hour: (person,) or (person, minute); None: what holds each at rest.
        start: Where they stand; None: at rest, under their own basal insulin, on an empty stomach.
        every_minutes: What is kept.
        steps_per_minute: Of the integrator.

    Returns:
        Values at each `every_minutes` from the start to the last minute that they divide.

    Raises:
        ShapeError: If a table does not fit the people or the minutes.
        ConfigError, UnitError: If an amount cannot be (see `checked_amounts`), or `every_minutes` is under 1.
    """
    count = len(people)
    meals = checked_table(meals_g, "g", people=count, where="meals_g")
    minutes = meals.shape[1]
    doses = checked_table(bolus_units, "U", people=count, minutes=minutes, where="bolus_units")
    basal = _basal(people, basal_units_per_hour, minutes)
    if every_minutes < 1 or steps_per_minute < 1:
        raise ConfigError("A step is under one", expected="1 or more", where="simulate")
    state = start if start is not None else GlucoseState.at(people.rest())
    if len(state) != count:
        raise ShapeError("The start is of other people", where="start", expected=f"{count} people", got=str(len(state)))
    if not np.isfinite(state.mass).all():
        raise ConfigError("The start is no number", where="start", expected="finite masses", fix="start from `rest`")
    blocks = [np.arange(at, min(at + BLOCK, count)) for at in range(0, max(count, 1), BLOCK)]
    parts = [_block(people, state, meals, doses, basal, rows, every_minutes, steps_per_minute) for rows in blocks]
    kept = [np.concatenate([values[row] for values, _ in parts]) for row in range(3)]
    return GlucoseRun(
        minute=state.minute + np.arange(0, minutes + 1, every_minutes, dtype=np.int64),
        plasma_mg_dl=kept[0],
        tissue_mg_dl=kept[1],
        insulin_pmol_l=kept[2],
        state=_joined([one for _, one in parts]),
    )


def _basal(people: GlucosePeople, given: np.ndarray | None, minutes: int) -> np.ndarray:
    """U/h as (person, 1) or (person, minute)."""
    if given is None:
        return people.basal_units_per_hour[:, None]
    basal = checked_amounts(given, "U/h", where="basal_units_per_hour")
    if basal.shape not in ((len(people),), (len(people), minutes)):
        expected = f"({len(people)},) or ({len(people)}, {minutes})"
        raise ShapeError(
            "Basal insulin does not fit", where="basal_units_per_hour", expected=expected, got=str(basal.shape)
        )
    return basal if basal.ndim == 2 else basal[:, None]


def _block(
    people: GlucosePeople,
    state: GlucoseState,
    meals: np.ndarray,
    doses: np.ndarray,
    basal: np.ndarray,
    rows: np.ndarray,
    every: int,
    steps: int,
) -> tuple[np.ndarray, GlucoseState]:
    """Plasma, tissue and insulin (3, person, time) of some rows, and where they stand in the end."""
    some, now = people.take(rows), state.take(rows)
    integrator = Integrator(some, steps_per_minute=steps)
    # A minute's column must lie in one piece.
    meals, doses, rates = (np.ascontiguousarray(table[rows].T) for table in (meals, doses, basal / 60.0))
    kept = np.empty((len(meals) // every + 1, 3, len(rows)))
    for minute in range(len(meals) + 1):
        if minute % every == 0:
            kept[minute // every] = now.mass[[_GP, _GS, _IP]]
        if minute < len(meals):
            integrator.minute(now, meals[minute], doses[minute], rates[minute if len(rates) > 1 else 0])
    kept[:, :2] /= some.vg
    kept[:, 2] /= some.vi
    return kept.transpose(1, 2, 0), now


def _joined(parts: list[GlucoseState]) -> GlucoseState:
    """Blocks side by side."""
    return GlucoseState(
        mass=np.concatenate([part.mass for part in parts], axis=1),
        to_eat_g=np.concatenate([part.to_eat_g for part in parts]),
        eaten_g=np.concatenate([part.eaten_g for part in parts]),
        before_mg=np.concatenate([part.before_mg for part in parts]),
        eating=np.concatenate([part.eating for part in parts]),
        minute=parts[0].minute,
    )
