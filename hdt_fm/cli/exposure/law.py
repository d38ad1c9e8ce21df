"""A learned law of doses with what is known of it, as plain JSON: in a folder, and whole inside of a twin.

Contract, version 1. `dose.json` MUST hold no id, no value and no date of anybody: numbers that people have in common,
how many taught, a digest of their table, and for each exposure the verdict that every later word repeats. What comes
from others is looked at before it is used: a twin keeps it whole, and says it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool

from hdt_fm.heads.exposure_dose import ExposureDose
from hdt_fm.schema.errors import CheckpointError, HdtError, ReaderError
from hdt_fm.schema.privacy import private_traces

FORMAT = 1
LAW_NAME, EVIDENCE_NAME = "dose.json", "evidence.json"
# Far more than a law of a hundred exposures takes.
MOST_BYTES, MOST_LETTERS = 8_000_000, 2_000


def _plain(text: str) -> str:
    if not text.isprintable() or private_traces(text):
        raise ValueError("it has letters that cannot be printed, or tells of a person or a machine")
    return text


_Words = Annotated[str, Field(max_length=MOST_LETTERS), AfterValidator(_plain)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0)]


class _Looked(BaseModel):
    """Other keys may stand beside."""

    model_config = ConfigDict(extra="ignore", strict=True)


class _Verdict(_Looked):
    verdict: _Words
    reliable: StrictBool
    people: _Count
    days: _Number | None
    chance: _Number | None
    p_in_table: _Number | None
    p_days_after: _Number | None


class _Exposure(_Looked):
    kind: _Words
    unit: _Words
    form: _Words


class _Named(_Looked):
    name: _Words
    unit: _Words
    value: _Number | None
    low: _Number | None
    high: _Number | None


class _Explained(_Looked):
    model: _Words
    value: _Number
    low: _Number | None
    high: _Number | None


class _Facts(_Looked):
    """All that words are made of."""

    exposures: list[_Exposure]
    outcome: _Words
    outcome_unit: _Words
    next_day: StrictBool
    season: _Words
    people: _Count
    days: _Count
    misfit: _Number
    wrong_form: StrictBool
    reliable: StrictBool
    verdict: _Words
    verdicts: dict[str, _Verdict]
    numbers: list[_Named]
    explained: list[_Explained]
    notes: list[_Words]


@dataclass(frozen=True)
class Law:
    """What was learned, and all that is told of it.

    Attributes:
        facts: As `dose.json` has them.
        head: Made of them.
    """

    facts: dict[str, Any]
    head: ExposureDose

    @property
    def kinds(self) -> tuple[str, ...]:
        """Exposures, in the order of the head."""
        return self.head.law.exposures

    @property
    def digest(self) -> str:
        """Of the facts: the same law has the same one wherever it lies."""
        return hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()

    def verdict(self, kind: str) -> dict[str, Any]:
        """Of one exposure: in words, and whether its effect is reliable."""
        return dict(self.facts["verdicts"][kind])


def law_of(facts: Mapping[str, Any]) -> Law:
    """The law that these facts are of.

    Raises:
        CheckpointError: If they are of a later version, or not what they say.
    """
    number = facts.get("format")
    if type(number) is not int or number > FORMAT:
        raise CheckpointError(
            "The law was written by a later hdt_fm" if type(number) is int else "There is no law here",
            where=LAW_NAME,
            expected=f"format {FORMAT} or earlier",
            got=f"format {number}" if type(number) is int else "no number",
            fix="install the newest hdt_fm, or learn it anew: hdt-fm exposure learn",
        )
    try:
        told, head = _Facts.model_validate(facts), ExposureDose.of(facts["law"])
        names = [one.kind for one in told.exposures]
        if tuple(names) != head.law.exposures or set(told.verdicts) != set(names):
            raise KeyError
        if told.reliable != any(one.reliable for one in told.verdicts.values()):
            raise ValueError
        # NaN may stand where nothing was looked at; no twin could keep it.
        json.dumps(facts, allow_nan=False).encode()
        return Law(dict(facts), head)
    except HdtError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            "The law cannot be read",
            where=LAW_NAME,
            expected="the file as `hdt-fm exposure learn` wrote it",
            got=type(error).__name__,
            fix="learn it anew, or copy the folder again",
        ) from None


def read_law(folder: Path) -> Law:
    """What `hdt-fm exposure learn` wrote.

    Raises:
        ReaderError: If there is no law in the folder.
        CheckpointError: As `law_of`.
    """
    try:
        if (folder / LAW_NAME).stat().st_size > MOST_BYTES:
            raise ValueError
        facts = json.loads((folder / LAW_NAME).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ReaderError(
            "There is no law of exposures in this folder",
            where=LAW_NAME,
            expected="a folder that `hdt-fm exposure learn` made",
            got=type(error).__name__,
            fix="look for a slip in the path, or make one: hdt-fm exposure learn TABLE outcome=COLUMN --to FOLDER",
        ) from None
    return law_of(facts if isinstance(facts, dict) else {})
