"""Effects of doses and meals on simulated people never seen, against the truth: ours and floors told the same.

python scripts/reproduce_intervention.py [--quick] [--json FILE] [--seeds 5] [--confounding 0,1,3]

Per seed 21 virtual people to learn from and 9 others, 4 lives of 14 days each; at every meal of the others from the
second day on eight plans (0, .5, 1, 1.5 of the recommended dose by the whole meal or half) and nothing else for 4 h;
truth is glucose under the skin, without noise, cut to 39 to 400 mg/dL. What is told of a test person: the life up to
the meal, and other lives of theirs up to 0, 5, 20 or 80 meals. People's parameters, ratios and what was recommended are
told to nobody; the floor that plays the mean person's equations has the mean of training people's.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from hdt_fm.cli.progress import reporter  # noqa: E402
from hdt_fm.evaluation import what_if_floors as floors  # noqa: E402
from hdt_fm.evaluation.what_if import MEALS, Answer, Cohort, PlanModel, halves, what_if  # noqa: E402
from hdt_fm.heads.meal_response import MealResponse  # noqa: E402
from hdt_fm.report.tables import flat_rows, markdown  # noqa: E402
from hdt_fm.schema.lives import STEP_MINUTES, Asked, Lives, PlanAnswers  # noqa: E402
from hdt_fm.schema.result import Result  # noqa: E402
from hdt_fm.simulation.glucose_cohort import WhatIfCohort, what_if_cohort  # noqa: E402
from hdt_fm.simulation.glucose_habits import Policy  # noqa: E402
from hdt_fm.simulation.glucose_integrator import GlucoseState  # noqa: E402
from hdt_fm.simulation.glucose_life import History  # noqa: E402
from hdt_fm.simulation.glucose_people import STATES, GlucosePeople  # noqa: E402
from hdt_fm.simulation.glucose_run import simulate  # noqa: E402
from hdt_fm.simulation.glucose_sensor import in_range  # noqa: E402

MINUTES = (60, 120, 240)
CONTRASTS = {
    "bolus 1 vs 0.5": ((1.0, 1.0), (0.5, 1.0)),
    "bolus 1 vs 0": ((1.0, 1.0), (0.0, 1.0)),
    "carbs 1 vs 0.5": ((1.0, 1.0), (1.0, 0.5)),
}
OURS = "meal law with own numbers"
# The body of the mean person begins at rest so long before a meal.
TWIN_HOURS = 8
_GLUCOSE = [STATES.index(name) for name in ("gp", "gt", "gs")]


def lives_of(history: History, first_person: int) -> Lives:
    """What a sensor and a pump would have recorded; people are numbered in order of their lives."""
    order = {code: place for place, code in enumerate(dict.fromkeys(history.codes))}
    return Lives(
        person=np.array([order[code] for code in history.codes], dtype=np.int64) + first_person,
        glucose_mg_dl=history.cgm_mg_dl,
        bolus_units=history.bolus_units,
        carbs_g=history.carbs_g,
        basal_units_per_hour=history.basal_units_per_hour[:, 0],
    )


def cohort_of(world: WhatIfCohort, seed: int) -> Cohort:
    """Histories, questions and truths; nothing of the bodies."""
    answers = world.answers
    plan = answers.plans.index
    asked = Asked(
        life=answers.run,
        time=answers.reading,
        dose_units=answers.dose_units,
        carbs_g=answers.carbs_g,
        contrasts=tuple((plan(*first), plan(*second)) for first, second in CONTRASTS.values()),
        minutes=MINUTES,
    )
    return Cohort(
        seed=seed,
        train=lives_of(world.train, 0),
        test=lives_of(world.test, len(world.train_people)),
        asked=asked,
        truth=answers.glucose_mg_dl[:, :, list(asked.steps)],
        names=tuple(CONTRASTS),
        ranked=tuple(plan(dose) for dose in (0.0, 0.5, 1.0, 1.5)),
    )


def ours(train: Lives, seed: int) -> Answer:
    """Learned on half of the training people's lives; the other half says how far it can be trusted."""
    model = MealResponse(minutes=MINUTES, seed=seed)
    one, other = halves(train)
    model.learn(train.take(one), train.take(other))
    return model.answer


