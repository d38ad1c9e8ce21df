"""A folder of versions with its ledger: what a person's twin and an updated model both stand on.

    FOLDER/ledger.jsonl          one line for each change, for ever (hdt_fm/schema/ledger.py)
    FOLDER/ledger.head           which line is the newest
    FOLDER/versions/000001/      the files of a version, and SHA256SUMS over them

A version counts once its line is whole, and not before: whatever kills a writer, the folder opens at the last version
that was complete, with the files that it had. What a kill left behind is passed over when reading and removed by the
next writer. Reading needs no lock and writes nothing. One process writes at a time, and none builds on a version that
another one has followed since. Read files through `opened`: it gives the folder itself, or, where files lie sealed
(hdt_fm/checkpoint/sealed.py), a plain copy that goes when the block ends.

    versions = Versions.create(folder, write, Told(note="first"))
    versions.append(write, Told(data=(digest,), scores={"RMSE 60 min, mg/dL": 24.1}))
    with versions.opened() as files:
        model = hdt_fm.load(files)
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from hdt_fm.checkpoint import ledger as book
from hdt_fm.checkpoint import sealed, version_folder
from hdt_fm.checkpoint.keys import LEDGER_KEY, ledger_key
from hdt_fm.checkpoint.version_files import check, sync
from hdt_fm.checkpoint.version_folder import Write, check_kind, disk_named, fresh_home, place_of, put
from hdt_fm.schema.errors import CheckpointError, ConfigError
from hdt_fm.schema.ledger import LEDGER_NAME, Entry, Told

KEEP = 10
Clock = Callable[[], datetime]


def now() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)


class Versions:
    """A folder of versions, open at the newest that is complete.

    Args:
        folder: What `create` made, here or on another machine.
        keep: So many versions that were in use last keep their files; lines of the ledger stay for ever.
        clock: Tells when an entry is written.
        check_files: Whether files of the current version are compared with the ledger; without, a folder whose
            current files are damaged can be opened to go back to an earlier version.

    Raises:
        CheckpointError: If the folder is none of versions, or its ledger or the files in use are damaged.
        ConfigError: If the key of the ledger is none.
    """

    def __init__(self, folder: Path, *, keep: int = KEEP, clock: Clock = now, check_files: bool = True) -> None:
        if keep < 1:
            raise ConfigError("At least one version keeps its files", where="keep", expected="1 or more", got=str(keep))
        self.folder, self.keep, self._clock = folder, keep, clock
        check_kind(self.folder)
        self._key = ledger_key()
        self._read()
        if check_files:
            self.check(self.number)

    @classmethod
    def create(cls, folder: Path, write: Write, told: Told, *, keep: int = KEEP, clock: Clock = now) -> "Versions":
        """Make the folder with its first version; it appears as a whole or not at all.

        Args:
            write: Fills an empty folder with the files of the version; folders in it are fine, links are not.

        Raises:
            CheckpointError: If there is something in the folder already, or it cannot be written.
        """
        key = ledger_key()
        with disk_named(folder), fresh_home(folder) as home:
            content, is_sealed = put(home, 1, write)
            (home / LEDGER_NAME).touch()
            with book.writing(home) as handle:
                entry = _entry("create", 1, content, is_sealed, told, book.Ledger(), clock)
                book.put_head(home, book.add(handle, book.Ledger(), entry, key), key)
            sync(home)
            os.rename(home, folder)
            sync(folder.parent)
        return cls(folder, keep=keep, clock=clock)

    @property
    def number(self) -> int:
        """Of the version in use."""
        return self.entries[-1].version

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of the ledger, the oldest first."""
        return self._ledger.entries

    @property
    def kept(self) -> tuple[int, ...]:
        """Versions whose files are there, rising."""
        there = version_folder.numbers(self.folder)
        return tuple(number for number in there if number in self._made and number >= self._first)

    @property
    def current(self) -> Path:
        """As `folder_of` the version in use."""
        return self.folder_of(self.number)

    def folder_of(self, number: int) -> Path:
        """Where the files of a version lie plain, to be read only.

        Raises:
            CheckpointError: If there is no such version, its files are no longer kept, or they lie sealed.
        """
        place = self._kept_place(number)
        if self._made[number].sealed:
            raise CheckpointError(
                "The files of this version lie sealed", where=f"version {number}", fix="read them through `opened()`"
            )
        return place

    @contextlib.contextmanager
    def opened(self, number: int | None = None) -> Iterator[Path]:
        """The plain files of a version (by default the one in use), to be read only, until the block ends.

        Raises:
            CheckpointError: If there is no such version, its files are no longer kept or are damaged, or the key does
                not open them.
            ConfigError: If they lie sealed and no key is set, or pyrage is missing.
        """
        number = self.number if number is None else number
        place = self._kept_place(number)
        self.check(number)
        if not self._made[number].sealed:
            yield place
            return
        with sealed.plain_place() as plain:
            sealed.unseal(place, plain)
            yield plain

    def append(self, write: Write, told: Told, *, forget: bool = False) -> Entry:
        """Make a new version the one in use: all of it, or nothing has changed.

        Args:
            write: As of `create`; what it raises comes through, and nothing has changed.
            forget: Files of all versions before go, as is owed to people who withdrew. The line says so: should a kill
                come between, they are kept no longer all the same, and the next writer (or `clear`) removes them.

        Raises:
            CheckpointError: If another writer is at it or was since the folder was opened, the folder cannot be
                written to or there is no room; or, though the version counts, what must be forgotten cannot go.
            ConfigError: If lines were signed or files sealed so far, and would be so no longer.
        """
        with disk_named(self.folder), self._changing() as handle:
            number, before = len(self._made) + 1, self.entries[-1]
            content, is_sealed = put(self.folder, number, write, sealed_before=before.sealed)
            entry = _entry("update", number, content, is_sealed, told, self._ledger, self._clock, forgets=forget)
            entry = self._commit(handle, entry)
        if forget:
            self.clear()
        return entry

    def clear(self) -> None:
        """Remove now what the next writer would: what a kill left, and files that must be forgotten.

        Raises:
            CheckpointError: If something cannot be removed, or another writer is at it.
        """
        try:
            with self._changing():
                sync(self.folder / version_folder.VERSIONS)
        except OSError as error:
            raise CheckpointError(
                "Files of earlier versions cannot be removed",
                where=str(self.folder),
                got=error.strerror or str(error),
                fix="make the folder writable, or remove it as a whole; the version in use is whole",
            ) from error

    def rollback(self, number: int, told: Told) -> Entry:
        """Make the files of another version those in use, bit for bit; history stays.

        Raises:
            CheckpointError: If there is no such version, it is the one in use, its files are no longer kept or are
                damaged; or as `append`.
        """
        with disk_named(self.folder), self._changing() as handle:
            if number == self.number:
                others = ", ".join(str(one) for one in self.kept if one != number)
                raise CheckpointError(
                    "This version is the one in use", where=f"version {number}", expected=f"one of: {others or 'none'}"
                )
            self._kept_place(number)
            self.check(number)
            made = self._made[number]
            entry = _entry("rollback", number, made.content, made.sealed, told, self._ledger, self._clock)
            return self._commit(handle, entry)

    def entry_of(self, number: int) -> Entry:
        """The entry that made a version.

        Raises:
            CheckpointError: If there is no such version.
        """
        if number not in self._made:
            self._kept_place(number)
        return self._made[number]

    def check(self, number: int) -> None:
        """Compare the files of a version with the ledger.

        Raises:
            CheckpointError: If there is no such version, or a file is changed, missing or new.
        """
        check(place_of(self.folder, number), self.entry_of(number).content)

    def verify(self) -> None:
        """Read the ledger again and compare the files of all versions that are kept.

        Raises:
            CheckpointError: If anything differs.
        """
        self._read()
        for number in sorted({*self.kept, self.number}):
            self.check(number)

    def _read(self) -> None:
        self._ledger = book.read(self.folder, self._key)
        self._made = {one.version: one for one in self.entries if one.kind != "rollback"}

    @property
    def _first(self) -> int:
        """The first version whose files may be there."""
        return next((one.version for one in reversed(self.entries) if one.forgets), 1)

    def _read_as_before(self) -> None:
        """What is written is made of what was read, so a change between them would be lost.

        Raises:
            CheckpointError: If another process wrote since the folder was opened.
        """
        digest = self._ledger.digest
        self._read()
        if self._ledger.digest != digest:
            raise CheckpointError(
                "Another process has changed this folder since it was opened",
                where=str(self.folder),
                fix="do it again: the folder is read anew",
            )

    def _kept_place(self, number: int) -> Path:
        if number not in self.kept:
            raise CheckpointError(
                "The files of this version are no longer kept" if number in self._made else "There is no such version",
                where=f"version {number}",
                expected=f"one of: {', '.join(map(str, self.kept))}",
                fix="`hdt-fm twin log FOLDER` lists them",
            )
        return place_of(self.folder, number)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[int]:
        """The ledger as it is now, held; what a kill or an error leaves behind goes before and after."""
        with book.writing(self.folder) as handle:
            if not book.unchanged(handle, self._ledger):
                self._read_as_before()
                book.cut(handle, self._ledger)
            if self._key is None and self.entries[-1].signature is not None:
                raise ConfigError(
                    "The ledger is signed, and an unsigned line would break it",
                    where=f"environment variable {LEDGER_KEY}",
                    fix=f"set {LEDGER_KEY} to the key that it was signed with",
                )
            version_folder.sweep(self.folder, self._made, first=self._first)
            try:
                yield handle
            except BaseException:
                # Read again, since an interrupt may have come when the line was whole already: then it counts.
                with contextlib.suppress(OSError, CheckpointError):
                    self._read()
                    version_folder.sweep(self.folder, self._made, first=self._first)
                raise

    def _commit(self, handle: int, entry: Entry) -> Entry:
        """The line is what counts; what comes after it is not worth an error."""
        self._ledger = book.add(handle, self._ledger, entry, self._key)
        entry = self.entries[-1]
        if entry.kind != "rollback":
            self._made[entry.version] = entry
        with contextlib.suppress(OSError):
            book.put_head(self.folder, self._ledger, self._key)
        stay: set[int] = set()
        for one in reversed(self.entries):
            if len(stay) == self.keep:
                break
            stay.add(one.version)
        for number in sorted({*self.kept} - stay):
            version_folder.remove(self.folder, number)
        return entry


def _entry(
    kind: Literal["create", "update", "rollback"],
    version: int,
    content: str,
    is_sealed: bool,
    told: Told,
    ledger: book.Ledger,
    clock: Clock,
    *,
    forgets: bool = False,
) -> Entry:
    return Entry(
        number=len(ledger.entries),
        kind=kind,
        version=version,
        parent=ledger.digest,
        content=content,
        sealed=is_sealed,
        forgets=forgets,
        written=clock().astimezone(UTC).isoformat(timespec="seconds"),
        **told.model_dump(),
    )
