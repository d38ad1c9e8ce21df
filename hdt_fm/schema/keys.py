"""Keys come from outside: an environment variable, the file that VARIABLE_FILE names, or the keyring; never a config.

The system's keyring is asked where HDT_FM_KEYRING names the service under which keys lie there, each by the name of its
variable: `keyring set hdt_fm HDT_FM_LEDGER_KEY` puts one in, `export HDT_FM_KEYRING=hdt_fm` lets it be found (needs pip
install 'hdt-fm[keyring]'). A variable stands above its file, and its file above the keyring.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hdt_fm.schema.errors import ConfigError

KEYRING = "HDT_FM_KEYRING"
MIN_KEY_BYTES = 16
# Every key that hdt_fm asks for, with what it does; `hdt-fm doctor` says where each one is found.
KEYS = {
    "HDT_FM_SUBJECT_KEY": "makes pseudonyms and shifts dates",
    "HDT_FM_LEDGER_KEY": "signs ledgers of versions",
    "HDT_FM_CONSENT_KEY": "signs registers of consent",
    "HDT_FM_SIGNING_KEY": "signs published folders",
    "HDT_FM_RECIPIENTS": "public keys of those who may open what is sealed",
    "HDT_FM_IDENTITY": "opens what is sealed",
    "HDT_FM_SHARDS_AUTHORIZATION": "lets shards be read from a server",
    "HDT_FM_SHARDS_QUERY": "lets shards be read from a server",
}


@dataclass(frozen=True)
class FoundKey:
    """What a variable leads to, and by which way; its bytes never show in `repr` or logs."""

    secret: bytes
    place: Literal["environment", "file", "keyring"]

    def __repr__(self) -> str:
        return f"FoundKey(<hidden>, from {self.place})"


def find_key(variable: str, *, keyring: bool = True) -> FoundKey | None:
    """The key of a variable, without white space around it; None where it is told nowhere.

    Args:
        keyring: Whether the keyring may be asked, where one is named.

    Raises:
        ConfigError: If a file cannot be read, the keyring cannot be asked, or what was found is empty.
    """
    found, service = _set(variable), named_keyring()
    if found is None and keyring and service is not None:
        held = from_keyring(service, variable)
        found = FoundKey(held.encode().strip(), "keyring") if held is not None else None
    if found is not None and not found.secret:
        raise ConfigError(
            "A key is empty",
            where=f"{variable}, from the {found.place}",
            fix="set it to a key, or take it away",
        )
    return found


def told_by(variable: str) -> str | None:
    """As `find_key`, as text.

    Raises:
        ConfigError: As there, and if it is no text.
    """
    found = find_key(variable)
    try:
        return found.secret.decode().strip() if found is not None else None
    except UnicodeDecodeError:
        raise ConfigError(
            "A key cannot be read",
            where=f"{variable}, from the {found.place if found else ''}",
            expected="text in UTF-8",
            got="other bytes",
            fix="write it as text, such as hexadecimal digits",
        ) from None


def named_keyring() -> str | None:
    """The service under which keys lie in the system's keyring; None where it is not to be asked."""
    return os.environ.get(KEYRING, "").strip() or None


def from_keyring(service: str, variable: str) -> str | None:
    """What the system's keyring holds for a variable; None where it holds nothing.

    Raises:
        ConfigError: If keyring is not installed, there is no keyring, or it is locked or broken.
    """
    try:
        import keyring
        from keyring.errors import KeyringLocked, NoKeyringError
    except ImportError:
        raise ConfigError(
            "Keys are to come from the system's keyring, and keyring is not installed",
            where=f"environment variable {KEYRING}",
            fix=f"pip install 'hdt-fm[keyring]', or unset {KEYRING}",
        ) from None
    try:
        return keyring.get_password(service, variable)
    except NoKeyringError:
        problem, fix = "There is no keyring here", f"give the key by {variable} or {variable}_FILE, and unset {KEYRING}"
    except KeyringLocked:
        problem, fix = "The keyring is locked", "unlock it, then run the same command again"
    except Exception as error:  # a backend raises what it likes; what it says may quote what it holds
        problem, fix = (
            f"The keyring cannot be asked ({type(error).__name__})",
            f"mend it, or give the key by {variable} or {variable}_FILE, and unset {KEYRING}",
        )
    raise ConfigError(problem, where=f"environment variable {KEYRING}", expected="a keyring that can be read", fix=fix)


def _set(variable: str) -> FoundKey | None:
    """What the environment or the file that it names holds."""
    if variable in os.environ:
        return FoundKey(os.environ[variable].strip().encode(errors="surrogateescape"), "environment")
    name = f"{variable}_FILE"
    if name not in os.environ:
        return None
    try:
        return FoundKey(Path(os.environ[name]).read_bytes().strip(), "file")
    except (OSError, ValueError) as error:
        raise ConfigError(
            "A key cannot be read",
            where=f"environment variable {name}",
            expected="the path of a file",
            got=type(error).__name__,
            fix="point it to a readable file, or unset it",
        ) from None


@dataclass(frozen=True)
class SigningKey:
    """A secret that signs records; its bytes never show in `repr` or logs."""

    secret: bytes

    def __repr__(self) -> str:
        return "SigningKey(<hidden>)"

    @classmethod
    def of(cls, variable: str, what: str) -> "SigningKey | None":
        """The key of a variable (see `find_key`), or None.

        Args:
            what: It signs, for words: `the ledger`.

        Raises:
            ConfigError: If it cannot be read or is shorter than 16 bytes.
        """
        told = told_by(variable)
        return cls(long_enough(told.encode(), what=f"key of {what}", where=variable)) if told is not None else None

    def sign(self, record: Mapping[str, Any]) -> str:
        """HMAC-SHA256 of a JSON record without its own signature; the order of its keys does not matter."""
        rest = {name: value for name, value in record.items() if name != "signature"}
        message = json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()

    def signed(self, record: Mapping[str, Any]) -> bool:
        """Whether a record carries the signature that this key gives it."""
        return hmac.compare_digest(str(record.get("signature")).encode(), self.sign(record).encode())


def long_enough(secret: bytes, *, what: str, where: str) -> bytes:
    """The secret itself, if all keys of its length cannot be tried.

    Raises:
        ConfigError: If it is shorter than 16 bytes.
    """
    if len(secret) >= MIN_KEY_BYTES:
        return secret
    raise ConfigError(
        f"The {what} is too short",
        where=where,
        expected=f"at least {MIN_KEY_BYTES} bytes",
        got=f"{len(secret)} bytes",
        fix="python -c 'import secrets; print(secrets.token_hex(32))' makes a good one",
    )
