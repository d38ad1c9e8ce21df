"""What comes after a change: errors of each way to go on, and intervals that follow."""

from dataclasses import dataclass

import numpy as np
from evolve_drift_lives import AHEAD_MINUTES, APART_MINUTES, RECORDS, Clock, Ridge, Said, divided, features, truths

from hdt_fm.evaluation.evolve.drift import Role, coverage_rows, error_rows
from hdt_fm.metrics.conformal import HASTE, RATE, OnlineShift
from hdt_fm.schema.result import Row
from hdt_fm.simulation.glucose_drift import GAIN, KINDS, World
from hdt_fm.twin.drift import cause
from hdt_fm.twin.own_layer import OwnLayer

# Intervals are followed from and until so many days from the onset.
SPIN_UP_DAYS, HELD_DAYS = 21, 14
NOTHING, ALWAYS, BEST = "not adapted", "own layer", "own layer of who knows the change"
PROPOSED, BOTH = "as proposed, each accepted", "own layer, and as proposed"
ROLES: dict[str, Role] = {NOTHING: "baseline", ALWAYS: "baseline", PROPOSED: "ours", BOTH: "ours", BEST: "reference"}
STATIC, STEADY, HASTY = "split, as learned", f"online, rate {RATE:g}", f"online, rate {RATE:g} with haste"


def adapted(world: World, said: list[Said], ridges: dict[str, Ridge], day: np.ndarray) -> dict[str, np.ndarray]:
    """Truth less answer (life, origin, horizon) of each way to go on; truth is what a right sensor would have shown.

    An own layer learns, each midnight, what has come. What is proposed begins on the day after: readings are divided
    and the layer goes on from where it stood at the onset; who has no layer gets one, taught from the onset on; or a
    forecaster without that record takes over, with a layer of its own. `day` is of each origin, as the streams count.
    """
    clock = ridges[""].clock
    rows, truth, shown = features(world, clock), truths(world, world.right, clock), truths(world, world.cgm, clock)
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
            told = divided(rows[life], factor, clock)
            plain = ridge.answer(told)
            own = followed(ridge.standard(told), shown[life] / factor[:, None] - plain, day)
            found[PROPOSED][life, after] = (truth[life] - plain)[after]
            found[BOTH][life, after] = (truth[life] - plain - own)[after]
    return found


def best_known(world: World, kind: str, whole: World, ridges: dict[str, Ridge], day: np.ndarray) -> np.ndarray:
    """An own layer of who knows day and change: with the sensor's factor, with all records, or taught anew that day."""
    ridge, out, clock = ridges[""], [], ridges[""].clock
    world = whole if kind in KINDS[2:] else world
    rows, truth, shown = features(world, clock), truths(world, world.right, clock), truths(world, world.cgm, clock)
    for life in range(len(truth)):
        onset = int(world.onset[life]) - 1
        factor = np.where((day >= onset) & (kind == KINDS[0]), GAIN, 1.0)
        told = divided(rows[life], factor, clock)
        missed = shown[life] / factor[:, None] - ridge.answer(told)
        own = followed(ridge.standard(told), missed, day, onset if kind == KINDS[1] else 0)
        out.append(truth[life] - ridge.answer(told) - own)
    return np.stack(out)


def followed(rows: np.ndarray, missed: np.ndarray, day: np.ndarray, first: int = 0) -> np.ndarray:
    """Corrections of an own layer that begins to learn on day `first` and each midnight learns what has come."""
    layer, out = OwnLayer(width=rows.shape[1], horizons=missed.shape[1]), np.zeros_like(missed)
    told, wait = int(np.searchsorted(day, first)), AHEAD_MINUTES[-1] // APART_MINUTES
    # A row that lacks a reading teaches nothing and is not answered.
    missed, rows = np.where(np.isfinite(rows).all(axis=1)[:, None], missed, np.nan), np.nan_to_num(rows)
    for today in range(first, int(day[-1]) + 1):
        now = np.flatnonzero(day == today)
        come = max(told, now[0] - wait)
        layer.learn(rows[told:come], missed[told:come])
        out[now], told = layer.correction(rows[now]), come
    return out


