"""What several verbs need: the parts a config names, built and joined. Rooms get plain arguments from here."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hdt_fm.checkpoint import Model, build_model, model_digest
from hdt_fm.cli.cohorts import NOBODY, Cohorts, People, Rows, joined
from hdt_fm.cli.compose import Config
from hdt_fm.cli.contract import typical_of_people
from hdt_fm.cli.private import known_of, private_over
from hdt_fm.cli.progress import Report
from hdt_fm.cli.settings import EmbedSettings, LoggerSettings, SplitSettings, TrainingSettings
from hdt_fm.data.embeddings import compute_embeddings
from hdt_fm.data.masking import drop_modalities, hide_end, hide_stretches
from hdt_fm.data.normalize import typical_windows
from hdt_fm.data.selection import subject_split
from hdt_fm.data.shards import ShardFolder
from hdt_fm.data.stream import OrderedBatches
from hdt_fm.data.views import Augment
from hdt_fm.evaluation.hand_features import course_features, feature_table
from hdt_fm.evaluation.hand_features.people import people_features
from hdt_fm.schema import registry
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.manifest import ModelConfig, Part, Preprocess
from hdt_fm.schema.modalities import STATIC, modality
from hdt_fm.schema.protocols import Scaled, Shaped
from hdt_fm.training.distributed import launched
from hdt_fm.training.pretrain import Change, PretrainOutcome, pretrain

# Training settings that are not of the optimisation.
OF_THE_STREAM = ("batch_size", "people_per_pool", "cohort_alpha", "modality_dropout", "hide", "augment")
# Windows of each cohort that are shown to encoders and losses.
TYPICAL_WINDOWS = 512
# Windows that a closed form is fitted on: several times the features of any encoder here.
START_WINDOWS = 2000
# Names the draws of hidden stretches. The views' third word is a modality's number, which stays far below.
STRETCHES = 1_000_003


def prepare_machine(config: Config) -> None:
    """Thread count of this process."""
    threads = int(config.value("threads"))
    if threads > 0:
        torch.set_num_threads(threads)


def device_of(config: Config) -> str:
    """`cpu` or `cuda`; `auto` takes the GPU when there is one."""
    asked = str(config.value("device"))
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked not in ("cpu", "cuda") or (asked == "cuda" and not torch.cuda.is_available()):
        raise ConfigError(
            f"The device {asked!r} cannot be used",
            where="device",
            expected="auto, cpu, or cuda where there is a GPU",
            fix="device=auto",
        )
    return asked


def open_shards(config: Config) -> ShardFolder:
    """The run's shard folder."""
    return ShardFolder.open(Path(config.value("shards")))


def open_cohorts(config: Config) -> Cohorts:
    """The shard folders that `cohorts` lists, each split by person; the run's own where it lists none."""
    paths = config.value("cohorts")
    if paths is None:
        folder = open_shards(config)
        return Cohorts.one(folder, people_of(config, folder))
    if not isinstance(paths, list):
        raise ConfigError("`cohorts` must be a list", where="cohorts", got=str(paths), fix=f"cohorts=[{paths}]")
    folders = [ShardFolder.open(Path(path)) for path in paths]
    alpha = config.section("training", TrainingSettings).cohort_alpha
    return joined(folders, [people_of(config, folder) for folder in folders], alpha)


def cohorts_around(config: Config, folder: ShardFolder, train: Rows) -> Cohorts:
    """Some people of one cohort, and everyone of the others that `cohorts` lists."""
    some = People(train, NOBODY, NOBODY)
    paths = config.value("cohorts")
    if paths is None:
        return Cohorts.one(folder, some)
    others = [one for one in map(ShardFolder.open, map(Path, paths)) if one.digest != folder.digest]
    if len(others) == len(paths):
        raise ConfigError(
            "The shards that are evaluated are not among the cohorts",
            where="protocol.people=per_fold",
            expected="shards: one of the folders in `cohorts`",
            got=str(config.value("shards")),
            fix="protocol.people=unseen takes a checkpoint that never saw this cohort",
        )
    everyone = [People(np.arange(len(one.manifest.subjects)), NOBODY, NOBODY) for one in others]
    alpha = config.section("training", TrainingSettings).cohort_alpha
    return joined([folder, *others], [some, *everyone], alpha)


