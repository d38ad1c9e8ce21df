"""Lines that name the line before: a file of JSON that is only ever added to, and whose changes are found.

The ledger of a folder of versions (`ledger.py`, `hdt_fm/checkpoint/ledger.py`) and the register of consent
(`hdt_fm/consent`) are such files. Each line is a record with `number` from 0, `parent` (SHA-256 of the line before it,
empty for the first) and `signature`. A small file beside, the head, names the newest line, so that lines that are
missing at the end are found. Without a key this finds accidents and careless edits; who can write may forge a whole
chain, unless it is signed by a key that they have not.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NoReturn, Protocol, TypeVar, runtime_checkable

from pydantic import Field, ValidationError

from hdt_fm.schema.errors import HdtError
from hdt_fm.schema.keys import SigningKey
from hdt_fm.schema.one_writer import hold
from hdt_fm.schema.preparation import Plain

_SHA256 = r"^[0-9a-f]{64}$"


@runtime_checkable
class Line(Protocol):
    """What every line of a chain has."""

    @property
    def number(self) -> int: ...

    @property
    def parent(self) -> str: ...


class Head(Plain):
    """The newest line: `number` and SHA-256 of it, signed as the lines are."""

    format: int = 1
    number: int = Field(ge=0)
    digest: str = Field(pattern=_SHA256)
    signature: str | None = None


L = TypeVar("L", bound=Line)
Record = TypeVar("Record", bound=Plain)


@dataclass(frozen=True)
class Lines(Generic[L]):
    """What was read of a chain.

    Attributes:
        digest: SHA-256 of the newest whole line; empty before the first.
        end: Bytes of all whole lines; what a kill left of another lies behind.
        last: Bytes of the newest whole line, with its end.
    """

    entries: tuple[L, ...] = ()
    digest: str = ""
    end: int = 0
    last: int = 0


@dataclass(frozen=True)
class Chain(Generic[L]):
    """A kind of chain.

    Attributes:
        what: Its noun in messages, such as `ledger`.
        name, head: Its file and the one that names the newest line.
        entry: The record of a line; it is refused where it does not fit.
        format: The newest version of the contract that is known here.
        error: Of all that is wrong with the file.
        key_variable: Where its key is set, for words.
        again: What to do about a chain that is not whole.
    """

    what: str
    name: str
    head: str
    entry: type[Any]
    format: int
    error: type[HdtError]
    key_variable: str
    again: str

    def read(
        self, folder: Path, key: SigningKey | None, *, follows: Callable[[L], None] = lambda entry: None
    ) -> Lines[L]:
        """All entries, each compared with the line before it and the newest with the head.

        What a kill left of a line at the end is passed over. No lock is needed.

        Args:
            follows: Raises where an entry does not follow from those that it was called with before.

        Raises:
            HdtError: Of the chain's kind: if a line is changed, dropped, swapped, unsigned where there is a key, or of
                a later version; or if the file cannot be read.
        """
        # The head first: a writer who comes between can make the chain longer than it, never shorter.
        head = self._head(folder, key)
        whole = _whole_lines(self._bytes(folder / self.name))
        entries: list[L] = []
        digest = ""
        for place, line in enumerate(whole):
            entry: L = self._parsed(line[:-1], self.entry, f"{self.name}, line {place + 1}", key)
            self._check_place(entry, place, digest)
            follows(entry)
            digest = hashlib.sha256(line).hexdigest()
            if place == head.number and digest != head.digest:
                self.refuse(
                    f"Entry {place} of the {self.what} was changed", "the line whose digest the head names", "another"
                )
            entries.append(entry)
        if len(entries) <= head.number:
            self.refuse(
                f"Entries are missing at the end of the {self.what}",
                f"{head.number + 1} or more",
                f"{len(entries)} whole ones",
            )
        return Lines(tuple(entries), digest, sum(map(len, whole)), len(whole[-1]))

    def add(self, handle: int, lines: Lines[L], entry: Any, key: SigningKey | None) -> Lines[L]:
        """Write one line at the end and see it to the disk; if that fails, the chain is as it was.

        Args:
            handle: Of the file, opened for writing by who holds its lock, without anything behind `lines.end`.

        Raises:
            OSError: If it cannot be written.
        """
        entry = _signed(entry, key)
        line = entry.model_dump_json().encode() + b"\n"
        try:
            os.lseek(handle, lines.end, os.SEEK_SET)
            if os.write(handle, line) != len(line):
                raise OSError(f"{self.name} took a part of a line only")
            os.fsync(handle)
        except BaseException:
            # A line that stays in part does not count, and the next writer cuts it.
            with contextlib.suppress(OSError):
                os.ftruncate(handle, lines.end)
            raise
        return Lines((*lines.entries, entry), hashlib.sha256(line).hexdigest(), lines.end + len(line), len(line))

    def put_head(self, folder: Path, lines: Lines[L], key: SigningKey | None) -> None:
        """Name the newest line beside the chain.

        Raises:
            OSError: If it cannot be written; what was there before is whole.
        """
        head = _signed(Head(number=len(lines.entries) - 1, digest=lines.digest), key)
        fresh = folder / f"{self.head}.new"
        with fresh.open("wb") as file:
            file.write(head.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, folder / self.head)

    @contextlib.contextmanager
    def writing(self, folder: Path) -> Iterator[int]:
        """The file, held against other writers.

        Raises:
            HdtError: Of the chain's kind: if somebody else holds it, or it cannot be written to.
        """
        try:
            handle = os.open(folder / self.name, os.O_RDWR)
        except OSError as error:
            raise self.error(
                "The folder cannot be written to",
                where=str(folder / self.name),
                got=error.strerror or type(error).__name__,
                fix="make it writable, or copy it to where you may write",
            ) from error
        try:
            hold(handle, folder, self.error)
            yield handle
        finally:
            os.close(handle)

    def refuse(self, problem: str, expected: str, got: str) -> NoReturn:
        """Raise that the chain is not what was written."""
        raise self.error(problem, where=self.name, expected=expected, got=got, fix=self.again)

    def _head(self, folder: Path, key: SigningKey | None) -> Head:
        path = folder / self.head
        if not path.is_file():
            raise self.error(f"The {self.what} has no {self.head} beside it", where=str(folder), fix=self.again)
        return self._parsed(self._bytes(path), Head, self.head, key)

    def _bytes(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise self.error(
                f"The {self.what} cannot be read",
                where=str(path),
                got=error.strerror or type(error).__name__,
                fix="make it readable, or copy the folder from where it can be read",
            ) from error

    def _parsed(self, raw: bytes, kind: type[Record], where: str, key: SigningKey | None) -> Record:
        try:
            record = json.loads(raw)
            later = record.get("format", self.format) > self.format
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise self.error(f"A line of the {self.what} cannot be read", where=where, fix=self.again) from error
        if later:
            raise self.error(
                f"The {self.what} was written by a later hdt_fm",
                where=where,
                expected=f"format {self.format} or earlier",
                got=f"format {record['format']}",
                fix="update hdt_fm: pip install -U hdt-fm",
            )
        self._check_signature(record, where, key)
        try:
            return kind.model_validate_json(raw)
        except (ValidationError, HdtError) as error:
            raise self.error(
                f"A line of the {self.what} does not fit its contract", where=where, got=_short(error), fix=self.again
            ) from error

    def _check_signature(self, record: Mapping[str, Any], where: str, key: SigningKey | None) -> None:
        if key is None or key.signed(record):
            return
        missing = record.get("signature") is None
        unset = f"unset {self.key_variable} to read a {self.what} that never was signed"
        said = f"A line of the {self.what} is not signed"
        raise self.error(
            said if missing else f"The signature of a line of the {self.what} does not fit",
            where=where,
            expected=f"one made with the key of {self.key_variable}",
            got="none" if missing else "one of another key, or of a line that was changed",
            fix=unset if missing else f"set the right key; {self.again}",
        )

    def _check_place(self, entry: L, place: int, before: str) -> None:
        if entry.number != place:
            self.refuse(
                f"Entries of the {self.what} were dropped or swapped", f"entry {place} next", f"entry {entry.number}"
            )
        if entry.parent != before:
            changed = f"Entry {place - 1} of the {self.what} was changed, or what entry {place} says of it"
            what = changed if place else f"The {self.what} does not begin with its first entry"
            self.refuse(what, "each line to name the digest of the one before it", "another digest")


def unchanged(handle: int, lines: Lines[Any]) -> bool:
    """Whether the file ends with the line that `lines` ends with, so that nobody has written since it was read."""
    if not lines.entries or os.fstat(handle).st_size != lines.end:
        return False
    last = os.pread(handle, lines.last, lines.end - lines.last)
    return hashlib.sha256(last).hexdigest() == lines.digest


def cut(handle: int, lines: Lines[Any]) -> None:
    """Cut what a kill left behind the newest whole line.

    Raises:
        OSError: If it cannot be written.
    """
    if os.fstat(handle).st_size != lines.end:
        os.ftruncate(handle, lines.end)
        os.fsync(handle)


def _whole_lines(raw: bytes) -> list[bytes]:
    """All but what a kill left of the last: no end of line, or, after a power cut, blocks that were never written."""
    lines = [one + b"\n" for one in raw.split(b"\n")[:-1]]
    while lines and b"\0" in lines[-1]:
        lines.pop()
    return lines


def _signed(record: Any, key: SigningKey | None) -> Any:
    if key is None:
        return record
    return record.model_copy(update={"signature": key.sign(json.loads(record.model_dump_json()))})


def _short(error: Exception) -> str:
    """First line of an error, or the fields that a record got wrong; never what stood in them."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:5])
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