def half_widths(missed: np.ndarray, horizon: int, start: np.ndarray, spread: np.ndarray, *, haste: float) -> np.ndarray:
    """(life, origin) Of a person's interval around a point, as truths come; each life begins with its own `start`."""
    out = np.empty(missed.shape)
    horizon_s, every_s = AHEAD_MINUTES[horizon] * 60.0, APART_MINUTES * 60.0
    wait = AHEAD_MINUTES[horizon] // APART_MINUTES
    for life, errors in enumerate(missed.tolist()):
        begun, unit = float(start[life]), float(spread[life])
        shift = OnlineShift(horizon_s=horizon_s, start=begun, spread=unit, coverage=0.8, haste=haste)
        for place in range(len(errors)):
            if place >= wait:
                shift.came(place * every_s, errors[place - wait])
            out[life, place] = shift.at(place * every_s)
            shift.told(place * every_s, 0.0, 0.0)
    return out


def proposed(said: list[Said], rows: np.ndarray, onset: np.ndarray) -> list[cause.Proposal]:
    """Proposals of these lives that were made from the onset on."""
    made = [(said[row].proposal, first) for row, first in zip(rows, onset, strict=True)]
    return [one for one, first in made if one is not None and one.day >= first]


@dataclass(frozen=True)
class Unadapted:
    """Errors of answers that nobody adapts.

    Attributes:
        errors: (life, origin, horizon) Truth less answer.
        half, scale: (life, horizon) What an interval begins with, and the unit of its steps.
        day: Of each origin, as the streams count.
        per: Origins a day.
    """

    errors: np.ndarray
    half: np.ndarray
    scale: np.ndarray
    day: np.ndarray
    per: int

    @classmethod
    def of(cls, world: World, ridge: Ridge) -> "Unadapted":
        """One ridge for all lives."""
        clock, several = ridge.clock, (len(world.person), 1)
        errors = truths(world, world.cgm, clock) - ridge.answer(features(world, clock))
        half, scale = np.tile(ridge.half, several), np.tile(ridge.scale, several)
        return cls(errors, half, scale, clock.day(world), clock.origins_per_day)

    def widths(self, missed: np.ndarray, horizon: int) -> dict[str, tuple[Role, np.ndarray]]:
        """(life, origin) Half widths by each rule."""
        half, scale = self.half[:, horizon], self.scale[:, horizon]
        return {
            STATIC: ("baseline", np.broadcast_to(half[:, None], missed.shape)),
            STEADY: ("baseline", half_widths(missed, horizon, half, scale, haste=0.0)),
            HASTY: ("ours", half_widths(missed, horizon, half, scale, haste=HASTE)),
        }


def held_rows(what: str, one: Unadapted, onset: np.ndarray, person: np.ndarray | None = None) -> list[Row]:
    """Intervals from three weeks before the onset on, counted as the streams count days."""
    rows, day, per = [], one.day, one.per
    first = np.maximum(onset - SPIN_UP_DAYS, 0) * per
    at = first[:, None] + np.arange((SPIN_UP_DAYS + HELD_DAYS) * per)
    there, at = at < len(day), np.minimum(at, len(day) - 1)
    since = day[at] - onset[:, None]
    for horizon, minutes in enumerate(AHEAD_MINUTES):
        missed = np.where(there, np.take_along_axis(one.errors[..., horizon], at, axis=1), np.nan)
        widths = one.widths(missed, horizon)
        rows += coverage_rows(f"{what}, {minutes} min", widths, missed, since, person=person)
    return rows


def later_rows(
    what: str, ways: dict[str, np.ndarray], since: np.ndarray, later: int, person: np.ndarray | None = None
) -> list[Row]:
    """Errors of each way two weeks before the onset, and from day `later` after it on."""
    rows = []
    for horizon, minutes in enumerate(AHEAD_MINUTES):
        told = {name: (ROLES[name], errors[..., horizon]) for name, errors in ways.items()}
        first = {name: told[name] for name in (NOTHING, ALWAYS)}
        early = (since < 0) & (since >= -14)
        rows += error_rows(f"{what}, {minutes} min, two weeks before", first, early, person=person)
        rows += error_rows(f"{what}, {minutes} min, from day {later + 1} on", told, since >= later, person=person)
    return rows


def causes_of() -> dict[str, str]:
    """The right name of each kind of change."""
    return dict(zip(KINDS, (cause.GAIN, cause.SENSITIVITY, cause.LOST, cause.LOST), strict=True))


def ridges_of(train: World, clock: Clock) -> dict[str, Ridge]:
    """One told everything, and one for each kind of record that may be lost."""
    return {name: Ridge(train, clock, without=name) for name in ("", *RECORDS)}