def people_of(config: Config, folder: ShardFolder) -> People:
    """The split by person that the config and its seed fix."""
    fractions = config.section("split", SplitSettings).fractions
    parts = subject_split(folder.manifest, fractions=fractions, seed=int(config.value("seed")))
    return People(parts["train"], parts.get("validation", NOBODY), parts.get("test", NOBODY))


def asked_covariates(config: Config) -> tuple[str, ...]:
    """Columns of the people that the run takes as an input."""
    names = config.value("covariates")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ConfigError(
            "`covariates` must be a list of columns, each once",
            where="covariates",
            expected="[age_band, sex], or [] for none",
            got=type(names).__name__ if not isinstance(names, list) else f"{len(names)} entries",
        )
    return tuple(names)


def preprocess_of(folder: ShardFolder) -> Preprocess:
    """The signal contract of models trained on these shards."""
    return Preprocess(preparation=folder.manifest.preparation, modalities=folder.header.modalities)


def new_model(config: Config, folder: ShardFolder, train: Rows, *, seed: int | None = None) -> Model:
    """`model_over` one cohort."""
    return model_over(config, Cohorts.one(folder, People(train, NOBODY, NOBODY)), seed=seed)


def model_over(config: Config, cohorts: Cohorts, *, seed: int | None = None) -> Model:
    """A model with fresh weights whose input scales, and what it knows of facts about people, come from the training
    people only; privately from none of them (`known_of`). A covariate that tells nothing of them is left out here;
    pretraining refuses it."""
    cohorts = cohorts.with_covariates(asked_covariates(config), strict=False)
    encoder, projection = config.part("encoder"), config.part("projection")
    args = dict(encoder.args)
    per_modality = args.pop("per_modality", {})
    own_seed = int(config.value("seed"))
    if cohorts.covariates:
        columns = [column.model_dump(mode="json") for column in cohorts.covariates]
        own = {**config.part("static").args, **per_modality.get(STATIC, {})}
        per_modality = {**per_modality, STATIC: {**own, "columns": columns}}
    of_these = {word for column in cohorts.columns for word in (column.name, modality(column.name).kind)}
    known = known_of(config, cohorts)
    plain = ModelConfig(
        modalities=cohorts.columns,
        encoder=Part(name=encoder.name, args=args),
        per_modality={name: value for name, value in per_modality.items() if name in of_these},
        projection=projection,
        fusion=config.part_or_none("fusion"),
        statistics=known.statistics(),
        window_s=cohorts.first.header.window_s,
    )
    model = build_model(plain, seed=own_seed if seed is None else seed)
    model.calibrate(*known.typical(TYPICAL_WINDOWS))
    return model


def typical_of(config: Config, folder: ShardFolder, train: Rows) -> Batch:
    """Windows of the training people, for what a model or a loss must know of typical windows."""
    return typical_windows(folder, train, TYPICAL_WINDOWS, seed=int(config.value("seed")))


def refuse_shaped(loss: nn.Module, cohorts: Cohorts) -> None:
    """Refuse a loss with a decoder over several cohorts: it is made for windows of one rate and length."""
    if isinstance(loss, Shaped) and not getattr(loss, "any_rate", False) and len(cohorts.folders) > 1:
        raise ConfigError(
            "This loss cannot be trained over several cohorts",
            where="loss.name",
            expected="a contrast alone, such as info_nce, or readings_ahead",
            got=f"{type(loss).__name__}, which tells patches of windows of one rate and length",
            fix="loss=info_nce, or pretrain on one cohort (cohorts=null shards=FOLDER)",
        )


