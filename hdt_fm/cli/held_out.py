"""Whom a checkpoint's pretraining saw, the one fold that keeps to it, and whether it saw anyone of another cohort."""

import json
from pathlib import Path

import numpy as np

from hdt_fm.evaluation.folds import Fold
from hdt_fm.report.check import PROVENANCE_NAME, Provenance
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ConfigError, LeakError, SplitError
from hdt_fm.schema.result import RunRecord
from hdt_fm.schema.shard import ShardManifest

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


def refuse_known_cohort(checkpoint: Path, manifest: ShardManifest, digest: str) -> frozenset[str]:
    """Whom the encoder is known to have seen, none of them of this cohort.

    Of a published encoder the cohorts are known and not the people, so a cohort of the same name or from the same
    files is refused as a whole.

    Args:
        checkpoint: A run's checkpoint, or a published folder.
        manifest, digest: Of the shards to be evaluated.

    Raises:
        LeakError: If it saw people of this cohort, or may have.
        ConfigError: If nothing says what it saw.
    """
    published = checkpoint / PROVENANCE_NAME
    if published.is_file():
        data = Provenance.model_validate_json(published.read_bytes()).data
        known = any(manifest.cohort == one.cohort or manifest.input_digest == one.input_digest for one in data)
        saw: frozenset[str] = frozenset()
    else:
        saw = pseudonyms(people_of_checkpoint(checkpoint))
        record = checkpoint.parent / "result.json"
        shards = RunRecord.model_validate_json(record.read_bytes()).provenance["shards"] if record.is_file() else ""
        known = digest in str(shards).split() or any(row.subject in saw for row in manifest.subjects)
    if known:
        raise LeakError(
            "The encoder was pretrained on people of this cohort",
            where="protocol.people=unseen",
            expected="a cohort that it never saw",
            fix="protocol.people=held_out tests on those it was kept from, per_fold pretrains anew",
        )
    return saw


def pseudonyms(people: dict[str, list[str]]) -> frozenset[str]:
    """Everyone whose signals shaped the encoder or its choice."""
    return frozenset([*people["train"], *people["validation"]])
