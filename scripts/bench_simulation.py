"""How fast glucose is simulated, and how exactly, beside the stock simglucose loop where it is installed.

python scripts/bench_simulation.py [--quick] [--json FILE]

A day has four meals, and the doses that each person's ratio asks for, a third to all of it. "open loop": all is fixed
before; patient-days per CPU second by how many people are simulated side by side. "stock": simglucose's own patient in
its own loop, its numbers in a pandas row as it ships them, without its sensor, pump and environment, which cost more.
"cohort": all on which what-if answers are judged: 120 lives of 14 days in closed loop, and 13,000 rollouts of 4 h, by
confounding c; then what is true in it.
"error": largest gap in a day to steps of 1/2 and 1/16 minute; and, where it is installed, to simglucose's equations at
a relative tolerance of 1e-9, over its thirty people.
CPU seconds are of this process; the best of some rounds, since others may use the machine.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))
import glucose_peer  # noqa: E402

from hdt_fm.simulation.glucose_cohort import what_if_cohort  # noqa: E402
from hdt_fm.simulation.glucose_habits import Policy  # noqa: E402
from hdt_fm.simulation.glucose_people import GlucosePeople  # noqa: E402
from hdt_fm.simulation.glucose_ratios import carbs_g_per_unit  # noqa: E402
from hdt_fm.simulation.glucose_run import simulate  # noqa: E402
from hdt_fm.simulation.virtual_people import AGES, draw_people  # noqa: E402

MINUTES = 1440
MEALS = ((450, 50.0), (750, 70.0), (930, 15.0), (1110, 80.0))
SIZES = (30, 120, 1000, 3000)


def day(people: GlucosePeople, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Meals and doses of one day, everybody's a little different."""
    generator, ratio = np.random.default_rng(seed), carbs_g_per_unit(people)
    meals, doses = np.zeros((len(people), MINUTES)), np.zeros((len(people), MINUTES))
    for minute, grams in MEALS:
        meals[:, minute] = grams * generator.uniform(0.5, 1.2, len(people))
        doses[:, minute] = meals[:, minute] / ratio * generator.uniform(0.3, 1.1, len(people))
    return meals, doses


def cpu_s(work: Callable[[], object], rounds: int) -> float:
    """The best of some rounds."""
    times = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times)


def row(what: str, value: float, unit: str) -> dict:
    """One line of the result."""
    return {"what": what, "value": value, "unit": unit}


def speed(quick: bool) -> list[dict]:
    """Open loop by batch."""
    thirty = draw_people(dict.fromkeys(AGES, 10), seed=0).people
    rows = []
    for size in SIZES[:2] if quick else SIZES:
        people = thirty.take(np.arange(size) % 30)
        meals, doses = day(people)
        taken = cpu_s(lambda people=people, m=meals, d=doses: simulate(people, m, d), 1 if quick else 3)
        rows.append(row(f"open loop, {size} people", size / taken, "patient-days/CPU-s"))
    return rows


def cohorts(quick: bool) -> list[dict]:
    """What the cohort of seed 0 costs, and what is true in it, by how much the sensor moves the doses."""
    sizes = {"train_per_age": 1, "test_per_age": 1, "replicates": 1, "days": 2} if quick else {}
    rows = []
    for confounding in (0.0, 1.0, 3.0):
        begun = time.process_time()
        cohort = what_if_cohort(seed=0, policy=Policy(confounding=confounding), **sizes)
        what = f"cohort{', tiny' if quick else ''}, c = {confounding:g}"
        rows.append(row(what, time.process_time() - begun, "CPU-s"))
        answers, plans, glucose = cohort.answers, cohort.answers.plans, cohort.train.tissue_mg_dl
        rows.append(row(f"{what}: rollouts", float(answers.dose_units.size), ""))
        for name, plan, against in (
            ("bolus 1 vs .5", plans.index(1.0), plans.index(0.5)),
            ("bolus 1 vs 0", plans.index(1.0), plans.index(0.0)),
            ("carbs 1 vs .5", plans.index(1.0), plans.index(1.0, 0.5)),
        ):
            for minute in (60, 120, 240):
                effect = float(answers.effect(plan, against, minute).mean())
                rows.append(row(f"{what}: true mean effect, {name}, {minute} min", effect, "mg/dL"))
        asked = float((answers.dose_units[:, plans.index(1.0)] > 0).mean())
        rows += [
            row(f"{what}: meals with a dose recommended", 100 * asked, "%"),
            row(f"{what}: rollouts cut to 39 to 400", 100 * float(answers.clipped_share.mean()), "%"),
            row(f"{what}: histories cut to 39 to 400", 100 * cohort.train.clipped_share, "%"),
            row(f"{what}: time in 70 to 180 mg/dL", 100 * float(((glucose >= 70) & (glucose <= 180)).mean()), "%"),
        ]
    return rows


def accuracy(quick: bool) -> list[dict]:
    """Against finer steps."""
    people = draw_people(dict.fromkeys(AGES, 2 if quick else 10), seed=0).people
    meals, doses = day(people)
    ours = simulate(people, meals, doses, every_minutes=1).tissue_mg_dl
    rows = []
    for steps in (2, 16):
        finer = simulate(people, meals, doses, every_minutes=1, steps_per_minute=steps).tissue_mg_dl
        rows.append(row(f"error to steps of 1/{steps} min", float(np.abs(ours - finer).max()), "mg/dL"))
    return rows


def beside_stock(quick: bool, ours_per_s: float) -> list[dict]:
    """Empty where simglucose is not installed."""
    root = glucose_peer.folder()
    if root is None:
        print("simglucose is not installed: nothing to compare with (pip install --no-deps simglucose).")
        return []
    module, numbers = glucose_peer.patient_module(root), glucose_peer.numbers(root)
    numbers = numbers[:2] if quick else numbers
    people = GlucosePeople.from_symbols(numbers)
    start, (meals, doses) = people.rest(), day(people)
    begun = time.process_time()
    glucose_peer.glucose(module, numbers[0], start[:, 0], meals[0], doses[0], shipped=True)
    stock = 1.0 / (time.process_time() - begun)
    ours = simulate(people, meals, doses, every_minutes=1).tissue_mg_dl
    gaps = [
        np.abs(ours[at] - glucose_peer.glucose(module, one, start[:, at], meals[at], doses[at])).max()
        for at, one in enumerate(numbers)
    ]
    return [
        row("stock simglucose", stock, "patient-days/CPU-s"),
        row("ours at its best over stock", ours_per_s / stock, "x"),
        row(f"error to simglucose, {len(numbers)} people", float(max(gaps)), "mg/dL"),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small batches and a tiny cohort")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    options = parser.parse_args()
    rows = [*speed(options.quick), *accuracy(options.quick), *cohorts(options.quick)]
    rows += beside_stock(options.quick, max(one["value"] for one in rows if one["what"].startswith("open loop")))
    print("| | |\n|---|---|")
    for one in rows:
        print(f"| {one['what']} | {one['value']:.4g} {one['unit']} |")
    if options.json:
        fresh = options.json.with_suffix(".new")
        fresh.write_text(json.dumps(rows, indent=1) + "\n")
        fresh.replace(options.json)


if __name__ == "__main__":
    main()
