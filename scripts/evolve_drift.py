"""Drift on a known day: found, named, adapted to, and intervals through it; in simulated lives and in real records.

Simulated lives are those of hdt_fm/simulation/glucose_drift.py, 91 days each, the day between the 42nd and the 56th.
Seeds 0 to 3 set what hdt_fm/twin/drift/cause.py holds, seed 100 was looked at on the way; a table is of others. Real
records are those of scripts/evolve_drift_real.py. `table` is a part of scripts/reproduce_evolve.py.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from evolve_drift_after import (
    ALWAYS,
    BEST,
    NOTHING,
    STATIC,
    STEADY,
    Unadapted,
    adapted,
    best_known,
    causes_of,
    held_rows,
    later_rows,
    proposed,
    ridges_of,
)
from evolve_drift_lives import BUDGET, FINE, Ridge, Said, day_streams, names_watched, watched
from evolve_drift_rules import FLOORS, Rule, adwin_is_there, knowing_alarms, rules_set_on

from hdt_fm.evaluation.evolve.drift import SOON_DAYS, Alarms, alarm_rows, named_rows
from hdt_fm.schema.result import Result
from hdt_fm.simulation.glucose_drift import KINDS, Sizes, World, world_of
from hdt_fm.twin.drift.cause import JOINED
from hdt_fm.twin.drift.usual import LEARN_DAYS

SEED, STILL, WANDERING = 200, "still", "wandering"
FEWER = Sizes(setting=75, well=75, changed=40, still=True)
OURS = "joined streams"
PROTOCOL: dict[str, Any] = {"budget_per_year": BUDGET, "soon_days": SOON_DAYS, "seed": SEED}


def joined_alarms(world: World, said: list[Said]) -> Alarms:
    """Ours: first proposals, on days counted as the streams count them."""
    day = np.array([np.inf if one.proposal is None else one.proposal.day for one in said])
    return Alarms(OURS, "ours", day[world.rows("well")], {kind: day[world.rows(kind)] for kind in KINDS})


def same_days(world: World, kind: str) -> np.ndarray:
    """Rows of the people of a kind on the same days without the change."""
    well = world.rows("well")
    return well[[int(np.flatnonzero(world.person[well] == one)[0]) for one in world.person[world.rows(kind)]]]


def bounds(world: World, ridge: Ridge) -> list[Alarms]:
    """Rules that know the world, for the two changes that records do not tell."""
    rows = np.flatnonzero(np.isin(world.kind, ("setting", "well", *KINDS[:2])))
    some = world.take(rows)
    values = day_streams(some, ridge)[0]
    raw = np.stack([values[name] for name in JOINED], axis=-1)
    by_kind = {kind: raw[some.rows(kind)] for kind in ("setting", "well", *KINDS[:2])}
    twins = {kind: raw[same_days(some, kind)] for kind in KINDS[:2]}
    return knowing_alarms(by_kind, twins, {kind: some.onset[some.rows(kind)] - 1 for kind in KINDS[:2]})


def found_table(world: World, said: list[Said], ridge: Ridge, what: str) -> tuple[Result, list[Rule]]:
    """When each rule alarms, and what ours calls it; and the rules, for other people."""
    away = {kind: np.stack([said[row].away for row in world.rows(kind)]) for kind in ("setting", "well", *KINDS)}
    names = names_watched()
    rules = rules_set_on(away["setting"], names, all_kinds=what == WANDERING)
    alarms = [joined_alarms(world, said), *(one.alarms(away, names) for one in rules)]
    if what == WANDERING:
        alarms += bounds(world, ridge)
    onset = {kind: world.onset[world.rows(kind)] - 1 for kind in KINDS}
    rows = alarm_rows(what, alarms, onset, watched=(LEARN_DAYS, away["well"].shape[1]))
    named = {kind: [one.cause for one in proposed(said, world.rows(kind), onset[kind])] for kind in KINDS}
    rows += named_rows(what, named, causes_of(), model=OURS)
    floors = FLOORS if adwin_is_there(len(away["setting"])) else FLOORS[:2]
    found = Result(name=f"drift found, {what}", protocol=PROTOCOL, rows=tuple(rows), required_baselines=floors)
    return found, rules


def adapted_table(world: World, said: list[Said], ridges: dict[str, Ridge], what: str) -> Result:
    """Errors before and after, of the people who had no false alarm before; and what a false proposal costs."""
    day, rows = FINE.day(world), []
    for kind in KINDS:
        every = world.rows(kind)
        kept = [(one := said[row].proposal) is None or one.day >= world.onset[row] - 1 for row in every]
        own = every[kept]
        some, whole = world.take(own), world.take(same_days(world, kind)[kept])
        ways = adapted(some, [said[row] for row in own], ridges, day)
        ways[BEST] = best_known(some, kind, whole, ridges, day)
        rows += later_rows(f"{what}, {kind}", ways, day - (some.onset[:, None] - 1), SOON_DAYS)
    falsely = [row for row in world.rows("well") if said[row].proposal is not None]
    if len(falsely) > 1:
        mine = [said[row] for row in falsely]
        ways = adapted(world.take(np.array(falsely)), mine, ridges, day)
        told = np.array([one.proposal.day for one in mine if one.proposal is not None])[:, None]
        rows += later_rows(f"{what}, falsely proposed", ways, day - told - 1, 0)
    return Result(
        name=f"drift adapted to, {what}", protocol=PROTOCOL, rows=tuple(rows), required_baselines=(NOTHING, ALWAYS)
    )


def held_table(world: World, ridge: Ridge, what: str) -> Result:
    """Intervals through the change and where there is none."""
    rows = []
    for kind in ("well", *KINDS):
        some = world.take(world.rows(kind)[: len(world.rows(KINDS[0]))])
        name = "nothing changes" if kind == "well" else kind
        rows += held_rows(f"{what}, {name}", Unadapted.of(some, ridge), some.onset - 1)
    floors = (STATIC, STEADY)
    return Result(name=f"drift and intervals, {what}", protocol=PROTOCOL, rows=tuple(rows), required_baselines=floors)


def table(*, quick: bool, seeds: int, progress: Callable[[int, int, str], None]) -> Result:
    """All of it: a still world, a wandering one, and real records, those with what was set in the wandering one.

    Args:
        quick: Few people, the wandering world, no river and nothing real.
        seeds: Ignored: people carry the intervals, and one seed of them takes a minute of a processor a world.
    """
    few = Sizes(train=3, setting=6, well=6, changed=2, days=32, onset=(30, 31))
    worlds = {WANDERING: few} if quick else {STILL: FEWER, WANDERING: Sizes()}
    results: list[Result] = []
    rules: list[Rule] = []
    for done, (what, sizes) in enumerate(worlds.items()):
        progress(done, len(worlds) + 1, what)
        world = world_of(SEED, sizes)
        ridges = ridges_of(world.take(world.rows("train")), FINE)
        said = watched(world, ridges[""])
        found, rules = found_table(world, said, ridges[""], what)
        results.append(found)
        if what == WANDERING:
            results += [adapted_table(world, said, ridges, what), held_table(world, ridges[""], what)]
    if not quick:
        progress(len(worlds), len(worlds) + 1, "real")
        from evolve_drift_real import real_tables

        results += real_tables(rules)
    progress(len(worlds) + 1, len(worlds) + 1, "")
    whole = results[0].joined(results[1:])
    return whole.model_copy(update={"name": "drift on a known day, simulated and real"})
