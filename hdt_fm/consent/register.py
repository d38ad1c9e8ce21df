"""The register as a file: opened whole or not at all, added to by one writer at a time.

    register = Register.create(folder)
    register.add([Said(kind="given", subject=pseudonym, scope=("DUO:0000042",), version="1.0")])

Killed anywhere, it opens at its last whole line. A line that was changed, dropped or swapped is refused by its number.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from hdt_fm.consent.entry import REGISTER_VERSION, Entry, Said
from hdt_fm.schema.chain import Chain, Lines, cut
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.keys import SigningKey

NAME, HEAD = "register.jsonl", "register.head"
KEY = "HDT_FM_CONSENT_KEY"
CHAIN: Chain[Entry] = Chain(
    what="register",
    name=NAME,
    head=HEAD,
    entry=Entry,
    format=REGISTER_VERSION,
    error=ConfigError,
    key_variable=KEY,
    again="take the newest whole copy of the folder; a register is never edited by hand",
)
Clock = Callable[[], datetime]


def now() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)


def is_register(path: Path) -> bool:
    """Whether there is a register at this path, which is its folder or its file of lines."""
    return (path / NAME).is_file() or (path.name == NAME and path.is_file())


class Register:
    """An open register.

    Args:
        folder: What `create` made, or the file of lines in it.

    Raises:
        ConfigError: If there is none, or it is not what was written.
    """

    def __init__(self, folder: Path, *, clock: Clock = now) -> None:
        self.folder, self._clock = folder.parent if folder.name == NAME else folder, clock
        if not is_register(self.folder):
            raise ConfigError(
                "There is no register of consent here",
                where=str(folder),
                expected=f"a folder with {NAME}",
                fix=f"make one: hdt-fm consent new {folder}",
            )
        self._key = SigningKey.of(KEY, "the register")
        self._lines: Lines[Entry] = CHAIN.read(self.folder, self._key)

    @classmethod
    def create(cls, folder: Path, *, clock: Clock = now) -> "Register":
        """Make an empty register.

        Raises:
            ConfigError: If there is something in the folder already, or it cannot be made.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(
                "There is something here already",
                where=str(folder),
                expected="a new path or an empty folder",
                fix="choose another folder; nothing in this one was touched",
            )
        key, fresh = SigningKey.of(KEY, "the register"), folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            # With its first line and its head, or not at all.
            fresh.mkdir(parents=True)
            (fresh / NAME).open("xb").close()
            with CHAIN.writing(fresh) as handle:
                first = _entry(Said(kind="opened"), Lines(), clock)
                CHAIN.put_head(fresh, CHAIN.add(handle, Lines(), first, key), key)
            os.rename(fresh, folder)
        except OSError as error:
            raise _cannot_write(folder, error) from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return cls(folder, clock=clock)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of it, the oldest first."""
        return self._lines.entries

    @property
    def signed(self) -> bool:
        """Whether every line was compared with its signature."""
        return self._key is not None

    @property
    def digest(self) -> str:
        """What names what people agreed to: SHA-256 of the newest line by which somebody gave or took back, which names
        all before it; what is traced or settled later leaves it as it is."""
        after = [*(entry.parent for entry in self.entries[1:]), self._lines.digest]
        told = [place for place, entry in enumerate(self.entries) if entry.kind not in ("traced", "settled")]
        return f"sha256:{after[told[-1]]}"

    def add(self, said: Sequence[Said]) -> tuple[Entry, ...]:
        """Write entries at the end, each seen to the disk before the next; those that were added.

        Raises:
            ConfigError: If another process writes, the disk does not take a line (those before it stay), or the
                register is not what was written.
        """
        before = len(self.entries)
        try:
            with CHAIN.writing(self.folder) as handle:
                # Somebody may have written since.
                self._lines = CHAIN.read(self.folder, self._key)
                before = len(self.entries)
                cut(handle, self._lines)
                try:
                    for one in said:
                        entry = _entry(one, self._lines, self._clock)
                        self._lines = CHAIN.add(handle, self._lines, entry, self._key)
                finally:
                    CHAIN.put_head(self.folder, self._lines, self._key)
        except OSError as error:
            raise _cannot_write(self.folder, error) from error
        return self.entries[before:]


def _entry(said: Said, lines: Lines[Entry], clock: Clock) -> Entry:
    written = clock().isoformat(timespec="seconds")
    place = {"number": len(lines.entries), "parent": lines.digest, "written": written}
    return Entry.model_validate({**said.model_dump(), "at": said.at or written, **place})


def _cannot_write(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        "The register cannot be written",
        where=str(folder),
        got=error.strerror or type(error).__name__,
        fix="make room, or make the folder writable, and do it again",
    )
