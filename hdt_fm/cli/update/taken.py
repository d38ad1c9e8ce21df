"""The checkpoint that `hdt-fm update take` writes: a line's head in it, and what a card must say of that head."""

import shutil
from itertools import pairwise
from pathlib import Path

from hdt_fm.checkpoint import Model, load, save_model
from hdt_fm.checkpoint.folder import check_replaceable, sha256, swap
from hdt_fm.checkpoint.versions import Versions
from hdt_fm.cli.update.line import State
from hdt_fm.cli.workflow import encoder_digest
from hdt_fm.report.updates import UPDATES_NAME, HeadUpdates, Updates, read_updates
from hdt_fm.schema.errors import CheckpointError
from hdt_fm.schema.ledger import Entry
from hdt_fm.schema.manifest import CONFIG_NAME, SUMS_NAME
from hdt_fm.training.updating.strategies import STRATEGIES


def updates_of(state: State, versions: Versions, domain: str | None) -> HeadUpdates | None:
    """What is to be told of the head as a domain has it; None where it is as it was taught first."""
    kept = state.domains
    strategy = f"{kept.strategy} ({STRATEGIES[kept.strategy].summary})"
    names = tuple(one.name for one in kept.domains)
    if domain in state.adapters:
        first, scores = (names[0], str(domain)), learned_from(versions, f"learns {domain}").scores
        return HeadUpdates(head=kept.head, updates=1, strategy=strategy, domains=first, own=domain, scores=scores)
    if not kept.updates or STRATEGIES[kept.strategy].trains == "adapter":
        return None
    return HeadUpdates(head=kept.head, updates=kept.updates, strategy=strategy, domains=names, scores=kept.newest)


def learned_from(versions: Versions, note: str) -> Entry:
    """The entry of that note from which the version in use descends; others may have been rolled back."""
    made = {versions.entries[0].version: (versions.entries[0], 0)}
    made |= {one.version: (one, was.version) for was, one in pairwise(versions.entries) if one.kind != "rollback"}
    found, before = made[versions.number]
    while found.note != note:
        found, before = made[before]
    return found


def write_taken(model: Model, state: State, told: HeadUpdates | None, target: Path) -> None:
    """As a whole or not at all; other heads of a checkpoint of the same encoder that lies there stay.

    Raises:
        CheckpointError: If the target holds something else than a checkpoint, or one of another encoder.
    """
    check_replaceable(target)
    name, updates = state.domains.head, None
    if (target / CONFIG_NAME).is_file():
        there = load(target)
        if encoder_digest(there) != encoder_digest(model):
            raise CheckpointError(
                "The folder holds a checkpoint of another encoder, whose heads would be lost",
                where=str(target),
                expected="a new path, an empty folder or a checkpoint of the line's own encoder",
                fix="choose another folder: --to FOLDER",
            )
        there.config = there.config.model_copy(update={"heads": {**there.config.heads, name: model.config.heads[name]}})
        there.heads[name] = model.heads[name]
        model, updates = there, _without(read_updates(target), name)
    if told is not None:
        updates = Updates(heads=(told,)) if updates is None else updates.with_head(told)
    fresh = target.with_name(f".{target.name}.taken")
    shutil.rmtree(fresh, ignore_errors=True)
    save_model(model, fresh, preprocess=state.preprocess)
    if updates is not None:
        (fresh / UPDATES_NAME).write_text(updates.model_dump_json(indent=1) + "\n")
        lines = [*(fresh / SUMS_NAME).read_text().splitlines(), f"{sha256(fresh / UPDATES_NAME)}  {UPDATES_NAME}"]
        (fresh / SUMS_NAME).write_text("\n".join(sorted(lines, key=lambda line: line.split("  ")[1])) + "\n")
    swap(fresh, target)


def _without(updates: Updates | None, head: str) -> Updates | None:
    """What is told of other heads."""
    heads = tuple(one for one in updates.heads if one.head != head) if updates else ()
    return Updates(heads=heads) if heads else None
