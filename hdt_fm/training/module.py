"""A model under a loss, as Lightning wants it. Every draw of a step follows from its place."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from hdt_fm.checkpoint import Model
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ConfigError, HdtError
from hdt_fm.schema.protocols import Embeddings, Encoded, LossReport, ReadsOthers, Shaped, Spreads
from hdt_fm.training.caching import encode_in_pieces
from hdt_fm.training.distributed import gather
from hdt_fm.training.optim import adamw_cosine
from hdt_fm.training.private import Nominal, PrivateSteps
from hdt_fm.training.private_checks import BuffersStay, refuse_unfit
from hdt_fm.training.sharding import Sharded, clip_shared, encode_all, held_anywhere
from hdt_fm.training.validation import Pool

Change = Callable[[Batch, int], Batch]


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """Seed of one step's draws (dropout): a function of its place, so that nothing but the place must be stored."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}/{rank}".encode()).digest()[:8], "big") >> 1


class Pretraining(LightningModule):
    """A model under a loss.

    Args:
        model: Trained in place.
        loss: An `Objective` that is a module; its parameters are trained along. In training it is about the windows of
            all processes: it sees them all, or asks for what it needs (`Spreads`); signals of the others it sees only
            where it is `Shaped`, as a loss that reads signals MUST be.
        drop: Hides stretches and modalities of a batch from the encoders; pure in the place that it is called with,
            which is the step, or with several processes a number of its own for each step and process. The loss is
            told of the batch before and after.
        augment: Changes signals of a batch; pure in the place, as `drop`, before which it is applied.
        val_drop: As `drop`, by the number of a validation batch, for a loss that tells again what was hidden: its
            numbers on what this hides come beside the others, under `hidden/`.
        seed: Of the draws inside the model.
        piece: Windows that are encoded at a time in training (see `encode_in_pieces`); None encodes all at once.
        fused: As for `adamw_cosine`.
        private: Makes the gradients of each step from people of its own choice, with noise; batches are then not read,
            and no number of training people is reported.

    Raises:
        ConfigError: If model and loss do not fit (see `encoding`), or cannot be trained privately.
    """

    report: dict[str, Any]
    validation_report: dict[str, Any]
    collapsed: dict[str, float]

    def __init__(
        self,
        model: Model,
        loss: nn.Module,
        *,
        steps: int,
        learning_rate: float,
        weight_decay: float,
        warmup_steps: int,
        drop: Change | None = None,
        augment: Change | None = None,
        val_drop: Change | None = None,
        seed: int = 0,
        piece: int | None = None,
        fused: bool = False,
        private: PrivateSteps | None = None,
    ) -> None:
        super().__init__()
        self.model, self.loss = model, loss
        self.private, self.automatic_optimization = private, private is None
        if private is not None:
            refuse_unfit(model, loss)
        self._encode = encoding(model, loss)
        self.settings = {
            "steps": steps,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "warmup_steps": warmup_steps,
            "fused": fused,
        }
        self.drop, self.augment, self.val_drop = drop, augment, val_drop
        self.seed, self.piece = seed, piece
        self.report, self.validation_report, self.collapsed = {}, {}, {}

    def configure_optimizers(self) -> Any:
        """AdamW and the cosine by step."""
        optimizer, schedule = adamw_cosine(self, **self.settings)  # type: ignore[arg-type]
        # Found once: a walk through all modules at each step is slow beside a small model's step.
        self._learned = list(self.parameters())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_batch_start(self, batch: Batch | Nominal, batch_idx: int) -> None:
        """Seed the draws of this step."""
        seed_draws(step_seed(self.seed, self.global_step, self.global_rank), self.device)

    def training_step(self, batch: Batch | Nominal, batch_idx: int) -> Float[Tensor, ""] | None:
        """Loss of one batch; None where the step was taken here, privately.

        Raises:
            HdtError: If it is not finite.
        """
        if self.private is not None:
            self._private_step(self.private)
            return None
        assert isinstance(batch, Batch)
        # Each process changes its own windows, so each has draws of its own; with one process this is the step.
        place = self.global_step * self.trainer.world_size + self.global_rank
        whole = self.augment(batch, place) if self.augment else batch
        batch = self.drop(whole, place) if self.drop else whole
        report, _ = self._judge(batch, whole)
        self._require_finite("loss", report.value, batch)
        rates = {"learning_rate": self.optimizers().param_groups[0]["lr"]}  # type: ignore[union-attr]
        self.report = {**_flat(report), **rates}
        self._batch = batch
        return report.value

    def _private_step(self, private: PrivateSteps) -> None:
        if not hasattr(self, "_buffers_stay"):
            self._buffers_stay = BuffersStay(self)
        learned = [weight for weight in self._learned if weight.requires_grad]
        for weight, gradient in zip(
            learned, private.gradients(self.global_step, learned, self._loss_of_person), strict=True
        ):
            weight.grad = gradient
        self._buffers_stay.check()
        optimizer, schedule = self.optimizers(), self.lr_schedulers()
        # Nothing of the training people: what is told here is not under the noise.
        self.report = {"learning_rate": optimizer.param_groups[0]["lr"]}  # type: ignore[union-attr]
        optimizer.step()  # type: ignore[union-attr]
        schedule.step()  # type: ignore[union-attr]

    def _loss_of_person(self, batch: Batch, seed: int) -> Float[Tensor, ""]:
        seed_draws(seed, self.device)
        batch = batch.to(self.device)
        whole = self.augment(batch, seed) if self.augment else batch
        report, _ = self._judge(self.drop(whole, seed) if self.drop else whole, whole)
        return report.value

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip by the norm over all parameters, which is measured anyway.

        Raises:
            HdtError: If the norm is not finite: clipping would spread NaN over every weight.
        """
        limit = gradient_clip_val if gradient_clip_val is not None else float("inf")
        clip = clip_shared if self._shares else nn.utils.clip_grad_norm_
        norm = clip(self._learned, limit)
        self._require_finite("gradient", norm, self._batch)
        self.report["grad_norm"] = norm.detach()

    def on_validation_start(self) -> None:
        """Start without a pool; each cohort gets one of its own."""
        self._pools: dict[str, Pool] = {}
        self._sums: dict[str, float] = {}
        self._weights: dict[str, float] = {}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Gather loss and projections of one batch, unchanged by `augment` and `drop`; where cohorts train together
        also for the batch's cohort alone, under its name."""
        report, projections = self._judge(batch)
        own = f"{batch.cohort}/" if batch.cohort else ""
        if own not in self._pools:
            self._pools[own] = Pool([column.name for column in self.model.config.modalities])
        self._pools[own].add(projections, batch)
        prefixes = dict.fromkeys(("", own))
        for prefix in prefixes:
            self._gather(prefix, report, len(batch))
        if self.val_drop:
            hidden, _ = self._judge(self.val_drop(batch, batch_idx), batch)
            for prefix in prefixes:
                self._gather(f"{prefix}hidden/", hidden, len(batch))

    def on_validation_epoch_end(self) -> None:
        """Means over windows, retrieval and the shape of the space."""
        means = {name: total / self._weights[name] for name, total in self._sums.items()}
        self.validation_report, self.collapsed = means, {}
        for own, pool in self._pools.items():
            scores = pool.scores()
            self.validation_report |= {f"{own}{name}": value for name, value in scores.items()}
            self.collapsed |= {f"{own}{name}": rank for name, rank in pool.collapsed(scores).items()}

    def _gather(self, prefix: str, report: LossReport, windows: int) -> None:
        # Exactly 0 is the loss of a batch in which nothing counts: it must not draw the mean to zero.
        weights: dict[str, Any] = {"loss": windows * bool(report.value != 0), **report.counts}
        for name, value in {"loss": report.value, **report.parts}.items():
            weight = float(weights.get(name, windows))
            if weight > 0:
                key = f"{prefix}{name}"
                self._sums[key] = self._sums.get(key, 0.0) + float(value) * weight
                self._weights[key] = self._weights.get(key, 0.0) + weight

    def _judge(self, seen: Batch, whole: Batch | None = None) -> tuple[LossReport, Embeddings]:
        encode, parameters = self._encode, None
        if self.training and self._shares:
            # Without a modality here that another process holds, its encoder would wait there for ever.
            encode = partial(encode_all, encode, columns=held_anywhere(seen, self.model.config.modalities))
        elif self.training and self.piece is not None:
            parameters = tuple(self.model.parameters())
        if self.training and self.piece is not None:
            encoded = encode_in_pieces(encode, seen, piece=self.piece, parameters=parameters)
        else:
            encoded = encode(seen)
        encoded = replace(encoded, whole=seen if whole is None else whole)
        projections = encoded.projections
        if self.training and self.trainer.world_size > 1:
            encoded = self._of_all_processes(encoded)
        return self.loss(encoded), projections

    @property
    def _shares(self) -> bool:
        """Whether processes share the weights out."""
        return isinstance(self.trainer.strategy, Sharded)

    def _of_all_processes(self, encoded: Encoded) -> Encoded:
        if isinstance(self.loss, Spreads) and self.loss.spreads:
            return replace(encoded, spread=True)
        columns = self.model.config.modalities if isinstance(self.loss, Shaped) else ()
        # A loss that draws must draw the same everywhere, so it gets the seed of a rank that no process has.
        seed_draws(step_seed(self.seed, self.global_step, self.trainer.world_size), self.device)
        return gather(encoded, columns)

    def _require_finite(self, what: str, value: Tensor, batch: Batch) -> None:
        if not bool(torch.isfinite(value).all()):
            raise HdtError(
                f"The {what} is not finite at step {self.global_step + 1}",
                where=f"batch with fingerprint {fingerprint(batch)} of {len(batch)} windows",
                expected="a finite number",
                got="nan" if bool(torch.isnan(value).any()) else "inf",
                fix="lower learning_rate or clip_norm, or look for values out of range with `hdt-fm inspect`; "
                "the last checkpoint is from before this step",
            )


