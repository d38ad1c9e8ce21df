"""Drift in real records: AZT1D and T1D-UOM, as they are and with changes put into them on known days.

A ridge learns from other people (five folds over both cohorts, readings every 15 minutes) and answers of the rest.
Nobody noted what happened in these lives: an alarm in a record as it is counts as false, and may be a new sensor or a
holiday. Put in are readings 15 % higher (also those that the ridge is told) and doses, or meals, that are no longer
written down; people's own doses answer to neither. A sensitivity cannot be put into a record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from evolve_drift_after import (
    ALWAYS,
    NOTHING,
    STATIC,
    STEADY,
    Unadapted,
    adapted,
    causes_of,
    held_rows,
    later_rows,
    proposed,
    ridges_of,
)
from evolve_drift_lives import AHEAD_MINUTES, COARSE, RECORDS, Said, days_lived, names_watched, watched
from evolve_drift_rules import THREE_SDS, Rule

from hdt_fm.evaluation.evolve.drift import Alarms, alarm_rows, coverage_rows, named_rows
from hdt_fm.schema.result import Result, Row
from hdt_fm.schema.series import DAY_S, Series
from hdt_fm.simulation.glucose_drift import GAIN, KINDS, World
from hdt_fm.simulation.glucose_sensor import in_range
from hdt_fm.twin.drift.cause import JOINED, LOST, Proposal
from hdt_fm.twin.drift.silence import LEAST_A_DAY, LEFT
from hdt_fm.twin.drift.usual import LEARN_DAYS

FOLDS, SEED = 5, 0
PUT_IN = (KINDS[0], *KINDS[2:])
# Changes come on the second day that is watched, and so many days later again where a record lasts.
FIRST_DAY, APART_DAYS, FOLLOWED_DAYS = LEARN_DAYS + 1, 21, 14
ADAPTED_DAYS, SETTLED_DAYS = 7, 14
OURS = "joined streams"
AS_IT_IS, STOPPED = "real, nothing put in", "of lost records that did stop"


@dataclass(frozen=True)
class Records:
    """Lives on one grid, and what each has records of."""

    world: World
    told: tuple[tuple[str, ...], ...]

    def take(self, rows: np.ndarray) -> "Records":
        """These lives, in this order."""
        return Records(self.world.take(rows), tuple(self.told[row] for row in rows))


def records() -> Records:
    """Everybody of both cohorts, as they are."""
    from reproduce_glucose import TREATED, sharded, treatments

    from hdt_fm.data.series import series_of
    from hdt_fm.data.shards import ShardFolder

    found = []
    for name in TREATED:
        coarse = ("preparation=glucose_15min",) if name == "azt1d" else ()
        folder = ShardFolder.open(sharded(name, *coarse, beside="_15min" if coarse else "", quick=False))
        given = treatments(name, folder, quick=False)
        for one in series_of(folder, "glucose"):
            own = {kind: [some for some in given[kind] if some.subject == one.subject] for kind in ("bolus", "carbs")}
            found.append((_from_midnight(one), *(_amounts(one, own[kind]) for kind in ("bolus", "carbs"))))
    longest = -(-max(len(shown) for shown, *_ in found) // COARSE.per_day) * COARSE.per_day
    cgm, bolus, carbs = (np.full((len(found), longest), fill) for fill in (np.nan, 0.0, 0.0))
    for row, parts in enumerate(found):
        for table, part in zip((cgm, bolus, carbs), parts, strict=True):
            table[row, : len(part)] = part
    told = tuple(
        tuple(kind for kind, table in zip(RECORDS, (bolus, carbs), strict=True) if table[row].any())
        for row in range(len(found))
    )
    count, kind = len(found), np.full(len(found), "well")
    onset = np.full(count, FIRST_DAY + 1)
    world = World(np.arange(count), kind, cgm, cgm, bolus, carbs, _size(cgm, bolus), onset)
    return Records(world, told)


def _early(one: Series) -> int:
    """Places from the person's own midnight to the first reading."""
    return round((one.start_s + one.utc_offset_s) % DAY_S / one.step_s)


def _from_midnight(one: Series) -> np.ndarray:
    shown = np.where(one.observed, one.values, np.nan).astype(np.float64)
    return np.concatenate([np.full(_early(one), np.nan), shown])


def _amounts(one: Series, given: Sequence[Series]) -> np.ndarray:
    """Of each column: what was taken after its reading and up to the next; 0 where nothing is known."""
    out, early = np.zeros(_early(one) + len(one)), _early(one)
    for some in given:
        # A sample is the sum of the step that ends with it.
        ends_s = some.start_s + some.step_s * np.arange(len(some)) - one.start_s
        column = np.ceil(ends_s / one.step_s - 1e-3).astype(np.int64) - 1 + early
        kept = some.observed & (column >= 0) & (column < len(out))
        np.add.at(out, column[kept], some.values[kept].astype(np.float64))
    return out


