"""A learned law of doses with what is known of it, as plain JSON: in a folder, and whole inside of a twin.

Contract, version 1. `dose.json` MUST hold no id, no value and no date of anybody: numbers that people have in common,
how many taught, a digest of their table, and for each exposure the verdict that every later word repeats.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdt_fm.heads.exposure_dose import ExposureDose
from hdt_fm.schema.errors import CheckpointError, HdtError, ReaderError

FORMAT = 1
LAW_NAME, EVIDENCE_NAME = "dose.json", "evidence.json"
_NEEDED = ("law", "exposures", "outcome", "outcome_unit", "next_day", "people", "days", "verdicts", "verdict", "misfit")


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
    if not isinstance(number, int) or number > FORMAT:
        raise CheckpointError(
            "The law was written by a later hdt_fm" if isinstance(number, int) else "There is no law here",
            where=LAW_NAME,
            expected=f"format {FORMAT} or earlier",
            got="no number" if not isinstance(number, int) else f"format {number}",
            fix="install the newest hdt_fm, or learn it anew: hdt-fm exposure learn",
        )
    try:
        missing = [name for name in _NEEDED if name not in facts]
        head = ExposureDose.of(facts["law"])
        names = [one["kind"] for one in facts["exposures"]]
        if missing or tuple(names) != head.law.exposures or set(facts["verdicts"]) != set(names):
            raise KeyError
        return Law(dict(facts), head)
    except HdtError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
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
        facts = json.loads((folder / LAW_NAME).read_text())
    except (OSError, ValueError) as error:
        raise ReaderError(
            "There is no law of exposures in this folder",
            where=LAW_NAME,
            expected="a folder that `hdt-fm exposure learn` made",
            got=type(error).__name__,
            fix="look for a slip in the path, or make one: hdt-fm exposure learn TABLE outcome=COLUMN --to FOLDER",
        ) from None
    return law_of(facts if isinstance(facts, dict) else {})
