"""Simulated people with type 1 diabetes in closed loop: glucose, doses and meals, as those of a pump are given."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from data_pipelines.cohorts._diabetes import amounts
from data_pipelines.cohorts._visits import OneVisit, Visits
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.recording import NS_PER_S, Channel, Recording, Visit, recording_arrays
from hdt_fm.schema.subject import SubjectKey
from hdt_fm.simulation.glucose_habits import Policy, draw_days
from hdt_fm.simulation.glucose_life import History, live
from hdt_fm.simulation.glucose_sensor import READING_MINUTES
from hdt_fm.simulation.virtual_people import AGES, VirtualPeople, draw_people

NAME = "virtual_diabetes"
STEP_S = 60 * READING_MINUTES
# Midnight of everybody's clock, in a year in which nobody has worn a sensor.
FIRST_DAY_NS = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * NS_PER_S
# A dose and its meal rest on the reading of their column, so they come after it: neither is known at that reading.
AFTER_READING_NS = NS_PER_S
# Thirty side by side take hardly longer than one.
SIDE_BY_SIDE = 30
_ONCE = 0


class VirtualDiabetes:
    """One visit a person: glucose every 5 minutes, `insulin_rate`, `bolus` and `carbs`; nobody has lived any of it.

    Person i depends on the seed, i and the habits of dosing alone: more people change nobody, and another `confounding`
    leaves them their bodies, meals and luck. Adults, adolescents and children take turns. The lives are those of
    `hdt_fm.simulation`: first replicate, with the sensor's error, 39 to 400 mg/dL.

    Units: glucose mg/dL; `insulin_rate` U/h (constant, right at rest); `bolus` U; `carbs` g.
    Lossy: What a person counted, on which the dose rests: `carbs` is what was eaten. The truth behind the sensor.

    Args:
        people: How many; one visit each.
        days: Of each.
        seed: 0 or more; another seed is another population.
        confounding, count_error, dose_spread, skipped: See `Policy`.
        subject_key: Accepted since every cohort has it; simulated people need no secret.

    Raises:
        ConfigError: If a number is out of its range or of another kind.
    """

    name = NAME
    licence = "CC0-1.0"
    source = "simulated, no person: equations of Dalla Man et al. 2007 (UVA/Padova S2008), people and habits our own"

    def __init__(
        self,
        *,
        people: int = 24,
        days: int = 14,
        seed: int = 0,
        confounding: float = 1.0,
        count_error: float = 0.2,
        dose_spread: float = 0.3,
        skipped: float = 0.15,
        subject_key: str = "public",
    ) -> None:
        _check_whole("people", people, least=1)
        _check_whole("days", days, least=1)
        _check_whole("seed", seed, least=0)
        habits = {"confounding": confounding, "count_error": count_error, "dose_spread": dose_spread}
        for name, value in {**habits, "skipped": skipped}.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise _wrong(name, "a number", value)
        policy = Policy(**{name: float(value) for name, value in habits.items()}, skipped=float(skipped))
        self._lives = _Lives(people=people, days=days, seed=seed, policy=policy)

    def inputs(self) -> list[Path]:
        """No files: everything follows from the settings."""
        return []

    def visits(self) -> Iterator[Visit]:
        """Each person in order of number, simulated when asked for."""
        count = self._lives.people
        return Visits([OneVisit(partial(_visit, self._lives, at), _pseudonym(self._lives, at)) for at in range(count)])


@dataclass(frozen=True, kw_only=True)
class _Lives:
    """All that the lives follow from."""

    people: int
    days: int
    seed: int
    policy: Policy


def _code(person: int) -> str:
    ages = tuple(AGES)
    return f"{ages[person % len(ages)]}-{person // len(ages) + 1:02d}"


def _pseudonym(lives: _Lives, person: int) -> str:
    return SubjectKey.public().pseudonym(NAME, f"{lives.seed}:{_code(person)}")


@lru_cache(maxsize=1)
def _drawn(people: int, seed: int) -> VirtualPeople:
    """In order of number."""
    turns = len(AGES)
    counts = {age: (people + turns - 1 - at) // turns for at, age in enumerate(AGES)}
    found = draw_people(counts, seed=seed)
    return found.take(np.array([found.codes.index(_code(person)) for person in range(people)]))


@lru_cache(maxsize=1)
def _lived(lives: _Lives, block: int) -> History:
    """Thirty people's lives; the block that was read last is kept, since neighbours are read after each other."""
    rows = np.arange(block * SIDE_BY_SIDE, min((block + 1) * SIDE_BY_SIDE, lives.people))
    runs, replicate = _drawn(lives.people, lives.seed).take(rows), np.full(len(rows), _ONCE, dtype=np.int64)
    days = draw_days(runs, replicate, days=lives.days, seed=lives.seed)
    return live(runs, days, lives.policy, replicate=replicate)[0]


def _visit(lives: _Lives, person: int) -> Visit:
    """One person's row of the simulation, with a clock and a pseudonym."""
    history, row = _lived(lives, person // SIDE_BY_SIDE), person % SIDE_BY_SIDE
    subject = _pseudonym(lives, person)
    times = FIRST_DAY_NS + AFTER_READING_NS + np.arange(history.cgm_mg_dl.shape[1]) * STEP_S * NS_PER_S
    tracks = [
        amounts("bolus", times, history.bolus_units[row], "U"),
        amounts("carbs", times, history.carbs_g[row], "g"),
    ]
    return Visit(
        subject=subject,
        recordings={
            "glucose": _recording("glucose", "cgm", history.cgm_mg_dl[row], subject, "arm"),
            "insulin_rate": _recording("insulin_rate", "basal", history.basal_units_per_hour[row], subject, ""),
        },
        labels={track.name: track for track in tracks if len(track.values)},
        covariates={"age_group": _code(person).split("-")[0]},
        source=NAME,
    )


def _recording(name: str, channel: str, raw: np.ndarray, subject: str, body_site: str) -> Recording:
    unit = modality(name).unit
    values, observed = recording_arrays(raw[None], modality=name, unit=unit)
    return Recording(
        modality=name,
        channels=(Channel(channel, unit),),
        sampling_rate_hz=1 / STEP_S,
        start_ns=FIRST_DAY_NS,
        values=values,
        observed=observed,
        subject=subject,
        device="simulated",
        body_site=body_site,
        utc_offset_s=0,
    )


def _check_whole(name: str, value: int, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _wrong(name, f"a whole number of {least} or more", value)


def _wrong(name: str, expected: str, value: object) -> ConfigError:
    return ConfigError(
        f"{name} cannot be", where=f"cohorts/{NAME}", expected=expected, got=str(value), fix=f"say cohort.{name}=NUMBER"
    )