def _size(cgm: np.ndarray, bolus: np.ndarray) -> np.ndarray:
    """U/h by which doses and meals of small and large people are alike: of bolus doses, over days with any."""
    days = bolus.reshape(len(bolus), -1, COARSE.per_day).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        own = days.sum(axis=1) / np.maximum((days > 0).sum(axis=1), 1) / 24
    return np.where(own > 0, own, np.median(own[own > 0]))


def changed(whole: Records, kind: str) -> Records:
    """The same lives with a change put in, once or several times; each ends some weeks after it."""
    world, lived = whole.world, days_lived(whole.world, COARSE)
    rows, onsets = [], []
    for life in range(len(lived)):
        for day in range(FIRST_DAY, int(lived[life]) - FOLLOWED_DAYS + 1, APART_DAYS):
            if _could(whole, life, day, kind):
                rows.append(life)
                onsets.append(day + 1)
    some, onset = whole.take(np.array(rows)), np.array(onsets)
    day = np.arange(world.cgm.shape[1]) // COARSE.per_day
    after, gone = day >= onset[:, None], day >= (onset + FOLLOWED_DAYS + APART_DAYS)[:, None]
    one = some.world
    tables = {"cgm": np.where(gone, np.nan, one.cgm), "right": np.where(gone, np.nan, one.cgm)}
    tables |= {"bolus": one.bolus, "carbs": one.carbs}
    if kind == KINDS[0]:
        tables["cgm"] = np.where(after, in_range(GAIN * tables["cgm"]), tables["cgm"])
    else:
        lost = "bolus" if kind == KINDS[2] else "carbs"
        tables[lost] = np.where(after, 0.0, tables[lost])
    return Records(replace(one, kind=np.full(len(onset), kind), onset=onset, **tables), some.told)


def _could(whole: Records, life: int, day: int, kind: str) -> bool:
    """Whether half of the readings are there afterwards, and records to be lost."""
    world = whole.world
    span = slice((day + 1) * COARSE.per_day, (day + 1 + FOLLOWED_DAYS) * COARSE.per_day)
    if np.isfinite(world.cgm[life, span]).mean() < 0.5:
        return False
    if kind == KINDS[0]:
        return True
    table = world.bolus if kind == KINDS[2] else world.carbs
    early = slice(span.start - FOLLOWED_DAYS * COARSE.per_day, span.start)
    return all((table[life, some] > 0).sum() >= LEAST_A_DAY * FOLLOWED_DAYS for some in (early, span))


@dataclass(frozen=True)
class Answered:
    """Lives of one kind with all that was said of them, by the ridges of others."""

    world: World
    said: list[Said]
    unadapted: Unadapted
    ways: dict[str, np.ndarray]


def answered(whole: Records, kinds: Mapping[str, Records]) -> dict[str, Answered]:
    """Fold by fold."""
    people = np.random.default_rng(SEED).permutation(len(whole.world.person))
    day, parts = COARSE.day(whole.world), {kind: [] for kind in kinds}
    for fold in range(FOLDS):
        test = people[fold::FOLDS]
        ridges = ridges_of(whole.world.take(np.setdiff1d(people, test)), COARSE)
        for kind, some in kinds.items():
            own = some.take(np.flatnonzero(np.isin(some.world.person, test)))
            said = watched(own.world, ridges[""], records=own.told)
            ways = {} if kind == "well" else adapted(own.world, said, ridges, day)
            parts[kind].append(Answered(own.world, said, Unadapted.of(own.world, ridges[""]), ways))
    return {kind: _joined(some) for kind, some in parts.items()}


def _joined(parts: Sequence[Answered]) -> Answered:
    first = parts[0]
    world = World(**{name: np.concatenate([getattr(one.world, name) for one in parts]) for name in vars(first.world)})
    errors, half, scale = (
        np.concatenate([getattr(one.unadapted, name) for one in parts]) for name in ("errors", "half", "scale")
    )
    ways = {name: np.concatenate([one.ways[name] for one in parts]) for name in first.ways}
    unadapted = replace(first.unadapted, errors=errors, half=half, scale=scale)
    return Answered(world, [said for one in parts for said in one.said], unadapted, ways)


def real_tables(rules: Sequence[Rule]) -> list[Result]:
    """What was found, adapted to and held.

    Args:
        rules: Of one stream each, with limits of simulated people.
    """
    whole = records()
    found = answered(whole, {"well": whole, **{kind: changed(whole, kind) for kind in PUT_IN}})
    return [_found_table(found, rules), _adapted_table(found), _held_table(found)]


