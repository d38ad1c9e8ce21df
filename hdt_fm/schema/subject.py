"""Pseudonyms: a keyed hash of (study, raw id), so that a raw id never travels past a reader.

A plain or salted hash of a small id space can be reversed by trying all ids; a keyed one cannot
without the key. The key lives in the environment, in a file outside the data or in the keyring, never in a config.
The study is part of what is hashed: people of two studies cannot be matched by their pseudonyms, and a new name of a
study gives all of its people new ones, as a new key would.
"""

import hashlib
import hmac
import os
import re
import secrets
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.keys import find_key, long_enough

KEY_VARIABLE = "HDT_FM_SUBJECT_KEY"
KEY_FILE_VARIABLE = "HDT_FM_SUBJECT_KEY_FILE"
# Parts of what is hashed are kept apart by these; a study's name may hold none.
_PART, _NO_SUBJECT = "\x1f", "\x1e"
# What a build hashes, with a pseudonym, to shift that person's times; as old as the pseudonyms, hence without the sign.
_DATE_SHIFT = "date shift"
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
        """HMAC-SHA256 of the study and the id, cut to 128 bits: 's' and 32 hexadecimal digits.

        Raises:
            ConfigError: If the name of the study holds a control character, or is that of another use of the key.
        """
        return self._hashed(_named(study) + _PART + raw_id)

    def reference(self, kind: str, study: str, text: str) -> str:
        """In the form of a pseudonym, what stands for something that is no subject: a `group`, a name of a `file`.

        Nobody's pseudonym is like it, nor is the reference of the same text in another study.

        Raises:
            ConfigError: As `pseudonym`.
        """
        return self._hashed(_NO_SUBJECT + kind + _PART + _named(study) + _PART + text)

    def _hashed(self, message: str) -> str:
        return "s" + hmac.new(self.secret, message.encode(), hashlib.sha256).hexdigest()[:32]

    @classmethod
    def public(cls) -> "SubjectKey":
        """The fixed key for openly published cohorts, where reproducible tables matter and ids are public."""
        return cls(_PUBLIC_KEY)

    @classmethod
    def find(cls, source: str = "auto") -> "SubjectKey":
        """Find the key: `public`, a file's path, or `auto` (see `find_key`, then the user's key file).

        With `auto` and no key anywhere, a new one is made in ~/.config/hdt_fm/subject.key (mode 600).

        Raises:
            ConfigError: If the named file is missing, the keyring cannot be asked, or the key is shorter than 16 bytes.
        """
        if source == "public":
            return cls.public()
        if source != "auto":
            return cls._from_file(Path(source))
        found = find_key(KEY_VARIABLE)
        if found is not None:
            return cls._checked(found.secret, f"{KEY_VARIABLE}, from the {found.place}")
        path = own_key_file()
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
        return cls(long_enough(secret, what="subject key", where=where))


def own_key_file() -> Path:
    """Where the key lies that is made when none is told."""
    return Path.home() / ".config" / "hdt_fm" / "subject.key"


def _named(study: str) -> str:
    if study != _DATE_SHIFT and not any(unicodedata.category(letter) == "Cc" for letter in study):
        return study
    raise ConfigError(
        "A study cannot have this name",
        where="cohort.study",
        expected=f"letters, digits, spaces and signs, and not {_DATE_SHIFT!r}",
        fix="give it another name: by this one, something else that the key hides could look like a pseudonym",
    )


def _write_new_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(32) + "\n")
