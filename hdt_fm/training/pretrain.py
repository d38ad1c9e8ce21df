"""Cross-modal pretraining: steps without an epoch, exact resume, and a checkpoint folder at the end."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning import LightningDataModule, Trainer
from torch import Tensor, nn

from hdt_fm.checkpoint import Model, save_model
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.manifest import Preprocess
from hdt_fm.training.blocks import changed_blocks, check_blocks
from hdt_fm.training.callbacks import CollapseWatch, MetricsLog, Progress, RollingCheckpoint, StopRequested, WandbSink
from hdt_fm.training.distributed import SHARDED
from hdt_fm.training.logs import CsvSink, Sink, TensorBoardSink
from hdt_fm.training.module import Change, Pretraining, fingerprint, step_seed
from hdt_fm.training.private import Private, Steps, Turns, private_steps
from hdt_fm.training.private_checks import refuse_unfit_run
from hdt_fm.training.private_secret import forget
from hdt_fm.training.process import generators_restored, quiet
from hdt_fm.training.resume import check_settings, find_checkpoint
from hdt_fm.training.sharding import Sharded

__all__ = ["Change", "PretrainOutcome", "Pretraining", "fingerprint", "pretrain", "step_seed"]

Precision = Literal["32-true", "bf16-mixed"]
Wandb = Literal["disabled", "offline", "online"]
CHECKPOINTS = "checkpoints"
MODEL = "checkpoint"
METRICS = "metrics.csv"


@dataclass(frozen=True)
class PretrainOutcome:
    """What a run left.

    Attributes:
        checkpoint: Folder of the trained model; None when the run was stopped before its last step.
        steps: Done in all, earlier runs included.
        stopped_by: Name of the signal that stopped it.
        resumed_from: Step that this run went on from.
        windows, seconds: Of this run alone.
        metrics: Last value of each number.
        notices: What the user should know, e.g. that a damaged checkpoint was passed over.
    """

    checkpoint: Path | None
    steps: int
    finished: bool
    stopped_by: str | None
    resumed_from: int | None
    windows: int
    seconds: float
    metrics: dict[str, float]
    notices: tuple[str, ...] = field(default_factory=tuple)


def pretrain(
    *,
    model: Model,
    loss: nn.Module,
    datamodule: LightningDataModule,
    preprocess: Preprocess,
    run_dir: Path,
    steps: int,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.05,
    warmup_steps: int | None = None,
    clip_norm: float | None = 1.0,
    precision: Precision = "32-true",
    checkpoint_every: int = 500,
    val_every: int = 500,
    log_every: int = 20,
    resume: str | Path = "auto",
    seed: int = 0,
    drop: Change | None = None,
    augment: Change | None = None,
    val_drop: Change | None = None,
    begin: Callable[[], None] | None = None,
    private: Private | None = None,
    accelerator: str = "auto",
    devices: int | str | Sequence[int] = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
    piece: int | None = None,
    fused: bool = False,
    activation_checkpointing: bool = False,
    compile: bool = False,
    deterministic: bool | Literal["warn"] = "warn",
    tensorboard: bool = False,
    wandb: Wandb = "disabled",
    wandb_project: str = "hdt_fm",
    progress: Progress | None = None,
    say: Callable[[str], None] = print,
) -> PretrainOutcome:
    """Train to `steps`, or go on to it, and leave the model in `<run_dir>/checkpoint`.

    Killed at any step and started again with resume="auto", it ends with the weights of an unbroken run, bit for
    bit on a CPU: data follow from the stored position, every draw from the step.

    Args:
        model: Trained in place.
        datamodule: Endless training stream whose `state_dict` counts what was consumed; finite validation batches.
        warmup_steps: A twentieth of `steps` when None.
        clip_norm: Limit of the gradient's norm; None does not clip.
        val_every: 0 never validates.
        resume: "auto", "never" or the path of a `step-XXXXXXXX.ckpt`, whose settings may differ except for the model.
        drop, augment, val_drop: As for `Pretraining`.
        begin: Called before the first step of a run that does not go on from a checkpoint.
        private: Differential privacy of the people that it holds; the datamodule then gives validation batches alone,
            and `clip_norm` is of no meaning. In one process, as a whole. What `model`, `loss` and `begin` know of
            windows MUST come of other people: nothing here can see that.
        devices, num_nodes, strategy: As for Lightning's Trainer, or `distributed.SHARDED`; `distributed.launched` reads
            them from torchrun. Each process is given its slice of the batch by the datamodule; what is written, the
            first one writes.
        piece, fused: As for `Pretraining`. With dropout another `piece` draws other masks, so a run keeps its own.
        activation_checkpointing, compile: Blocks are recomputed, or compiled (see `changed_blocks`). Compiled ones have
            other last bits, so a run keeps that setting; recomputed ones have not.
        deterministic: "warn" allows operations without a deterministic form, of which only GPUs have some.
        progress: Called as (step, steps, note) after each step.
        say: Called with lines for the user.

    Raises:
        HdtError: If loss or gradient is not finite; the last checkpoint stays.
        CheckpointError, ConfigError: If the run cannot go on as asked.
    """
    _check_positive(steps=steps, checkpoint_every=checkpoint_every, log_every=log_every)
    if piece is not None:
        _check_positive(piece=piece)
    check_blocks(model, recompute=activation_checkpointing, compiled=compile)
    run_dir = Path(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    notices: list[str] = []
    optim = {
        "steps": steps,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "warmup_steps": steps // 20 if warmup_steps is None else warmup_steps,
    }
    settings = {**optim, "clip_norm": clip_norm, "precision": precision, "seed": seed, **_identity(model, loss)}
    settings["begin"] = begin is not None
    # None where unused, which is also what checkpoints say that were made before there was this choice.
    settings |= {"piece": piece, "fused": fused or None, "compile": compile or None}
    settings["private"] = private.settings if private else None
    if private:
        refuse_unfit_run(resume, devices=devices, num_nodes=num_nodes, strategy=strategy, piece=piece)
    start = find_checkpoint(run_dir / CHECKPOINTS, resume, say=_both(notices, say))
    must_match = None if resume == "auto" else ("model",)
    resumed_from = check_settings(start, settings, must_match=must_match) if start else None

    if begin is not None and start is None:
        begin()
    # What is shared out cannot be put together in place.
    shared, trained = (Sharded(), deepcopy(model)) if strategy == SHARDED else (None, model)
    changes = {"drop": drop, "augment": augment, "val_drop": val_drop}
    taught = private_steps(private, run_dir / CHECKPOINTS, resumed_from, steps=steps) if private else None
    module = Pretraining(
        trained,
        loss,
        seed=seed,
        piece=piece,
        fused=fused,
        private=taught,
        **changes,  # type: ignore[arg-type]
        **optim,  # type: ignore[arg-type]
    )
    sinks = _sinks(run_dir, tensorboard=tensorboard, wandb=wandb, project=wandb_project)
    log = MetricsLog(sinks, every=log_every, steps=steps, progress=None if private else progress)
    rolling = RollingCheckpoint(
        run_dir / CHECKPOINTS, every=checkpoint_every, steps=steps, val_every=val_every, settings=settings, say=say
    )
    steps_alone = [Steps(progress, steps)] if private and progress else []
    stopped_by = None
    began = time.monotonic()
    with quiet(), generators_restored():
        trainer = Trainer(
            accelerator=accelerator,
            devices=devices,  # type: ignore[arg-type]
            num_nodes=num_nodes,
            strategy=shared or strategy,
            # Weights that are sent for a validation in inference mode could not be learned from later.
            inference_mode=shared is None,
            precision=precision,
            max_steps=steps,
            max_epochs=-1,
            gradient_clip_val=None if private else clip_norm,
            val_check_interval=val_every or None,
            check_val_every_n_epoch=None,
            limit_val_batches=1.0 if val_every else 0,
            deterministic=deterministic,
            callbacks=[log, *steps_alone, CollapseWatch(say=_both(notices, say)), rolling],
            default_root_dir=run_dir,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        try:
            module.train()
            with changed_blocks(trained, recompute=activation_checkpointing, compiled=compile):
                trainer.fit(module, **_data(datamodule, private), ckpt_path=start, weights_only=True)
        except StopRequested as stop:
            stopped_by = stop.name
            _both(notices, say)(f"Stopped by {stop.name}; step {stop.step} of {steps} is saved, resume=auto goes on")
        finally:
            rolling.release()
            log.release()
    if shared:
        model.load_state_dict(_of_model(shared.whole))
        model.eval()
    module.eval()
    if stopped_by is None and trainer.is_global_zero:
        save_model(model, run_dir / MODEL, preprocess=preprocess)
        forget(run_dir / CHECKPOINTS)
    return PretrainOutcome(
        checkpoint=run_dir / MODEL if stopped_by is None else None,
        steps=trainer.global_step,
        finished=stopped_by is None,
        stopped_by=stopped_by,
        resumed_from=resumed_from,
        windows=log.windows,
        seconds=time.monotonic() - began,
        metrics=dict(log.last),
        notices=tuple(notices),
    )


def _data(datamodule: LightningDataModule, private: Private | None) -> dict[str, Any]:
    """What is trained and validated on, as `fit` takes it."""
    if private is None:
        return {"datamodule": datamodule}
    return {"train_dataloaders": Turns(private), "val_dataloaders": datamodule.val_dataloader()}


def _of_model(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The model's part of the state of a `Pretraining`."""
    return {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}


