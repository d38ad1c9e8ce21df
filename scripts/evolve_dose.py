"""Dose recovery: what exposures of weeks do to people never seen, against the truth; ours and floors told the same.

Worlds and their numbers stand in hdt_fm/simulation/exposures.py, the protocol in hdt_fm/evaluation/evolve/dose.py.
`table` is a part of scripts/reproduce_evolve.py.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from hdt_fm.evaluation.contenders import Role
from hdt_fm.evaluation.evolve.dose import (
    DoseCohort,
    DoseModel,
    Followed,
    Learned,
    Told,
    numbers_table,
    recover,
    shares_table,
)
from hdt_fm.evaluation.evolve.dose_floors import floors, leaky_lines, oracle
from hdt_fm.heads import exposure_dose
from hdt_fm.heads.exposure_dose import ExposureDose
from hdt_fm.layers.within_people import Season
from hdt_fm.schema.result import Result
from hdt_fm.simulation.exposures import DUST, KNOT, PEOPLE, SLOPE, WARMTH, WORLDS, ExposedPeople, World, exposed_people

OURS, CHOSEN = "leaky doses with hinges", "hinges, or ramps where these misfit"
LINE = "one leaky line, from a grid"
SEASONLESS = "the same, season left out"
TRAIN_SHARE = 0.7
NAMES = (DUST.name, WARMTH.name)
TRUE = {f"time constant of {kind.name}": kind.tau_d for kind in (DUST, WARMTH)}
TRUE |= {f"knot of {DUST.name}": DUST.centre + KNOT * DUST.unit, f"{DUST.name} above the knot": SLOPE / DUST.unit}
# Cohorts behind all but R2, and worlds whose numbers are known.
OTHER_SEEDS, MANY, USUALLY = 1_000, 60, 24
KNOWN: tuple[World, ...] = ("single", "missing", "interacting")
ALONE, SHOULD = "interacting, product left out", "as should be"

Progress = Callable[[int, int, str], None]


def cohort_of(world: World, seed: int, people: int) -> DoseCohort:
    """Seven in ten to learn from, the others to be asked about."""
    some, first = exposed_people(world, seed=seed, people=people), round(TRAIN_SHARE * people)
    train, test = some.take(slice(0, first)), some.take(slice(first, people))
    return DoseCohort(
        what=world,
        seed=seed,
        train=_told(train),
        test=_told(test),
        train_effect=train.effect,
        effect=test.effect,
    )


def _told(some: ExposedPeople) -> Followed:
    return Followed(some.exposures, some.outcome, some.day)


def pairs_of(world: World) -> list[tuple[str, str]]:
    return [NAMES] if world == "interacting" else []


def named(train: Followed) -> tuple[str, ...]:
    return NAMES[: train.exposures.shape[1]]


def learned(world: World, train: Followed, season: Season = "shared") -> ExposureDose:
    """Ours: one dose for each exposure of the world, and their product where two interact."""
    head = ExposureDose(exposures=named(train), pairs=pairs_of(world), season=season)
    head.learn(exposure_dose.Followed(train.exposures, train.outcome, train.day))
    return head


def ours(world: World, *, chosen: bool = False) -> Callable[[Followed], Told]:
    def fit(train: Followed) -> Told:
        told = exposure_dose.Followed(train.exposures, train.outcome, train.day)
        if chosen:
            head = exposure_dose.first_that_fits(told, exposures=named(train), pairs=pairs_of(world))
        else:
            head = learned(world, train)
        return Told(lambda exposures, day: head.effect(exposures)[0].value, head.law.numbers)

    return fit


def models(world: World) -> dict[str, DoseModel]:
    """Ours, the floors, and the reference that is told the truth."""
    mine = {OURS: DoseModel(ours(world), "ours"), CHOSEN: DoseModel(ours(world, chosen=True), "ours")}
    return {**floors(together=world == "interacting"), "true effect, its size learned": oracle(), **mine}


def numbers(world: World, trains: Sequence[Followed], heads: Sequence[ExposureDose]) -> Result:
    """Numbers of the law against true ones; for time constants a single leaky line from a grid beside."""
    found: dict[str, dict[str, list[Learned]]] = {}
    for train, head in zip(trains, heads, strict=True):
        own = head.numbers()
        for name, true in TRUE.items():
            if name in own:
                number = own[name]
                told = Learned(number.value, number.low, number.high, true)
                found.setdefault(f"{world}: {name}", {}).setdefault(OURS, []).append(told)
        for name, line in zip(head.law.exposures, leaky_lines(train), strict=True):
            what = f"time constant of {name}"
            told = Learned(line, float("nan"), float("nan"), TRUE[what])
            found[f"{world}: {what}"].setdefault(LINE, []).append(told)
    return numbers_table("numbers of the law", found, {OURS: "ours", LINE: "baseline"})


def misfits(laws: Mapping[str, Sequence[ExposureDose]], wrong: Collection[str]) -> Result:
    """How often a law that is right, or wrong, is called wrong."""
    found = {}
    for law, heads in laws.items():
        should = np.full(len(heads), 1.0 if law in wrong else 0.05)
        found[law] = {OURS: np.array([head.misfit < 0.05 for head in heads]), SHOULD: should}
    return shares_table("laws", "law called wrong at the 5 % level", found, {OURS: "ours", SHOULD: "reference"})


def decoys(trains: Sequence[Followed]) -> Result:
    """How often an exposure with a season and without an effect, and one with, are called telling."""
    ways: dict[str, Season] = {OURS: "shared", SEASONLESS: "none"}
    said: dict[str, dict[str, np.ndarray]] = {f"decoy: {name}": {} for name in NAMES}
    for model, season in ways.items():
        heads = [learned("decoy", train, season=season) for train in trains]
        for name in NAMES:
            said[f"decoy: {name}"][model] = np.array([head.chance[name] < 0.05 for head in heads])
    roles: dict[str, Role] = {OURS: "ours", SEASONLESS: "baseline"}
    return shares_table("decoy", "called telling at the 5 % level", said, roles)


def table(*, quick: bool, seeds: int, progress: Progress | None = None) -> Result:
    """R2 by world and model, how many numbers, these and their intervals, laws that are wrong, the decoy.

    Args:
        quick: Three worlds, few people, one cohort of each: numbers mean nothing.
        seeds: Cohorts behind each R2; others, more of them, are behind all else.
    """
    people, some = (14, 1) if quick else (PEOPLE, seeds)
    worlds = WORLDS[:3] if quick else WORLDS
    done, steps, results = 0, len(worlds) + 3, []

    def tell(what: str) -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, steps, what)

    for world in worlds:
        cohorts = [cohort_of(world, seed, people) for seed in range(some)]
        results.append(recover("dose recovery", cohorts, models(world), headline=OURS))
        tell(world)
    many = {world: 1 if quick else MANY if world in KNOWN else USUALLY for world in WORLDS}
    trains = {
        world: [cohort_of(world, OTHER_SEEDS + seed, people).train for seed in range(many[world])] for world in WORLDS
    }
    laws = {world: [learned(world, train) for train in trains[world]] for world in WORLDS if world != "decoy"}
    results += [numbers(world, trains[world], laws[world]) for world in KNOWN]
    tell("numbers of the law")
    alone = [learned("single", train) for train in trains["interacting"]]
    results.append(misfits({**laws, ALONE: alone}, ("other law", ALONE)))
    tell("laws")
    results.append(decoys(trains["decoy"]))
    tell("decoy")
    return results[0].joined(results[1:])
