"""What options against confounding are worth to a head that answers plans, on two simulations that know the truth.

python scripts/reproduce_confounding.py [--quick] [--json FILE] [--seeds 3] [--worlds tumour,glucose]

Tumours (gamma 0 and 4, treatments look at the subject's own): 2,000 subjects to learn from, 200 to choose an epoch by,
200 asked on every fourth day; errors in percent of the volume of death. Glucose (confounding 3: doses look at glucose
and at where it is going): 21 people to learn from, 9 asked at their meals, told of the day before alone, in steps of
half an hour; PEHE (root mean squared error of effects) and the mean effect less the true one, in mg/dL. Every option is
trained by the same draws; "played" asks the head of the row above by G-computation.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
from reproduce_intervention import CONTRASTS, MINUTES, cohort_of  # noqa: E402

from hdt_fm.heads.outcome import Outcome  # noqa: E402
from hdt_fm.schema.errors import unknown_name  # noqa: E402
from hdt_fm.schema.lives import STEP_MINUTES, Lives  # noqa: E402
from hdt_fm.schema.outcome import Past  # noqa: E402
from hdt_fm.simulation.glucose_cohort import what_if_cohort  # noqa: E402
from hdt_fm.simulation.glucose_habits import Policy  # noqa: E402
from hdt_fm.simulation.tumour import DEATH_VOLUME_CM3  # noqa: E402
from hdt_fm.simulation.tumour_asked import TRAITS, TREATMENTS, past_of  # noqa: E402
from hdt_fm.simulation.tumour_protocol import SEEDS, STEPS_PLANNED, Kind, draw_sets  # noqa: E402
from hdt_fm.simulation.tumour_scores import step_errors  # noqa: E402
from hdt_fm.training.outcomes import fit_outcome  # noqa: E402

DRAWS, PIECE = 16, 4096
TRAINED: dict[str, Any] = {"epochs": 8, "batch_size": 64, "learning_rate": 1e-2, "average": 0.9}
ASKED_EVERY_DAYS = 4
# Of half an hour: a day is told, four hours are asked.
STEP, TOLD, AHEAD = 30 // STEP_MINUTES, 48, 8
# The sensor's ends, mg/dL.
LIMITS = (39.0, 400.0)
# What each option changes in the head, then in its training.
OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "law alone": ({}, {"epochs": 0}),
    "law, trained on": ({}, {}),
    "no law": ({"law": "none"}, {}),
    "no law, gradient reversal": ({"law": "none"}, {"balancing": "gradient_reversal"}),
    "no law, domain confusion": ({"law": "none"}, {"balancing": "domain_confusion"}),
    "no law, propensity weights": ({"law": "none"}, {"weighting": "propensity"}),
    "no law, contrast": ({"law": "none"}, {"contrast": 1.0}),
}
PLAYED = ("law alone", "law, trained on", "no law")


@dataclass(frozen=True)
class Asked:
    """Moments of people and plans from there on."""

    past: Past
    person: Tensor
    time: Tensor
    plan: Tensor  # (moment, plan, step, treatment)


@dataclass(frozen=True)
class World:
    """Who is learned from, what the head is told of it, what is asked, and how answers (moment, plan, step) score."""

    name: str
    train: Past
    validation: Past
    head: dict[str, Any]
    asked: dict[str, Asked]
    scores: Callable[[dict[str, np.ndarray]], dict[str, float]]


def tumour_scores(
    asked: dict[str, Asked], truth: dict[str, np.ndarray], answers: dict[str, np.ndarray]
) -> dict[str, float]:
    """Of the first step, and of the last under sliding plans."""
    errors = {}
    for kind, some in asked.items():
        whole = np.full(truth[kind].shape, np.nan)
        whole[some.person.numpy(), some.time.numpy()] = answers[kind]
        errors[kind] = step_errors(whole, np.where(np.isfinite(whole), truth[kind], np.nan))
    return {"one step": float(errors["one step"][0]), "sliding, tau 6": float(errors["sliding"][-1])}


def meal_scores(
    truth: np.ndarray, contrasts: tuple[tuple[int, int], ...], answers: dict[str, np.ndarray]
) -> dict[str, float]:
    """Of effects two and four hours on; truth is (moment, plan, minute)."""
    level = answers["meals"][:, :, [minute // (STEP * STEP_MINUTES) - 1 for minute in MINUTES]]
    found = {}
    for name, (plan, other) in zip(CONTRASTS, contrasts, strict=True):
        missed = (level[:, plan] - level[:, other]) - (truth[:, plan] - truth[:, other])
        for place, minute in enumerate(MINUTES[1:], start=1):
            found[f"{name}, {minute} min: PEHE"] = float(np.sqrt(np.square(missed[:, place]).mean()))
            found[f"{name}, {minute} min: bias"] = float(missed[:, place].mean())
    return found


def tumours(gamma: float, seed: int, quick: bool) -> World:
    """The published protocol, reduced."""
    sizes = {"train": 150, "validation": 40, "test": 20} if quick else {"train": 2000, "validation": 200, "test": 200}
    sets = draw_sets(gamma, seed, assignment="corrected", **sizes)
    asked, truth = {}, {}
    kinds: tuple[Kind, ...] = ("one step", "sliding")
    for kind in kinds:
        one = sets.questions[kind]
        days = np.arange(one.truth.shape[1]) % ASKED_EVERY_DAYS == 0
        person, day = np.nonzero(np.isfinite(one.truth).all(axis=(2, 3)) & days)
        plan = torch.from_numpy(one.plan[person, day].astype(np.float32))
        asked[kind] = Asked(past_of(one.course), torch.from_numpy(person), torch.from_numpy(day), plan)
        truth[kind] = one.truth
    told = {"treatments": TREATMENTS, "traits": TRAITS, "limits": (0.0, DEATH_VOLUME_CM3)}
    told["horizon"] = STEPS_PLANNED + 1
    people = past_of(sets.train), past_of(sets.validation)
    return World(f"tumours, gamma {gamma:g}", *people, told, asked, partial(tumour_scores, asked, truth))


def meals(confounding: float, seed: int, quick: bool) -> World:
    """Plans at meals; every fifth training person chooses the epoch."""
    small = {"train_per_age": 2, "test_per_age": 1, "replicates": 2, "days": 5} if quick else {}
    cohort = cohort_of(what_if_cohort(seed=seed, policy=Policy(confounding=confounding), **small), seed)
    lives, asked = cohort.train, cohort.asked
    life, now = np.nonzero(lives.carbs_g > 0)
    inside = (now >= TOLD * STEP) & (now + AHEAD * STEP < lives.glucose_mg_dl.shape[1])
    life, now = life[inside][::2], now[inside][::2]
    apart = lives.person[life] % 5 == 0
    train, validation = (windows(lives, life[some], now[some], AHEAD) for some in (~apart, apart))
    moments = np.flatnonzero(asked.time >= TOLD * STEP)
    past = windows(cohort.test, asked.life[moments], asked.time[moments], 0)
    plan = torch.zeros(len(moments), asked.dose_units.shape[1], AHEAD, 2)
    amounts = np.stack([asked.dose_units[moments], asked.carbs_g[moments]], axis=-1)
    plan[:, :, 0] = torch.from_numpy(amounts).float()
    newest = torch.full((len(moments),), TOLD)
    told = {"treatments": 2, "traits": 1, "horizon": AHEAD, "change": "absolute", "limits": LIMITS}
    return World(
        f"glucose, confounding {confounding:g}",
        train,
        validation,
        told,
        {"meals": Asked(past, torch.arange(len(moments)), newest, plan)},
        partial(meal_scores, cohort.truth[moments], asked.contrasts),
    )


def windows(lives: Lives, life: np.ndarray, now: np.ndarray, ahead: int) -> Past:
    """A day before each moment and so many steps from it on, a reading and what was taken after it in each."""
    first = now[:, None] + np.arange(-TOLD, ahead + 1) * STEP
    tables = (lives.bolus_units, lives.carbs_g)
    sums = [np.concatenate([np.zeros((len(table), 1)), table.cumsum(axis=1)], axis=1) for table in tables]
    last = lives.glucose_mg_dl.shape[1]
    given = [some[life[:, None], (first + STEP).clip(max=last)] - some[life[:, None], first] for some in sums]
    basal = np.log(lives.basal_units_per_hour[life])[:, None]
    return Past(
        torch.from_numpy(lives.glucose_mg_dl[life[:, None], first]),
        torch.from_numpy(np.stack(given, axis=-1)).float(),
        torch.from_numpy(basal).float(),
    )


@torch.no_grad()
def means(head: Outcome, asked: Asked, *, play: bool) -> np.ndarray:
    """(moment, plan, step): of a whole plan at once, or by G-computation with the same chance for all plans."""
    states, generator = head.encode(asked.past), torch.Generator()
    moments, plans = asked.plan.shape[:2]
    out = []
    for rows in torch.arange(moments).split(PIECE // plans):
        each = []
        for number in range(plans):
            mine, plan = states.take(asked.person[rows], asked.time[rows]), asked.plan[rows, number]
            if play:
                traits = asked.past.traits[asked.person[rows]]
                draws = head.play(mine, plan, traits, draws=DRAWS, generator=generator.manual_seed(0))
                each.append(draws.mean(0))
            else:
                each.append(head.answer(mine, plan).values[..., 0])
        out.append(torch.stack(each, dim=1))
    low, high = head.response.limits
    return torch.cat(out).clamp(low, high).double().numpy()


def measure(world: World, seed: int, **fewer: Any) -> Iterator[dict[str, Any]]:
    """Rows of one world and seed."""
    for option, (built, trained) in OPTIONS.items():
        start = time.process_time()
        torch.manual_seed(seed)
        head = Outcome(**{**world.head, **built})
        history = fit_outcome(head, world.train, world.validation, seed=seed, **{**TRAINED, **fewer, **trained})
        cost = {"fit_cpu_s": time.process_time() - start}
        cost |= {name: history[0][name] for name in ("effective_share",) if name in history[0]}
        for play in (False, True)[: 2 if option in PLAYED else 1]:
            found = world.scores({kind: means(head, asked, play=play) for kind, asked in world.asked.items()})
            name = f"{option}, played" if play else option
            yield {"world": world.name, "seed": seed, "option": name, **cost, **found}


def table(rows: list[dict[str, Any]], world: str) -> str:
    """Markdown: a row an option, mean over seeds."""
    mine = [row for row in rows if row["world"] == world]
    columns = [name for name in mine[0] if name not in ("world", "seed", "option", "effective_share")]
    lines = ["| option | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for option in dict.fromkeys(row["option"] for row in mine):
        some = [row for row in mine if row["option"] == option]
        shown = [f"{np.mean([row[name] for row in some]):.2f}" for name in columns]
        share = [row["effective_share"] for row in some if "effective_share" in row]
        more = f" (effective share {np.mean(share):.2f})" if share else ""
        lines.append(f"| {option}{more} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def worlds(names: list[str], seed: int, quick: bool) -> Iterator[World]:
    """One after another: each holds much."""
    if "tumour" in names:
        yield tumours(0.0, SEEDS[seed], quick)
        yield tumours(4.0, SEEDS[seed], quick)
    if "glucose" in names:
        yield meals(3.0, seed, quick)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few people, one seed, one epoch: numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a row for each world, seed and option")
    parser.add_argument("--seeds", type=int, default=3, help=f"how many, up to {len(SEEDS)}")
    parser.add_argument("--worlds", default="tumour,glucose", help="by commas")
    options = parser.parse_args()
    torch.set_num_threads(1)
    asked = options.worlds.split(",")
    for name in asked:
        if name not in ("tumour", "glucose"):
            raise unknown_name("world", name, ("tumour", "glucose"), where="--worlds")
    rows: list[dict[str, Any]] = []
    for seed in range(1 if options.quick else options.seeds):
        for world in worlds(asked, seed, options.quick):
            rows += measure(world, seed, **({"epochs": 1} if options.quick else {}))
            print(f"{world.name}, seed {seed}: {time.process_time() / 60:.1f} CPU-min so far", flush=True)
            print(f"\n### {world.name}\n\n{table(rows, world.name)}\n", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
