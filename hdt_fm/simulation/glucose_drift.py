"""Lives with type 1 diabetes in which something changes on a known day, and nobody is told.

Four kinds: the sensor shows 15 % more; a unit of insulin does 30 % less; records of doses, or of meals, stop coming. In
everybody else too, unless the world is still, sensitivity differs from day to day (SD 10 %, memory .7 from a day to the
next) and a new sensor every ten days is off by its own factor (SD 4 %): our guess.
"""

from dataclasses import dataclass, replace

import numpy as np

from hdt_fm.simulation.glucose_habits import READINGS_PER_DAY, Days, Policy, draw_days
from hdt_fm.simulation.glucose_integrator import GlucoseState, Integrator
from hdt_fm.simulation.glucose_people import STATES, GlucosePeople
from hdt_fm.simulation.glucose_sensor import READING_MINUTES, in_range
from hdt_fm.simulation.virtual_people import AGES, VirtualPeople, draw_people

GAIN, SENSITIVITY = 1.15, 0.70
KINDS = ("gain +15 %", "sensitivity -30 %", "doses lost", "meals lost")
_DAY_SD, _DAY_MEMORY, _SESSION_SD, _SESSION_DAYS = 0.10, 0.7, 0.04, 10
_GS = STATES.index("gs")


@dataclass(frozen=True)
class Sizes:
    """How many people there are for what.

    Attributes:
        train: A forecaster learns from them.
        setting: Nothing changes in them; limits are set on them.
        well: Nothing changes; false alarms are counted in them.
        changed: How many of `well` live the same days again with a change, once for each kind.
        onset: First day on which it may begin, and the day after the last.
        still: Sensors and sensitivities of everybody else stay as they are.
    """

    train: int = 30
    setting: int = 150
    well: int = 150
    changed: int = 60
    days: int = 91
    onset: tuple[int, int] = (42, 57)
    still: bool = False


@dataclass(frozen=True)
class World:
    """Lives side by side, a row each.

    Attributes:
        person: Their numbers; the changed are people of "well", on the same days.
        kind: "train", "setting", "well" or one of `KINDS`.
        cgm: (life, reading) What was shown, mg/dL.
        right: What a sensor without the change would have shown.
        bolus, carbs: What was recorded, U and g; the lost are 0.
        size: Basal insulin, U/h, by which doses and meals of small and large people are alike.
        onset: The day from which on it is changed; of people in whom nothing changes, any day to compare with.
    """

    person: np.ndarray
    kind: np.ndarray
    cgm: np.ndarray
    right: np.ndarray
    bolus: np.ndarray
    carbs: np.ndarray
    size: np.ndarray
    onset: np.ndarray

    def rows(self, kind: str) -> np.ndarray:
        """Lives of a kind; those of the changed stand in the order of the first of "well"."""
        return np.flatnonzero(self.kind == kind)

    def take(self, rows: np.ndarray) -> "World":
        """These lives, in this order."""
        return World(**{name: values[rows] for name, values in vars(self).items()})


def less_sensitive(people: GlucosePeople, factor: np.ndarray) -> GlucosePeople:
    """Insulin above basal does `factor` as much in liver and tissue; basal insulin still holds the same rest."""
    kp3 = people.kp3 * factor
    return replace(people, vmx=people.vmx * factor, kp3=kp3, kp1=people.kp1 - (people.kp3 - kp3) * people.ib)


