"""Whom a checkpoint's pretraining saw, and the one fold that keeps to it."""

import json
from pathlib import Path

import numpy as np

from hdt_fm.evaluation.folds import Fold
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ConfigError, SplitError

PEOPLE_NAME = "people.json"
PARTS = ("train", "validation", "test")


def people_of_checkpoint(checkpoint: Path) -> dict[str, list[str]]:
    """Pseudonyms by part, as `hdt-fm pretrain` left them beside the checkpoint.

    Raises:
        ConfigError: If the list is missing: an encoder of unknown history can be tested on nobody.
    """
    path = checkpoint.parent / PEOPLE_NAME
    try:
        people = json.loads(path.read_text())
        return {part: [str(name) for name in people[part]] for part in PARTS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            "It is not known whom this encoder saw in pretraining",
            where=str(path),
            expected=f"{PEOPLE_NAME} beside the checkpoint, as `hdt-fm pretrain` leaves it",
            fix="protocol.people=per_fold pretrains anew without the test people",
        ) from error


def held_out_fold(table: EmbeddingTable, people: dict[str, list[str]]) -> Fold:
    """Training: everyone the encoder saw, or watched over it; test: those it was kept from."""
    numbers = {name: row for row, name in enumerate(table.subjects)}
    rows = {
        part: np.flatnonzero(np.isin(table.subject, [numbers[one] for one in people[part] if one in numbers]))
        for part in PARTS
    }
    if not len(rows["test"]):
        raise SplitError(
            "No window of the test people is in these shards",
            fix="use the shards that the encoder was pretrained on, or protocol.people=per_fold",
        )
    groups = frozenset(int(group) for group in table.group[rows["test"]])
    train = np.sort(np.concatenate([rows["train"], rows["validation"]]))
    return Fold(train=train, test=rows["test"], rows=len(table), test_groups=groups)


def pseudonyms(people: dict[str, list[str]]) -> frozenset[str]:
    """Everyone whose signals shaped the encoder or its choice."""
    return frozenset([*people["train"], *people["validation"]])
