"""What `assemble` refuses before it writes: a foreign place, a checkpoint that is not the one that was saved."""

from collections.abc import Sequence
from pathlib import Path

from hdt_fm.report.facts import CHECKPOINT_NAMES, PROVENANCE_NAME
from hdt_fm.report.rules.files import verify_sums
from hdt_fm.report.updates import UPDATES_NAME, Updates, read_updates
from hdt_fm.schema.errors import PublishError
from hdt_fm.schema.manifest import SUMS_NAME, ModelConfig


def refusal(problem: str, reasons: Sequence[str], where: str) -> PublishError:
    """One error with every reason."""
    return PublishError(problem, where=where, got="; ".join(reasons), fix="mend each of these and publish again")


def refuse_foreign_target(folder: Path) -> None:
    """Raise PublishError where something that is no published folder would be replaced."""
    if folder.exists() and not (
        folder.is_dir() and ((folder / PROVENANCE_NAME).is_file() or not any(folder.iterdir()))
    ):
        raise PublishError(
            "A published folder would replace something that is not one",
            where=folder.name,
            expected="a new path, an empty folder or an earlier published folder",
            fix="choose another folder",
        )


def refuse_broken_checkpoint(folder: Path) -> None:
    """Raise PublishError where a checkpoint lacks a file or one was changed since it was saved."""
    missing = [name for name in CHECKPOINT_NAMES if not (folder / name).is_file()]
    if missing:
        raise PublishError(
            "The checkpoint is not complete",
            where=folder.name,
            got=f"missing: {', '.join(missing)}",
            fix="train it again",
        )
    problems = verify_sums(folder) if (folder / SUMS_NAME).is_file() else [f"{SUMS_NAME} is missing"]
    if problems:
        raise refusal("The checkpoint is not the one that was saved", problems, folder.name)


def updates_of(checkpoint_folder: Path, config: ModelConfig) -> Updates | None:
    """What the checkpoint says of heads that went on learning.

    Raises:
        PublishError: If it speaks of a head that the checkpoint does not have.
    """
    found = read_updates(checkpoint_folder)
    strange = [one.head for one in found.heads if one.head not in config.heads] if found else []
    if strange:
        raise PublishError(
            "The checkpoint tells updates of a head that it does not have",
            where=UPDATES_NAME,
            expected=", ".join(config.heads) or "no head",
            got=", ".join(strange),
            fix="take the head again: hdt-fm update take LINE --to FOLDER",
        )
    return found
