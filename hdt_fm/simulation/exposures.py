"""People whose outcome follows what they were exposed to for weeks: the dose and its effect are known exactly.

60 people are followed for 400 days, each from a day of the year of their own; 250 days before count and are not seen.
An exposure of a day is, on a scale of its own (centre + unit z, cut at 0 where it is an amount of dust),

    z = .7 person + .9 season + .9 slow + .8 fast

with a person's level (normal), a year's wave that is highest in winter (dust) or summer (warmth), spells of weather
(AR(1), memory of 20 days) and of days (memory of 1 day), each of variance 1. A body holds a dose of it,

    dose[t] = k dose[t-1] + (1 - k) exposure[t],   k = exp(-1 day / tau),   tau = centre exp(.25 normal) for each person

and what it does is 1.5 for each unit above a knot (1.1 units below the centre). The outcome is a person's own level (SD
2), the effect, a year's wave of .7 that no exposure makes (season is a hidden common cause), and noise (AR(1), SD 2.5,
memory of 1.5 days).

    world         exposures (centre, unit, tau)                         effect
    single        dust 30, 10 ug/m3, 21 d                               1.5 h
    interacting   and warmth 12, 6 celsius, 7 d; spells correlate .3    1.5 h + .8 w + .9 h w, w = hinge of warmth at 9
    missing       as single                                             30 % of days without exposure and outcome
    decoy         and warmth, which does nothing                        1.5 h
    other law     as single, dose through two stages of 12 d            3 x^2 / (x^2 + 1.5^2) where x = h: it levels off

Of missing days half are single ones and half in spells of 7 days in the mean. The last world is not of the family that
any model here assumes.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.signal import lfilter

from hdt_fm.schema.errors import ConfigError, unknown_name

World = Literal["single", "interacting", "missing", "decoy", "other law"]
WORLDS: tuple[World, ...] = ("single", "interacting", "missing", "decoy", "other law")
PEOPLE, DAYS, BEFORE = 60, 400, 250
YEAR_D = 365.25
PERSON, SEASON, SLOW, FAST, SLOW_D, FAST_D = 0.7, 0.9, 0.9, 0.8, 20.0, 1.0
TAU_SPREAD, SLOPE, KNOT = 0.25, 1.5, -1.1
LEVEL_SD, HIDDEN, NOISE_SD, NOISE_D = 2.0, 0.7, 2.5, 1.5
BY_WARMTH, BY_BOTH, WARM_KNOT, CORRELATE = 0.8, 0.9, -0.5, 0.3
STAGE_D, MOST, HALF = 12.0, 3.0, 1.5
MISSING, SPELL_D = 0.3, 7.0


@dataclass(frozen=True)
class Kind:
    """An exposure's scale; `peak` is its highest day of the year, `tau_d` the centre of people's time constants."""

    name: str
    centre: float
    unit: float
    tau_d: float
    peak: float
    low: float


DUST = Kind("pm2_5", 30.0, 10.0, 21.0, 15.0, 0.0)
WARMTH = Kind("temperature", 12.0, 6.0, 7.0, 200.0, -np.inf)


@dataclass(frozen=True, kw_only=True)
class ExposedPeople:
    """Who was followed, and what nobody could see.

    Attributes:
        names: Of exposures, as in `schema.exposure`.
        exposures: In their units; NaN on days that are missing.
        outcome: NaN on days that are missing.
        day: Of the calendar; 0 is a New Year.
        effect: True, of the doses alone, without noise, on missing days too.
        dose: True, in units of the exposure.
        tau_d: Of each person; in "other law" that of a stage.
    """

    names: tuple[str, ...]
    exposures: Float[np.ndarray, "person exposure day"]
    outcome: Float[np.ndarray, "person day"]
    day: Float[np.ndarray, "person day"]
    effect: Float[np.ndarray, "person day"]
    dose: Float[np.ndarray, "person exposure day"]
    tau_d: Float[np.ndarray, "person exposure"]

    def __len__(self) -> int:
        return len(self.outcome)

    def take(self, rows: slice) -> "ExposedPeople":
        """Some people."""
        parts = {name: values if name == "names" else values[rows] for name, values in vars(self).items()}
        return ExposedPeople(**parts)


def exposed_people(world: World, *, seed: int, people: int = PEOPLE, days: int = DAYS) -> ExposedPeople:
    """Live through it.

    Raises:
        UnknownNameError: If the world is none.
        ConfigError: If there is nobody, or less than two days.
    """
    if world not in WORLDS:
        raise unknown_name("world", world, WORLDS, where="exposed_people")
    if people < 1 or days < 2:
        raise ConfigError("Nobody can be followed", expected="1 person and 2 days or more", got=f"{people}, {days}")
    rng = np.random.default_rng(seed)
    kinds = (DUST, WARMTH) if world in ("interacting", "decoy") else (DUST,)
    day = rng.integers(0, 365, (people, 1)) + np.arange(-BEFORE, days, dtype=np.float64)
    exposures = _exposures(kinds, day, rng)
    tau = np.array([kind.tau_d for kind in kinds]) * np.exp(TAU_SPREAD * rng.normal(size=(people, len(kinds))))
    if world == "other law":
        tau = tau * STAGE_D / DUST.tau_d
    dose = _dose(exposures, tau)
    if world == "other law":
        dose = _dose(dose, tau)
    effect = _effect(world, kinds, dose)
    hidden = HIDDEN * np.sqrt(2) * np.cos(2 * np.pi * (day - 40.0) / YEAR_D)
    noise = NOISE_SD * _spells((people,), day.shape[1], NOISE_D, rng)
    outcome = LEVEL_SD * rng.normal(size=(people, 1)) + effect + hidden + noise
    gone = _missing((people, days), rng) if world == "missing" else np.zeros((people, days), dtype=np.bool_)
    return ExposedPeople(
        names=tuple(kind.name for kind in kinds),
        exposures=np.where(gone[:, None], np.nan, exposures[..., BEFORE:]),
        outcome=np.where(gone, np.nan, outcome[:, BEFORE:]),
        day=day[:, BEFORE:],
        effect=effect[:, BEFORE:],
        dose=dose[..., BEFORE:],
        tau_d=tau,
    )


def _spells(shape: tuple[int, ...], days: int, memory_d: float, rng: np.random.Generator) -> np.ndarray:
    """AR(1) of variance 1, from its first day on."""
    keep = np.exp(-1.0 / memory_d)
    drawn = rng.normal(size=(*shape, days))
    drawn[..., 1:] *= np.sqrt(1 - keep**2)
    out: np.ndarray = lfilter([1.0], [1.0, -keep], drawn, axis=-1)
    return out


def _exposures(kinds: tuple[Kind, ...], day: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    people, days = day.shape
    weather = {memory: _spells((people, len(kinds)), days, memory, rng) for memory in (SLOW_D, FAST_D)}
    for drawn in weather.values():
        drawn[:, 1:] = CORRELATE * drawn[:, :1] + np.sqrt(1 - CORRELATE**2) * drawn[:, 1:]
    out = np.empty((people, len(kinds), days))
    for place, kind in enumerate(kinds):
        wave = np.sqrt(2) * np.cos(2 * np.pi * (day - kind.peak) / YEAR_D)
        z = PERSON * rng.normal(size=(people, 1)) + SEASON * wave
        z = z + SLOW * weather[SLOW_D][:, place] + FAST * weather[FAST_D][:, place]
        out[:, place] = np.maximum(kind.centre + kind.unit * z, kind.low)
    return out


def _dose(exposures: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """From a body that begins with its first day's exposure."""
    keep = np.exp(-1.0 / tau)[..., None]
    out = exposures.copy()
    for day in range(1, exposures.shape[-1]):
        out[..., day : day + 1] = keep * out[..., day - 1 : day] + (1 - keep) * exposures[..., day : day + 1]
    return out


