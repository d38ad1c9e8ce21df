"""What choices of pretraining are worth: start, objective, modality dropout, negatives, and further cohorts.

python scripts/reproduce_ablations.py [--quick] [--json FILE] [--only WORD] [overrides]

On SP-SW-HAR, or with experiment=stress_predict there. An encoder is pretrained for every variant and fold, and kept:
started again, the script goes on. A change of the windows themselves makes a table of its own: `--only base
name=stress_30s preparation.window_s=30 preparation.hop_s=15`.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from reproduce import QUICK

from hdt_fm.cli.compose import Config, compose_config
from hdt_fm.cli.run import call
from hdt_fm.cli.settings import ProtocolSettings
from hdt_fm.cli.workflow import (
    cohorts_around,
    embed,
    hand_made,
    new_model,
    open_shards,
    prepare_machine,
    train_over,
)
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


@dataclass(frozen=True)
class Variant:
    """What is changed against the base.

    Attributes:
        overrides: Settings.
        form: Experiment whose encoder and training it has instead of the base's.
        beside: Experiment whose people are trained on as well, all of them.
        own_windows: Whether windows are prepared otherwise, so that it needs shards of its own.
    """

    overrides: tuple[str, ...] = ()
    form: str | None = None
    beside: str | None = None
    own_windows: bool = False


def _common(patch_s: float) -> dict[str, Variant]:
    """What can be asked of every cohort, with the length of what is hidden and told again."""
    hide = ("training.hide.share=0.3", f"training.hide.stretch_s={patch_s}")
    one_step = ("training.learning_rate=1.0e-12", "training.steps=1", "training.warmup_steps=0")
    return {
        "start: random": Variant(("training.start=random",)),
        "no gradient step": Variant(one_step),
        "objective: leave one out": Variant(("loss=leave_one_out",)),
        "objective: sigmoid pairs": Variant(("loss=sigmoid_pairs",)),
        "objective: near in time": Variant(("loss=near_in_time",)),
        "objective: masked patches": Variant(("loss=masked_patches", f"loss.patch_s={patch_s}", *hide)),
        "objective: InfoNCE + masked patches": Variant(
            ("loss=mix", f"loss.terms.masked_patches.patch_s={patch_s}", *hide)
        ),
        "modality dropout: 0": Variant(("training.modality_dropout=0",)),
        "modality dropout: 0.5": Variant(("training.modality_dropout=0.5",)),
        "near windows of a person as negatives": Variant(("loss.exclude_within_s=null",)),
        "no other window of a person as negative": Variant(("loss.exclude_within_s=inf",)),
    }


VARIANTS = {
    "sp_sw_har": {
        **_common(0.25),
        "hdt-fm-wrist-s, this cohort": Variant(form="wrist_s"),
        "hdt-fm-wrist-s, and all of Stress-Predict": Variant(form="wrist_s", beside="stress_predict"),
    },
    "stress_predict": {
        **_common(1.0),
        "augmentation: none": Variant(("training.augment.amplitude=0",)),
        "augmentation: noise and masks in time": Variant(
            ("training.augment.noise=0.1", "training.augment.time_mask=0.1")
        ),
        "EDA: only what is faster than 20 s": Variant(
            ("preparation.modalities.eda.highpass_hz=0.05",), own_windows=True
        ),
        "EDA and TEMP: 10-s patches, spectrum of the whole window": Variant(
            tuple(
                f"+encoder.per_modality.{name}.{word}"
                for name in ("eda", "temp")
                for word in ("patch_s=10", "slow_s=60")
            )
        ),
        "all of SP-SW-HAR as well": Variant(beside="sp_sw_har"),
    },
}


def main() -> None:
    """Pretrain the base and every variant in the same folds, and print one table."""
    options = read_options()
    chosen = [one.removeprefix("experiment=") for one in options.overrides if one.startswith("experiment=")]
    experiment = chosen[-1] if chosen else EXPERIMENT
    quick = [*QUICK, "name=ablation_quick", "protocol.folds=2"] if options.quick else []
    overrides = [f"experiment={experiment}", *quick, *options.overrides]
    shard(overrides)
    config = compose_config("evaluate", overrides)
    prepare_machine(config)
    folder, seed = open_shards(config), int(config.value("seed"))
    folds, people = folds_of(config, folder, seed)
    variants = {
        name: variant
        for name, variant in VARIANTS[experiment].items()
        if any(word in name for word in options.only or [""])
    }
    home = Path(config.value("root")) / "ablation" / f"seed_{seed}"
    tables = {
        name: encoders(name, changed(config, variant, overrides, quick, home / folder_name(name)), people, home)
        for name, variant in {BASE: Variant(), **variants}.items()
    }
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


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; overrides may stand before and after options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="six people, a few steps; numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a flat list")
    # Once a word: an option of several words would swallow the overrides that follow it.
    parser.add_argument("--only", action="append", metavar="WORD", help="variants whose name holds it; may be repeated")
    parser.add_argument("overrides", nargs="*", help="settings as for hdt-fm, e.g. training.steps=500")
    return parser.parse_intermixed_args(arguments)


def shard(overrides: list[str]) -> None:
    """Another seed is another split and other weights, over the same shards."""
    call("shard", compose_config("shard", [*overrides, "shard.seed=0"]))


def folds_of(config: Config, folder: ShardFolder, seed: int) -> tuple[list[Fold], list[np.ndarray]]:
    """The folds of the experiment, and the people whom each trains on."""
    order = np.lexsort((folder.t0_ns, folder.subject_rows))
    subject = folder.subject_rows[order].astype(np.int64)
    _, group = np.unique([row.group for row in folder.manifest.subjects], return_inverse=True)
    folds = grouped_folds(group[subject], int(config.section("protocol", ProtocolSettings).folds), seed)
    return folds, [np.unique(subject[fold.train]) for fold in folds]


def changed(base: Config, variant: Variant, overrides: list[str], quick: list[str], home: Path) -> Config:
    """The settings of a variant; shards that it needs beside those of the base are made."""
    if variant.own_windows:
        # The same people and windows in the same order, prepared otherwise.
        own = [*overrides, *variant.overrides, f"root={home}"]
        shard(own)
        return compose_config("evaluate", own)
    if variant.form is not None:
        # What is not of the encoder or its training stays that of the base.
        shards, seed = base.value("shards"), base.value("seed")
        overrides = [f"experiment={variant.form}", *quick, f"seed={seed}", f"shards={shards}", "cohorts=null"]
    if variant.beside is not None:
        other = [f"experiment={variant.beside}", *quick, *([f"name=ablation_quick_{variant.beside}"] if quick else [])]
        shard(other)
        overrides = [
            *overrides,
            f"cohorts=[{base.value('shards')},{compose_config('shard', other).value('shards')}]",
        ]
    return compose_config("evaluate", [*overrides, *variant.overrides])


def encoders(name: str, config: Config, people: list[np.ndarray], home: Path) -> list[EmbeddingTable]:
    """One encoder a fold, kept under the run folder so that a stopped script goes on."""
    tables, folder = [], open_shards(config)
    for number, train in enumerate(people, start=1):
        print(f"{name}: fold {number} of {len(people)}", flush=True)
        model, outcome = train_over(
            config,
            cohorts_around(config, folder, train),
            home / folder_name(name) / str(number),
            progress=lambda *_: None,
            say=lambda _: None,
        )
        if not outcome.finished:
            raise KeyboardInterrupt
        tables.append(embed(config, model, folder))
    return tables


def folder_name(variant: str) -> str:
    """A variant's name as that of a folder."""
    return "".join(letter if letter.isalnum() else "_" for letter in variant)


if __name__ == "__main__":
    main()
