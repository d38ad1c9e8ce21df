"""The ledger as a file: read and compared line by line, added to by one writer at a time."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError

from hdt_fm.checkpoint.folder import short
from hdt_fm.checkpoint.keys import LEDGER_KEY, LedgerKey
from hdt_fm.checkpoint.version_folder import hold
from hdt_fm.schema.errors import CheckpointError, HdtError
from hdt_fm.schema.ledger import HEAD_NAME, LEDGER_NAME, LEDGER_VERSION, Entry, Head

AGAIN = "copy the whole folder again, while nothing writes to it; do not edit a ledger by hand"
Signed = TypeVar("Signed", Entry, Head)


@dataclass(frozen=True)
class Ledger:
    """What was read of a ledger.

    Attributes:
        digest: SHA-256 of the newest whole line; empty before the first.
        end: Bytes of all whole lines; what a kill left of another lies behind.
        last: Bytes of the newest whole line, with its end.
    """

    entries: tuple[Entry, ...] = ()
    digest: str = ""
    end: int = 0
    last: int = 0


def read(folder: Path, key: LedgerKey | None) -> Ledger:
    """All entries, each compared with the line before it and the newest with the head.

    What a kill left of a line at the end is passed over. No lock is needed.

    Raises:
        CheckpointError: If a line is changed, dropped, swapped, unsigned where there is a key, or of a later version;
            or if the ledger cannot be read.
    """
    # The head first: a writer who comes between can make the ledger longer than it, never shorter.
    head = _head(folder, key)
    whole = _whole_lines(_bytes(folder / LEDGER_NAME))
    entries: list[Entry] = []
    made: dict[int, Entry] = {}
    digest = ""
    for place, line in enumerate(whole):
        entry = _parsed(line[:-1], Entry, f"{LEDGER_NAME}, line {place + 1}", key)
        _check_place(entry, place, digest)
        _check_story(entry, made)
        digest = hashlib.sha256(line).hexdigest()
        if place == head.number and digest != head.digest:
            _refuse(f"Entry {place} of the ledger was changed", "the line whose digest the head names", "another")
        entries.append(entry)
    if len(entries) <= head.number:
        _refuse(
            "Entries are missing at the end of the ledger", f"{head.number + 1} or more", f"{len(entries)} whole ones"
        )
    return Ledger(tuple(entries), digest, sum(map(len, whole)), len(whole[-1]))


def add(handle: int, ledger: Ledger, entry: Entry, key: LedgerKey | None) -> Ledger:
    """Write one line at the end and see it to the disk; if that fails, the ledger is as it was.

    Args:
        handle: Of the ledger, opened for writing by who holds its lock, without anything behind `ledger.end`.

    Raises:
        OSError: If it cannot be written.
    """
    entry = _signed(entry, key)
    line = entry.model_dump_json().encode() + b"\n"
    try:
        os.lseek(handle, ledger.end, os.SEEK_SET)
        if os.write(handle, line) != len(line):
            raise OSError(f"{LEDGER_NAME} took a part of a line only")
        os.fsync(handle)
    except BaseException:
        # A line that stays in part does not count, and the next writer cuts it.
        with contextlib.suppress(OSError):
            os.ftruncate(handle, ledger.end)
        raise
    return Ledger((*ledger.entries, entry), hashlib.sha256(line).hexdigest(), ledger.end + len(line), len(line))


def put_head(folder: Path, ledger: Ledger, key: LedgerKey | None) -> None:
    """Name the newest line beside the ledger.

    Raises:
        OSError: If it cannot be written; what was there before is whole.
    """
    head = _signed(Head(number=len(ledger.entries) - 1, digest=ledger.digest), key)
    fresh = folder / f"{HEAD_NAME}.new"
    with fresh.open("wb") as file:
        file.write(head.model_dump_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, folder / HEAD_NAME)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[int]:
    """The ledger, held against other writers.

    Raises:
        CheckpointError: If somebody else holds it, or it cannot be written to.
    """
    try:
        handle = os.open(folder / LEDGER_NAME, os.O_RDWR)
    except OSError as error:
        raise CheckpointError(
            "The folder cannot be written to",
            where=str(folder / LEDGER_NAME),
            got=error.strerror or type(error).__name__,
            fix="make it writable, or copy it to where you may write",
        ) from error
    try:
        hold(handle, folder)
        yield handle
    finally:
        os.close(handle)


def unchanged(handle: int, ledger: Ledger) -> bool:
    """Whether the file ends with the line that `ledger` ends with, so that nobody has written since it was read."""
    if not ledger.entries or os.fstat(handle).st_size != ledger.end:
        return False
    last = os.pread(handle, ledger.last, ledger.end - ledger.last)
    return hashlib.sha256(last).hexdigest() == ledger.digest


def cut(handle: int, ledger: Ledger) -> None:
    """Cut what a kill left behind the newest whole line.

    Raises:
        OSError: If it cannot be written.
    """
    if os.fstat(handle).st_size != ledger.end:
        os.ftruncate(handle, ledger.end)
        os.fsync(handle)


def _whole_lines(raw: bytes) -> list[bytes]:
    """All but what a kill left of the last: no end of line, or, after a power cut, blocks that were never written."""
    lines = [one + b"\n" for one in raw.split(b"\n")[:-1]]
    while lines and b"\0" in lines[-1]:
        lines.pop()
    return lines


def _head(folder: Path, key: LedgerKey | None) -> Head:
    path = folder / HEAD_NAME
    if not path.is_file():
        raise CheckpointError(f"The ledger has no {HEAD_NAME} beside it", where=str(folder), fix=AGAIN)
    return _parsed(_bytes(path), Head, HEAD_NAME, key)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            "The ledger cannot be read",
            where=str(path),
            got=error.strerror or type(error).__name__,
            fix="make it readable, or copy the folder from where it can be read",
        ) from error


def _parsed(raw: bytes, kind: type[Signed], where: str, key: LedgerKey | None) -> Signed:
    try:
        record = json.loads(raw)
        later = record.get("format", LEDGER_VERSION) > LEDGER_VERSION
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise CheckpointError("A line of the ledger cannot be read", where=where, fix=AGAIN) from error
    if later:
        raise CheckpointError(
            "The ledger was written by a later hdt_fm",
            where=where,
            expected=f"format {LEDGER_VERSION} or earlier",
            got=f"format {record['format']}",
            fix="update hdt_fm: pip install -U hdt-fm",
        )
    _check_signature(record, where, key)
    try:
        return kind.model_validate_json(raw)
    except (ValidationError, HdtError) as error:
        raise CheckpointError(
            "A line of the ledger does not fit its contract", where=where, got=short(error), fix=AGAIN
        ) from error


def _check_signature(record: Mapping[str, Any], where: str, key: LedgerKey | None) -> None:
    if key is None or key.signed(record):
        return
    missing = record.get("signature") is None
    raise CheckpointError(
        "A line of the ledger is not signed" if missing else "The signature of a line of the ledger does not fit",
        where=where,
        expected=f"one made with the key of {LEDGER_KEY}",
        got="none" if missing else "one of another key, or of a line that was changed",
        fix=f"unset {LEDGER_KEY} to read a ledger that never was signed" if missing else f"set the right key; {AGAIN}",
    )


def _signed(record: Signed, key: LedgerKey | None) -> Signed:
    if key is None:
        return record
    return record.model_copy(update={"signature": key.sign(json.loads(record.model_dump_json()))})


def _check_place(entry: Entry, place: int, before: str) -> None:
    if entry.number != place:
        _refuse("Entries of the ledger were dropped or swapped", f"entry {place} next", f"entry {entry.number}")
    if entry.parent != before:
        changed = f"Entry {place - 1} of the ledger was changed, or what entry {place} says of it"
        what = changed if place else "The ledger does not begin with its first entry"
        _refuse(what, "each line to name the digest of the one before it", "another digest")


def _check_story(entry: Entry, made: dict[int, Entry]) -> None:
    """Versions rise by one, and a rollback names one of those that were `made`, with its own files."""
    if entry.kind == "rollback":
        old = made.get(entry.version)
        fits = old is not None and (old.content, old.sealed) == (entry.content, entry.sealed)
    else:
        fits = entry.version == len(made) + 1 and (entry.kind == "create") == (not made)
        made[entry.version] = entry
    if not fits:
        _refuse(
            f"Entry {entry.number} of the ledger does not follow from those before it",
            "first a creation, then versions numbered without a gap, and rollbacks to one of them",
            f"{entry.kind} with version {entry.version}",
        )


def _refuse(problem: str, expected: str, got: str) -> NoReturn:
    raise CheckpointError(problem, where=LEDGER_NAME, expected=expected, got=got, fix=AGAIN)