def _effect(world: World, kinds: tuple[Kind, ...], dose: np.ndarray) -> np.ndarray:
    z = np.stack([(dose[:, place] - kind.centre) / kind.unit for place, kind in enumerate(kinds)], axis=1)
    above = np.maximum(z[:, 0] - KNOT, 0.0)
    if world == "other law":
        out: np.ndarray = MOST * above**2 / (above**2 + HALF**2)
        return out
    effect = SLOPE * above
    if world == "interacting":
        warm = np.maximum(z[:, 1] - WARM_KNOT, 0.0)
        effect = effect + BY_WARMTH * warm + BY_BOTH * above * warm
    return effect


def _missing(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Half of what is missing in single days, half in spells; about, since they overlap by chance."""
    single = rng.random(shape) < MISSING / 2
    # In the long run a share s of days lies in spells that end with chance 1 / mean and begin with such a chance.
    share = MISSING / 2 / (1 - MISSING / 2)
    begins = share / (1 - share) / SPELL_D
    inside, spells = rng.random(shape[0]) < share, np.zeros(shape, dtype=np.bool_)
    for day in range(shape[1]):
        drawn = rng.random(shape[0])
        inside = np.where(inside, drawn > 1 / SPELL_D, drawn < begins)
        spells[:, day] = inside
    out: np.ndarray = single | spells
    return out
