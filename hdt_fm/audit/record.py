"""`privacy_audit.json`: what an audit found, of which model, without a word that names a person."""

from typing import Any

from pydantic import Field

from hdt_fm.audit.membership import Membership
from hdt_fm.schema.preparation import Plain
from hdt_fm.schema.result import Result, Scalar

AUDIT_NAME, WORDS_NAME = "privacy_audit.json", "privacy_audit.md"
AUDIT_VERSION = 1
NOT_RESOLVABLE = "not resolvable"


class PrivacyAudit(Plain):
    """An audit of one model; `hdt_fm/report/evidence.py` reads it for the card.

    Attributes:
        model: Digest of the whole model (`model_digest`); whoever publishes another one must audit that.
        encoder: Digest without heads: heads that were added later leave it as it is.
        shards: Digests of the shard folders, in the order of the cohorts.
        config: Digest of the settings that the audit ran with.
        rows: Flat; a share of false alarms that so few people cannot show has the value "not resolvable", and in
            `smallest` the one that they can.
        found: The findings in plain sentences.
    """

    version: int = AUDIT_VERSION
    model: str = Field(min_length=1)
    encoder: str = Field(min_length=1)
    shards: tuple[str, ...]
    config: str
    protocol: dict[str, Any]
    rows: tuple[dict[str, Scalar], ...] = Field(min_length=1)
    found: tuple[str, ...] = Field(min_length=1)


def flat(result: Result) -> list[dict[str, Scalar]]:
    """Rows of a table, each with the table's name."""
    return [{"result": result.name, **row.flat()} for row in result.rows]


def unresolved_rows(found: Membership) -> list[dict[str, Scalar]]:
    """What cannot be shown, as rows like the others."""
    return [
        {
            "result": found.result.name,
            "what": one.what,
            "model": one.model,
            "metric": f"caught at {one.false_share:.1%} false alarms",
            "value": NOT_RESOLVABLE,
            "smallest": one.smallest,
            "others": one.others,
        }
        for one in found.unresolved
    ]