def new_loss(config: Config, model: Model | None = None, typical: Callable[[], Batch] | None = None) -> nn.Module:
    """The loss that the config names, with fresh weights that depend on the config and the seed only.

    Args:
        model: What it is to train; a loss with a decoder takes its shape from it.
        typical: Gives windows of the training people, asked for only by a loss that needs the scale of its targets.
    """
    part = config.part("loss")
    loss = registry.build("losses", part.name, part.args)
    refuse_read_end(config, loss)
    if model is not None and isinstance(loss, Shaped):
        loss.shape(model.config.modalities, model.encoder.width, int(config.value("seed")))  # type: ignore[arg-type]
    if typical is not None and isinstance(loss, Scaled):
        loss.learn_scale(typical())
    return loss


def unread_s(config: Config) -> float:
    """Seconds at the end of each window that the config's encoder does not read."""
    return float(config.part("encoder").args.get("ahead_s", 0.0))


def refuse_read_end(config: Config, loss: nn.Module) -> None:
    """Refuse a loss that asks for the end of windows beside an encoder that reads it."""
    asked_s, unread = float(getattr(loss, "ahead_s", 0.0)), unread_s(config)
    if asked_s > unread:
        raise ConfigError(
            "The encoder reads what the loss asks it to foretell",
            where="encoder.ahead_s",
            expected=f"{asked_s:g} or more, as far as {type(loss).__name__} looks ahead",
            got=f"{unread:g}",
            fix=f"encoder=recurrent encoder.ahead_s={asked_s:g}",
        )


def changes(config: Config) -> tuple[Change, Change]:
    """Augmentation, and the hiding of stretches and modalities, each a function of (batch, step) alone, so that a
    resume repeats them."""
    training, seed = config.section("training", TrainingSettings), int(config.value("seed"))
    augment = Augment(seed, **training.augment.model_dump())
    end_s = unread_s(config)

    def hide(batch: Batch, step: int) -> Batch:
        # Stretches have draws of their own: switching them on leaves the modalities that are dropped as they were.
        batch = hide_stretches(batch, **training.hide.model_dump(), generator=_generator(seed, step, STRETCHES))
        batch = hide_end(batch, end_s=end_s)
        return drop_modalities(batch, probability=training.modality_dropout, generator=_generator(seed, step))

    return augment.apply, hide


def _generator(*place: int) -> torch.Generator:
    # Hashed, so that nearby seeds and steps do not give nearby generator states.
    word = np.random.SeedSequence(place).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(word) >> 1)


def start_of(config: Config, model: Model, folder: ShardFolder, train: Rows) -> Callable[[], None] | None:
    """`start_over` one cohort."""
    return start_over(config, model, Cohorts.one(folder, People(train, NOBODY, NOBODY)))


def start_over(config: Config, model: Model, cohorts: Cohorts) -> Callable[[], None] | None:
    """What a fresh pretraining begins with, when the config asks for it."""
    if config.section("training", TrainingSettings).start == "random":
        return None
    known = known_of(config, cohorts)
    return lambda: model.start(*known.to_start(START_WINDOWS))


def train_over(
    config: Config, cohorts: Cohorts, run_dir: Path, *, progress: Report, say: Any
) -> tuple[Model, PretrainOutcome]:
    """Pretrain on the training people of the cohorts, or go on with it; the model ends in `run_dir/checkpoint`."""
    training = config.section("training", TrainingSettings)
    logger = config.section("logger", LoggerSettings)
    seed = int(config.value("seed"))
    private = private_over(config, cohorts)
    cohorts = cohorts.with_covariates(asked_covariates(config), strict=True)
    model = model_over(config, cohorts)
    augment, drop = changes(config)
    known = known_of(config, cohorts)
    loss = new_loss(config, model, lambda: known.typical(TYPICAL_WINDOWS)[0])
    refuse_shaped(loss, cohorts)
    outcome = pretrain(
        model=model,
        loss=loss,
        datamodule=cohorts.data(batch_size=training.batch_size, people_per_pool=training.people_per_pool, seed=seed),
        preprocess=cohorts.preprocess(typical_of_people(known.source) if known.source else None),
        run_dir=run_dir,
        val_every=training.val_every if cohorts.watched else 0,
        augment=augment,
        drop=drop,
        # A loss with a decoder tells again what was hidden; without anything hidden it could not be judged.
        val_drop=drop if isinstance(loss, Shaped) else None,
        begin=start_over(config, model, cohorts),
        private=private,
        accelerator="gpu" if device_of(config) == "cuda" else "cpu",
        **asdict(launched(os.environ, sharded=training.sharded)),
        progress=progress,
        say=say,
        seed=seed,
        **training.model_dump(exclude={*OF_THE_STREAM, "val_every", "start", "sharded", "private"}),
        **logger.model_dump(),
    )
    return model.to(device_of(config)), outcome


