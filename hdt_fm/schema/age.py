"""Bytes that only some people may read: age (https://age-encryption.org/v1), by pyrage; its only door.

HDT_FM_RECIPIENTS (public keys, apart by spaces, commas or lines) says who can open what is written from then on;
HDT_FM_IDENTITY (a secret key) opens it. Either may be a file's: HDT_FM_RECIPIENTS_FILE, HDT_FM_IDENTITY_FILE, as
`age-keygen` writes them. Sealing hides what is in a file, not its size, and does not say who wrote it: whoever knows a
public key can seal for it.
"""

import mmap
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdt_fm.schema.errors import ConfigError, HdtError, ShardError
from hdt_fm.schema.keys import told_by

RECIPIENTS = "HDT_FM_RECIPIENTS"
IDENTITY = "HDT_FM_IDENTITY"
SUFFIX = ".age"
# A stanza for each recipient takes some 100 bytes, and opening tries each: three hundred, and then it is an attack.
MAX_HEADER = 32 << 10
MAX_RECIPIENTS = 200
Buffer = bytes | memoryview | mmap.mmap
_VERSION = b"age-encryption.org/v1\n"
_NONCE, _CHUNK, _TAG = 16, 64 << 10, 16
# What age adds at least, and at most besides 16 bytes for every 64 KiB.
LEAST_ADDED, MOST_ADDED = len(_VERSION) + _NONCE + _TAG, MAX_HEADER + _NONCE + _TAG


def recipients(*, needed: bool) -> tuple[str, ...]:
    """Who is to open what is written, as public keys; empty where nobody is set.

    Args:
        needed: Whether what is written must not lie plain.

    Raises:
        ConfigError: If they are needed and none is set, one is no public key, or pyrage is missing.
    """
    told = _words(told_by(RECIPIENTS))
    if needed and not told:
        raise ConfigError(
            "What is to be sealed would lie plain: nobody is set who could open it",
            where=f"environment variable {RECIPIENTS}",
            expected="public keys of those who are to open it",
            fix=f"set {RECIPIENTS}, or write plain files to a new place",
        )
    if told:
        _public(tuple(told))
    if len(told) > MAX_RECIPIENTS:
        raise ConfigError(
            "These are more recipients than a file has room for",
            where=f"environment variable {RECIPIENTS}",
            expected=f"at most {MAX_RECIPIENTS}",
            got=str(len(told)),
            fix="give people who work together one key",
        )
    return tuple(told)


def seal(data: bytes, to: Sequence[str]) -> bytes:
    """The bytes as an age file for these public keys."""
    return _age().encrypt(data, _public(tuple(to)))


def new_identity() -> tuple[str, str]:
    """A secret key and its public one, for what nobody but this run is to open."""
    made = _age().x25519.Identity.generate()
    return str(made), str(made.to_public())


def public_of(secret: str) -> str:
    """The public key of a secret one that `new_identity` made."""
    return str(_age().x25519.Identity.from_str(secret).to_public())


