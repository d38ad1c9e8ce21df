"""People whose nights are known: usual level, own spread, cycles, travel, gaps, a new device, and one illness."""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from hdt_fm.schema.errors import ConfigError
from hdt_fm.twin.alert.cusum import NIGHTS_PER_YEAR
from hdt_fm.twin.nights.night import DAY, Nights

# Level and personal SD of what is not heart rate, in the unit of the name, and what illness adds at its height, in
# personal SDs. The effects are assumptions, chosen to lie below those of the heart rate at SD 2 (3.0).
OTHERS = {
    "respiratory_rate": (15.0, 0.7, 1.5),
    "skin_temperature": (34.5, 0.3, 1.5),
    "hrv": (45.0, 8.0, -1.0),
    "steps": (8000.0, 2500.0, -0.75),
}
HEART_RATE = "resting_heart_rate"
LEVEL_BPM = 60.0
# People's levels differ by so many of their own SDs; those of steps do not, since they cannot be below 0.
LEVEL_SDS = 2
ILLNESS_BPM = 6.0
RAMP_NIGHTS, ILL_NIGHTS = 4, 7
MEMORY = 0.5
# A night that is bad for the heart rate is bad for HRV.
SHARED = {"hrv": -0.5, "respiratory_rate": 0.3}
START = np.datetime64("2026-01-01", "D")


@dataclass(frozen=True)
class World:
    """What happens to people beside AR(.5) noise of their own SD; all 0 is the plain world of the floor's numbers.

    Args:
        weekend_bpm, cycle_bpm, travel_bpm: At most; each person draws a share. Half of the people have a cycle of 25
            to 33 nights. Weekends, cycles and travel move the other indicators too, in proportion to the heart rate's
            effect, and steps not at all.
        travels_a_year: Stays of 4 to 10 nights.
        late_nights: Share of nights with a lone rise of 1 to 2 SD (drinks, late meals).
        drift_bpm: Half range of a wave of a year (season, fitness).
        missing: Share of nights without any data, in runs of 2 on average; each indicator alone misses as often.
        device_change: Share of people who change the device once, which moves every indicator by up to 1.5 SD.
        smoothing: What the device carries over of the heart rate that it showed last night, the rest being tonight's
            own: an exponentially weighted mean over nights, of illness too. It can be undone, so it hides nothing.
    """

    weekend_bpm: float = 0.0
    cycle_bpm: float = 0.0
    travel_bpm: float = 0.0
    travels_a_year: float = 0.0
    late_nights: float = 0.0
    drift_bpm: float = 0.0
    missing: float = 0.0
    device_change: float = 0.0
    smoothing: float = 0.0


PLAIN = World()
LIFE = World(
    weekend_bpm=1.0,
    cycle_bpm=1.0,
    travel_bpm=1.0,
    travels_a_year=2.0,
    late_nights=0.02,
    drift_bpm=1.0,
    missing=0.08,
    device_change=0.3,
)
# .61 makes .85 of AR(.5)'s correlation from night to night, as in the public cohort that we have.
SMOOTHED, SMOOTHED_LIFE = replace(PLAIN, smoothing=0.61), replace(LIFE, smoothing=0.61)


@dataclass(frozen=True)
class Cohort:
    """Simulated people on one calendar.

    Attributes:
        values: NaN where not measured.
        names: Of the indicators.
        onset: Night of the first symptom; -1 for people who stay well.
        change: First night with another device; -1 for none.
        sd_bpm: Each person's own SD of the heart rate, cycles not counted, before a device smooths it.
        level: What each person's nights are around, before any change of device.
    """

    values: Float[np.ndarray, "person night indicator"]
    names: tuple[str, ...]
    onset: Int[np.ndarray, " person"]
    change: Int[np.ndarray, " person"]
    sd_bpm: Float[np.ndarray, " person"]
    level: Float[np.ndarray, "person indicator"]
    dates: np.ndarray = field(repr=False)

    def only(self, *names: str) -> "Cohort":
        """The same people with fewer indicators."""
        columns = [self.names.index(name) for name in names]
        return replace(self, values=self.values[:, :, columns], level=self.level[:, columns], names=names)

    def well(self) -> Bool[np.ndarray, "person night"]:
        """Nights that illness and the four weeks after its onset do not touch."""
        night = np.arange(self.values.shape[1])[None]
        onset = self.onset[:, None]
        return (onset < 0) | (night < onset - RAMP_NIGHTS) | (night > onset + 28)

    def nights(self, person: int) -> Nights:
        """One person's, as anyone's would come."""
        change = self.change[person]
        devices = tuple("b" if 0 <= change <= night else "a" for night in range(len(self.dates)))
        return Nights(self.dates, self.values[person], self.names, devices)


