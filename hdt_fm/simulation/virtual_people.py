"""People who never lived: adults, adolescents and children with type 1 diabetes, drawn from a seed.

Each number is log-normal around a centre, but for shares (logit-normal) and fasting glucose (normal). Centres are the
published mean values of Dalla Man et al. 2007 where they have one (kinetics of glucose, insulin, gut and skin); ages
differ in weight, clearance of insulin, production of glucose and uptake, by our own assumptions. All spreads are our
own. Four numbers follow from the others, so that everybody rests at their fasting glucose: production kp1, uptake Vm0,
basal insulin u2ss and the losses of insulin m2, m4, m30 (60 % of what the liver sees stays there).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from hdt_fm.schema.errors import ConfigError, unknown_name
from hdt_fm.simulation.glucose_people import GlucosePeople
from hdt_fm.simulation.glucose_ratios import carbs_g_per_unit, correction_mg_dl_per_unit


@dataclass(frozen=True, kw_only=True)
class AgeGroup:
    """Where an age differs from the rest.

    Args:
        weight_kg, weight_spread: Centre, and SD of the logarithm.
        clearance_l_per_min_kg: Of insulin.
        production_mg_per_kg_min: Of glucose by the liver, at rest.
        uptake_per_insulin: Centre of Vmx; the young take up more per kg.
    """

    weight_kg: float
    weight_spread: float
    clearance_l_per_min_kg: float
    production_mg_per_kg_min: float
    uptake_per_insulin: float


AGES = {
    "adult": AgeGroup(
        weight_kg=76.0,
        weight_spread=0.17,
        clearance_l_per_min_kg=0.0140,
        production_mg_per_kg_min=2.3,
        uptake_per_insulin=0.047,
    ),
    "adolescent": AgeGroup(
        weight_kg=52.0,
        weight_spread=0.15,
        clearance_l_per_min_kg=0.0150,
        production_mg_per_kg_min=2.8,
        uptake_per_insulin=0.055,
    ),
    "child": AgeGroup(
        weight_kg=34.0,
        weight_spread=0.17,
        clearance_l_per_min_kg=0.0115,
        production_mg_per_kg_min=2.8,
        uptake_per_insulin=0.080,
    ),
}
# Centre and SD of the logarithm. Ours alone: d (the published .010 of healthy people lets the stomach turn within a
# gram), ib and ksc (a lag of about 10 min).
_LOGNORMAL = {
    "kabs": (0.057, 0.35),
    "kmax": (0.0558, 0.25),
    "kmin": (0.0080, 0.25),
    "d": (0.15, 0.25),
    "vg": (1.88, 0.07),
    "k1": (0.065, 0.20),
    "k2": (0.079, 0.20),
    "kp2": (0.0021, 0.30),
    "ki": (0.0079, 0.25),
    "km0": (225.59, 0.08),
    "p2u": (0.0331, 0.25),
    "ib": (90.0, 0.15),
    "vi": (0.05, 0.12),
    "m1": (0.190, 0.20),
    "ka1": (0.0018, 0.25),
    "ka2": (0.0182, 0.20),
    "kd": (0.0164, 0.10),
    "ksc": (0.100, 0.20),
}
_FIXED = {"f": 0.9, "fsnc": 1.0, "ke1": 0.0005, "ke2": 339.0}
_KP3, _SLOWING_SHARE = 0.009, 0.82
_SPREAD_KP3 = _SPREAD_VMX = 0.30
# Whose liver heeds insulin, heeds it in tissue too.
_SENSITIVITIES_CORRELATE = 0.5
_CLEARANCE_SPREAD, _PRODUCTION_SPREAD = 0.12, 0.10
_FASTING_MG_DL, _FASTING_SPREAD = 130.0, 9.0
_LIVER_KEEPS = 0.6
FASTING_RANGE = (110.0, 150.0)
# Whoever lies outside is drawn anew: g/U, mg/dL per U, U/d of basal insulin per kg.
CARBS_RANGE, CORRECTION_RANGE, BASAL_RANGE = (4.0, 50.0), (10.0, 250.0), (0.1, 0.6)
_MOST_DRAWS = 200


@dataclass(frozen=True, kw_only=True)
class VirtualPeople:
    """A batch of people and what their clinic would know of them.

    Attributes:
        people: The model's numbers.
        codes: As "child-03"; nobody's pseudonym.
        ages: The name of the age group.
        fasting_mg_dl: (person,) Glucose at rest.
        carbs_g_per_unit: (person,) Grams that a unit covers, CR.
        correction_mg_dl_per_unit: (person,) What a unit takes off, CF.
    """

    people: GlucosePeople
    codes: tuple[str, ...]
    ages: tuple[str, ...]
    fasting_mg_dl: Float64[np.ndarray, " person"]
    carbs_g_per_unit: Float64[np.ndarray, " person"]
    correction_mg_dl_per_unit: Float64[np.ndarray, " person"]

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: np.ndarray) -> "VirtualPeople":
        """The people of these rows, in this order; a row may come often."""
        return VirtualPeople(
            people=self.people.take(rows),
            codes=tuple(self.codes[row] for row in rows),
            ages=tuple(self.ages[row] for row in rows),
            fasting_mg_dl=self.fasting_mg_dl[rows],
            carbs_g_per_unit=self.carbs_g_per_unit[rows],
            correction_mg_dl_per_unit=self.correction_mg_dl_per_unit[rows],
        )


def draw_people(counts: dict[str, int], *, seed: int) -> VirtualPeople:
    """Draw people of each age. Who a person is rests on seed, age and number alone, not on how many there are.

    Args:
        counts: Of each name in `AGES`; {"adult": 10, "adolescent": 10, "child": 10} is the usual cohort.
        seed: 0 or more.

    Raises:
        UnknownNameError: If an age is none of ours.
        ConfigError: If nobody is asked for, or a count or the seed is negative.
    """
    for age in counts:
        if age not in AGES:
            raise unknown_name("age", age, AGES, where="draw_people")
    if seed < 0 or not sum(counts.values()) or min(counts.values()) < 0:
        raise ConfigError("Nobody can be drawn", expected="counts and a seed of 0 or more, one person or more")
    who = [(age, number) for age, count in counts.items() for number in range(1, count + 1)]
    order = list(AGES)
    generators = [np.random.default_rng([seed, order.index(age), number]) for age, number in who]
    found: list[dict[str, float]] = [{}] * len(who)
    carbs, correction = np.zeros(len(who)), np.zeros(len(who))
    left = np.arange(len(who))
    for _ in range(_MOST_DRAWS):
        for row in left:
            found[row] = _draw(generators[row], AGES[who[row][0]])
        people = _people([found[row] for row in left])
        carbs[left], correction[left] = carbs_g_per_unit(people), correction_mg_dl_per_unit(people)
        left = left[~(_within(carbs[left], CARBS_RANGE) & _within(correction[left], CORRECTION_RANGE))]
        if not len(left):
            break
    assert not len(left), "no person inside the ranges in so many draws: the distributions contradict them"
    return VirtualPeople(
        people=_people(found),
        codes=tuple(f"{age}-{number:02d}" for age, number in who),
        ages=tuple(age for age, _ in who),
        fasting_mg_dl=np.array([one["fasting"] for one in found]),
        carbs_g_per_unit=carbs,
        correction_mg_dl_per_unit=correction,
    )


def _within(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    inside: np.ndarray = (values >= limits[0]) & (values <= limits[1])
    return inside


def _people(drawn: list[dict[str, float]]) -> GlucosePeople:
    names = [name for name in drawn[0] if name != "fasting"]
    return GlucosePeople(**{name: np.array([one[name] for one in drawn]) for name in names})


def _draw(generator: np.random.Generator, age: AgeGroup) -> dict[str, float]:
    """One candidate whose rest exists: drawn anew until stomach, tissue and basal insulin are possible."""
    for _ in range(_MOST_DRAWS):
        one = _at_rest(_free(generator, age))
        basal = one["u2ss"] * 24 * 60 / 6000.0
        stomach = one["kmin"] < 0.5 * one["kmax"] and one["d"] < 0.5 * one["b"]
        rests = one["vm0"] > 0.5 and FASTING_RANGE[0] <= one["fasting"] <= FASTING_RANGE[1]
        if stomach and rests and BASAL_RANGE[0] <= basal <= BASAL_RANGE[1]:
            return one
    raise AssertionError("no candidate in so many draws: the distributions contradict the ranges")


def _free(generator: np.random.Generator, age: AgeGroup) -> dict[str, float]:
    """What is drawn, before the rest follows."""
    one = {name: centre * np.exp(spread * generator.normal()) for name, (centre, spread) in _LOGNORMAL.items()}
    liver, own, other = generator.normal(size=3)
    share = _SENSITIVITIES_CORRELATE
    tissue = share * liver + np.sqrt(1 - share**2) * own
    slowing = np.log(_SLOWING_SHARE / (1 - _SLOWING_SHARE)) + 0.5 * other
    clearance, production, weight, fasting = generator.normal(size=4)
    return {
        **one,
        **_FIXED,
        "kp3": _KP3 * np.exp(_SPREAD_KP3 * liver),
        "vmx": age.uptake_per_insulin * np.exp(_SPREAD_VMX * tissue),
        "b": 1 / (1 + np.exp(-slowing)),
        "bw": age.weight_kg * np.exp(age.weight_spread * weight),
        "clearance": age.clearance_l_per_min_kg * np.exp(_CLEARANCE_SPREAD * clearance),
        "production": age.production_mg_per_kg_min * np.exp(_PRODUCTION_SPREAD * production),
        "fasting": _FASTING_MG_DL + _FASTING_SPREAD * fasting,
    }


def _at_rest(one: dict[str, float]) -> dict[str, float]:
    """The numbers that follow, from the model's equations with all derivatives 0."""
    clearance, production = one.pop("clearance"), one.pop("production")
    plasma = one["fasting"] * one["vg"]
    tissue = (one["k1"] * plasma - production + one["fsnc"]) / one["k2"]
    return {
        **one,
        "m2": 0.6 * clearance / (_LIVER_KEEPS * one["vi"]),
        "m4": 0.4 * clearance / one["vi"],
        "m30": one["m1"] * _LIVER_KEEPS / (1 - _LIVER_KEEPS),
        "kp1": production + one["kp2"] * plasma + one["kp3"] * one["ib"],
        "vm0": (production - one["fsnc"]) * (one["km0"] + tissue) / tissue,
        "u2ss": one["ib"] * clearance,
    }
