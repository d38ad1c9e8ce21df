"""Closed loop: people eat as drawn, and dose on what their sensor shows at that moment."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from hdt_fm.schema.errors import ShapeError
from hdt_fm.simulation.glucose_habits import Days, Policy
from hdt_fm.simulation.glucose_integrator import GlucoseState, Integrator
from hdt_fm.simulation.glucose_people import STATES
from hdt_fm.simulation.glucose_sensor import READING_MINUTES, in_range
from hdt_fm.simulation.virtual_people import VirtualPeople

_GP, _GS = STATES.index("gp"), STATES.index("gs")


@dataclass(frozen=True, kw_only=True)
class History:
    """What was lived and recorded; a row is a run, a column the 5 minutes that begin with its reading.

    Attributes:
        codes: Of each run's person; several runs may be the same person's.
        replicate: (run,) Which of the person's lives.
        cgm_mg_dl: What the sensor showed, 39 to 400, before the meal and the dose of that column.
        bolus_units: Injected at the start of the column.
        basal_units_per_hour: Beside it.
        carbs_g: Eaten from the start of the column on, at 5 g/min.
        counted_g: What the person took them for.
        recommended_units: What the policy said, before the person's own noise; 0 where nobody eats.
        tissue_mg_dl, plasma_mg_dl: The truth, without noise and limits.
    """

    codes: tuple[str, ...]
    replicate: Int64[np.ndarray, " run"]
    cgm_mg_dl: Float64[np.ndarray, "run reading"]
    bolus_units: Float64[np.ndarray, "run reading"]
    basal_units_per_hour: Float64[np.ndarray, "run reading"]
    carbs_g: Float64[np.ndarray, "run reading"]
    counted_g: Float64[np.ndarray, "run reading"]
    recommended_units: Float64[np.ndarray, "run reading"]
    tissue_mg_dl: Float64[np.ndarray, "run reading"]
    plasma_mg_dl: Float64[np.ndarray, "run reading"]

    @property
    def clipped_share(self) -> float:
        """Share of the truth outside of what is shown and scored, 39 to 400 mg/dL."""
        return float((in_range(self.tissue_mg_dl) != self.tissue_mg_dl).mean())

    def take(self, rows: np.ndarray) -> "History":
        """These runs, in this order."""
        arrays = {name: values[rows] for name, values in vars(self).items() if name != "codes"}
        return History(codes=tuple(self.codes[row] for row in rows), **arrays)


@dataclass(frozen=True, kw_only=True)
class MealStates:
    """Moments just before meals: where a rollout starts.

    Attributes:
        run: (meal,) Row of the history.
        reading: (meal,) Its column.
        carbs_g: (meal,) What was about to be eaten.
        recommended_units: (meal,) What the policy said.
        state: The bodies; its minute counts from the meal.
    """

    run: Int64[np.ndarray, " meal"]
    reading: Int64[np.ndarray, " meal"]
    carbs_g: Float64[np.ndarray, " meal"]
    recommended_units: Float64[np.ndarray, " meal"]
    state: GlucoseState

    def __len__(self) -> int:
        return len(self.run)


def live(
    runs: VirtualPeople,
    days: Days,
    policy: Policy,
    *,
    replicate: Int64[np.ndarray, " run"] | None = None,
    keep: Bool[np.ndarray, "run reading"] | None = None,
) -> tuple[History, MealStates]:
    """Live through the days, dosing by the policy; later doses rest on earlier ones through the sensor.

    Args:
        runs: The person of each run; a person may come often.
        days: All chance; the same days under two policies make a pair of arms.
        policy: Of everybody.
        replicate: Goes into the history; 0 for all by default.
        keep: Where to keep the state of a body that is about to eat; nowhere by default.

    Returns:
        The history, and the kept states in order of run and reading.

    Raises:
        ShapeError: If days are of other runs.
    """
    count, readings = days.carbs_g.shape
    if count != len(runs):
        raise ShapeError("Days are of other runs", where="live", expected=f"{len(runs)} runs", got=str(count))
    integrator, state = Integrator(runs.people), GlucoseState.at(runs.people.rest())
    counted = days.carbs_g * np.exp(policy.count_error * days.count)
    truth, recommended, bolus = np.empty((2, readings, count)), np.zeros((readings, count)), np.zeros((readings, count))
    basal, none = runs.people.basal_units_per_hour, np.zeros(count)
    kept: list[tuple[int, np.ndarray, GlucoseState]] = []
    wanted = days.eats & (np.zeros((1, 1), dtype=np.bool_) if keep is None else keep)
    for at in range(readings):
        truth[:, at] = state.mass[[_GP, _GS]] / runs.people.vg
        eaters = np.flatnonzero(days.eats[:, at])
        if len(eaters):
            shown = in_range(truth[1, at, eaters] + days.sensor_error_mg_dl[eaters, at])
            recommended[at, eaters] = policy.recommend(
                counted[eaters, at], shown, runs.carbs_g_per_unit[eaters], runs.correction_mg_dl_per_unit[eaters]
            )
            bolus[at, eaters] = policy.give(recommended[at, eaters], days.spread[eaters, at], days.luck[eaters, at])
        if (rows := np.flatnonzero(wanted[:, at])).size:
            kept.append((at, rows, state.take(rows)))
        integrator.minute(state, days.carbs_g[:, at], bolus[at], basal / 60.0)
        for _ in range(READING_MINUTES - 1):
            integrator.minute(state, none, none, basal / 60.0)
    plasma, tissue = np.ascontiguousarray(truth.transpose(0, 2, 1))
    history = History(
        codes=runs.codes,
        replicate=np.zeros(count, dtype=np.int64) if replicate is None else replicate,
        cgm_mg_dl=in_range(tissue + days.sensor_error_mg_dl),
        bolus_units=np.ascontiguousarray(bolus.T),
        basal_units_per_hour=np.repeat(basal[:, None], readings, axis=1),
        carbs_g=days.carbs_g,
        counted_g=counted,
        recommended_units=np.ascontiguousarray(recommended.T),
        tissue_mg_dl=tissue,
        plasma_mg_dl=plasma,
    )
    return history, _meal_states(kept, history, count)


def _meal_states(kept: list[tuple[int, np.ndarray, GlucoseState]], history: History, count: int) -> MealStates:
    """Kept moments side by side, sorted by run and reading."""
    run = np.concatenate([rows for _, rows, _ in kept] or [np.zeros(0, dtype=np.int64)])
    reading = np.concatenate([np.full(len(rows), at) for at, rows, _ in kept] or [np.zeros(0, dtype=np.int64)])
    states = [state for _, _, state in kept]
    whole = GlucoseState(
        mass=np.concatenate([one.mass for one in states] or [np.zeros((len(STATES), 0))], axis=1),
        to_eat_g=np.concatenate([one.to_eat_g for one in states] or [np.zeros(0)]),
        eaten_g=np.concatenate([one.eaten_g for one in states] or [np.zeros(0)]),
        before_mg=np.concatenate([one.before_mg for one in states] or [np.zeros(0)]),
        eating=np.concatenate([one.eating for one in states] or [np.zeros(0, dtype=np.bool_)]),
    )
    order = np.lexsort((reading, run))
    run, reading = run[order], reading[order]
    return MealStates(
        run=run,
        reading=reading,
        carbs_g=history.carbs_g[run, reading],
        recommended_units=history.recommended_units[run, reading],
        state=whole.take(order),
    )