def _sinks(run_dir: Path, *, tensorboard: bool, wandb: Wandb, project: str) -> list[Sink]:
    sinks: list[Sink] = [CsvSink(run_dir / METRICS)]
    if tensorboard:
        sinks.append(TensorBoardSink(run_dir / "tensorboard"))
    if wandb != "disabled":
        sinks.append(WandbSink(run_dir, mode=wandb, project=project))
    return sinks


def _check_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ConfigError(f"{name} must be at least 1", got=str(number), where=f"pretrain.{name}")


def _identity(model: Model, loss: nn.Module) -> dict[str, Any]:
    """What tells models and losses apart, as short plain text."""
    config = hashlib.sha256(model.config.model_dump_json().encode()).hexdigest()[:16]
    # A loss may be made of others; torch's own modules inside are told apart by the settings of the loss around them.
    ours = [(name, part) for name, part in loss.named_modules() if not type(part).__module__.startswith("torch.")]
    told = [f"{name} {type(part).__name__} {_plain_settings(part)}".strip() for name, part in ours]
    return {"model": config, "loss": "; ".join(told)}


def _plain_settings(part: nn.Module) -> dict[str, Any]:
    public = {key: value for key, value in vars(part).items() if not key.startswith("_") and key != "training"}
    return {key: value for key, value in sorted(public.items()) if _is_plain(value)}


def _is_plain(value: object) -> bool:
    return isinstance(value, int | float | str | None) or (
        isinstance(value, dict) and all(map(_is_plain, (*value, *value.values())))
    )


def _both(notices: list[str], say: Callable[[str], None]) -> Callable[[str], None]:
    def tell(line: str) -> None:
        notices.append(line)
        say(line)

    return tell