def encoding(model: Model, loss: nn.Module) -> Callable[[Batch], Encoded]:
    """What makes of a batch all that the loss asks for; each row depends on its own window alone.

    Raises:
        ConfigError: If the loss asks for a fusion that the model lacks, or does not look at the one that it has.
    """
    asks = isinstance(loss, ReadsOthers) and loss.reads_others
    if asks and model.fusion is None:
        raise ConfigError(
            "The loss asks what a window's others say together, but the model does not fuse them",
            where="fusion",
            expected="fusion=attention",
            fix="name a fusion, or loss.others=mean",
        )
    if not asks and model.fusion is not None and any(weight.requires_grad for weight in model.fusion.parameters()):
        raise ConfigError(
            "Nothing would teach the fusion: this loss does not look at it",
            where="loss",
            expected="loss=leave_one_out loss.others=fused, alone or in a mix",
            got=type(loss).__name__,
            fix="take such a loss, or fusion=mean or none",
        )

    def encode(seen: Batch) -> Encoded:
        embeddings = model.embed(seen)
        others = model.others(embeddings) if asks else None
        return Encoded(embeddings, model.project(embeddings), seen, seen, others)

    return encode


def seed_draws(seed: int, device: torch.device) -> None:
    """Seed the generators that draws on `device` come from."""
    if device.type not in ("cpu", "cuda"):
        torch.manual_seed(seed)
        return
    # torch.manual_seed also leaves a note, with a stack trace, for each kind of device that is not in use.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def fingerprint(batch: Batch) -> str:
    """Names a batch without saying whose windows it holds: 12 digits of a SHA-256 over the window ids."""
    return hashlib.sha256(batch.window_id.cpu().numpy().astype("<i8").tobytes()).hexdigest()[:12]


def _flat(report: LossReport) -> dict[str, Any]:
    rows = {f"rows/{name}": value for name, value in report.counts.items()}
    return {"loss": report.value.detach(), **report.parts, **rows}
