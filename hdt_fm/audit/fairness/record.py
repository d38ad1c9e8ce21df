"""`fairness_audit.json`: what was found, of which model or recipe, without a word that names a person."""

from typing import Any

from pydantic import Field

from hdt_fm.schema.preparation import Plain
from hdt_fm.schema.result import Scalar

FAIRNESS_NAME, FAIRNESS_WORDS_NAME = "fairness_audit.json", "fairness.md"
FAIRNESS_VERSION = 1


class FairnessAudit(Plain):
    """A fairness audit.

    Attributes:
        model: Digest of the whole checkpoint; None where encoders were pretrained anew for each fold and there is no
            checkpoint of their recipe: then it is of a recipe, and belongs to no model that could be published.
        encoder: Digest without heads, as `model`.
        shards: Digests of the shard folders.
        config: Digest of the settings that the audit ran with.
        rows: Flat: of cells, of everyone shown, of gaps.
        found: The findings in plain sentences.
    """

    version: int = FAIRNESS_VERSION
    model: str | None
    encoder: str | None
    shards: tuple[str, ...]
    config: str
    protocol: dict[str, Any]
    rows: tuple[dict[str, Scalar], ...] = Field(min_length=1)
    found: tuple[str, ...] = Field(min_length=1)
