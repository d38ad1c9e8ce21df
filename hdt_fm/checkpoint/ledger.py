"""The ledger as a file: a chain of lines (`hdt_fm/schema/chain.py`) whose versions must follow from each other."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from hdt_fm.checkpoint.keys import LEDGER_KEY, LedgerKey
from hdt_fm.schema.chain import Chain, Lines, cut, unchanged
from hdt_fm.schema.errors import CheckpointError
from hdt_fm.schema.ledger import HEAD_NAME, LEDGER_NAME, LEDGER_VERSION, Entry

__all__ = ["AGAIN", "CHAIN", "Ledger", "add", "cut", "put_head", "read", "unchanged", "writing"]
AGAIN = "copy the whole folder again, while nothing writes to it; do not edit a ledger by hand"
CHAIN: Chain[Entry] = Chain(
    what="ledger",
    name=LEDGER_NAME,
    head=HEAD_NAME,
    entry=Entry,
    format=LEDGER_VERSION,
    error=CheckpointError,
    key_variable=LEDGER_KEY,
    again=AGAIN,
)
Ledger = Lines[Entry]


def read(folder: Path, key: LedgerKey | None) -> Ledger:
    """All entries; see `Chain.read`.

    Raises:
        CheckpointError: Also where a version does not follow from those before it.
    """
    return CHAIN.read(folder, key, follows=_story())


def add(handle: int, ledger: Ledger, entry: Entry, key: LedgerKey | None) -> Ledger:
    """See `Chain.add`."""
    return CHAIN.add(handle, ledger, entry, key)


def put_head(folder: Path, ledger: Ledger, key: LedgerKey | None) -> None:
    """See `Chain.put_head`."""
    CHAIN.put_head(folder, ledger, key)


def writing(folder: Path) -> AbstractContextManager[int]:
    """See `Chain.writing`."""
    return CHAIN.writing(folder)


def _story() -> Callable[[Entry], None]:
    """Versions rise by one, and a rollback names one of those that were made, with its own files."""
    made: dict[int, Entry] = {}

    def follows(entry: Entry) -> None:
        if entry.kind == "rollback":
            old = made.get(entry.version)
            fits = old is not None and (old.content, old.sealed) == (entry.content, entry.sealed)
        else:
            fits = entry.version == len(made) + 1 and (entry.kind == "create") == (not made)
            made[entry.version] = entry
        if not fits:
            CHAIN.refuse(
                f"Entry {entry.number} of the ledger does not follow from those before it",
                "first a creation, then versions numbered without a gap, and rollbacks to one of them",
                f"{entry.kind} with version {entry.version}",
            )

    return follows
