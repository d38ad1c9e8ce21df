"""The ledger of a folder of versions: what made each version, out of what, and how it scored.

Contract, version 1: `ledger.jsonl` MUST hold one entry a line, and is only ever added to. An entry MUST name the
SHA-256 of the line before it, and of the files that are in use after it; versions are numbered from 1 without a gap,
and a rollback names an earlier one. Its text MUST NOT hold a person's id, address or values, nor a path of a machine:
digests, scores and facts about the work only. `ledger.head` names the newest line, so that lines that are missing at
the end are found. Under a key both carry an HMAC-SHA256.
"""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.preparation import Plain
from hdt_fm.schema.privacy import private_traces
from hdt_fm.schema.result import Scalar

LEDGER_VERSION = 1
LEDGER_NAME = "ledger.jsonl"
HEAD_NAME = "ledger.head"
_DIGEST = re.compile(r"(?:[a-z0-9_]+:)?[0-9a-f]{16,128}")
_SHA256 = r"^[0-9a-f]{64}$"


class Told(Plain):
    """What is told of a change by whoever makes it.

    Attributes:
        data: Digests of what came in, hexadecimal; `sha256:` or another word may stand before one.
        scores: Name with its unit -> number, such as "RMSE 60 min, old people, mg/dL": on old and new people, forward
            and backward transfer, worst old person.
        facts: Seconds, MB, strategy, digests of encoder and exposure state, whether a refusal was overruled.
        note: In words.

    Raises:
        ConfigError: If something in it would tell who a person is or name a path, or a digest is none.
    """

    data: tuple[str, ...] = ()
    scores: dict[str, float] = {}
    facts: dict[str, Scalar] = {}
    note: str = ""

    @field_validator("data")
    @classmethod
    def _digests(cls, data: tuple[str, ...]) -> tuple[str, ...]:
        wrong = sum(_DIGEST.fullmatch(one) is None for one in data)
        if wrong:
            raise ConfigError(
                "An entry of the ledger names data by something else than a digest",
                where="data",
                expected="16 hexadecimal digits or more each",
                got=f"{wrong} of {len(data)} that are none",
                fix="give the SHA-256 of what came in",
            )
        return data

    @model_validator(mode="after")
    def _tells_nobody(self) -> "Told":
        words = [self.note, *self.scores, *self.facts, *(one for one in self.facts.values() if isinstance(one, str))]
        traces = private_traces("\n".join(words))
        if traces:
            raise ConfigError(
                f"An entry of the ledger would hold {', '.join(traces)}",
                where="scores, facts or note",
                expected="no id, address or path: a ledger stays for ever",
                fix="name the data by its digest, and files by their name inside the folder",
            )
        return self


class Entry(Plain):
    """One line of the ledger.

    Attributes:
        format: Version of this contract.
        number: Of the entry, from 0.
        version: Whose files are current after it, from 1.
        parent: SHA-256 of the line before; empty for the first.
        content: SHA-256 over names and bytes of the version's files as they lie, sealed or not.
        data, scores, facts, note: As of `Told`.
        written: UTC, ISO 8601.
        sealed: Whether the version's files lie encrypted.
        forgets: Whether files of all versions before this one must be nowhere any more, since people withdrew.
        signature: HMAC-SHA256 of all the rest; None where no key was set.
    """

    format: int = LEDGER_VERSION
    number: int = Field(ge=0)
    kind: Literal["create", "update", "rollback"]
    version: int = Field(ge=1)
    parent: str = Field(pattern=r"^(|[0-9a-f]{64})$")
    content: str = Field(pattern=_SHA256)
    data: tuple[str, ...]
    scores: dict[str, float]
    facts: dict[str, Scalar]
    note: str
    written: str
    sealed: bool = False
    forgets: bool = False
    signature: str | None = None

    @property
    def told(self) -> Told:
        """What whoever made the change told of it."""
        return Told(data=self.data, scores=self.scores, facts=self.facts, note=self.note)
