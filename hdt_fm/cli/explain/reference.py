"""What credit is counted against, by the name that the settings give it."""

from pathlib import Path

import numpy as np

from hdt_fm.cli.explain.told import OTHERS, Told
from hdt_fm.cli.held_out import people_of_checkpoint
from hdt_fm.explain.others import Others
from hdt_fm.schema.errors import ConfigError

# Windows to draw references from: enough that the draws of two windows are seldom the same.
DRAWN_FROM = 64


def reference_of(told: Told, name: str) -> str | Others:
    """`window_mean`, `zero`, or windows of the people whom the encoder learned from.

    Raises:
        ConfigError: If the answer is of other windows than the shards hold, or those people are not in the shards.
    """
    if name != OTHERS:
        return name
    if told.answer.label is None:
        raise ConfigError(
            "This answer reads more than the windows of the shards, so those of others cannot stand in",
            where="explain.reference",
            got=name,
            expected="window_mean or zero",
        )
    taught = set(people_of_checkpoint(Path(told.config.value("checkpoint")))["train"])
    rows = [row for row, one in enumerate(told.folder.manifest.subjects) if one.subject in taught]
    positions = np.flatnonzero(np.isin(told.folder.subject_rows, rows))
    learned_from = set(told.folder.subject_rows[positions].tolist())
    shown = set(told.folder.subject_rows[told.asked.positions].tolist())
    # Nobody is held against themselves.
    if any(not learned_from - {one} for one in shown):
        raise ConfigError(
            "No window of another person whom the encoder learned from is in these shards",
            where="explain.reference",
            expected="window_mean or zero, or the shards that it was pretrained on",
        )
    drawn = np.random.default_rng(told.settings.seed).permutation(positions)[:DRAWN_FROM]
    return Others(told.folder.gather(np.sort(drawn)), seed=told.settings.seed)
