"""What choices of pretraining are worth on SP-SW-HAR: objective, modality dropout, near windows as negatives, start.

python scripts/reproduce_ablations.py [--quick] [--json FILE] [--only WORD] [overrides]

Another cohort: experiment=stress_predict as an override. An encoder is pretrained for every variant and fold.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from reproduce import QUICK

from hdt_fm.cli.cohorts import NOBODY, People
from hdt_fm.cli.compose import Config, compose_config
from hdt_fm.cli.run import call
from hdt_fm.cli.settings import ProtocolSettings
from hdt_fm.cli.workflow import embed, hand_made, new_model, open_shards, prepare_machine, train_encoder
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation.ablation import ablation
from hdt_fm.evaluation.audit import Pretraining
from hdt_fm.evaluation.classification import class_metrics
from hdt_fm.evaluation.contest import contest
from hdt_fm.evaluation.folds import Fold, grouped_folds
from hdt_fm.report.tables import flat_rows, markdown
from hdt_fm.schema.embedding import EmbeddingTable

EXPERIMENT = "sp_sw_har"
BASE = "as the experiment says"
HIDE = ["training.hide.share=0.3", "training.hide.stretch_s=0.25"]
VARIANTS = {
    "start: random": ["training.start=random"],
    "no gradient step": ["training.learning_rate=1.0e-12", "training.steps=1", "training.warmup_steps=0"],
    "objective: leave one out": ["loss=leave_one_out"],
    "objective: sigmoid pairs": ["loss=sigmoid_pairs"],
    "objective: near in time": ["loss=near_in_time"],
    "objective: masked patches": ["loss=masked_patches", "loss.patch_s=0.25", *HIDE],
    "objective: InfoNCE + masked patches": ["loss=mix", "loss.terms.masked_patches.patch_s=0.25", *HIDE],
    "modality dropout: 0": ["training.modality_dropout=0"],
    "modality dropout: 0.5": ["training.modality_dropout=0.5"],
    "near windows of a person as negatives": ["loss.exclude_within_s=null"],
    "no other window of a person as negative": ["loss.exclude_within_s=inf"],
}


def main() -> None:
    """Pretrain the base and every variant in the same folds, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="six people, a few steps; numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    parser.add_argument("--only", default="", help="only variants whose name holds this")
    parser.add_argument("overrides", nargs="*", help="settings as for hdt-fm, e.g. training.steps=500")
    options = parser.parse_args()
    quick = [*QUICK, "name=ablation_quick", "protocol.folds=2"] if options.quick else []
    experiment = [] if any(one.startswith("experiment=") for one in options.overrides) else [f"experiment={EXPERIMENT}"]
    overrides = [*experiment, *quick, *options.overrides]
    call("shard", compose_config("shard", [*overrides, "shard.seed=0"]))
    config = compose_config("evaluate", overrides)
    prepare_machine(config)
    folder, seed = open_shards(config), int(config.value("seed"))
    folds, people = folds_of(config, folder, seed)
    names = [name for name in VARIANTS if options.only in name]
    tables = {name: encoders(name, [*overrides, *VARIANTS.get(name, [])], folder, people) for name in (BASE, *names)}
    base = tables.pop(BASE)
    hand, hand_names, _ = hand_made(folder, base[0], lambda *_: None)
    protocol = config.section("protocol", ProtocolSettings)
    entered = contest(
        table=base[0],
        label=protocol.label,
        hand=(hand, hand_names),
        folds=folds,
        random_tables=[embed(config, new_model(config, folder, one, seed=seed + 1), folder) for one in people],
        fold_tables=base,
        pretraining=Pretraining(tuple(frozenset(base[0].subjects[row] for row in one) for one in people)),
        kind="class" if protocol.kind == "classification" else "value",
        seed=seed,
        draws=protocol.draws,
    )
    probe = [base[0].modalities.index(name) for name in protocol.alone] if protocol.alone else None
    metrics = class_metrics if protocol.kind == "classification" else None
    result = ablation(entered, tables, base=BASE, probe=probe, metrics=metrics)
    print(markdown(result))
    if options.json:
        options.json.write_text(json.dumps(flat_rows([result]), indent=1) + "\n")


def folds_of(config: Config, folder: ShardFolder, seed: int) -> tuple[list[Fold], list[np.ndarray]]:
    """The folds of the experiment, and the people whom each trains on."""
    order = np.lexsort((folder.t0_ns, folder.subject_rows))
    subject = folder.subject_rows[order].astype(np.int64)
    _, group = np.unique([row.group for row in folder.manifest.subjects], return_inverse=True)
    folds = grouped_folds(group[subject], int(config.section("protocol", ProtocolSettings).folds), seed)
    return folds, [np.unique(subject[fold.train]) for fold in folds]


def encoders(name: str, overrides: list[str], folder: ShardFolder, people: list[np.ndarray]) -> list[EmbeddingTable]:
    """One encoder a fold, kept under the run folder so that a stopped script goes on."""
    config = compose_config("evaluate", overrides)
    home = (
        Path(config.value("root"))
        / "ablation"
        / f"seed_{config.value('seed')}"
        / "".join(letter if letter.isalnum() else "_" for letter in name)
    )
    tables = []
    for number, train in enumerate(people, start=1):
        print(f"{name}: fold {number} of {len(people)}", flush=True)
        model, outcome = train_encoder(
            config,
            folder,
            People(train, NOBODY, NOBODY),
            home / str(number),
            progress=lambda *_: None,
            say=lambda _: None,
        )
        if not outcome.finished:
            raise KeyboardInterrupt
        tables.append(embed(config, model, folder))
    return tables


if __name__ == "__main__":
    main()
