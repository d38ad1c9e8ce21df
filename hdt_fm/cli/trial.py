"""What `--dry-run` runs: everything built, a few training steps on one batch, their time and memory."""

import time
from dataclasses import dataclass

from hdt_fm.cli.compose import Config
from hdt_fm.cli.settings import TrainingSettings
from hdt_fm.cli.workflow import People, changes, device_of, new_loss, new_model, typical_of
from hdt_fm.data.datamodule import ShardDataModule
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.protocols import Encoded

STEPS = 3


@dataclass(frozen=True)
class Trial:
    """Measured on the first batches; the fastest step counts, since the first one warms up."""

    seconds: float
    loss: float
    parameters: int
    windows: int


def trial(config: Config, folder: ShardFolder, people: People) -> Trial:
    """Train a fresh model for a few steps without an optimizer, and keep nothing."""
    training = config.section("training", TrainingSettings)
    model = new_model(config, folder, people.train)
    loss = new_loss(config, model, lambda: typical_of(config, folder, people.train)).to(device_of(config))
    model = model.to(device_of(config))
    data = ShardDataModule(
        folder=folder,
        train_subjects=people.train,
        batch_size=training.batch_size,
        people_per_pool=training.people_per_pool,
        seed=int(config.value("seed")),
    )
    stream, (augment, drop) = data.train_dataloader(), changes(config)
    times = []
    for step in range(STEPS):
        start = time.monotonic()
        whole = augment(stream.batch(step).to(device_of(config)), step)
        seen = drop(whole, step)
        embeddings = model.embed(seen)
        report = loss(Encoded(embeddings, model.project(embeddings), seen, whole))
        report.value.backward()
        times.append(time.monotonic() - start)
    size = sum(weight.numel() for weight in model.parameters())
    return Trial(min(times), report.value.item(), size, len(data.train_positions))