def embed(config: Config, model: Model, folder: ShardFolder, progress: Report | None = None) -> EmbeddingTable:
    """Embeddings of every window of the folder, with what its manifest says of the columns that the model reads."""
    device = device_of(config)
    size = config.section("embed", EmbedSettings).batch_size
    return compute_embeddings(
        model.to(device),
        folder.with_static(model.config.covariates),
        model_digest=encoder_digest(model),
        modalities=model.modalities,
        batch_size=size,
        device=device,
        progress=progress,
    )


def encoder_digest(model: Model) -> str:
    """Names what makes embeddings and projections; training a head on them does not change it."""
    return model_digest(model, heads=False)


def hand_made(
    folder: ShardFolder, table: EmbeddingTable, progress: Report, covariates: Sequence[str] = ()
) -> tuple[NDArray[np.float64], tuple[str, ...], dict[str, NDArray[np.float64]]]:
    """Hand-made features of the table's windows, in its order: statistics, their names, each signal's course.

    Args:
        covariates: Columns that the encoder reads, and so its opponents do.
    """
    rates = {column.name: column.sampling_rate_hz for column in folder.header.modalities}
    parts, ids = [], []
    courses: dict[str, list[NDArray[np.float64]]] = {name: [] for name in folder.modalities}
    names: tuple[str, ...] = ()
    batches = OrderedBatches(folder, np.arange(folder.windows), batch_size=512)
    for number, batch in enumerate(batches):
        signals = complete(batch, folder)
        values = {name: signal.values.numpy() for name, signal in signals.items()}
        observed = {name: signal.observed.numpy() for name, signal in signals.items()}
        features, names = feature_table(values, observed, batch.present.numpy(), rates)
        parts.append(features)
        for name, course in courses.items():
            course.append(course_features(values[name], observed[name]))
        ids.append(batch.window_id.numpy())
        progress(number + 1, len(batches), "hand-made features")
    place = {int(window): row for row, window in enumerate(np.concatenate(ids))}
    order = [place[int(window)] for window in table.window_id]
    made = np.concatenate(parts)[order]
    if STATIC in table.modalities:
        facts, own = people_features([row.covariates for row in folder.manifest.subjects], covariates)
        made, names = np.concatenate([made, facts[table.subject]], axis=1), (*names, *own)
    return made, names, {name: np.concatenate(some)[order] for name, some in courses.items()}


def complete(batch: Batch, folder: ShardFolder) -> dict[str, Signal]:
    """Signals in the order of the header; one that the whole batch lacks comes as zeros, unobserved."""
    signals = {}
    for column in folder.header.modalities:
        absent = Signal(
            torch.zeros(len(batch), column.channels, column.samples),
            torch.zeros(len(batch), column.samples, dtype=torch.bool),
            column.sampling_rate_hz,
        )
        signals[column.name] = batch.signals.get(column.name, absent)
    return signals


def endless(folder: ShardFolder, positions: NDArray[np.int64], size: int, seed: int) -> Iterator[Batch]:
    """Batches of shuffled positions, pass after pass; for small supervised runs."""
    generator = np.random.default_rng(seed)
    while True:
        order = generator.permutation(positions)
        for start in range(0, max(len(order) - size, 0) + 1, size):
            yield folder.gather(np.sort(order[start : start + size]))