def _found_table(found: Mapping[str, Answered], rules: Sequence[Rule]) -> Result:
    first = {kind: _first(one.said) for kind, one in found.items()}
    alarms = [Alarms(OURS, "ours", first["well"], {kind: first[kind] for kind in PUT_IN})]
    away = {kind: np.stack([said.away for said in one.said]) for kind, one in found.items()}
    shown = [one for one in rules if one.name == THREE_SDS or (one.name.startswith("CUSUM") and one.stream in JOINED)]
    alarms += [one.alarms(away, names_watched()) for one in shown]
    lived = days_lived(found["well"].world, COARSE)
    onset = {kind: found[kind].world.onset - 1 for kind in PUT_IN}
    person = {kind: found[kind].world.person for kind in PUT_IN}
    rows = alarm_rows("real", alarms, onset, watched=(LEARN_DAYS, lived), person=person, poisson=True)
    rows += _parts_rows(found["well"], lived)
    told = {kind: proposed(one.said, np.arange(len(one.said)), one.world.onset - 1) for kind, one in found.items()}
    right = {kind: causes_of()[kind] for kind in PUT_IN}
    rows += named_rows("real", {kind: [one.cause for one in told[kind]] for kind in PUT_IN}, right, model=OURS)
    protocol = {"people": len(lived), "folds": FOLDS, "lives": {kind: len(one.said) for kind, one in found.items()}}
    return Result(name="drift found, real", protocol=protocol, rows=tuple(rows), required_baselines=(THREE_SDS,))


def _parts_rows(well: Answered, lived: np.ndarray) -> list[Row]:
    """False alarms by what they tell of; who is alarmed by one is watched no longer by the other."""
    first, parts = _first(well.said), {"of a sensor or a body": [], "of lost records": [], STOPPED: []}
    for life, one in enumerate(well.said):
        lost = one.proposal is not None and one.proposal.cause == LOST
        parts["of a sensor or a body"].append(np.inf if lost else first[life])
        parts["of lost records"].append(first[life] if lost else np.inf)
        parts[STOPPED].append(first[life] if lost and _stopped(well.world, life, one.proposal) else np.inf)
    until = np.where(np.isfinite(first), first + 1, lived).astype(np.int64)
    alarms = [Alarms(f"{OURS}, {name}", "ours", np.array(days), {}) for name, days in parts.items()]
    return alarm_rows("real", alarms, {}, watched=(LEARN_DAYS, until), poisson=True)


def _stopped(world: World, life: int, proposal: Proposal | None) -> bool:
    """Whether a week from the told onset on has at most a fifth of the entries of the four weeks before."""
    assert proposal is not None
    table = world.bolus if proposal.about == RECORDS[0] else world.carbs
    at = (proposal.onset + 1) * COARSE.per_day
    week, before = slice(at, at + 7 * COARSE.per_day), slice(max(at - 28 * COARSE.per_day, 0), at)
    return bool(4 * (table[life, week] > 0).sum() <= LEFT * (table[life, before] > 0).sum())


def _first(said: Sequence[Said]) -> np.ndarray:
    return np.array([np.inf if one.proposal is None else one.proposal.day for one in said])


def _adapted_table(found: Mapping[str, Answered]) -> Result:
    rows = []
    for kind in PUT_IN:
        one = found[kind]
        since = one.unadapted.day - (one.world.onset[:, None] - 1)
        early = _first(one.said) < one.world.onset - 1
        since = np.where(early[:, None], np.iinfo(np.int64).min // 2, since)  # a false alarm before is not counted
        rows += later_rows(f"real, {kind}", one.ways, since, ADAPTED_DAYS, person=one.world.person)
    floors = (NOTHING, ALWAYS)
    return Result(name="drift adapted to, real", protocol={}, rows=tuple(rows), required_baselines=floors)


def _held_table(found: Mapping[str, Answered]) -> Result:
    well, rows = found["well"], []
    one = well.unadapted
    settled = {"from the third week on": (float(SETTLED_DAYS), np.inf)}
    for horizon, minutes in enumerate(AHEAD_MINUTES):
        missed = one.errors[..., horizon]
        since = np.broadcast_to(one.day, missed.shape)
        rows += coverage_rows(f"{AS_IT_IS}, {minutes} min", one.widths(missed, horizon), missed, since, windows=settled)
    for kind in PUT_IN:
        some = found[kind]
        rows += held_rows(f"real, {kind}", some.unadapted, some.world.onset - 1, some.world.person)
    return Result(name="drift and intervals, real", protocol={}, rows=tuple(rows), required_baselines=(STATIC, STEADY))