class Identity:
    """Opens age files by the secret key of the environment, which is read when it is first needed.

    Neither `repr` nor a pickle holds the key: another process asks its own environment.

    Args:
        secret: The key, where it is not to come from the environment.
        wrong, damaged: Errors to raise for another key, and for bytes that were changed or cut off.
    """

    def __init__(
        self, secret: str | None = None, *, wrong: type[HdtError] = ShardError, damaged: type[HdtError] = ShardError
    ) -> None:
        self._secret, self._wrong, self._damaged = secret, wrong, damaged
        self._keys: list[Any] | None = None

    def __repr__(self) -> str:
        return "Identity(<hidden>)"

    def __reduce__(self) -> tuple[type["Identity"], tuple[()], dict[str, Any]]:
        return Identity, (), {"_wrong": self._wrong, "_damaged": self._damaged}

    def require(self) -> None:
        """Read the key now.

        Raises:
            ConfigError: If none is set, it is none, or pyrage is missing.
        """
        self.keys()

    def keys(self) -> list[Any]:
        """pyrage's identities; see `require`."""
        if self._keys is None:
            self._keys = _identities(self._secret)
        return self._keys

    def open(self, data: Buffer, *, most: int, where: str) -> bytes:
        """The content of an age file.

        Args:
            most: Bytes; what says to be more is refused unopened.

        Raises:
            ConfigError: As `require`.
            HdtError: `wrong` or `damaged`.
        """
        with memoryview(data) as view:
            size = self.size(view, where=where)
            if size > most:
                raise self._damaged(
                    "A sealed file holds more than it may",
                    where=where,
                    expected=f"{most} bytes at most",
                    got=f"{size}",
                    fix="do not trust it; get it from its maker again",
                )
            return self.open_array(view, where=where).tobytes()

    def open_array(self, data: memoryview, *, where: str) -> NDArray[np.uint8]:
        """As `open`, into an array of just that size, straight from a map; ask `size` before what that is."""
        out = np.empty(self.size(data, where=where), np.uint8)
        into = _Into(out)
        self._run(data, into, where=where)
        if into.place != len(out):
            raise self._changed(where)
        return out

    def first_bytes(self, data: memoryview, count: int, *, where: str) -> bytes:
        """The first bytes alone; what follows is not looked at, so that nothing vouches for it."""
        into = _Into(np.empty(min(count, self.size(data, where=where)), np.uint8), stops=True)
        with suppress(_EnoughError):
            self._run(data, into, where=where)
        return into.out.tobytes()

    def size(self, data: memoryview, *, where: str) -> int:
        """Bytes that an age file holds, which follow from its length; nothing is opened."""
        head = bytes(data[:MAX_HEADER])
        end = head.find(b"\n", head.find(b"\n--- ") + 1) + 1 if b"\n--- " in head else 0
        body = len(data) - end - _NONCE
        chunks = -(-body // (_CHUNK + _TAG))
        if not head.startswith(_VERSION) or not end or body < _TAG or body - chunks * _TAG < 0:
            raise self._damaged(
                "What should be sealed is no age file",
                where=where,
                expected="age-encryption.org/v1",
                fix="copy it from its maker again; a plain file does not belong there",
            )
        return body - chunks * _TAG

    def _run(self, data: memoryview, into: "_Into", *, where: str) -> None:
        keys, pyrage = self.keys(), _age()
        try:
            pyrage.decrypt_io(_From(data), into, keys)
        except pyrage.DecryptError as error:
            if into.enough:
                raise _EnoughError from None
            if "No matching keys" in str(error):
                raise self._wrong(
                    "Sealed files cannot be opened",
                    where=where,
                    expected=f"the secret key of one of those that they were sealed for, in {IDENTITY}",
                    got="another key",
                    fix=f"set {IDENTITY} or {IDENTITY}_FILE to the right one",
                ) from None
            raise self._changed(where) from None
        except (_EnoughError, OSError, ValueError):
            if into.enough:
                raise _EnoughError from None
            raise self._changed(where) from None

    def _changed(self, where: str) -> HdtError:
        return self._damaged(
            "A sealed file was changed or cut off",
            where=where,
            fix="copy it from its maker again",
        )


class _EnoughError(Exception):
    """Stops opening where no more is wanted."""


class _From:
    """Reads from a buffer as pyrage asks. Written in Python so that other threads get a turn between pieces."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._place = data, 0

    def read(self, count: int = -1) -> bytes:
        stop = len(self._data) if count < 0 else self._place + count
        piece = bytes(self._data[self._place : stop])
        self._place += len(piece)
        return piece


class _Into:
    """Writes into an array, never past its end."""

    def __init__(self, out: NDArray[np.uint8], *, stops: bool = False) -> None:
        self.out, self.place, self._stops, self.enough = out, 0, stops, False
        self._view = out.data

    def write(self, data: bytes) -> int:
        room = len(self.out) - self.place
        if len(data) > room and not self._stops:
            raise ValueError("more than was told")
        take = min(len(data), room)
        self._view[self.place : self.place + take] = data[:take]
        self.place += take
        if self._stops and self.place == len(self.out):
            self.enough = True
            raise _EnoughError
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""


def _identities(secret: str | None) -> list[Any]:
    told = _words(told_by(IDENTITY) if secret is None else secret)
    if not told:
        raise ConfigError(
            "The files are sealed, and no key is set to open them",
            where=f"environment variable {IDENTITY}",
            expected="the secret key of one of those that they were sealed for",
            fix=f"set {IDENTITY}_FILE to the file that `age-keygen` wrote",
        )
    pyrage = _age()
    try:
        return [pyrage.x25519.Identity.from_str(word) for word in told]
    except pyrage.IdentityError:
        raise ConfigError(
            "What should open sealed files is no secret key of age",
            where=f"environment variable {IDENTITY}",
            expected="AGE-SECRET-KEY-1..., as `age-keygen` writes it",
            fix=f"set {IDENTITY}_FILE to the file that `age-keygen` wrote",
        ) from None


@lru_cache(maxsize=8)
def _public(words: tuple[str, ...]) -> list[Any]:
    pyrage = _age()
    try:
        return [pyrage.x25519.Recipient.from_str(word) for word in words]
    except pyrage.RecipientError:
        raise ConfigError(
            "A recipient is no public key of age",
            where=f"environment variable {RECIPIENTS}",
            expected="age1..., as `age-keygen` prints it",
            fix="set the public key (never the secret one) of each who is to open the files",
        ) from None


def _words(told: str | None) -> list[str]:
    lines = (told or "").splitlines()
    return [word for line in lines if not line.startswith("#") for word in re.split(r"[\s,]+", line) if word]


def _age() -> Any:
    try:
        import pyrage
    except ImportError:
        raise ConfigError(
            "Files are to be sealed or opened, and pyrage is not installed",
            expected="pyrage, which encrypts as age does",
            fix=f"pip install pyrage (or 'hdt-fm[sealed]'), or unset {RECIPIENTS} to write files as they are",
        ) from None
    return pyrage
