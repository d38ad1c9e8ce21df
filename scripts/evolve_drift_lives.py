"""Lives side by side -> answers of a ridge, daily streams, and what a twin's watch says of them; simulated or real.

A life begins at a midnight; a column of doses and meals is taken after its reading. Readings are NaN where unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from hdt_fm.signal.given import SILENT_S
from hdt_fm.simulation.glucose_drift import World
from hdt_fm.twin.drift import streams
from hdt_fm.twin.drift.cause import Proposal
from hdt_fm.twin.drift.watch import DriftWatch
from hdt_fm.twin.state.watched import Watched

AHEAD_MINUTES, APART_MINUTES = (60, 120), 30
LAG_MINUTES = (0, 5, 10, 15, 30, 45, 60, 90, 120, 180)
DOSE_MINUTES, MEAL_MINUTES = (30, 60, 120, 240), (15, 40, 90)
RECORDS = ("dose", "meal")
PULL, BUDGET, BLOCK, BRIDGED_MINUTES = 1e-3, 1.0, 60, 45
# Beside what is joined: further streams, which raise no proposal.
FURTHER = (streams.OUTSIDE, streams.STATE)


@dataclass(frozen=True)
class Clock:
    """Readings every so many minutes, origins every half hour."""

    minutes: int

    @property
    def per_day(self) -> int:
        """Readings."""
        return 24 * 60 // self.minutes

    @property
    def origins_per_day(self) -> int:
        return 24 * 60 // APART_MINUTES

    @property
    def ahead(self) -> tuple[int, ...]:
        """Readings from an origin to its truths."""
        return tuple(one // self.minutes for one in AHEAD_MINUTES)

    @property
    def lags(self) -> tuple[int, ...]:
        """Readings back that are told."""
        return tuple(one // self.minutes for one in LAG_MINUTES if one % self.minutes == 0)

    def origins(self, world: World) -> np.ndarray:
        """Readings from the second day on, on the half hour."""
        return np.arange(self.per_day, world.cgm.shape[1], APART_MINUTES // self.minutes)

    def day(self, world: World) -> np.ndarray:
        """Of each origin, as the streams count: the second day of a life is their first."""
        return self.origins(world) // self.per_day - 1


FINE, COARSE = Clock(5), Clock(15)


def leaky(amounts: np.ndarray, minutes: float, step_minutes: float) -> np.ndarray:
    """What is left of earlier amounts (life, reading), that of the same reading not among them."""
    out: np.ndarray = lfilter([0.0, 1.0], [1.0, -np.exp(-step_minutes / minutes)], amounts, axis=1)
    return out


def bridged(table: np.ndarray, most: int) -> np.ndarray:
    """Lines across short gaps; who asks at a reading that is known is told of none that is later."""
    if np.isfinite(table).all():
        return table
    out, places = table.copy(), np.arange(table.shape[1])
    for row in out:
        known = np.flatnonzero(np.isfinite(row))
        if not len(known):
            continue
        before = np.searchsorted(known, places, side="right") - 1
        short = (before >= 0) & (before < len(known) - 1)
        short &= known[np.minimum(before + 1, len(known) - 1)] - known[before] <= most
        row[short] = np.interp(places[short], known, row[known])
    return out


def features(world: World, clock: Clock) -> np.ndarray:
    """(life, origin, feature): readings, what is left of doses and of meals, the hour; NaN where a reading lacks."""
    at = clock.origins(world)
    hour = 2 * np.pi * (at % clock.per_day) / clock.per_day
    shown = bridged(world.cgm, BRIDGED_MINUTES // clock.minutes)
    parts = [np.where(np.isfinite(world.cgm[:, at]), shown[:, at - lag], np.nan) for lag in clock.lags]
    size = world.size[:, None]
    parts += [leaky(world.bolus / size, one, clock.minutes)[:, at] for one in DOSE_MINUTES]
    parts += [leaky(world.carbs / size / 10, one, clock.minutes)[:, at] for one in MEAL_MINUTES]
    parts += [np.broadcast_to(wave(times * hour), parts[0].shape) for times in (1, 2) for wave in (np.sin, np.cos)]
    return np.stack(parts, axis=-1)


def divided(rows: np.ndarray, factor: np.ndarray, clock: Clock) -> np.ndarray:
    """Features of one life with its readings divided by what the sensor shows too much at each origin."""
    several = len(clock.lags)
    return np.concatenate([rows[..., :several] / factor[:, None], rows[..., several:]], axis=-1)


def truths(world: World, table: np.ndarray, clock: Clock) -> np.ndarray:
    """(life, origin, horizon) of a table of readings; NaN past its end."""
    at = clock.origins(world)[:, None] + np.array(clock.ahead)
    inside = at < table.shape[1]
    return np.where(inside, table[:, np.minimum(at, table.shape[1] - 1)], np.nan)


def lately_acted(world: World, clock: Clock) -> np.ndarray:
    """(life, origin) Whether a dose or a meal was recorded lately."""
    return _acted(world, clock.origins(world), streams.LATELY_S, clock)


def _acted(world: World, at: np.ndarray, span_s: float, clock: Clock) -> np.ndarray:
    past = np.cumsum((world.bolus > 0) | (world.carbs > 0), axis=1)
    acted: np.ndarray = past[:, at - 1] > past[:, np.maximum(at - 1 - round(span_s / 60 / clock.minutes), 0)]
    return acted


class Ridge:
    """A forecaster that costs nothing: linear in features, one for all people, with the spread of its errors.

    Args:
        without: "dose" or "meal": those features are left out, for a forecaster that is told that they are unknown.
    """

    def __init__(self, world: World, clock: Clock, *, without: str = "") -> None:
        self.clock = clock
        parts = [len(clock.lags), len(DOSE_MINUTES), len(MEAL_MINUTES), 4]
        self.columns = np.flatnonzero(np.repeat(["reading", "dose", "meal", "hour"], parts) != without)
        rows, truth = features(world, clock), truths(world, world.cgm, clock)
        known = np.isfinite(truth).all(axis=-1) & np.isfinite(rows).all(axis=-1)
        taken = rows[known][:, self.columns]
        self.mean, self.spread = taken.mean(axis=0), taken.std(axis=0)
        given = _with_one(self.standard(rows[known]))
        pull = PULL * np.eye(given.shape[1])
        self.weights = np.linalg.solve(given.T @ given / len(given) + pull, given.T @ truth[known] / len(given))
        size = np.abs(truth - self.answer(rows))
        self.half, self.scale = np.nanquantile(size, 0.8, axis=(0, 1)), np.nanstd(size, axis=(0, 1))

    def answer(self, rows: np.ndarray) -> np.ndarray:
        """(life, origin, horizon), mg/dL."""
        out: np.ndarray = _with_one(self.standard(rows)) @ self.weights
        return out

    def standard(self, rows: np.ndarray) -> np.ndarray:
        """The features that it knows, of mean 0 and SD 1 over training people."""
        out: np.ndarray = (rows[..., self.columns] - self.mean) / self.spread
        return out


def _with_one(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows, np.ones((*rows.shape[:-1], 1))], axis=-1)


def day_streams(world: World, ridge: Ridge) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Numbers of each day (life, day) as `streams.DaySums` has them, of all lives at once; and mean features of each
    day (life, day, feature)."""
    clock, rows = ridge.clock, features(world, ridge.clock)
    per, lag = clock.origins_per_day, AHEAD_MINUTES[0] // APART_MINUTES
    errors, acted = (truths(world, world.cgm, clock) - ridge.answer(rows))[..., 0], lately_acted(world, clock)
    # A truth belongs to the day on which it comes.
    come = _by_day(np.pad(errors, ((0, 0), (lag, 0)), constant_values=np.nan)[:, :-lag], per)
    after = _by_day(np.pad(acted, ((0, 0), (lag, 0)))[:, :-lag], per)
    shown, bolus, carbs = (
        _by_day(one[:, clock.per_day :], clock.per_day) for one in (world.cgm, world.bolus, world.carbs)
    )
    known, least = np.isfinite(come), streams.LEAST_ERRORS
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            streams.REST: _mean(come, known & ~after, least),
            streams.ACTED: _mean(come, known & after, least),
            streams.SIZE: np.log(_mean(np.abs(come), known, least)),
            streams.OUTSIDE: _mean((np.abs(come) > ridge.half[0]).astype(float), known, least),
            streams.LEVEL: _mean(np.log(shown), shown > 0, streams.LEAST_READINGS),
            streams.SWING: np.log(_mean(steps := np.abs(np.diff(shown)), np.isfinite(steps), streams.LEAST_READINGS)),
            streams.INSULIN: np.log(bolus.sum(axis=-1)),
            streams.CARBS: np.log(carbs.sum(axis=-1)),
        }
    ends = clock.per_day * (2 + np.arange(come.shape[1]))
    silent = ~_acted(world, ends, SILENT_S, clock)
    for name in (streams.REST, streams.ACTED):
        found[name] = np.where(silent, np.nan, found[name])
    asked = _by_day(np.moveaxis(rows, -1, 0), per)
    means = np.moveaxis(_mean(asked, np.isfinite(asked), least), 0, -1)
    return {name: np.where(np.isfinite(one), one, np.nan) for name, one in found.items()}, means


