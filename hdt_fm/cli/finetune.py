"""`hdt-fm finetune`: a head on cached embeddings of the frozen encoder, in seconds; baselines beside."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdt_fm.checkpoint import load, load_preprocess, save_model
from hdt_fm.cli.compose import Config
from hdt_fm.cli.held_out import held_out_fold, people_of_checkpoint, pseudonyms
from hdt_fm.cli.run import Run, write_text
from hdt_fm.cli.settings import FinetuneSettings, SeriesSettings
from hdt_fm.cli.workflow import encoder_digest, prepare_machine
from hdt_fm.data.embeddings import load_table
from hdt_fm.evaluation.audit import Pretraining
from hdt_fm.evaluation.folds import Fold
from hdt_fm.evaluation.forecast import forecast
from hdt_fm.evaluation.heads import probe_table
from hdt_fm.evaluation.origins import Origins
from hdt_fm.report.tables import flat_rows, markdown
from hdt_fm.schema import registry
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import CheckpointError, ConfigError, LeakError, unknown_name
from hdt_fm.schema.manifest import Part
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.protocols import HeadInput
from hdt_fm.schema.result import Result, RunRecord
from hdt_fm.training.heads import fit_head

# Heads of a signal itself (`series.modality`), and who teaches them.
OF_SERIES = {
    "forecast": "hdt_fm.cli.finetune_series",
    "series_forecast": "hdt_fm.cli.finetune_series",
    "event_risk": "hdt_fm.cli.finetune_risk",
    "plan_response": "hdt_fm.cli.finetune_plans",
}
# Of labels of windows where no modality is named.
OF_LABELS_TOO = {"forecast"}


def run(run: Run) -> RunRecord:
    """Train the head, score it on the people kept out, and save it with the encoder."""
    config = run.config
    if (teaching := _of_series(config)) is not None:
        return import_module(teaching).run(run)
    prepare_machine(config)
    settings = config.section("finetune", FinetuneSettings)
    part, table = config.part("head"), load_table(config.value("table"))
    _label(table, settings.label)
    checkpoint = Path(config.value("checkpoint"))
    encoder = load(checkpoint)
    _refuse_input(table, settings.label, [column.name for column in encoder.config.covariates])
    # A head reads all modalities of the model, those that this cohort lacks too.
    table = table.over(encoder.modalities)
    _refuse_other_model(table, encoder_digest(encoder))
    saw = people_of_checkpoint(checkpoint)
    fold = held_out_fold(table, saw)
    fit = _fit_forecast if part.name == "forecast" else _fit_probe
    head, result, seen = fit(run, table, fold, saw, part, settings)
    name = f"{part.name}_{settings.label}"
    target = run.folder / "checkpoint"
    base = load(target) if (target / "config.json").is_file() and _same_encoder(target, table) else encoder
    heads = {**base.config.heads, name: seen}
    base.config = base.config.model_copy(update={"heads": heads})
    base.heads[name] = head
    save_model(base, target, preprocess=load_preprocess(checkpoint))
    home = run.folder / name
    home.mkdir(exist_ok=True)
    write_text(home / "table.md", markdown(result) + "\n")
    write_text(home / "rows.json", json.dumps(flat_rows([result]), indent=1) + "\n")
    return run.finish(
        outputs={"checkpoint": target, "table": home / "table.md"},
        following=(f"hdt-fm explain {config.chosen}",)
        if part.name == "probe"
        else (f"hdt-fm publish {config.chosen}",),
        summary={"head": name, "people in training": len(saw["train"]), **_headline(result)},
        results=(result,),
        provenance={"encoder": table.model_digest, "shards": table.data_digest},
    )


def _of_series(config: Config) -> str | None:
    """The module that teaches a head of a signal itself; None for one of labels of windows.

    Raises:
        ConfigError: If a head of a signal alone is asked for without a signal.
    """
    name = config.part("head").name
    if config.section("series", SeriesSettings).modality is not None:
        return OF_SERIES.get(name)
    if name in OF_SERIES and name not in OF_LABELS_TOO:
        raise ConfigError(
            f"Head {name!r} is of a signal itself",
            where="series.modality",
            expected="the modality that it is to follow",
            got="null",
            fix="say series.modality=glucose",
        )
    return None


def plan(config: Config) -> dict[str, Any]:
    """Check the table, the label and the head's settings."""
    if (teaching := _of_series(config)) is not None:
        return import_module(teaching).plan(config)
    settings, part = config.section("finetune", FinetuneSettings), config.part("head")
    table = load_table(config.value("table"))
    _label(table, settings.label)
    known = np.isfinite(table.labels[settings.label])
    return {"head": part.name, "label": settings.label, "windows with the label": f"{int(known.sum())} of {len(table)}"}


def _fit_probe(
    run: Run, table: EmbeddingTable, fold: Fold, saw: dict[str, list[str]], part: Part, settings: FinetuneSettings
) -> tuple[nn.Module, Result, Part]:
    column = _label(table, settings.label)
    values = table.labels[settings.label]
    known = values[fold.train][np.isfinite(values[fold.train])]
    kind: dict[str, Any] = {"out_features": max(len(column.classes), 2), "kind": "class"}
    if column.kind != "class":
        kind = {"out_features": 1, "kind": "value", "center": float(known.mean()), "scale": float(known.std() or 1.0)}
    seen = Part(name=part.name, args={"in_features": table.features().shape[1], **kind, **part.args})
    head = registry.build("heads", seen.name, seen.args)
    everyone = _inputs(table.features()[:, None])
    target, counts = torch.nan_to_num(torch.from_numpy(values)), torch.from_numpy(np.isfinite(values))
    _train(run, head, everyone, target, counts, *_sides(table, fold.train, saw), settings)
    with torch.no_grad():
        output = head(everyone).numpy()
    result = probe_table(
        table, settings.label, output, fold, pretraining=_pretraining(saw), seed=int(run.config.value("seed"))
    )
    return head, result, seen


