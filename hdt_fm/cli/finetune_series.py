"""`hdt-fm finetune head=forecast` where `series.modality` names a slow signal: forecasts of it by a frozen encoder."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdt_fm.checkpoint import Model, load, load_preprocess, save_model
from hdt_fm.cli.compose import Config
from hdt_fm.cli.held_out import people_of_checkpoint
from hdt_fm.cli.run import Run, write_text
from hdt_fm.cli.series import COVERAGE, HEAD, corrections, head_name, plain, told, usual
from hdt_fm.cli.settings import FinetuneSettings, SeriesSettings
from hdt_fm.cli.workflow import encoder_digest, open_shards, people_of, prepare_machine
from hdt_fm.data.series import series_beside, series_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.evaluation.backtest import floors
from hdt_fm.evaluation.backtest.run import Model as Contender
from hdt_fm.evaluation.backtest.run import backtest
from hdt_fm.evaluation.folds import Fold
from hdt_fm.metrics.conformal import scores_of, split_shift
from hdt_fm.metrics.events import EVENTS
from hdt_fm.report.tables import flat_rows, markdown
from hdt_fm.schema import registry
from hdt_fm.schema.errors import ConfigError, SplitError
from hdt_fm.schema.manifest import Part
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.schema.result import RunRecord
from hdt_fm.schema.series import ForecastTask, Series
from hdt_fm.signal.moments import Moments
from hdt_fm.training.forecasts import ask, fit_forecast
from hdt_fm.training.heads import take

OURS = "encoder + forecast head"
FOLLOWED = "encoder + forecast head, last layer following the person"
# Arguments of `head=forecast` that mean the same for a signal.
ALIKE = ("kind", "width")


def run(run: Run) -> RunRecord:
    """Train the head, score it on the people kept out beside the floors, and save it with the encoder."""
    config = run.config
    prepare_machine(config)
    folder, checkpoint = open_shards(config), Path(config.value("checkpoint"))
    model, series, given, task = load(checkpoint), *_asked(config, folder)
    target = run.folder / "checkpoint"
    # Before anything is trained: what lies there already may not be readable.
    base = _base(model, target)
    fold_people = _people(config, folder, checkpoint)
    run.say(f"{task.modality} of {len({one.group for one in series})} people: embedding")
    moments, inputs = told(model, series, task, given=given, kept=run.folder / "series_embeddings.safetensors")
    fold = _fold(moments, fold_people)
    part = _part(config, task, inputs)
    made: dict[str, Any] = {}

    def fit(hidden: Moments, _: Any, train: NDArray[np.int64], asked: NDArray[np.int64]) -> NDArray[np.float64]:
        seed = int(config.value("seed"))
        torch.manual_seed(seed)
        head = registry.build("heads", part.name, part.args)
        change = hidden.target[train] - hidden.last[train, None]
        settings = config.section("finetune", FinetuneSettings)
        known = take(inputs, torch.from_numpy(train))
        fit_forecast(
            head, known, change, hidden.group[train], epochs=settings.epochs, batch_size=settings.batch_size, seed=seed
        )
        made.update(head=head, train=train)
        return ask(head, take(inputs, torch.from_numpy(asked)))

    def follow(hidden: Moments, _: Any, train: NDArray[np.int64], asked: NDArray[np.int64]) -> NDArray[np.float64]:
        # The head that was trained just before; each truth is used once its day has passed.
        own = moments.rows(asked)
        some = take(inputs, torch.from_numpy(asked))
        said = ask(made["head"], some)
        return said + corrections(made["head"], own, some, said)[..., None]

    result = backtest(
        f"forecast of {task.modality}",
        series,
        moments,
        {**_floors(), OURS: Contender(fit, "ours"), FOLLOWED: Contender(follow, "ours")},
        headline=FOLLOWED,
        folds=[fold],
        seeds=[int(config.value("seed"))],
        levels=part.args["levels"],
        events=EVENTS.get(task.modality, ()),
        unit=task.unit,
        owed=("last value", "ridge"),
        progress=run.progress("finetune"),
    )
    head = made["head"]
    _calibrate(head, moments, inputs, np.setdiff1d(fold.train, made["train"]))
    head.usual.copy_(torch.from_numpy(usual(series, sorted({int(one) for one in moments.group[fold.train]}))))
    name = head_name(task.modality)
    base.config = base.config.model_copy(update={"heads": {**base.config.heads, name: part}})
    base.heads[name] = head
    save_model(base, target, preprocess=load_preprocess(checkpoint))
    home = run.folder / name
    home.mkdir(exist_ok=True)
    write_text(home / "table.md", markdown(result) + "\n")
    write_text(home / "rows.json", json.dumps(flat_rows([result]), indent=1) + "\n")
    middle = f"in {task.horizons_s[len(task.horizons_s) // 2] / 60:g} min"
    shown = {
        f"RMSE {middle}, {row.model}": f"{row.value:.1f} {task.unit}"
        for row in result.rows
        if (row.what, row.metric) == (middle, "RMSE")
    }
    return run.finish(
        outputs={"checkpoint": target, "table": home / "table.md"},
        following=(f"hdt-fm twin forecast PATH checkpoint={target}", f"hdt-fm publish {config.chosen}"),
        summary={
            "head": name,
            "people in training": len(np.unique(moments.group[fold.train])),
            "people asked": len(np.unique(moments.group[fold.test])),
            **shown,
        },
        results=(result,),
        provenance={"encoder": encoder_digest(model), "shards": folder.digest},
    )


def plan(config: Config) -> dict[str, Any]:
    """Read the series and say how much there is to learn from."""
    folder = open_shards(config)
    series, given, task = _asked(config, folder)
    hours = sum(float(one.observed.sum()) * one.step_s for one in series) / 3600
    told_of = {name: len({one.group for one in some}) for name, some in given.items()}
    people = {"people": len({one.group for one in series}), "hours read": round(hours)}
    return {"head": head_name(task.modality), **people, **{f"people with {name}": n for name, n in told_of.items()}}


def _asked(config: Config, folder: ShardFolder) -> tuple[list[Series], dict[str, list[Series]], ForecastTask]:
    """The series, those of treatments beside, and what a head is asked."""
    settings = config.section("series", SeriesSettings)
    assert settings.modality is not None, "the verb goes elsewhere where there is none"
    series, given = series_of(folder, settings.modality), _given(folder, settings)
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


def _given(folder: ShardFolder, settings: SeriesSettings) -> dict[str, list[Series]]:
    """Of each treatment that somebody of the folder is known to have been given."""
    if settings.treatments is None:
        return {}
    other = ShardFolder.open(Path(settings.treatments))
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


def _part(config: Config, task: ForecastTask, inputs: HeadInput) -> Part:
    """The head, by what it is told; of `head=forecast` only what means the same here."""
    given = config.part("head")
    args: dict[str, Any] = {"levels": list(floors.LEVELS)}
    args |= given.args if given.name == HEAD else {key: given.args[key] for key in ALIKE if key in given.args}
    assert inputs.known is not None
    made = {
        "known": inputs.known.shape[1],
        "in_features": inputs.context.shape[-1],
        "horizons": len(task.horizons_s),
        "asked": plain(task),
    }
    return Part(name=HEAD, args={**args, **made})


def _people(config: Config, folder: ShardFolder, checkpoint: Path) -> dict[str, NDArray[np.int64]]:
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


def _floors() -> dict[str, Contender]:
    found = {
        "last value": floors.last_value(),
        "damped trend": floors.damped_trend(),
        "seasonal naive, a day": floors.seasonal_naive(),
        "ridge": floors.ridge(),
    }
    with suppress(ConfigError):  # an extra; the table says what stands in it
        found["LightGBM"] = floors.lightgbm_quantiles()
    return {name: Contender(fit, "baseline") for name, fit in found.items()}


def _calibrate(head: Any, moments: Moments, inputs: HeadInput, apart: NDArray[np.int64]) -> None:
    """Let people kept apart say how far the ends of the interval move, and how far scores lie from each other."""
    said = ask(head, take(inputs, torch.from_numpy(apart)))
    for column in range(said.shape[1]):
        low, high, truth = said[:, column, 1], said[:, column, -1], moments.target[apart, column]
        known = np.isfinite(truth)
        head.shift[column] = split_shift(low, high, truth, moments.group[apart], COVERAGE)
        head.score_spread[column] = float(np.std(scores_of(low, high, truth)[known])) if known.any() else 1.0


def _base(model: Model, target: Path) -> Model:
    """The model with the heads that it has there already, if it is the same encoder's."""
    if not (target / "config.json").is_file():
        return model
    there = load(target)
    return there if encoder_digest(there) == encoder_digest(model) else model
