"""Exposures from a table to a twin: how often a law is called reliable that is, and that is not; whether a twin's doses
lie in their intervals, and stay the same however a record is cut.

python scripts/evolve_expose.py [--quick] [--json FILE] [--seeds 3]

Laws are learned and judged as `hdt-fm exposure learn` does it, from 24 simulated people with 250 days. Doses of twins
are of 60 people of whom 30 % of days are missing and nothing is known before the first; the truth is that of the whole
record, from 200 days before. Worlds and their numbers stand in hdt_fm/simulation/exposures.py.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from hdt_fm.cli.exposure import dosing, evidence  # noqa: E402
from hdt_fm.cli.progress import Report, reporter  # noqa: E402
from hdt_fm.evaluation.contenders import Role  # noqa: E402
from hdt_fm.evaluation.evolve.dose import shares_table  # noqa: E402
from hdt_fm.evaluation.evolve.real_exposure import FOUND, LEVEL  # noqa: E402
from hdt_fm.heads.exposure_dose import ExposureDose, first_that_fits  # noqa: E402
from hdt_fm.report.tables import flat_rows, markdown  # noqa: E402
from hdt_fm.schema.exposure import Exposure  # noqa: E402
from hdt_fm.schema.result import Result, Row  # noqa: E402
from hdt_fm.simulation.exposures import ExposedPeople, World, exposed_people  # noqa: E402
from hdt_fm.twin.state.exposures import Exposed, take  # noqa: E402

OURS, PLACEBOS, LAW, SHOULD = (
    "placebos, days after and the law",
    "placebos and days after",
    "the law alone",
    "should be",
)
TABLES, QUICK_TABLES, PEOPLE, DAYS, DRAWS, QUICK_DRAWS = 8, 1, 24, 250, 99, 39
# What is asked: world, whether its effect is taken out, exposure, whether it acts.
ASKED: dict[str, tuple[World, bool, str, bool]] = {
    "dust acts": ("single", False, "pm2_5", True),
    "dust, whose effect was taken out": ("single", True, "pm2_5", False),
    "warmth, which does nothing beside dust that acts": ("decoy", False, "temperature", False),
    "dust beside warmth that does nothing": ("decoy", False, "pm2_5", True),
}
SEED = 5_000
TWINS, QUICK_TWINS, HISTORY, ASKED_AT = 20, 4, 200, (5, 15, 30, 60, 120, 199)
DAY_S, ROUNDED = 86_400.0, 1e-4


def table(*, quick: bool, seeds: int, progress: Report) -> Result:
    """All rows.

    Args:
        quick: One table of each world, few twins: numbers mean nothing.
        seeds: Eight tables and twenty twins each.
    """
    tables, twins = (QUICK_TABLES, QUICK_TWINS) if quick else (TABLES * seeds, TWINS * seeds)
    results = [verdicts(tables, QUICK_DRAWS if quick else DRAWS, progress), doses(twins)]
    results.append(cuts(twins))
    return results[0].joined(results[1:])


def verdicts(tables: int, draws: int, progress: Report) -> Result:
    """How often an exposure is called reliable: by all that is asked of it, and by parts of that."""
    said: dict[str, dict[str, list[bool]]] = {what: {} for what in ASKED}
    worlds = list(dict.fromkeys((world, out) for world, out, *_ in ASKED.values()))
    for number in range(tables):
        for world, out in worlds:
            kinds = judged(people_of(world, SEED + number, effect_out=out), draws=draws, seed=number)
            for what, (its, taken, kind, _) in ASKED.items():
                if (its, taken) == (world, out):
                    for model, one in kinds[kind].items():
                        said[what].setdefault(model, []).append(one)
        progress(number + 1, tables, "tables")
    roles: dict[str, Role] = {OURS: "ours", PLACEBOS: "baseline", LAW: "baseline", SHOULD: "reference"}
    found = {
        what: {
            **{model: np.array(some) for model, some in said[what].items()},
            SHOULD: np.full(tables, 1.0 if acts else 0.0),
        }
        for what, (*_, acts) in ASKED.items()
    }
    return shares_table("exposure learn", "called reliable", found, roles)


def people_of(world: World, seed: int, *, effect_out: bool) -> evidence.People:
    """Simulated people as a table gives them."""
    lived: ExposedPeople = exposed_people(world, seed=seed, people=PEOPLE, days=DAYS)
    outcome = lived.outcome - lived.effect if effect_out else lived.outcome
    return evidence.People(lived.names, lived.exposures, outcome, lived.day, np.arange(PEOPLE), False)


def judged(people: evidence.People, *, draws: int, seed: int) -> dict[str, dict[str, bool]]:
    """Of each exposure, what is said of it by all, by placebos and by the law."""
    head: ExposureDose = first_that_fits(people.followed, exposures=people.names, seed=seed)
    tried = evidence.placebos(people, "outcome", draws=draws, seed=seed)
    rows = {row.model: row.columns["verdict"] for row in tried.rows if row.role == "ours"}
    both = evidence.verdicts(head, tried)
    return {
        name: {
            OURS: bool(both[name]["reliable"]),
            PLACEBOS: rows[name] == FOUND,
            LAW: chance < LEVEL,
        }
        for name, chance in head.chance.items()
    }


def doses(twins: int) -> Result:
    """How often intervals of doses that are told hold those of the whole record."""
    held: dict[str, dict[str, list[bool]]] = {}
    for whole, seen in zip(*(lived(world, twins) for world in ("single", "missing")), strict=True):
        truth = np.stack([leaky(whole, tau) for tau in dosing.BANK_D])
        one: Exposed | None = None
        for day in range(HISTORY, len(whole)):
            one = taken(one, day, seen[day : day + 1])
            if one is None or day - HISTORY not in ASKED_AT:
                continue
            for dose, true in zip(dosing.doses(one, day), truth[:, day], strict=True):
                if dose["low"] is not None:
                    inside = dose["low"] - ROUNDED <= true <= dose["high"] + ROUNDED
                    what = f"mean that fades over {dose['time_constant_d']:g} d"
                    held.setdefault(what, {}).setdefault(f"day {day - HISTORY + 1} of the twin", []).append(inside)
    models = [f"day {at + 1} of the twin" for at in ASKED_AT]
    found = {
        what: {model: np.array(of[model]) for model in models if model in of}
        for what, of in sorted(held.items(), key=_tau)
    }
    roles: dict[str, Role] = dict.fromkeys(models, "ours")
    whole_table = {what: {**of, SHOULD: np.full(twins, 0.95)} for what, of in found.items()}
    return shares_table("doses of twins", "in its 95 % interval", whole_table, {**roles, SHOULD: "reference"})


def _tau(named: tuple[str, object]) -> float:
    return float(named[0].split()[-2])


def lived(world: World, twins: int) -> Sequence[np.ndarray]:
    """Days of dust of each person; the same people in both worlds, of which one lacks days."""
    return exposed_people(world, seed=SEED, people=twins).exposures[:, 0]


def leaky(values: np.ndarray, tau: float) -> np.ndarray:
    """Of the whole record: written for itself, nothing of what is measured is used."""
    out, keep = np.empty(len(values)), np.exp(-1 / tau)
    total = mass = 0.0
    for day, value in enumerate(values):
        total, mass = keep * total + (1 - keep) * value, keep * mass + (1 - keep)
        out[day] = total / mass
    return out


def taken(one: Exposed | None, day: int, values: np.ndarray) -> Exposed | None:
    """With more days."""
    start = (day + np.arange(len(values))) * DAY_S
    found = take(one, Exposure("pm2_5", start, np.full(len(values), DAY_S), values, 0, 0))
    if found.after is None:
        return None
    return replace(found.after, held=dosing.folded(found.after, found.closed, None))


def cuts(twins: int) -> Result:
    """The largest difference that cutting a record into files makes; bytes that ten years leave; milliseconds a day."""
    rng, worst, day_ms = np.random.default_rng(SEED), 0.0, []
    for values in lived("missing", min(twins, 20)):
        whole, one, at = taken(None, 0, values), None, 0
        begun = time.process_time()
        while at < len(values):
            more = int(rng.integers(1, 40))
            # Files overlap by some days, as exports do.
            first = max(at - int(rng.integers(0, 10)), 0)
            one, at = taken(one, first, values[first : at + more]), at + more
        day_ms.append(1e3 * (time.process_time() - begun) / len(values))
        assert whole is not None
        assert one is not None
        worst = max(worst, *(float(np.abs(one.held[name] - whole.held[name]).max()) for name in whole.held))
    years = taken(None, 0, rng.uniform(0, 60, 3_650))
    assert years is not None
    size = sum(values.nbytes for values in years.arrays().values())
    facts = (
        ("largest difference by cutting", worst, 0.0, "ug/m^3"),
        ("kept after ten years", float(size), 50_000.0, "bytes"),
        ("CPU time a day, in files of 1 to 39 days", float(np.mean(day_ms)), 50.0, "ms"),
    )
    models: tuple[tuple[str, Role], ...] = (("leaky doses", "ours"), ("should be, or at most", "reference"))
    rows = [
        Row(what="a twin's exposure", model=model, metric=metric, value=value, unit=unit, n=min(twins, 20), role=role)
        for metric, *both, unit in facts
        for (model, role), value in zip(models, both, strict=True)
    ]
    return Result(name="a twin's exposure", protocol={}, rows=tuple(rows), required_baselines=())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one table of each, few twins: numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--seeds", type=int, default=3, help="times as many tables and twins")
    options = parser.parse_args()
    result = table(quick=options.quick, seeds=options.seeds, progress=reporter("exposures"))
    print(markdown(result))
    print(f"{time.process_time() / 60:.1f} CPU-min")
    if options.json:
        options.json.write_text(json.dumps(flat_rows([result]), indent=1) + "\n")


if __name__ == "__main__":
    main()
