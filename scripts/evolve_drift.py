"""Drift on a known day in simulated lives with type 1 diabetes: found, named, adapted to, and intervals through it.

Lives are those of hdt_fm/simulation/glucose_drift.py, 91 days each, the day between the 42nd and the 56th. Seeds below
100 were used to set what hdt_fm/twin/drift/cause.py holds; a table is of other people. `table` is a part of
scripts/reproduce_evolve.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from hdt_fm.evaluation.evolve.drift import (
    SOON_DAYS,
    Alarms,
    Role,
    alarm_rows,
    coverage_rows,
    error_rows,
    named_rows,
)
from hdt_fm.metrics.conformal import HASTE, RATE, OnlineShift
from hdt_fm.schema.result import Result
from hdt_fm.simulation.glucose_drift import GAIN, KINDS, Sizes, World, world_of
from hdt_fm.simulation.glucose_habits import READINGS_PER_DAY
from hdt_fm.simulation.glucose_sensor import READING_MINUTES
from hdt_fm.twin.drift import cause, streams
from hdt_fm.twin.drift.cause import Proposal
from hdt_fm.twin.drift.detectors import SLACK, Adwin, Cusum, Detector, PageHinkley
from hdt_fm.twin.drift.threshold import DAYS_PER_YEAR, limit_for, rate
from hdt_fm.twin.drift.usual import LEARN_DAYS
from hdt_fm.twin.drift.watch import DriftWatch
from hdt_fm.twin.own_layer import OwnLayer

SEED, WORLDS = 100, ("still", "wandering")
EVERY, AHEAD = 6, (12, 24)  # readings between origins, and to the horizons of 60 and 120 min
ORIGINS_PER_DAY = READINGS_PER_DAY // EVERY
LAGS = (0, 1, 2, 3, 6, 9, 12, 18, 24, 36)
DOSE_MINUTES, MEAL_MINUTES = (30, 60, 120, 240), (15, 40, 90)
MINUTES = (60, 120)
BUDGET, PULL, BLOCK, FEW = 1.0, 1e-3, 60, 20
# From so many days after the onset on errors are compared; intervals are followed from and until so many days.
LATER, SPIN_UP_DAYS, HELD_DAYS = 14, 21, 14
CAUSES = dict(zip(KINDS, (cause.GAIN, cause.SENSITIVITY, cause.LOST, cause.LOST), strict=True))
OURS = "joined streams"
SINGLES: dict[str, Callable[..., Detector]] = {
    "CUSUM": partial(Cusum, slack=SLACK),
    "Page-Hinkley": partial(PageHinkley, delta=SLACK, least=1, keep=1.0),
}
ADWIN_DELTAS = (0.99, 0.9, 0.7, 0.5, 0.3, 0.1, 0.002)
FLOORS = ("3 own SDs, size of errors", "Page-Hinkley as given, size of errors", "ADWIN as given, size of errors")
NOTHING, ALWAYS, BEST = "not adapted", "own layer", "own layer of who knows the change"
PROPOSED, BOTH = "as proposed, each accepted", "own layer, and as proposed"
ROLES: dict[str, Role] = {NOTHING: "baseline", ALWAYS: "baseline", PROPOSED: "ours", BOTH: "ours", BEST: "reference"}
STATIC, STEADY, HASTY = "split, as learned", f"online, rate {RATE:g}", f"online, rate {RATE:g} with haste"
PROTOCOL: dict[str, Any] = {"budget_per_year": BUDGET, "soon_days": SOON_DAYS, "seed": SEED}


def leaky(amounts: np.ndarray, minutes: float) -> np.ndarray:
    """What is left of earlier amounts (life, reading), that of the same reading not among them."""
    keep, left = np.exp(-READING_MINUTES / minutes), np.zeros(len(amounts))
    out = np.empty(amounts.shape)
    for at in range(amounts.shape[1]):
        out[:, at] = left
        left = keep * left + amounts[:, at]
    return out


def origins(world: World) -> np.ndarray:
    """Readings from the second day on, on the half hour."""
    return np.arange(READINGS_PER_DAY, world.cgm.shape[1], EVERY)


def features(world: World) -> np.ndarray:
    """(life, origin, feature): readings, what is left of doses and of meals, the hour."""
    at = origins(world)
    hour = 2 * np.pi * (at % READINGS_PER_DAY) / READINGS_PER_DAY
    parts = [world.cgm[:, at - lag] for lag in LAGS]
    size = world.size[:, None]
    parts += [leaky(world.bolus / size, one)[:, at] for one in DOSE_MINUTES]
    parts += [leaky(world.carbs / size / 10, one)[:, at] for one in MEAL_MINUTES]
    parts += [np.broadcast_to(wave(times * hour), parts[0].shape) for times in (1, 2) for wave in (np.sin, np.cos)]
    return np.stack(parts, axis=-1)


def divided(rows: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Features of one life with its readings divided by what the sensor shows too much at each origin."""
    return np.concatenate([rows[..., : len(LAGS)] / factor[:, None], rows[..., len(LAGS) :]], axis=-1)


