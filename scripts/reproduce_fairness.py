"""Fairness audits: made-up answers whose gap is known, real encoders before and after fine-tuning, glucose forecasts.

python scripts/reproduce_fairness.py [--quick] [--json FILE] [--part controls,sp_sw_har,bidmc,glucose] [--seeds 1]
                                     [overrides]

Glucose is that of Shanghai in an hour: a head shared by everyone (before), and the same with its last layer following
each person (after), by people never seen.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
from reproduce_glucose import CONTEXT_S, HORIZONS_S, Head, followed_by_person  # noqa: E402

from hdt_fm.audit.fairness.answers import Answers, Asked  # noqa: E402
from hdt_fm.audit.fairness.cells import columns_of  # noqa: E402
from hdt_fm.audit.fairness.controls import made_up, true_gap  # noqa: E402
from hdt_fm.audit.fairness.record import FAIRNESS_NAME  # noqa: E402
from hdt_fm.audit.fairness.table import GAP, fairness  # noqa: E402
from hdt_fm.audit.fairness.words import fairness_words  # noqa: E402
from hdt_fm.audit.record import flat  # noqa: E402
from hdt_fm.cli.compose import compose_config  # noqa: E402
from hdt_fm.cli.run import call  # noqa: E402
from hdt_fm.data.series import series_of  # noqa: E402
from hdt_fm.data.shards import ShardFolder  # noqa: E402
from hdt_fm.evaluation.backtest import floors  # noqa: E402
from hdt_fm.evaluation.folds import grouped_folds  # noqa: E402
from hdt_fm.schema.result import Scalar  # noqa: E402
from hdt_fm.schema.series import Series  # noqa: E402
from hdt_fm.signal.moments import Moments, moments_of  # noqa: E402
from hdt_fm.signal.own_past import own_past, recent  # noqa: E402
from hdt_fm.training.forecasts import ask, ask_hidden, inputs_of  # noqa: E402
from hdt_fm.training.heads import take  # noqa: E402

ROOT = Path("runs/fairness")
BEFORE, AFTER = "head shared by everyone", "the same, following each person"
PARTS = ("controls", "sp_sw_har", "bidmc", "glucose")
GLUCOSE, IN_AN_HOUR_S = "shanghai_diabetes", 3600.0
# What is measured: people never seen in three folds, encoders pretrained anew for each as the experiment says.
REAL = ["protocol.people=per_fold", "protocol.folds=3", "audit.fine_tune_steps=100", "audit.fine_tune_rate=1.0e-3"]
QUICK = [
    "debug=tiny",
    "protocol.folds=2",
    "audit.fine_tune_steps=2",
    "audit.draws=50",
    "audit.permutations=50",
    "audit.remedies=[]",
]
# BIDMC's windows are long: half a minute by themselves.
QUICK_PARTS = ("controls", "sp_sw_har", "glucose")
# How much more is missed of the one sex before, and how much more still after, in units of the noise; what is left of
# the noise after.
PLANTED = {
    "no gap": (0.0, 0.0, 0.7),
    "no gap, the same error": (0.0, 0.0, 1.0),
    "a gap that stays": (1.0, 0.0, 1.0),
    "a gap that falls with the error": (1.0, 0.0, 0.7),
    "a gap that fine-tuning widens": (0.5, 1.0, 0.7),
}
PEOPLE, TRIALS = (12, 24, 60), 200
COUNTED = ("before", "after", "wider", "narrower", "held", "gap", "chance")


def main() -> None:
    """Run the parts that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny encoders and few trials: numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--part", help=f"by commas: {','.join(PARTS)}; of --quick {','.join(QUICK_PARTS)}")
    parser.add_argument("--seeds", type=int, default=1, help="of folds, encoders and heads, for the real cohorts")
    parser.add_argument("overrides", nargs="*", help="settings as for hdt-fm audit, e.g. audit.by=[sex]")
    options = parser.parse_args()
    parts = options.part.split(",") if options.part else list(QUICK_PARTS if options.quick else PARTS)
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"--part: no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    rows: list[dict[str, Scalar]] = []
    for part in parts:
        if part == "controls":
            rows += controls(10 if options.quick else TRIALS)
            continue
        for seed in range(options.seeds):
            if part == "glucose":
                rows += forecasts(seed, options.quick)
            else:
                rows += audited(part, seed, options.quick, options.overrides)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def controls(trials: int) -> list[dict[str, Scalar]]:
    """How often the audit speaks where there is nothing, and where there is something, and what its intervals hold."""
    rows: list[dict[str, Scalar]] = []
    print(f"\n### controls, {trials} made-up cohorts each\n")
    print("| planted | people | told before | told after | wider | narrower | interval holds it | gap | by chance |")
    print("|---" * 9 + "|")
    for planted, (gap, widened, left) in PLANTED.items():
        for people in PEOPLE:
            said: dict[str, list[float]] = {name: [] for name in COUNTED}
            for seed in range(trials):
                given = made_up(people=people, windows=20, gap=gap, widened=widened, error_after=left, seed=seed)
                found = fairness(*given, draws=200, permutations=200, seed=seed).result
                for model in ("before", "after"):
                    row = found.find(model, f"mae{GAP}")
                    said[model].append(float(row.columns["p"]) < 0.05)
                    if model == "before":
                        # Largest less smallest may be the other way round than what was planted.
                        turn = 1 if row.columns["largest"] == "M" else -1
                        low, high = sorted((turn * float(row.low), turn * float(row.high)))
                        said["held"].append(low <= true_gap(gap) <= high)
                        said["gap"].append(row.value)
                        said["chance"].append(float(row.columns["chance"]))
                    else:
                        said["wider"].append(float(row.columns["change_low"]) > 0)
                        said["narrower"].append(float(row.columns["change_high"]) < 0)
            shares = {name: float(np.mean(values)) for name, values in said.items()}
            told = " | ".join(f"{value:.3f}" for value in shares.values())
            print(f"| {planted} | {people} | {told} |", flush=True)
            rows.append({"run": "controls", "planted": planted, "people": people, "trials": trials, **shares})
    return rows