def _fit_forecast(
    run: Run, table: EmbeddingTable, fold: Fold, saw: dict[str, list[str]], part: Part, settings: FinetuneSettings
) -> tuple[nn.Module, Result, Part]:
    values = table.labels[settings.label][fold.train]
    known = values[np.isfinite(values)]
    made: dict[str, Any] = {}
    features = table.features()

    def fit(origins: Origins, train: NDArray[np.int64], test: NDArray[np.int64]) -> NDArray[np.float64]:
        spread = float(np.nanstd(origins.target[train] - _last(origins.recent[train])[:, None])) or float(known.std())
        args = {"in_features": features.shape[1], "center": float(known.mean()), "scale": spread or 1.0, **part.args}
        seen = Part(name=part.name, args=args)
        head = registry.build("heads", seen.name, seen.args)
        inputs = _inputs(features[origins.context], origins.recent)
        target = torch.from_numpy(np.nan_to_num(origins.target)).float()
        counts = torch.from_numpy(np.isfinite(origins.target))
        last = origins.context[:, -1]
        _train(run, head, inputs, target, counts, *_sides(table, train, saw, last), settings)
        made.update(head=head, part=seen)
        with torch.no_grad():
            return head(_pick(inputs, torch.from_numpy(test))).double().numpy()

    horizon = int(part.args["horizon"])
    result = forecast(
        table,
        settings.label,
        context=settings.context,
        horizon=horizon,
        folds=[fold],
        fit=fit,
        levels=part.args.get("quantiles", (0.1, 0.25, 0.5, 0.75, 0.9)),
        pretraining=_pretraining(saw),
        seed=int(run.config.value("seed")),
    )
    return made["head"], result, made["part"]


def _pretraining(saw: dict[str, list[str]]) -> Pretraining:
    return Pretraining((pseudonyms(saw),))


def _train(
    run: Run,
    head: nn.Module,
    inputs: HeadInput,
    target: Tensor,
    counts: Tensor,
    train: Tensor,
    watch: Tensor,
    settings: FinetuneSettings,
) -> None:
    validation = (_pick(inputs, watch), target[watch], counts[watch]) if counts[watch].any() else None
    fit_head(
        head,
        _pick(inputs, train),
        target[train],
        counts[train],
        validation=validation,
        seed=int(run.config.value("seed")),
        progress=run.progress("finetune"),
        **settings.model_dump(exclude={"label", "context"}),
    )


def _sides(
    table: EmbeddingTable, train: NDArray[np.int64], saw: dict[str, list[str]], rows: NDArray[np.int64] | None = None
) -> tuple[Tensor, Tensor]:
    """Training positions without, and of, the people who only watch over early stopping."""
    watching = [row for row, name in enumerate(table.subjects) if name in set(saw["validation"])]
    subject = table.subject if rows is None else table.subject[rows]
    watch = np.isin(subject[train], watching)
    return torch.from_numpy(train[~watch]), torch.from_numpy(train[watch])


def _inputs(context: NDArray[np.floating], recent: NDArray[np.floating] | None = None) -> HeadInput:
    tensor = torch.from_numpy(np.ascontiguousarray(context)).float()
    known = None if recent is None else torch.from_numpy(recent).float()
    return HeadInput(context=tensor, observed=torch.ones(tensor.shape[:2], dtype=torch.bool), recent=known)


def _pick(inputs: HeadInput, rows: Tensor) -> HeadInput:
    recent = None if inputs.recent is None else inputs.recent[rows]
    return HeadInput(context=inputs.context[rows], observed=inputs.observed[rows], recent=recent)


def _last(recent: NDArray[np.floating]) -> NDArray[np.floating]:
    """The newest known value of each row; NaN where none is known."""
    place = np.where(np.isfinite(recent), np.arange(recent.shape[1]), -1).max(1)
    return np.where(place >= 0, np.take_along_axis(recent, np.maximum(place, 0)[:, None], 1)[:, 0], np.nan)


def _label(table: EmbeddingTable, name: str) -> Any:
    for column in table.label_columns:
        if column.name == name:
            return column
    raise unknown_name("label", name, [column.name for column in table.label_columns], where="finetune.label")


def _refuse_input(table: EmbeddingTable, label: str, covariates: list[str]) -> None:
    """Refuse a label of the name of a covariate that these embeddings hold."""
    if STATIC in table.modalities and label in covariates:
        raise LeakError(
            f"The label {label!r} is a covariate that the encoder reads",
            where="finetune.label",
            expected="a label that is no input",
            fix=f"pretrain without {label!r} in covariates, or take another label",
        )


def _refuse_other_model(table: EmbeddingTable, digest: str) -> None:
    if table.model_digest != digest:
        raise CheckpointError(
            "The embedding table was made by another encoder than the checkpoint's",
            expected=digest[:12],
            got=table.model_digest[:12],
            fix="run `hdt-fm embed` again with this checkpoint",
        )


def _same_encoder(folder: Path, table: EmbeddingTable) -> bool:
    return encoder_digest(load(folder)) == table.model_digest


def _headline(result: Result) -> dict[str, Any]:
    first = result.rows[0]
    rows = [row for row in result.rows if (row.what, row.metric) == (first.what, first.metric)]
    return {f"{row.metric}, {row.model}": round(row.value, 3) for row in rows}
