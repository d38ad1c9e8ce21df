"""What other verbs found out about the model and is handed on as they wrote it: audits of privacy and of fairness, and
the attribution.

All are only read here. What they hold beside these fields is theirs.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hdt_fm.schema.errors import PublishError
from hdt_fm.schema.result import Scalar

AUDIT_NAME = "privacy_audit.json"
FAIRNESS_NAME = "fairness_audit.json"
ATTRIBUTION_HTML, ATTRIBUTION_JSON = "attribution_report.html", "attribution_report.json"
# As `hdt-fm explain` names them in its run folder.
EXPLANATION_HTML, EXPLANATION_JSON = "explanation.html", "explanation.json"
WITHHELD = "withheld from this copy"
_MOST_BYTES = 2**26


class Audit(BaseModel):
    """`privacy_audit.json`, as far as a card speaks of it.

    Attributes:
        model, encoder: Digests of the model that was audited, with and without heads.
        found: The findings in plain sentences.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)
    model: str = Field(min_length=1)
    encoder: str = Field(min_length=1)
    rows: tuple[dict[str, Scalar], ...] = Field(min_length=1)
    found: tuple[str, ...] = Field(min_length=1)


class Gaps(BaseModel):
    """`fairness_audit.json`, as far as a card speaks of it.

    Attributes:
        model, encoder: As in `Audit`; None where the audit is of a recipe and of no checkpoint.
        rows: Of cells of people, and of the gaps between them.
        protocol: Which columns of the people have which cells, and how the encoders came about.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)
    model: str | None
    encoder: str | None
    protocol: dict[str, Any]
    rows: tuple[dict[str, Scalar], ...] = Field(min_length=1)
    found: tuple[str, ...] = Field(min_length=1)

    @property
    def columns(self) -> tuple[str, ...]:
        """By what the people were told apart."""
        return tuple(dict.fromkeys(str(row["column"]) for row in self.rows if "column" in row))

    @property
    def gaps(self) -> tuple[dict[str, Scalar], ...]:
        """Gaps of ours, before and after, without those of remedies."""
        ours = [row for row in self.rows if row.get("role") == "ours" and not row.get("remedy")]
        return tuple(row for row in ours if str(row.get("metric")).endswith(" gap"))


class Attribution(BaseModel):
    """`attribution_report.json`, as far as a card speaks of it.

    Attributes:
        checkpoint: First sixteen digits of the digest of the model that was explained.
        waveforms: Whether a sample or a beat of a recording is in it.
    """

    model_config = ConfigDict(frozen=True)
    title: str
    scope: str
    verdict: str
    checkpoint: str
    summary: tuple[str, ...]
    waveforms: bool


def read_audit(folder: Path) -> Audit | None:
    """The audit of a folder; None where there is none.

    Raises:
        PublishError: If the file breaks its contract.
    """
    path = Path(folder) / AUDIT_NAME
    if not path.is_file():
        return None
    try:
        return Audit.model_validate(_object(path))
    except ValidationError as error:
        raise PublishError(
            f"{AUDIT_NAME} breaks its contract",
            where=".".join(map(str, error.errors()[0]["loc"])),
            fix="run `hdt-fm audit privacy` again",
        ) from error


def read_fairness(folder: Path) -> Gaps | None:
    """The fairness audit of a folder; None where there is none.

    Raises:
        PublishError: If the file breaks its contract.
    """
    path = Path(folder) / FAIRNESS_NAME
    if not path.is_file():
        return None
    try:
        return Gaps.model_validate(_object(path))
    except ValidationError as error:
        raise PublishError(
            f"{FAIRNESS_NAME} breaks its contract",
            where=".".join(map(str, error.errors()[0]["loc"])),
            fix="run `hdt-fm audit fairness` again",
        ) from error


def read_attribution(folder: Path, name: str = ATTRIBUTION_JSON) -> Attribution | None:
    """The attribution report of a folder; None where there is none.

    Raises:
        PublishError: If the file breaks its contract.
    """
    path = Path(folder) / name
    if not path.is_file():
        return None
    told = _object(path)
    try:
        windows = [window for window in told["windows"] if isinstance(window, dict)]
        return Attribution(
            title=told["title"],
            scope=told["scope"] or "window",
            verdict=told["reliability"]["verdict"],
            checkpoint=told["provenance"]["checkpoint"],
            summary=tuple(told["summary"]),
            waveforms=any(window.get("samples") or window.get("events") for window in windows),
        )
    except (KeyError, TypeError, ValidationError) as error:
        raise PublishError(
            f"{name} breaks its contract", where=str(error)[:80], fix="run `hdt-fm explain` again"
        ) from error


def _object(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError
        told = json.loads(path.read_bytes())
        if isinstance(told, dict):
            return told
    except (ValueError, RecursionError):
        pass
    raise PublishError(
        f"{path.name} is no JSON object", expected=f"at most {_MOST_BYTES} bytes of JSON", where=path.name
    )