def truths(world: World, table: np.ndarray) -> np.ndarray:
    """(life, origin, horizon) of a table of readings; NaN past its end."""
    at = origins(world)[:, None] + np.array(AHEAD)
    inside = at < table.shape[1]
    return np.where(inside, table[:, np.minimum(at, table.shape[1] - 1)], np.nan)


def lately_acted(world: World) -> np.ndarray:
    """(life, origin) Whether a dose or a meal was recorded lately."""
    past = np.cumsum((world.bolus > 0) | (world.carbs > 0), axis=1)
    at, back = origins(world), round(streams.LATELY_S / 60 / READING_MINUTES)
    acted: np.ndarray = past[:, at - 1] > past[:, np.maximum(at - 1 - back, 0)]
    return acted


class Ridge:
    """A forecaster that costs nothing: linear in features, one for all people, with the spread of its errors.

    Args:
        without: "dose" or "meal": those features are left out, for a forecaster that is told that they are unknown.
    """

    def __init__(self, world: World, *, without: str = "") -> None:
        kinds = np.repeat(["reading", "dose", "meal", "hour"], [len(LAGS), len(DOSE_MINUTES), len(MEAL_MINUTES), 4])
        self.columns = np.flatnonzero(kinds != without)
        rows, truth = features(world), truths(world, world.cgm)
        known = np.isfinite(truth).all(axis=-1)
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


@dataclass(frozen=True)
class Watched:
    """What one life's watch said: its streams in own SDs (day, stream), and its first proposal."""

    away: np.ndarray
    proposal: Proposal | None


def watched(world: World, ridge: Ridge) -> list[Watched]:
    """Every life through the twin's own code, a day at a time."""
    found, lag = [], AHEAD[0] // EVERY
    for block in range(0, len(world.person), BLOCK):
        some = world.take(np.arange(block, min(block + BLOCK, len(world.person))))
        rows = features(some)
        errors = (truths(some, some.cgm) - ridge.answer(rows))[..., 0]
        acted = lately_acted(some)
        for life in range(len(some.person)):
            # A truth belongs to the day on which it comes.
            come = np.concatenate([np.full(lag, np.nan), errors[life, :-lag]])
            before = np.concatenate([np.zeros(lag, dtype=np.bool_), acted[life, :-lag]])
            found.append(_one_watched(some, life, rows[life], come, before, ridge.half[0]))
    return found


