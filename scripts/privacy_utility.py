"""What differential privacy costs and what it hides: part `utility` of reproduce_privacy.py.

Three random halves of the people each teach an encoder, which is judged on the people it never saw: a linear probe,
retrieval. Who can be told to have taught it is asked with the other two encoders as references, in turn. The halves
are drawn apart from each other: if they made up everyone, references would know who taught the target.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_pipelines.build import build_shards
from hdt_fm.audit.controls import PREPARATION, SignatureCohort
from hdt_fm.audit.halves import random_halves
from hdt_fm.audit.membership import IN_TURN, Evidence, membership
from hdt_fm.audit.signals import person_losses
from hdt_fm.cli.audit.members import Roll
from hdt_fm.cli.audit.windows import batches_of_people
from hdt_fm.cli.cohorts import NOBODY, Cohorts, People
from hdt_fm.cli.compose import Config, compose_config
from hdt_fm.cli.private import private_over, promise
from hdt_fm.cli.run import call
from hdt_fm.cli.settings import ProtocolSettings
from hdt_fm.cli.workflow import embed, hand_made, new_model, open_shards, prepare_machine, train_over
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation.ablation import ablation
from hdt_fm.evaluation.audit import Pretraining
from hdt_fm.evaluation.contest import contest
from hdt_fm.evaluation.folds import stated_fold
from hdt_fm.schema.recording import NS_PER_S, LabelTrack, Visit
from hdt_fm.schema.result import Row, Scalar

HALVES = 3
QUICK_HZ = 1.5
USUAL, PUBLIC_ALONE = "usual pretraining", "start of public people alone"
COLUMNS = ("probe", "recall@10", "threshold", "LiRA-lite", "RMIA")


class QuickCohort(SignatureCohort):
    """Made-up people with a faint own rhythm, and a label: whether the common rhythm is quick in a window."""

    def visits(self) -> Iterator[Visit]:
        """As the other cohort's, with the label beside."""
        for number, visit in enumerate(super().visits()):
            person, each = divmod(number, self.each)
            rate = np.random.default_rng([self.seed, person, each]).uniform(1.0, 2.0, self.seconds // 4 + 1)
            start = next(iter(visit.recordings.values())).start_ns + np.arange(self.seconds // 4) * 4 * NS_PER_S
            quick = ((rate[:-1] + rate[1:]) / 2 > QUICK_HZ).astype(np.float64)
            track = LabelTrack("quick", "class", start, start + 4 * NS_PER_S, quick, classes=("slow", "quick"))
            yield Visit(visit.subject, visit.recordings, labels={"quick": track})


@dataclass(frozen=True)
class Study:
    """A cohort and how its encoders are trained.

    Attributes:
        private: Of each private variant.
        public: Shards of people who need no protection; None where there are none.
    """

    name: str
    root: Path
    own: tuple[str, ...]
    private: tuple[str, ...]
    epsilons: tuple[float, ...]
    public: Path | None = None

    def variants(self) -> dict[str, list[str]]:
        """Settings of each, by name."""
        same = ["training=private", "training.private.epsilon=null", "training.private.noise=0.0"]
        found = {
            USUAL: ["training.start=random"],
            "usual pretraining, closed-form start": ["training.start=closed_form"],
            "the same loop, no clip, no noise": [*same, *self.private, "training.private.clip=null"],
        }
        found |= {
            f"epsilon {epsilon:g}": ["training=private", *self.private, f"training.private.epsilon={epsilon}"]
            for epsilon in self.epsilons
        }
        if self.public is not None:
            start = ["training=private", *self.private, f"training.private.public={self.public}"]
            start += ["training.start=closed_form"]
            found[PUBLIC_ALONE] = [
                *start,
                "training.steps=1",
                "training.warmup_steps=0",
                "training.learning_rate=1.0e-12",
            ]
            found["start of public people, epsilon 8"] = [*start, "training.private.epsilon=8.0"]
        return found


def simulated(root: Path, quick: bool) -> Study:
    """Made-up people: so many that privacy has a chance."""
    folder = root / "utility" / ("quick" if quick else "simulated")
    for name, people, seed in (("windows", 16 if quick else 200, 0), ("public", 8 if quick else 60, 1)):
        cohort = QuickCohort(people, signature=0.7, visits=2, seconds=48, seed=seed)
        made = {"name": f"signatures_{name}", "preparation": PREPARATION, "block_windows": 512, "shard_mb": 64.0}
        build_shards(cohort, folder=folder / name, seed=0, encoding="f32", **made)
    own = [
        f"root={folder}",
        f"shards={folder / 'windows'}",
        "near_s=4.0",
        *("encoder.width=16", "encoder.heads=2", "encoder.slots=4", "encoder.slot_width=4"),
        "projection.dim=16",
        "training.batch_size=192",
        "training.people_per_pool=null",
        "training.weight_decay=0.0",
        "training.modality_dropout=0.0",
        "training.learning_rate=1.0e-2",
        "protocol.label=quick",
    ]
    steps = (
        ["training.steps=4", "training.warmup_steps=1"] if quick else ["training.steps=150", "training.warmup_steps=10"]
    )
    private = ["training.private.people_per_step=4" if quick else "training.private.people_per_step=12"]
    private += ["training.private.windows_per_person=16"]
    epsilons = (8.0,) if quick else (50.0, 8.0)
    return Study("simulated", folder, (*own, *steps), tuple(private), epsilons, folder / "public")


def stress_predict(root: Path, quick: bool) -> Study:
    """28 people: few for anything, and far too few for privacy."""
    folder = root / "utility" / "stress_predict"
    own = ["experiment=stress_predict", f"root={folder}", "shard.encoding=f32", "shard.seed=0"]
    call("shard", compose_config("shard", own))
    own += [
        "encoder.width=32",
        "encoder.slots=10",
        "training.weight_decay=0.0",
        "training.batch_size=48",
        "training.learning_rate=5.0e-3",
    ]
    steps = (
        ["training.steps=2", "training.warmup_steps=0"] if quick else ["training.steps=60", "training.warmup_steps=6"]
    )
    private = ["training.private.people_per_step=4", "training.private.windows_per_person=12"]
    epsilons = (8.0,) if quick else (8.0, 3.0)
    return Study("stress_predict", folder, (*own, *steps), tuple(private), epsilons)


def utility(root: Path, quick: bool, overrides: Sequence[str]) -> list[dict[str, Scalar]]:
    """Both tables."""
    rows: list[dict[str, Scalar]] = []
    for make in (simulated,) if quick else (simulated, stress_predict):
        rows += table_of(make(root, quick), quick, overrides)
    return rows


def table_of(study: Study, quick: bool, overrides: Sequence[str]) -> list[dict[str, Scalar]]:
    """Train, judge and print one cohort."""
    base = compose_config("evaluate", [*study.own, *overrides])
    prepare_machine(base)
    folder = open_shards(base)
    roll = everyone(folder)
    found: dict[str, dict[str, list[Row]]] = {}
    losses: dict[str, list[np.ndarray]] = {}
    promises: dict[str, str] = {}
    halves = random_halves(roll.group, references=HALVES, seed=0)
    for number, half in enumerate(halves):
        cohorts, tables = roll.taught_by(half), {}
        for name, changes in study.variants().items():
            config = compose_config("evaluate", [*study.own, *changes, *overrides, f"seed={number}"])
            home = study.root / "models" / name.replace(", ", "_").replace(" ", "_") / str(number)
            model, outcome = train_over(config, cohorts, home, progress=lambda *_: None, say=lambda _: None)
            if not outcome.finished:  # its signal was caught to save the step
                raise KeyboardInterrupt
            tables[name] = embed(config, model, folder)
            people = batches_of_people(roll, model, 24)
            near_s = float(config.value("near_s"))
            losses.setdefault(name, []).append(person_losses(model, people, kind="contrast", near_s=near_s))
            promises[name] = "0: one step of no length" if name == PUBLIC_ALONE else promised(config, cohorts)
            print(f"{study.name}, half {number + 1} of {HALVES}: {name}", flush=True)
        for row in judged(base, folder, roll.row[half], tables, number):
            found.setdefault(row.model, {}).setdefault(row.metric, []).append(row)
    rows = [*utility_rows(study, found, promises), *member_rows(study, losses, halves, quick, promises)]
    print(markdown(study, folder, rows), flush=True)
    return rows


def everyone(folder: ShardFolder) -> Roll:
    """All people who have windows, none of them kept apart."""
    subjects = folder.manifest.subjects
    rows = np.unique(folder.subject_rows).astype(np.int64)
    cohorts = Cohorts.one(folder, People(rows, NOBODY, NOBODY))
    return Roll(cohorts, 0 * rows, rows, tuple(subjects[row].group for row in rows), 0 * rows)


def judged(base: Config, folder: ShardFolder, half: np.ndarray, tables: dict, seed: int) -> list[Row]:
    """Probe and retrieval of every variant, the random encoder, hand features and chance, on the other people."""
    own = dict(tables)
    usual = own.pop(USUAL)
    train = np.isin(usual.subject, half)
    side = np.where(train, "train", "test")
    hand, names, _ = hand_made(folder, usual, lambda *_: None)
    entered = contest(
        table=usual,
        label=base.section("protocol", ProtocolSettings).label,
        hand=(hand, names),
        folds=[stated_fold(usual.group, side.tolist())],
        random_tables=[embed(base, new_model(base, folder, half, seed=seed + 100), folder)],
        fold_tables=[usual],
        pretraining=Pretraining((frozenset(usual.subjects[row] for row in half),)),
        kind="class",
        seed=seed,
        draws=500,
    )
    return list(ablation(entered, {name: [table] for name, table in own.items()}, base=USUAL).rows)


def promised(config: Config, cohorts: Cohorts) -> str:
    """What is promised, in a few signs."""
    private = private_over(config, cohorts)
    if private is None:
        return "-"
    said = promise(config, private, private.budget.steps)
    if said["epsilon"] is None:
        return "none"
    return f"{said['epsilon']:.1f} at {said['delta']:.1g}, noise {said['noise_multiplier']:.2f}"


def utility_rows(study: Study, found: Mapping[str, dict[str, list[Row]]], promises: Mapping[str, str]) -> list[dict]:
    """Means over the halves; of intervals too."""
    rows = []
    for model, metrics in found.items():
        for metric, some in metrics.items():
            ends = {key: [getattr(row, key) for row in some] for key in ("value", "low", "high")}
            mean = {key: None if None in all_ else float(np.mean(all_)) for key, all_ in ends.items()}
            rows.append(
                {"run": study.name, "model": model, "metric": metric, "promise": promises.get(model, ""), **mean}
            )
    return rows


def member_rows(
    study: Study, losses: dict[str, list[np.ndarray]], members: np.ndarray, quick: bool, promises: Mapping[str, str]
) -> list[dict]:
    """AUROC of each attack, every encoder being the target of the others in turn."""
    rows = []
    for name, some in losses.items():
        # The first one is asked by itself, which is not looked at; what follows is asked in turn.
        evidence = Evidence(
            losses=np.stack([some[0], *some]),
            member=np.concatenate([members[:1], members]),
            counted=np.ones(members.shape[1], dtype=np.bool_),
            cohort=np.zeros(members.shape[1], dtype=np.int64),
        )
        told = membership(
            evidence,
            attacks=("threshold", "lira", "rmia"),
            gamma=1.0,
            false_shares=(),
            draws=20 if quick else 500,
            seed=0,
        )
        for row in told.result.rows:
            if row.what == IN_TURN and row.metric == "auroc" and row.role == "ours":
                ends = {"value": row.value, "low": row.low, "high": row.high}
                rows.append({"run": study.name, "model": name, "metric": row.model, "promise": promises[name], **ends})
    return rows


def markdown(study: Study, folder: ShardFolder, rows: list[dict]) -> str:
    """One line a variant."""
    at = {(row["model"], "probe" if row["metric"] == "balanced_accuracy" else row["metric"]): row for row in rows}
    people = len(np.unique(folder.subject_rows))
    lines = [
        f"\n### {study.name}: {people} people, half of them teach",
        "",
        f"| | epsilon at delta | {' | '.join(COLUMNS)} |",
    ]
    lines.append("|---|---|" + "---|" * len(COLUMNS))
    for model in dict.fromkeys(row["model"] for row in rows):
        promise = next(row["promise"] for row in rows if row["model"] == model)
        cells = [_cell(at.get((model, column))) for column in COLUMNS]
        lines.append(f"| {model} | {promise} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: Mapping | None) -> str:
    if row is None or row["value"] is None:
        return ""
    ends = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['value']:.3f}{ends}"
