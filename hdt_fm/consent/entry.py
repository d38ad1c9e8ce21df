"""One line of a register of consent, version 1.

A register is a folder with `register.jsonl` and `register.head` (`hdt_fm/schema/chain.py`). It MUST hold pseudonyms
only, never a raw id, a name or an address. Lines are only ever added: a person who leaves adds one more. What a person
agreed to follows from all lines (`standing.py`).
"""

import re
from datetime import UTC, date, datetime
from typing import Literal

from pydantic import Field, field_validator, model_validator

from hdt_fm.consent.duo import Scope, scope_of
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.preparation import Plain
from hdt_fm.schema.privacy import private_traces
from hdt_fm.schema.subject import is_pseudonym

REGISTER_VERSION = 1
Kind = Literal["opened", "given", "withdrawn", "traced", "settled"]
_VERSION = re.compile(r"[A-Za-z0-9._-]{1,32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
MOST_TOLD = 200


class Said(Plain):
    """What an entry says.

    Attributes:
        kind: `opened`, the first; `given`; `withdrawn`; `traced`, which artefacts of a person who left were found, by
            digest, so that what was made of them is known after they are gone; `settled`, who was told of a
            publication that left.
        subject: Pseudonym; empty for `opened` and `settled`.
        scope: DUO codes and diseases, of `given`; of `withdrawn` what was taken back, empty for all.
        valid_from, valid_to: First and last day, YYYY-MM-DD; empty is open.
        version: Of the form that was signed.
        at: When the person said so, UTC; the time of the entry where nothing else is told.
        shards, models, published: SHA-256 of what was found.
        told: Who was told, in words and with no name.
    """

    kind: Kind
    subject: str = ""
    scope: tuple[str, ...] = ()
    valid_from: str = ""
    valid_to: str = ""
    version: str = ""
    at: str = ""
    shards: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    told: str = ""

    @field_validator("subject")
    @classmethod
    def _pseudonym(cls, subject: str) -> str:
        if subject and not is_pseudonym(subject):
            # It may be a raw id, so it is not shown.
            raise ConfigError(
                "A register of consent holds pseudonyms only",
                where="subject",
                expected="'s' and 32 hexadecimal digits, as in the manifest of the shards",
                got="something else",
                fix="make a pseudonym of the raw id with the cohort's key; nothing was written",
            )
        return subject

    @field_validator("scope")
    @classmethod
    def _codes(cls, scope: tuple[str, ...]) -> tuple[str, ...]:
        """By number, however they were written."""
        found = scope_of(scope) if scope else None
        return (*found.codes, *found.diseases) if found else ()

    @field_validator("valid_from", "valid_to")
    @classmethod
    def _day(cls, day: str) -> str:
        try:
            return date.fromisoformat(day).isoformat() if day else ""
        except ValueError:
            raise ConfigError(
                "A day cannot be read", where="valid_from or valid_to", expected="YYYY-MM-DD", fix="write it so"
            ) from None

    @model_validator(mode="after")
    def _whole(self) -> "Said":
        if (self.kind in ("opened", "settled")) == bool(self.subject):
            raise ConfigError("An entry names a person, unless it settles a publication", where="subject")
        if self.kind == "given" and not _VERSION.fullmatch(self.version):
            raise ConfigError(
                "It is not told which form was signed",
                where="version",
                expected="up to 32 letters, digits, dots, dashes",
                fix="say version=1.0",
            )
        if self.kind == "given" and not self.scope:
            raise ConfigError("It is not told what was agreed to", where="scope", fix="say scope=DUO:0000042")
        if self.valid_from and self.valid_to and self.valid_to < self.valid_from:
            raise ConfigError("Consent would end before it begins", where="valid_to", fix="look at both days")
        if not all(_DIGEST.fullmatch(one) for one in (*self.shards, *self.models, *self.published)):
            raise ConfigError("What was found is named by a SHA-256", where="shards, models, published")
        traces = private_traces(self.told)
        if traces or len(self.told) > MOST_TOLD or not self.told.isprintable():
            raise ConfigError(
                "Who was told is told without a name or an address",
                where="told",
                expected=f"up to {MOST_TOLD} letters, such as 'hub users by a notice on the page'",
                got=", ".join(traces) or "too long, or not printable",
                fix="name the kind of people, and keep letters elsewhere",
            )
        return self

    @property
    def agreed(self) -> Scope:
        """The scope as codes."""
        return scope_of(self.scope)


class Entry(Said):
    """One line: what was said, its place, and when it was written.

    Attributes:
        number: From 0.
        parent: SHA-256 of the line before; empty for the first.
        written: UTC, ISO 8601.
        signature: HMAC-SHA256 of all the rest under HDT_FM_CONSENT_KEY; None where no key was set.
    """

    format: int = REGISTER_VERSION
    number: int = Field(ge=0)
    parent: str = Field(pattern=r"^(|[0-9a-f]{64})$")
    written: str
    signature: str | None = None


def time_of(text: str) -> str:
    """A day or a moment, as UTC to the second; empty stays empty.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        raise ConfigError(
            "A time cannot be read", where="at", expected="YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ", fix="write it so"
        ) from None
    if moment is None:
        return ""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="seconds")