def lived(
    runs: VirtualPeople, days: Days, policy: Policy, *, sensitivity: np.ndarray, gain: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Tissue glucose and doses (run, reading); people dose on what their sensor shows.

    Args:
        sensitivity, gain: (day, run) Of insulin and of the sensor.
    """
    count, readings = days.carbs_g.shape
    state, basal = GlucoseState.at(runs.people.rest()), runs.people.basal_units_per_hour / 60.0
    counted, none = days.carbs_g * np.exp(policy.count_error * days.count), np.zeros(count)
    carbs, errors = np.ascontiguousarray(days.carbs_g.T), np.ascontiguousarray(days.sensor_error_mg_dl.T)
    tissue, bolus = np.empty((readings, count)), np.zeros((readings, count))
    for at in range(readings):
        day, clock = divmod(at, READINGS_PER_DAY)
        if clock == 0:
            integrator = Integrator(less_sensitive(runs.people, sensitivity[day]))
        tissue[at] = state.mass[_GS] / runs.people.vg
        if len(eaters := np.flatnonzero(carbs[at])):
            shown = in_range(gain[day, eaters] * tissue[at, eaters] + errors[at, eaters])
            ratios = runs.carbs_g_per_unit[eaters], runs.correction_mg_dl_per_unit[eaters]
            wanted = policy.recommend(counted[eaters, at], shown, *ratios)
            bolus[at, eaters] = policy.give(wanted, days.spread[eaters, at], days.luck[eaters, at])
        integrator.minute(state, carbs[at], bolus[at], basal)
        for _ in range(READING_MINUTES - 1):
            integrator.minute(state, none, none, basal)
    return np.ascontiguousarray(tissue.T), np.ascontiguousarray(bolus.T)


def world_of(seed: int, sizes: Sizes) -> World:
    """Everybody of a seed."""
    each = -(-(sizes.train + sizes.setting + sizes.well) // len(AGES))
    people = draw_people(dict.fromkeys(AGES, each), seed=seed)
    draw = np.random.default_rng([seed, 1])
    order = draw.permutation(len(people))[: sizes.train + sizes.setting + sizes.well]
    well = order[sizes.train + sizes.setting :]
    changed = well[: sizes.changed]
    person = np.concatenate([order, changed, changed])
    names = ("train", "setting", "well", *KINDS[:2])
    counts = (sizes.train, sizes.setting, sizes.well, sizes.changed, sizes.changed)
    kind = np.repeat(np.array(names), counts)
    sensitivity, gain = _wandering(draw, sizes.days, len(people), still=sizes.still)
    onset = draw.integers(*sizes.onset, len(people))[person]
    after = np.arange(sizes.days)[:, None] >= onset
    right = gain[:, person]
    gain = np.where(after & (kind == KINDS[0]), GAIN * right, right)
    sensitivity = sensitivity[:, person] * np.where(after & (kind == KINDS[1]), SENSITIVITY, 1.0)
    days = draw_days(people, np.zeros(len(people), dtype=np.int64), days=sizes.days, seed=seed)
    days = Days(**{name: values[person] for name, values in vars(days).items()})
    runs = people.take(person)
    tissue, bolus = lived(runs, days, Policy(), sensitivity=sensitivity, gain=gain)
    errors = days.sensor_error_mg_dl
    whole = World(
        person=person,
        kind=kind,
        cgm=in_range(np.repeat(gain.T, READINGS_PER_DAY, axis=1) * tissue + errors),
        right=in_range(np.repeat(right.T, READINGS_PER_DAY, axis=1) * tissue + errors),
        bolus=bolus,
        carbs=days.carbs_g,
        size=runs.people.basal_units_per_hour,
        onset=onset,
    )
    return _with_lost(whole, changed)


def _wandering(draw: np.random.Generator, days: int, people: int, *, still: bool) -> tuple[np.ndarray, np.ndarray]:
    """Sensitivity and the sensor's gain (day, person) of people in whom nothing changes."""
    away = draw.normal(size=(days, people))
    for day in range(1, days):
        away[day] = _DAY_MEMORY * away[day - 1] + np.sqrt(1 - _DAY_MEMORY**2) * away[day]
    session = (np.arange(days)[:, None] + draw.integers(0, _SESSION_DAYS, people)) // _SESSION_DAYS
    gains = np.exp(_SESSION_SD * draw.normal(size=(session.max() + 1, people)))
    share = 0.0 if still else 1.0
    return np.exp(share * _DAY_SD * away), gains[session, np.arange(people)] ** share


def _with_lost(world: World, changed: np.ndarray) -> World:
    """The same lives once more without records of doses, and of meals, from the onset on."""
    parts = [world]
    source = np.array([np.flatnonzero((world.person == one) & (world.kind == "well"))[0] for one in changed])
    for name, lost in zip(KINDS[2:], ("bolus", "carbs"), strict=True):
        one = world.take(source)
        after = np.arange(one.cgm.shape[1]) // READINGS_PER_DAY >= one.onset[:, None]
        table = np.where(after, 0.0, getattr(one, lost))
        parts.append(replace(one, kind=np.full(len(source), name), **{lost: table}))
    return World(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(world)})