class Twin:
    """The mean of training people's equations, of the size that basal insulin tells, moved to the newest reading."""

    def __init__(self) -> None:
        self.of_seed: dict[int, GlucosePeople] = {}

    def fit(self, train: Lives, seed: int) -> Answer:
        """Nothing is learned: the numbers of training people are told."""
        people = self.of_seed[seed]
        mean = GlucosePeople(
            **{name: np.exp(np.log(values).mean(keepdims=True)) for name, values in vars(people).items()}
        )

        def answer(own: Lives, taught: Lives, asked: Asked) -> PlanAnswers:
            bodies = mean.take(np.zeros(len(asked), dtype=np.int64))
            size = (own.basal_units_per_hour[asked.life] / bodies.basal_units_per_hour)[:, None]
            back = asked.time[:, None] + np.arange(-TWIN_HOURS * 60 // STEP_MINUTES, 0)
            before = [table[asked.life[:, None], back] for table in (own.carbs_g, own.bolus_units)]
            tables = [_each_minute(amounts / size) for amounts in before]
            state = simulate(bodies, *tables, every_minutes=STEP_MINUTES).state
            return PlanAnswers(level=_twin_levels(bodies, state, size, own, asked))

        return answer


def _each_minute(amounts: np.ndarray) -> np.ndarray:
    out = np.zeros((len(amounts), amounts.shape[1] * STEP_MINUTES))
    out[:, ::STEP_MINUTES] = amounts
    return out


def _twin_levels(bodies: GlucosePeople, state: GlucoseState, size: np.ndarray, own: Lives, asked: Asked) -> np.ndarray:
    """Glucose in all parts is scaled so that the skin shows the newest reading; then each plan is played."""
    tissue = state.mass[_GLUCOSE[2]] / bodies.vg
    state.mass[_GLUCOSE] *= own.glucose_mg_dl[asked.life, asked.time] / np.maximum(tissue, 1.0)
    plans = asked.dose_units.shape[1]
    rows = np.repeat(np.arange(len(asked)), plans)
    tables = np.zeros((2, len(rows), max(asked.minutes)))
    tables[0, :, 0], tables[1, :, 0] = (asked.carbs_g / size).ravel(), (asked.dose_units / size).ravel()
    run = simulate(bodies.take(rows), tables[0], tables[1], start=state.take(rows), every_minutes=STEP_MINUTES)
    kept = run.tissue_mg_dl[:, list(asked.steps)].reshape(len(asked), plans, -1)
    return in_range(kept)


def models(twin: Twin, *, quick: bool) -> dict[str, PlanModel]:
    """What must be beaten, and ours with fewer and fewer meals."""
    fits = {
        "forecast alone": floors.forecast_alone(MINUTES),
        "ridge": floors.ridge(MINUTES),
        "LightGBM": floors.lightgbm(MINUTES, trees=20 if quick else floors.TREES),
        "mean person's equations": twin.fit,
        "plain GRU": floors.plain_gru(MINUTES, epochs=2 if quick else floors.EPOCHS),
    }
    found = {name: PlanModel(fit, "baseline") for name, fit in fits.items()}
    few = {f"{OURS}, {meals} meals": PlanModel(ours, "ours", meals) for meals in MEALS[:-1]}
    return {**found, **few, OURS: PlanModel(ours, "ours")}


def run(confounding: float, options: argparse.Namespace) -> Result:
    """The table of one strength of confounding."""
    small = {"train_per_age": 3, "test_per_age": 1, "replicates": 2, "days": 5} if options.quick else {}
    twin, cohorts = Twin(), []
    for seed in range(options.seeds):
        world = what_if_cohort(seed=seed, policy=Policy(confounding=confounding), **small)
        twin.of_seed[seed] = world.train_people.people
        cohorts.append(cohort_of(world, seed))
    return what_if(
        f"effects of doses and meals, simulated, confounding {confounding:g}",
        cohorts,
        models(twin, quick=options.quick),
        headline=OURS,
        progress=reporter(f"confounding {confounding:g}"),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few people, one seed, c = 1: numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--confounding", default="0,1,3", help="strengths, by commas")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.quick:
        options.seeds, options.confounding = 1, "1"
    results = []
    for confounding in options.confounding.split(","):
        results.append(run(float(confounding), options))
        print(markdown(results[-1]), end="\n\n")
        print(f"{time.process_time() / 60:.1f} CPU-min so far", flush=True)
    if options.json:
        options.json.write_text(json.dumps(flat_rows(results), indent=1) + "\n")


if __name__ == "__main__":
    main()
