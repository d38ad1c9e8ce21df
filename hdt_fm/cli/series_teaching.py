"""What heads of a slow signal (`series.modality`) are taught on and by whom, and the checkpoint that keeps them."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from hdt_fm.checkpoint import Model, load, load_preprocess, save_model
from hdt_fm.cli.compose import Config
from hdt_fm.cli.contract import check_contract
from hdt_fm.cli.held_out import people_of_checkpoint
from hdt_fm.cli.run import Run, write_text
from hdt_fm.cli.series import check_same_task, heads_of, told
from hdt_fm.cli.settings import SeriesSettings
from hdt_fm.cli.workflow import encoder_digest, open_shards, people_of, prepare_machine
from hdt_fm.data.series import series_beside, series_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation.folds import Fold
from hdt_fm.report.tables import flat_rows, markdown
from hdt_fm.schema.errors import ConfigError, SplitError
from hdt_fm.schema.manifest import Part
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.schema.result import Result, RunRecord
from hdt_fm.schema.series import ForecastTask, Series
from hdt_fm.signal.moments import Moments


@dataclass(frozen=True)
class Ground:
    """All that a head of a signal is taught and scored on.

    Attributes:
        base: The model, with the heads that the run's checkpoint has already.
        target: That checkpoint.
        given: Series of treatments beside, by name.
        moments, inputs: Origins of `series` and what any head is told at them.
        fold: Origins of people who may teach, and of those who are asked.
    """

    run: Run
    folder: ShardFolder
    base: Model
    target: Path
    task: ForecastTask
    series: list[Series]
    given: dict[str, list[Series]]
    moments: Moments
    inputs: HeadInput
    fold: Fold

    @property
    def seed(self) -> int:
        return int(self.run.config.value("seed"))

    def apart(self, train: NDArray[np.int64]) -> NDArray[np.int64]:
        """Origins of the people who may teach and did not: they calibrate."""
        return np.setdiff1d(self.fold.train, train)

    def keep(self, name: str, part: Part, head: nn.Module, result: Result) -> Path:
        """Save a head beside the others of the checkpoint, and its scores; where the table lies."""
        base = self.base
        base.config = base.config.model_copy(update={"heads": {**base.config.heads, name: part}})
        base.heads[name] = head
        save_model(base, self.target, preprocess=load_preprocess(self.run.config.value("checkpoint")))
        home = self.run.folder / name
        home.mkdir(exist_ok=True)
        write_text(home / "table.md", markdown(result) + "\n")
        write_text(home / "rows.json", json.dumps(flat_rows([result]), indent=1) + "\n")
        return home / "table.md"

    def finish(self, name: str, table: Path, result: Result, following: str, shown: dict[str, Any]) -> RunRecord:
        """The run's record, with what is shown of the head's scores."""
        group, fold, config = self.moments.group, self.fold, self.run.config
        people = {"people in training": len(np.unique(group[fold.train])), "people asked": len(fold.test_groups)}
        return self.run.finish(
            outputs={"checkpoint": self.target, "table": table},
            following=(following, f"hdt-fm publish {config.chosen}"),
            summary={"head": name, **people, **shown},
            results=(result,),
            provenance={"encoder": encoder_digest(self.base), "shards": self.folder.digest},
        )


def ground(run: Run, name: str, *, horizons_s: tuple[float, ...] | None = None) -> Ground:
    """Read the series, split the people and embed.

    Args:
        name: Of the head that is to be taught.
        horizons_s: That it answers; those of the config by default.

    Raises:
        CheckpointError: If the run's checkpoint has another head of the signal that is told something else.
        SplitError: If nobody is left to teach or to be asked.
    """
    config = run.config
    prepare_machine(config)
    folder, checkpoint = open_shards(config), Path(config.value("checkpoint"))
    model, series, given, task = load(checkpoint), *asked(config, folder)
    task = task if horizons_s is None else replace(task, horizons_s=horizons_s)
    target = run.folder / "checkpoint"
    # Before anything is trained: what lies there already may not be readable, or not go together.
    base = _base(model, target)
    for other, head in heads_of(base, task.modality).items():
        if other != name and horizons_s is None:
            check_same_task(name, task, other, ForecastTask.of(head.asked))
    people = people_asked(config, folder, checkpoint)
    check_contract(model.config, load_preprocess(checkpoint), folder, say=run.say)
    run.say(f"{task.modality} of {len({one.group for one in series})} people: embedding")
    moments, inputs = told(model, series, task, given=given, kept=run.folder / "series_embeddings.safetensors")
    return Ground(run, folder, base, target, task, series, given, moments, inputs, _fold(moments, people))


def plan(config: Config, name: str) -> dict[str, Any]:
    """Read the series and say how much there is to learn from."""
    folder = open_shards(config)
    series, given, _ = asked(config, folder)
    hours = sum(float(one.observed.sum()) * one.step_s for one in series) / 3600
    told_of = {name: len({one.group for one in some}) for name, some in given.items()}
    people = {"people": len({one.group for one in series}), "hours read": round(hours)}
    return {"head": name, **people, **{f"people with {name}": n for name, n in told_of.items()}}


def asked(config: Config, folder: ShardFolder) -> tuple[list[Series], dict[str, list[Series]], ForecastTask]:
    """The series, those of treatments beside, and what a head is asked."""
    settings = config.section("series", SeriesSettings)
    assert settings.modality is not None, "the verb goes elsewhere where there is none"
    series, given = series_of(folder, settings.modality), given_beside(folder, settings.treatments)
    steps = {one.step_s for some in given.values() for one in some}
    if len(steps) > 1:
        raise ConfigError(
            "Treatments are not on one grid",
            where="series.treatments",
            expected="one sampling rate for all",
            got=f"steps of {', '.join(f'{one:g} s' for one in sorted(steps))}",
            fix="shard them with preparation=treatments_5min",
        )
    told_beside = {"treatments": tuple(sorted(given)), **({"treatments_step_s": steps.pop()} if steps else {})}
    task = ForecastTask(
        unit=modality(settings.modality).unit,
        step_s=series[0].step_s,
        **{**settings.model_dump(), **told_beside},
    )
    return series, given, task


def given_beside(folder: ShardFolder, treatments: str | None) -> dict[str, list[Series]]:
    """Of each treatment that somebody of the folder is known to have been given.

    Args:
        treatments: Their own shards; None knows of none.

    Raises:
        ConfigError: If these shards are of nobody of the folder.
    """
    if treatments is None:
        return {}
    other = ShardFolder.open(Path(treatments))
    found = {name: series_beside(folder, other, name) for name in other.modalities}
    found = {name: some for name, some in found.items() if some}
    if not found:
        raise ConfigError(
            "The folder of treatments knows nobody of these shards",
            where="series.treatments",
            expected="shards of the same cohort with preparation=treatments_5min",
            fix="shard the same source again: hdt-fm shard ... preparation=treatments_5min name=NAME",
        )
    return found


def people_asked(config: Config, folder: ShardFolder, checkpoint: Path) -> dict[str, NDArray[np.int64]]:
    """Rows of the subject table that may teach a head, and those that are asked.

    Those whom the encoder was kept from are asked. An encoder that saw nobody of this cohort leaves the split to the
    config and its seed.
    """
    saw, names = people_of_checkpoint(checkpoint), [row.subject for row in folder.manifest.subjects]
    parts = {part: np.flatnonzero(np.isin(names, saw[part])) for part in ("train", "validation", "test")}
    if not any(len(rows) for rows in parts.values()):
        people = people_of(config, folder)
        parts = {"train": people.train, "validation": people.validation, "test": people.test}
    return {"train": np.concatenate([parts["train"], parts["validation"]]), "test": parts["test"]}


def _fold(moments: Moments, people: dict[str, NDArray[np.int64]]) -> Fold:
    rows = {part: np.flatnonzero(np.isin(moments.subject, some)) for part, some in people.items()}
    if not len(rows["test"]) or not len(rows["train"]):
        raise SplitError(
            "Nobody is left to be asked, or to teach",
            expected="people of these shards on both sides of the split",
            got=f"{len(people['train'])} who teach and {len(people['test'])} who are asked",
            fix="use the shards that the encoder was pretrained on, or set split.test",
        )
    groups = frozenset(int(group) for group in moments.group[rows["test"]])
    return Fold(train=rows["train"], test=rows["test"], rows=len(moments), test_groups=groups)


def _base(model: Model, target: Path) -> Model:
    """The model with the heads that it has there already, if it is the same encoder's."""
    if not (target / "config.json").is_file():
        return model
    there = load(target)
    return there if encoder_digest(there) == encoder_digest(model) else model
