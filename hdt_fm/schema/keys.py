"""Keys from the environment: a variable that holds one, or VARIABLE_FILE that names a file with it; never a config."""

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdt_fm.schema.errors import ConfigError

MIN_KEY_BYTES = 16


def told_by(variable: str) -> str | None:
    """What the variable holds, else the file that VARIABLE_FILE names; None where neither is set.

    Raises:
        ConfigError: If the file cannot be read, or what is set is empty.
    """
    name = f"{variable}_FILE"
    try:
        told = os.environ.get(variable)
        if told is None and name in os.environ:
            told = Path(os.environ[name]).read_text()
    except (OSError, ValueError) as error:
        raise ConfigError(
            "A key cannot be read",
            where=f"environment variable {name}",
            expected="the path of a text file",
            got=type(error).__name__,
            fix="point it to a readable file, or unset it",
        ) from None
    if told is not None and not told.strip():
        raise ConfigError(
            "A key is empty", where=f"environment variable {variable}", fix="set it to a key, or unset it"
        )
    return told.strip() if told is not None else None


@dataclass(frozen=True)
class SigningKey:
    """A secret that signs records; its bytes never show in `repr` or logs."""

    secret: bytes

    def __repr__(self) -> str:
        return "SigningKey(<hidden>)"

    @classmethod
    def of(cls, variable: str, what: str) -> "SigningKey | None":
        """The key of an environment variable, or None.

        Args:
            what: It signs, for words: `the ledger`.

        Raises:
            ConfigError: If it cannot be read or is shorter than 16 bytes.
        """
        told = told_by(variable)
        if told is None:
            return None
        if len(told.encode()) < MIN_KEY_BYTES:
            raise ConfigError(
                f"The key of {what} is too short",
                where=f"environment variable {variable}",
                expected=f"at least {MIN_KEY_BYTES} bytes",
                fix="python -c 'import secrets; print(secrets.token_hex(32))' makes a good one",
            )
        return cls(told.encode())

    def sign(self, record: Mapping[str, Any]) -> str:
        """HMAC-SHA256 of a JSON record without its own signature; the order of its keys does not matter."""
        rest = {name: value for name, value in record.items() if name != "signature"}
        message = json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()

    def signed(self, record: Mapping[str, Any]) -> bool:
        """Whether a record carries the signature that this key gives it."""
        return hmac.compare_digest(str(record.get("signature")).encode(), self.sign(record).encode())