def audited(experiment: str, seed: int, quick: bool, overrides: Sequence[str]) -> list[dict[str, Scalar]]:
    """Audit a real cohort, print what was found, and give the rows."""
    root = ROOT / ("quick" if quick else "real") / f"{experiment}_{seed}"
    shards = ROOT / experiment / "windows"
    own = [f"experiment={experiment}", f"shards={shards}"]
    call("shard", compose_config("shard", [*own, f"root={ROOT / experiment}", "shard.seed=0"]))
    settings = [*own, f"root={root}", f"seed={seed}", *REAL, *(QUICK if quick else []), *overrides]
    record = call("audit", compose_config("audit", ["audit.what=fairness", *settings]))
    audit = json.loads((root / "audit" / "fairness" / FAIRNESS_NAME).read_text())
    print(f"\n### {experiment}, seed {seed} ({record.seconds:.0f} s)\n", flush=True)
    for sentence in audit["found"]:
        print(f"- {sentence}", flush=True)
    return [{"run": experiment, "seed": seed, **row} for row in audit["rows"]]


def forecasts(seed: int, quick: bool) -> list[dict[str, Scalar]]:
    """Glucose in an hour of patients never seen: who is missed by more."""
    limit = ["cohort.limit=24"] if quick else []
    root = ROOT / ("quick" if quick else "") / GLUCOSE
    config = compose_config("shard", [f"experiment={GLUCOSE}", f"root={root}", *limit])
    call("shard", config)
    folder = ShardFolder.open(Path(config.value("shards")))
    series = series_of(folder, "glucose")
    moments = moments_of(series, context_s=CONTEXT_S, horizons_s=HORIZONS_S)
    column = HORIZONS_S.index(IN_AN_HOUR_S)
    known = np.concatenate([recent(moments), own_past(moments, series)], axis=1)
    shared = Head(known, None, "gru", 1 if quick else 12)

    def following(moments: Moments, series: Sequence[Series], train: np.ndarray, rows: np.ndarray) -> np.ndarray:
        inputs = take(inputs_of(known, moments.last, None), torch.from_numpy(rows))
        said, hidden = ask(shared.trained["net"], inputs), ask_hidden(shared.trained["net"], inputs)
        return followed_by_person(SimpleNamespace(moments=moments), moments, rows, said, hidden)

    models = {"last value": floors.last_value(), "ridge": floors.ridge(), BEFORE: shared, AFTER: following}
    scores = {name: np.full(len(moments), np.nan) for name in models}
    tested = np.zeros(len(moments), dtype=np.int64)
    for number, fold in enumerate(grouped_folds(moments.group, 5, seed)):
        tested[fold.test] = number
        for name, fit in models.items():
            scores[name][fold.test] = fit(moments, series, fold.train, fold.test)[:, column, 0]
        print(f"fold {number + 1} of 5", file=sys.stderr, flush=True)
    rows = np.flatnonzero(np.isfinite(moments.target[:, column]))
    groups, person = np.unique(moments.group[rows], return_inverse=True)
    empty = np.zeros((len(rows), 0))
    asked = Asked("glucose in 60 min", moments.target[rows, column], person, tested[rows], (), "mg/dL", empty)
    subject = {int(group): int(one) for group, one in zip(moments.group, moments.subject, strict=True)}
    facts = [folder.manifest.subjects[subject[int(group)]].covariates for group in groups]
    when = {BEFORE: "before", AFTER: "after"}
    answers = [
        Answers(
            name,
            "ours" if name in when else "baseline",
            when.get(name, "floor"),
            values[rows, None],
            against=BEFORE if name == AFTER else None,
        )
        for name, values in scores.items()
    ]
    found = fairness(asked, answers, columns_of(facts), seed=seed)
    print(f"\n### {GLUCOSE}, seed {seed}\n", flush=True)
    for sentence in fairness_words(found):
        print(f"- {sentence}", flush=True)
    return [{"run": GLUCOSE, "seed": seed, **row} for row in flat(found.result)]


if __name__ == "__main__":
    main()