def simulate(
    people: int,
    nights: int,
    *,
    sd_bpm: float | tuple[float, float],
    world: World,
    generator: np.random.Generator,
    others: bool = True,
    onset: int | None = None,
) -> Cohort:
    """People of one personal SD, or of SDs drawn from a range.

    Args:
        onset: Night of the first symptom of everybody; None leaves all well.

    Raises:
        ConfigError: If the onset is not within the nights, or there are no people.
    """
    if people < 1 or nights < 1 or (onset is not None and not RAMP_NIGHTS <= onset < nights):
        raise ConfigError(
            "Nobody to simulate, or an onset outside of the nights",
            expected=f"people, and {RAMP_NIGHTS} <= onset < nights",
            got=f"{people} people, {nights} nights, onset {onset}",
            where="simulate",
            fix="ask for one person and one night or more, and for an onset within the nights or None",
        )
    low, high = (sd_bpm, sd_bpm) if isinstance(sd_bpm, int | float) else sd_bpm
    sd = generator.uniform(low, high, people)
    names = (HEART_RATE, *OTHERS) if others else (HEART_RATE,)
    noise = _noise(people, nights, names, generator)
    shared_bpm = _shared(people, nights, world, generator)
    lone = (generator.random((people, nights)) < world.late_nights) * generator.uniform(1, 2, (people, nights))
    ill = _illness(people, nights, onset)
    change = _changes(people, nights, world, generator)
    columns, levels = [], []
    for column, name in enumerate(names):
        level, own_sd, effect = (LEVEL_BPM, sd, ILLNESS_BPM / sd) if name == HEART_RATE else OTHERS[name]
        own = np.broadcast_to(own_sd, people)[:, None]
        share = np.broadcast_to(effect, people)[:, None]
        # In personal SDs; cycles as a part of the illness' effect, 6 bpm being all of it.
        away = noise[:, :, column] + ill * share
        away = away + (0.0 if name == "steps" else shared_bpm / ILLNESS_BPM * share + lone * np.sign(share))
        away = smoothed(away, world.smoothing) if name == HEART_RATE and world.smoothing else away
        jump = generator.uniform(-1.5, 1.5, people)[:, None]
        after = (change[:, None] >= 0) & (np.arange(nights)[None] >= change[:, None])
        levels.append(level + generator.normal(0, 0 if name == "steps" else LEVEL_SDS, people) * own[:, 0])
        columns.append(levels[-1][:, None] + own * (away + jump * after))
    values = np.stack(columns, axis=2)
    values[_gaps(people, nights, world.missing, generator)] = np.nan
    if others and world.missing:
        for column in range(len(names)):
            values[:, :, column][_gaps(people, nights, world.missing, generator)] = np.nan
    onsets = np.full(people, -1 if onset is None else onset)
    return Cohort(values, names, onsets, change, sd, np.stack(levels, axis=1), START + np.arange(nights) * DAY)


def ramp(nights: int) -> Float[np.ndarray, " night"]:
    """Illness from its first night on, as a share of its height: 1/4, 2/4, 3/4, then all."""
    return np.minimum(np.arange(1, nights + 1) / RAMP_NIGHTS, 1.0)


def smoothed(values: Float[np.ndarray, "person night"], carried: float) -> Float[np.ndarray, "person night"]:
    """What a device shows that carries over so much of last night's; the first night it shows as it is."""
    out = values.copy()
    for night in range(1, values.shape[1]):
        out[:, night] = carried * out[:, night - 1] + (1 - carried) * values[:, night]
    return out


def _noise(people: int, nights: int, names: tuple[str, ...], generator: np.random.Generator) -> np.ndarray:
    """AR(.5) of SD 1, with the heart rate's in what shares it."""
    fresh = generator.normal(size=(people, nights, len(names)))
    for column, name in enumerate(names):
        share = SHARED.get(name, 0.0)
        fresh[:, :, column] = share * fresh[:, :, 0] + np.sqrt(1 - share**2) * fresh[:, :, column]
    out = fresh.copy()
    for night in range(1, nights):
        out[:, night] = MEMORY * out[:, night - 1] + np.sqrt(1 - MEMORY**2) * fresh[:, night]
    return out


def _shared(people: int, nights: int, world: World, generator: np.random.Generator) -> np.ndarray:
    """Weekends, cycles, season and travel, in bpm."""
    night = np.arange(nights)[None]

    def size(most: float) -> np.ndarray:
        return most * generator.random((people, 1))

    weekend = np.isin((night + generator.integers(0, 7)) % 7, (0, 1)) * size(world.weekend_bpm)
    length, start = generator.uniform(25, 33, (people, 1)), generator.random((people, 1))
    phase = (night / length + start) % 1
    cyclic = np.clip(np.sin(2 * np.pi * (phase - 0.5)) * 2, -1, 1) * (generator.random((people, 1)) < 0.5)
    season = np.sin(2 * np.pi * (night / NIGHTS_PER_YEAR + generator.random((people, 1)))) * size(world.drift_bpm)
    away = np.zeros((people, nights))
    for person, trips in enumerate(generator.poisson(world.travels_a_year * nights / NIGHTS_PER_YEAR, people)):
        for begin in generator.integers(0, nights, trips):
            away[person, begin : begin + generator.integers(4, 11)] = generator.random() * world.travel_bpm
    return weekend + cyclic * size(world.cycle_bpm) + season + away


def _illness(people: int, nights: int, onset: int | None) -> np.ndarray:
    out = np.zeros((people, nights))
    if onset is not None:
        begin = onset - RAMP_NIGHTS
        shape = ramp(RAMP_NIGHTS + ILL_NIGHTS)[: nights - begin]
        out[:, begin : begin + len(shape)] = shape
    return out


def _changes(people: int, nights: int, world: World, generator: np.random.Generator) -> np.ndarray:
    when = generator.integers(nights // 4, max(nights // 2, nights // 4 + 1), people)
    return np.where(generator.random(people) < world.device_change, when, -1)


def _gaps(people: int, nights: int, share: float, generator: np.random.Generator) -> np.ndarray:
    """Runs of missing nights, 2 long on average."""
    draws = generator.random((people, nights))
    missing = np.zeros((people, nights), dtype=np.bool_)
    begin = 0.5 * share / max(1 - share, 0.5)
    for night in range(nights):
        before = missing[:, night - 1] if night else np.zeros(people, dtype=np.bool_)
        missing[:, night] = np.where(before, draws[:, night] < 0.5, draws[:, night] < begin)
    return missing
