"""Privacy audits: controls whose answer is known, and hdt-fm-wrist-s on the cohorts that it was made with. What
differential privacy costs and hides.

python scripts/reproduce_privacy.py [--quick] [--json FILE] [--part controls,published,starts,utility] [overrides]
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
from data_pipelines.build import build_shards  # noqa: E402
from hdt_fm.audit.controls import PREPARATION, SignatureCohort  # noqa: E402
from hdt_fm.audit.record import AUDIT_NAME  # noqa: E402
from hdt_fm.cli.compose import compose_config  # noqa: E402
from hdt_fm.cli.run import call  # noqa: E402
from hdt_fm.schema.result import Scalar  # noqa: E402

ROOT = Path("runs/privacy")
PARTS = ("controls", "published", "starts", "utility")
# What the audited checkpoint is called, and the cohorts that it was made with.
MODEL, EXPERIMENT, COHORTS = "hdt-fm-wrist-s", "wrist_s", ("stress_predict", "sp_sw_har")
# Windows are four seconds, and none overlaps another. Without weight decay, dropped modalities and augmentation, so
# that many steps on few people learn them by heart.
SMALL = [
    "near_s=4.0",
    "debug=tiny",
    "encoder.width=32",
    "encoder.slots=4",
    "training.batch_size=64",
    "training.warmup_steps=0",
    "training.weight_decay=0.0",
    "training.modality_dropout=0.0",
    "training.augment.amplitude=0.0",
    "training.people_per_pool=null",
    "training.start=random",
    "training.checkpoint_every=1000",
    "training.val_every=1000",
    "split.test=0.45",
    "split.validation=0.1",
]
# Signature of each person in units of the noise, steps, learning rate, references.
CONTROLS = {
    "overfitted, no identity": (0.0, 300, 3e-3, 8),
    "never trained, no identity": (0.0, 2, 1e-12, 8),
    "identity planted": (2.0, 60, 2e-3, 0),
}
# A quarter of the model's steps, a quarter of its windows each; as its card says: audit.reference_steps=null
# training.batch_size=128.
REFERENCES = ["training.batch_size=32", "audit.reference_steps=50"]
# How references begin, how long they train, how many: what of the leak is there before the first step of a gradient.
STARTS = {
    "closed-form start, 1 step": ("closed_form", 1, 8),
    "random start, 50 steps": ("random", 50, 8),
    "random start, 200 steps": ("random", 200, 4),
}


def main() -> None:
    """Run the parts that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few people, two references: numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--part", default=",".join(PARTS), help="by commas")
    parser.add_argument("overrides", nargs="*", help="settings as for hdt-fm audit, e.g. audit.references=4")
    options = parser.parse_args()
    parts = options.part.split(",")
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"--part: no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    rows: list[dict[str, Scalar]] = []
    for part in parts:
        made = {"controls": controls, "published": published, "starts": starts, "utility": what_it_costs}[part]
        rows += made(options.quick, options.overrides)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def controls(quick: bool, overrides: Sequence[str]) -> list[dict[str, Scalar]]:
    """Models and people of whom it is known what an audit must find."""
    rows = []
    for name, (signature, steps, rate, references) in CONTROLS.items():
        folder = ROOT / ("quick" if quick else "controls") / name.replace(", ", "_").replace(" ", "_")
        cohort = SignatureCohort(12 if quick else 24, signature=signature)
        made = {"name": cohort.name, "preparation": PREPARATION, "block_windows": 64, "shard_mb": 8.0, "seed": 0}
        build_shards(cohort, folder=folder / "windows", **made)
        few = 2 if quick else references
        own = [
            f"root={folder}",
            f"shards={folder / 'windows'}",
            *SMALL,
            f"training.steps={min(steps, 20) if quick else steps}",
            f"training.learning_rate={rate}",
        ]
        call("pretrain", compose_config("pretrain", own))
        rows += audited(f"control: {name}", [*own, f"audit.references={few if references else 0}", *overrides])
    return rows


def published(quick: bool, overrides: Sequence[str]) -> list[dict[str, Scalar]]:
    """The published model. Its references are trained for less than it was (`REFERENCES`), as it took 20 minutes."""
    few = ["audit.references=2", "audit.reference_steps=1", "training.batch_size=8"] if quick else REFERENCES
    return audited(MODEL, [*_of_the_model("published", quick), *few, *overrides])


def starts(quick: bool, overrides: Sequence[str]) -> list[dict[str, Scalar]]:
    """The same with references that begin otherwise: where does the leak come from?"""
    rows = []
    for name, (start, steps, references) in STARTS.items():
        few = (
            ["audit.references=2", "training.batch_size=8"]
            if quick
            else [f"audit.references={references}", REFERENCES[0]]
        )
        own = _of_the_model(name.replace(", ", "_").replace(" ", "_"), quick)
        changed = [f"training.start={start}", f"audit.reference_steps={min(steps, 2) if quick else steps}", *few]
        rows += audited(f"{MODEL}, references with {name}", [*own, *changed, *overrides])
    return rows


def what_it_costs(quick: bool, overrides: Sequence[str]) -> list[dict[str, Scalar]]:
    """Private training at several promises, beside none: `privacy_utility.py`."""
    from privacy_utility import utility

    return utility(ROOT, quick, overrides)


def audited(name: str, overrides: Sequence[str]) -> list[dict[str, Scalar]]:
    """Audit, print what was found, and give the rows."""
    config = compose_config("audit", ["audit.what=privacy", *overrides])
    record = call("audit", config)
    audit = json.loads((Path(config.value("root")) / "audit" / "privacy" / AUDIT_NAME).read_text())
    print(f"\n### {name} ({record.seconds:.0f} s)\n", flush=True)
    for sentence in audit["found"]:
        print(f"- {sentence}", flush=True)
    return [{"run": name, **row} for row in audit["rows"]]


def _of_the_model(run: str, quick: bool) -> list[str]:
    """Settings of an audit of the published model; its cohorts are sharded where they are not yet."""
    folders = []
    for cohort in COHORTS:
        config = compose_config("shard", [f"experiment={cohort}", "shard.seed=0"])
        call("shard", config)
        folders.append(str(config.value("shards")))
    root = ROOT / ("quick" if quick else "") / run
    return [f"experiment={EXPERIMENT}", f"cohorts=[{','.join(folders)}]", f"audit.checkpoint={MODEL}", f"root={root}"]


if __name__ == "__main__":
    main()
