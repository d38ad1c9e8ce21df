"""What `--dry-run` runs: everything built, a few training steps on one batch, their time and memory."""

import time
from dataclasses import dataclass, replace

from hdt_fm.cli.cohorts import Cohorts
from hdt_fm.cli.compose import Config
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
from hdt_fm.training.blocks import changed_blocks
from hdt_fm.training.caching import encode_in_pieces
from hdt_fm.training.module import encoding

STEPS = 3


@dataclass(frozen=True)
class Trial:
    """Measured on the first batches; the fastest step counts, since the first one warms up."""

    seconds: float
    loss: float
    parameters: int
    windows: int


def trial(config: Config, cohorts: Cohorts) -> Trial:
    """Train a fresh model for a few steps without an optimizer, and keep nothing."""
    training = config.section("training", TrainingSettings)
    seed = int(config.value("seed"))
    cohorts = cohorts.with_covariates(asked_covariates(config), strict=True)
    model = model_over(config, cohorts)
    loss = new_loss(config, model, lambda: cohorts.typical(TYPICAL_WINDOWS, seed, each=True)[0]).to(device_of(config))
    refuse_shaped(loss, cohorts)
    model = model.to(device_of(config))
    data = cohorts.data(batch_size=training.batch_size, people_per_pool=training.people_per_pool, seed=seed)
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
    size = sum(weight.numel() for weight in model.parameters())
    return Trial(min(times), report.value.item(), size, data.train_windows)
