"""Pseudonyms: a keyed hash of (study, raw id), so that a raw id never travels past a reader.

A plain or salted hash of a small id space can be reversed by trying all ids; a keyed one cannot
without the key. The key lives in the environment or in a file outside the data, never in a config.
"""

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from hdt_fm.schema.errors import ConfigError

KEY_VARIABLE = "HDT_FM_SUBJECT_KEY"
KEY_FILE_VARIABLE = "HDT_FM_SUBJECT_KEY_FILE"
MIN_KEY_BYTES = 16
_PSEUDONYM = re.compile(r"s[0-9a-f]{32}")
# For openly published cohorts only: everyone gets the same pseudonyms, so that a table can be
# made again anywhere. It protects nobody; a lab's own cohort needs a key of its own.
_PUBLIC_KEY = b"hdt_fm public cohorts: reproducible, protects nobody"


def is_pseudonym(text: str) -> bool:
    """Whether the text has the form that `SubjectKey.pseudonym` gives."""
    return _PSEUDONYM.fullmatch(text) is not None


@dataclass(frozen=True)
class SubjectKey:
    """The secret behind the pseudonyms of one lab; its bytes never show in `repr` or logs."""

    secret: bytes

    def __repr__(self) -> str:
        return "SubjectKey(<hidden>)"

    def pseudonym(self, study: str, raw_id: str) -> str:
        """HMAC-SHA256 of the study and the id, cut to 128 bits: 's' and 32 hexadecimal digits."""
        message = f"{study}\x1f{raw_id}".encode()
        return "s" + hmac.new(self.secret, message, hashlib.sha256).hexdigest()[:32]

    @classmethod
    def public(cls) -> "SubjectKey":
        """The fixed key for openly published cohorts, where reproducible tables matter and ids are public."""
        return cls(_PUBLIC_KEY)

    @classmethod
    def find(cls, source: str = "auto") -> "SubjectKey":
        """Find the key: `public`, a file's path, or `auto` (environment, then the user's key file).

        With `auto` and no key anywhere, a new one is made in ~/.config/hdt_fm/subject.key (mode 600).

        Raises:
            ConfigError: If the named file is missing or the key is shorter than 16 bytes.
        """
        if source == "public":
            return cls.public()
        if source != "auto":
            return cls._from_file(Path(source))
        if KEY_VARIABLE in os.environ:
            return cls._checked(os.environ[KEY_VARIABLE].strip().encode(), f"environment variable {KEY_VARIABLE}")
        if KEY_FILE_VARIABLE in os.environ:
            return cls._from_file(Path(os.environ[KEY_FILE_VARIABLE]))
        path = Path.home() / ".config" / "hdt_fm" / "subject.key"
        if not path.exists():
            _write_new_key(path)
        return cls._from_file(path)

    @classmethod
    def _from_file(cls, path: Path) -> "SubjectKey":
        try:
            secret = path.read_bytes().strip()
        except OSError as error:
            raise ConfigError(
                "The subject key cannot be read",
                where=str(path),
                got=type(error).__name__,
                fix=f"point {KEY_FILE_VARIABLE} or subject_key to a readable file, or use subject_key=auto",
            ) from error
        return cls._checked(secret, str(path))

    @classmethod
    def _checked(cls, secret: bytes, where: str) -> "SubjectKey":
        if len(secret) < MIN_KEY_BYTES:
            raise ConfigError(
                "The subject key is too short",
                where=where,
                expected=f"at least {MIN_KEY_BYTES} bytes",
                got=f"{len(secret)} bytes",
                fix="python -c 'import secrets; print(secrets.token_hex(32))' makes a good one",
            )
        return cls(secret)


def _write_new_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(32) + "\n")
