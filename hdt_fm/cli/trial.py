"""What `--dry-run` runs: everything built, a few training steps on one batch, their time and memory."""

import time
from dataclasses import dataclass, replace

from torch import Tensor, nn

from hdt_fm.checkpoint import Model
from hdt_fm.cli.cohorts import Cohorts
from hdt_fm.cli.compose import Config
from hdt_fm.cli.private import known_of, private_over
from hdt_fm.cli.settings import TrainingSettings
from hdt_fm.cli.workflow import (
    TYPICAL_WINDOWS,
    asked_covariates,
    changes,
    device_of,
    model_over,
    new_loss,
    refuse_shaped,
)
from hdt_fm.schema.batch import Batch
from hdt_fm.training.blocks import changed_blocks
from hdt_fm.training.caching import encode_in_pieces
from hdt_fm.training.module import Change, encoding
from hdt_fm.training.private import Private, PrivateSteps, Turns
from hdt_fm.training.private_checks import refuse_unfit
from hdt_fm.training.private_secret import KEY_BYTES, Secret

STEPS = 3


@dataclass(frozen=True)
class Trial:
    """Measured on the first batches; the fastest step counts, since the first one warms up.

    Attributes:
        loss: None of a private run, which tells no number of its people.
        windows_a_step: Of a private run as many as are expected at most.
    """

    seconds: float
    loss: float | None
    parameters: int
    windows: int
    windows_a_step: int


def trial(config: Config, cohorts: Cohorts) -> Trial:
    """Train a fresh model for a few steps without an optimizer, and keep nothing."""
    training = config.section("training", TrainingSettings)
    seed = int(config.value("seed"))
    private = private_over(config, cohorts)
    cohorts = cohorts.with_covariates(asked_covariates(config), strict=True)
    model = model_over(config, cohorts)
    known = known_of(config, cohorts)
    loss = new_loss(config, model, lambda: known.typical(TYPICAL_WINDOWS)[0]).to(device_of(config))
    refuse_shaped(loss, cohorts)
    model = model.to(device_of(config))
    data = cohorts.data(batch_size=training.batch_size, people_per_pool=training.people_per_pool, seed=seed)
    if private is not None:
        seconds = _private_seconds(private, model, loss, *changes(config))
        return Trial(seconds, None, _size(model), data.train_windows, Turns(private).windows)
    stream, (augment, drop) = data.train_dataloader(), changes(config)
    learned, encode = tuple(model.parameters()), encoding(model, loss)
    times = []
    with changed_blocks(model, recompute=training.activation_checkpointing, compiled=training.compile):
        for step in range(STEPS):
            start = time.monotonic()
            whole = augment(stream.batch(step).to(device_of(config)), step)
            seen = drop(whole, step)
            if training.piece is None:
                encoded = encode(seen)
            else:
                encoded = encode_in_pieces(encode, seen, piece=training.piece, parameters=learned)
            report = loss(replace(encoded, whole=whole))
            report.value.backward()
            times.append(time.monotonic() - start)
    return Trial(min(times), report.value.item(), _size(model), data.train_windows, training.batch_size)


def _private_seconds(private: Private, model: Model, loss: nn.Module, augment: Change, drop: Change) -> float:
    """Of a step with as many people as are expected."""
    refuse_unfit(model, loss)
    encode, device = encoding(model, loss), next(model.parameters()).device
    learned = [weight for part in (model, loss) for weight in part.parameters() if weight.requires_grad]

    def loss_of(batch: Batch, place: int) -> Tensor:
        whole = augment(batch.to(device), place)
        return loss(replace(encode(drop(whole, place)), whole=whole)).value

    steps = PrivateSteps(private, Secret(bytes(KEY_BYTES)))
    came, start = 0, time.monotonic()
    for step in range(STEPS):
        steps.gradients(step, learned, loss_of)
        came += len(steps.drawn(step))
    expected = private.budget.rate * len(private.people)
    return (time.monotonic() - start) / max(came, 1) * expected


def _size(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())