def _by_day(table: np.ndarray, per_day: int) -> np.ndarray:
    return table.reshape(*table.shape[:-1], -1, per_day)


def _mean(values: np.ndarray, known: np.ndarray, least: int) -> np.ndarray:
    """Over the last axis; NaN where fewer are known."""
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.where(count >= least, total / np.maximum(count, 1), np.nan)


@dataclass(frozen=True)
class Said:
    """What one life's watch said: its streams in own SDs (day, stream), and its first proposal."""

    away: np.ndarray
    proposal: Proposal | None


def names_watched() -> tuple[str, ...]:
    """Of the streams of `Said.away`."""
    return DriftWatch(streams=FURTHER).usual.names


def watched(world: World, ridge: Ridge, *, records: Sequence[Sequence[str]] | None = None) -> list[Said]:
    """Every life through the twin's own code, a day at a time.

    Args:
        records: Kinds that each life has records of; both by default.
    """
    found, clock = [], ridge.clock
    for block in range(0, len(world.person), BLOCK):
        rows = np.arange(block, min(block + BLOCK, len(world.person)))
        some = world.take(rows)
        values, means = day_streams(some, ridge)
        taken = [_by_day(one[:, clock.per_day :] > 0, clock.per_day).sum(axis=-1) for one in (some.bolus, some.carbs)]
        counts = dict(zip(RECORDS, taken, strict=True))
        for at, life in enumerate(rows):
            own = RECORDS if records is None else records[life]
            daily = {name: one[at] for name, one in values.items()}
            found.append(_one_watched(daily, means[at], {name: counts[name][at] for name in own}))
    return found


def _one_watched(values: dict[str, np.ndarray], means: np.ndarray, counts: dict[str, np.ndarray]) -> Said:
    twin, states = Watched(tuple(counts)), streams.StateDistance(width=means.shape[-1])
    twin.watch = DriftWatch(per_year=BUDGET, modalities=tuple(counts), streams=FURTHER)
    first, away = None, []
    for day, state in enumerate(means):
        today = {name: float(one[day]) for name, one in values.items()}
        today[streams.STATE] = states.add(state)
        twin.close(today, {name: int(one[day]) for name, one in counts.items()})
        first = first or twin.proposal
        away.append([twin.watch.away[name] for name in twin.watch.usual.names])
    return Said(np.array(away), first)


def days_lived(world: World, clock: Clock) -> np.ndarray:
    """(life,) Days until the last reading, as the streams count."""
    known = np.isfinite(world.cgm)
    last = world.cgm.shape[1] - 1 - known[:, ::-1].argmax(axis=1)
    lived: np.ndarray = (last + 1) // clock.per_day - 1
    return lived