def _one_watched(
    world: World, life: int, rows: np.ndarray, errors: np.ndarray, acted: np.ndarray, half: float
) -> Watched:
    watch = DriftWatch(per_year=BUDGET, modalities=("dose", "meal"), streams=(streams.OUTSIDE, streams.STATE))
    sums, states = streams.DaySums(), streams.StateDistance(width=rows.shape[-1])
    first, away = None, []
    for day in range(1, world.cgm.shape[1] // READINGS_PER_DAY):
        asked = slice((day - 1) * ORIGINS_PER_DAY, day * ORIGINS_PER_DAY)
        lived_through = slice(day * READINGS_PER_DAY, (day + 1) * READINGS_PER_DAY)
        sums.read(world.cgm[life, lived_through])
        sums.missed(errors[asked], np.abs(errors[asked]) > half, acted[asked])
        values = {**sums.close(), streams.STATE: states.add(rows[asked].mean(axis=0))}
        counts = {
            "dose": int((world.bolus[life, lived_through] > 0).sum()),
            "meal": int((world.carbs[life, lived_through] > 0).sum()),
        }
        proposal = watch.day(values, counts)
        first = first or proposal
        away.append([watch.away[name] for name in watch.usual.names])
    return Watched(np.array(away), first)


def first_alarms(away: np.ndarray, detector: Callable[[], Detector], first: int) -> np.ndarray:
    """(life,) The day on which a detector of one stream (life, day) first alarms; `inf` is never."""
    found = np.full(len(away), np.inf)
    for life, days in enumerate(away):
        one = detector()
        for day in range(first, len(days)):
            if one.add(days[day]):
                found[life] = day
                break
    return found


def heights(away: np.ndarray, detector: Callable[[], Detector], first: int) -> np.ndarray:
    """(life, watched day) How high it climbs where nobody stops it."""
    out = np.zeros((len(away), away.shape[1] - first))
    for life, days in enumerate(away):
        one = detector()
        for day in range(first, len(days)):
            one.add(days[day])
            out[life, day - first] = one.height
    return out


def single_rules(away: dict[str, np.ndarray], names: tuple[str, ...]) -> list[Alarms]:
    """Each detector on each stream, its limit set on the people set apart; and rules as they are given away."""
    found = []
    for place, name in enumerate(names):
        own = {kind: days[..., place] for kind, days in away.items()}
        for label, made in SINGLES.items():
            climbed = heights(own["setting"], partial(made, limit=np.inf), LEARN_DAYS)
            rule = partial(made, limit=limit_for(climbed, max(BUDGET, 2 * DAYS_PER_YEAR / climbed.size)))
            found.append(_alarms(f"{label}, {name}", "reference", own, rule))
        if adwin_is_there(len(own["setting"])):
            least = [
                one for one in ADWIN_DELTAS if _rate_of(own["setting"], partial(Adwin, delta=one, every=1)) <= BUDGET
            ]
            rule = partial(Adwin, delta=max(least, default=min(ADWIN_DELTAS)), every=1)
            found.append(_alarms(f"ADWIN, {name}", "reference", own, rule))
    size = {kind: days[..., names.index(streams.SIZE)] for kind, days in away.items()}
    found.append(_alarms(FLOORS[0], "baseline", size, ThreeSds))
    found.append(_alarms(FLOORS[1], "baseline", size, partial(PageHinkley, limit=50.0)))
    if adwin_is_there(len(size["setting"])):
        found.append(_alarms(FLOORS[2], "baseline", size, Adwin))
    return found


class ThreeSds:
    """A day that lies 3 own SDs (as far as the streams say) from the usual."""

    limit, days, height = 3.0, 1, 0.0

    def add(self, value: float) -> bool:
        return bool(abs(value) >= self.limit)

    def state(self) -> dict[str, float]:
        return {}


def adwin_is_there(lives: int) -> bool:
    """Importing river takes longer than a few lives."""
    return lives > FEW and find_spec("river") is not None


def _rate_of(away: np.ndarray, detector: Callable[[], Detector]) -> float:
    alarm = first_alarms(away, detector, LEARN_DAYS)
    return rate(np.arange(LEARN_DAYS, away.shape[1]) == alarm[:, None])


def _alarms(name: str, role: Role, own: dict[str, np.ndarray], detector: Callable[[], Detector]) -> Alarms:
    alarm = {kind: first_alarms(days, detector, LEARN_DAYS) for kind, days in own.items() if kind != "setting"}
    return Alarms(name, role, alarm.pop("well"), alarm)


def joined_alarms(world: World, said: list[Watched]) -> Alarms:
    """Ours: first proposals, on days counted as the streams count them."""
    day = np.array([np.inf if one.proposal is None else one.proposal.day for one in said])
    return Alarms(OURS, "ours", day[world.rows("well")], {kind: day[world.rows(kind)] for kind in KINDS})


def adapted(world: World, said: list[Watched], ridges: dict[str, Ridge], day: np.ndarray) -> dict[str, np.ndarray]:
    """Truth less answer (life, origin, horizon) of each way to go on; truth is what a right sensor would have shown.

    An own layer learns, each midnight, what has come. What is proposed begins on the day after: readings are divided
    and the layer goes on from where it stood at the onset; who has no layer gets one, taught from the onset on; or a
    forecaster without that record takes over, with a layer of its own. `day` is of each origin, as the streams count.
    """
    rows, truth, shown = features(world), truths(world, world.right), truths(world, world.cgm)
    answer, standard = ridges[""].answer(rows), ridges[""].standard(rows)
    found = {NOTHING: truth - answer}
    found[ALWAYS] = np.stack(
        [found[NOTHING][life] - followed(standard[life], shown[life] - answer[life], day) for life in range(len(rows))]
    )
    found[PROPOSED], found[BOTH] = found[NOTHING].copy(), found[ALWAYS].copy()
    for life, one in enumerate(said):
        if (proposal := one.proposal) is None:
            continue
        after, since = day > proposal.day, day >= proposal.onset
        if proposal.cause == cause.SENSITIVITY:
            own = followed(standard[life], shown[life] - answer[life], day, proposal.onset)
            found[PROPOSED][life, after] -= own[after]
        elif proposal.cause == cause.GAIN or proposal.about in ridges:
            ridge = ridges[proposal.about]
            factor = np.where(since, proposal.factor or 1.0, 1.0)
            told = divided(rows[life], factor)
            plain = ridge.answer(told)
            own = followed(ridge.standard(told), shown[life] / factor[:, None] - plain, day)
            found[PROPOSED][life, after] = (truth[life] - plain)[after]
            found[BOTH][life, after] = (truth[life] - plain - own)[after]
    return found


def best_known(world: World, kind: str, whole: World, ridges: dict[str, Ridge], day: np.ndarray) -> np.ndarray:
    """An own layer of who knows day and change: with the sensor's factor, with all records, or taught anew that day."""
    ridge, out = ridges[""], []
    world = whole if kind in KINDS[2:] else world
    rows, truth, shown = features(world), truths(world, world.right), truths(world, world.cgm)
    for life in range(len(truth)):
        onset = int(world.onset[life]) - 1
        factor = np.where((day >= onset) & (kind == KINDS[0]), GAIN, 1.0)
        told = divided(rows[life], factor)
        missed = shown[life] / factor[:, None] - ridge.answer(told)
        own = followed(ridge.standard(told), missed, day, onset if kind == KINDS[1] else 0)
        out.append(truth[life] - ridge.answer(told) - own)
    return np.stack(out)


def followed(rows: np.ndarray, missed: np.ndarray, day: np.ndarray, first: int = 0) -> np.ndarray:
    """Corrections of an own layer that begins to learn on day `first` and each midnight learns what has come."""
    layer, out = OwnLayer(width=rows.shape[1], horizons=missed.shape[1]), np.zeros_like(missed)
    told, wait = int(np.searchsorted(day, first)), max(AHEAD) // EVERY
    for today in range(first, int(day[-1]) + 1):
        now = np.flatnonzero(day == today)
        come = max(told, now[0] - wait)
        layer.learn(rows[told:come], missed[told:come])
        out[now], told = layer.correction(rows[now]), come
    return out


def half_widths(missed: np.ndarray, horizon: int, ridge: Ridge, *, haste: float) -> np.ndarray:
    """(life, origin) Of a person's interval around a point, as truths come."""
    out = np.empty(missed.shape)
    horizon_s, every_s = AHEAD[horizon] * READING_MINUTES * 60.0, EVERY * READING_MINUTES * 60.0
    wait = AHEAD[horizon] // EVERY
    for life, errors in enumerate(missed.tolist()):
        start, spread = float(ridge.half[horizon]), float(ridge.scale[horizon])
        shift = OnlineShift(horizon_s=horizon_s, start=start, spread=spread, coverage=0.8, haste=haste)
        for place in range(len(errors)):
            if place >= wait:
                shift.came(place * every_s, errors[place - wait])
            out[life, place] = shift.at(place * every_s)
            shift.told(place * every_s, 0.0, 0.0)
    return out


def proposed(world: World, said: list[Watched], kind: str) -> list[tuple[int, Proposal]]:
    """Proposals that were made from the onset on, and the lives that they are of."""
    made = [(int(row), said[row].proposal) for row in world.rows(kind)]
    return [(row, one) for row, one in made if one is not None and one.day >= world.onset[row] - 1]


def found_table(world: World, said: list[Watched], what: str) -> Result:
    """When each rule alarms, and what ours calls it."""
    away = {kind: np.stack([said[row].away for row in world.rows(kind)]) for kind in ("setting", "well", *KINDS)}
    names = DriftWatch(streams=(streams.OUTSIDE, streams.STATE)).usual.names
    rules = [joined_alarms(world, said), *single_rules(away, names)]
    onset = {kind: world.onset[world.rows(kind)] - 1 for kind in KINDS}
    rows = alarm_rows(what, rules, onset, watched=(LEARN_DAYS, away["well"].shape[1]))
    named = {kind: [one.cause for _, one in proposed(world, said, kind)] for kind in KINDS}
    rows += named_rows(what, named, CAUSES, model=OURS)
    floors = FLOORS if adwin_is_there(len(away["setting"])) else FLOORS[:2]
    return Result(name=f"drift found, {what}", protocol=PROTOCOL, rows=tuple(rows), required_baselines=floors)


def adapted_table(world: World, said: list[Watched], ridges: dict[str, Ridge], what: str) -> Result:
    """Errors before and after, of the people who had no false alarm before; and what a false proposal costs."""
    day, rows = origins(world) // READINGS_PER_DAY - 1, []
    well = world.rows("well")
    for kind in KINDS:
        own = [
            row for row in world.rows(kind) if (one := said[row].proposal) is None or one.day >= world.onset[row] - 1
        ]
        some = world.take(np.array(own))
        since = day - (some.onset[:, None] - 1)
        ways = adapted(some, [said[row] for row in own], ridges, day)
        whole = world.take(np.array([well[world.person[well] == one][0] for one in some.person]))
        ways[BEST] = best_known(some, kind, whole, ridges, day)
        for horizon, minutes in enumerate(MINUTES):
            told = {name: (ROLES[name], errors[..., horizon]) for name, errors in ways.items()}
            asked = f"{what}, {kind}, {minutes} min"
            first = {name: told[name] for name in (NOTHING, ALWAYS)}
            rows += error_rows(f"{asked}, two weeks before", first, (since < 0) & (since >= -LATER))
            rows += error_rows(f"{asked}, from day {LATER + 1} on", told, since >= LATER)
    falsely = [row for row in well if said[row].proposal is not None]
    if len(falsely) > 1:
        mine = [said[row] for row in falsely]
        ways = adapted(world.take(np.array(falsely)), mine, ridges, day)
        after = day > np.array([one.proposal.day for one in mine if one.proposal is not None])[:, None]
        for horizon, minutes in enumerate(MINUTES):
            told = {name: (ROLES[name], errors[..., horizon]) for name, errors in ways.items()}
            rows += error_rows(f"{what}, falsely proposed, {minutes} min, afterwards", told, after)
    return Result(
        name=f"drift adapted to, {what}", protocol=PROTOCOL, rows=tuple(rows), required_baselines=(NOTHING, ALWAYS)
    )


def held_table(world: World, ridge: Ridge, what: str) -> Result:
    """Intervals of answers that nobody adapts, through the change and where there is none."""
    day, rows = origins(world) // READINGS_PER_DAY - 1, []
    for kind in ("well", *KINDS):
        some = world.take(world.rows(kind)[: len(world.rows(KINDS[0]))])
        errors = truths(some, some.cgm) - ridge.answer(features(some))
        first = (some.onset - 1 - SPIN_UP_DAYS) * ORIGINS_PER_DAY
        at = first[:, None] + np.arange((SPIN_UP_DAYS + HELD_DAYS) * ORIGINS_PER_DAY)
        there, at = at < len(day), np.minimum(at, len(day) - 1)
        since = day[at] - (some.onset[:, None] - 1)
        for horizon, minutes in enumerate(MINUTES):
            missed = np.where(there, np.take_along_axis(errors[..., horizon], at, axis=1), np.nan)
            widths: dict[str, tuple[Role, np.ndarray]] = {
                STATIC: ("baseline", np.full(missed.shape, ridge.half[horizon])),
                STEADY: ("baseline", half_widths(missed, horizon, ridge, haste=0.0)),
                HASTY: ("ours", half_widths(missed, horizon, ridge, haste=HASTE)),
            }
            name = "nothing changes" if kind == "well" else kind
            rows += coverage_rows(f"{what}, {name}, {minutes} min", widths, missed, since)
    floors = (STATIC, STEADY)
    return Result(name=f"drift and intervals, {what}", protocol=PROTOCOL, rows=tuple(rows), required_baselines=floors)


def table(*, quick: bool, seeds: int, progress: Callable[[int, int, str], None]) -> Result:
    """All of it, in a still world and in a wandering one.

    Args:
        quick: Few people, one world, and no river.
        seeds: Ignored: people carry the intervals, and one seed of them takes 85 CPU-seconds a world.
    """
    sizes = Sizes(train=3, setting=6, well=6, changed=3, days=33, onset=(30, 31)) if quick else Sizes()
    worlds, results = WORLDS[-1:] if quick else WORLDS, []
    for done, what in enumerate(worlds):
        progress(done, len(worlds), what)
        world = world_of(SEED, replace(sizes, still=what == WORLDS[0]))
        train = world.take(world.rows("train"))
        ridges = {name: Ridge(train, without=name) for name in ("", "dose", "meal")}
        said = watched(world, ridges[""])
        results.append(found_table(world, said, what))
        results += [adapted_table(world, said, ridges, what), held_table(world, ridges[""], what)]
    progress(len(worlds), len(worlds), "")
    whole = results[0].joined(results[1:])
    return whole.model_copy(update={"name": "drift on a known day, simulated"})
