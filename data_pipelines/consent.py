"""The consent table: who may be read at all. Applied before anything is cut."""

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hdt_fm.schema.errors import ConfigError

EVERYONE = "all"


@dataclass(frozen=True)
class Consent:
    """Answers by pseudonym.

    Attributes:
        version: `all` without a table, else its sha256; goes into the manifest.
        answers: Pseudonym -> yes or no. Who is not in the table has not said yes.
    """

    version: str = EVERYONE
    answers: Mapping[str, bool] = field(default_factory=dict)

    def allows(self, subject: str) -> bool:
        return self.version == EVERYONE or self.answers.get(subject, False)


def read_consent(path: Path | None) -> Consent:
    """Read a CSV with the columns `subject` (pseudonym) and `consent` (yes or no); None allows everyone.

    Two rows of one person that differ count as no.

    Raises:
        ConfigError: If the file, a column or an answer is not as it should be.
    """
    if path is None:
        return Consent()
    answers: dict[str, bool] = {}
    try:
        data = path.read_bytes()
        rows = list(csv.DictReader(data.decode("utf-8-sig").splitlines()))
        for row in rows:
            subject, answer = row["subject"].strip(), {"yes": True, "no": False}[row["consent"].strip().lower()]
            answers[subject] = answer and answers.get(subject, True)
    except (OSError, UnicodeDecodeError, KeyError, AttributeError) as error:
        raise ConfigError(
            "The consent table cannot be read",
            where=path.name,
            expected="a CSV with the columns subject (pseudonym) and consent (yes or no)",
            got=type(error).__name__,
            fix="nobody is read without a valid table; leave consent out if none is needed",
        ) from None
    return Consent("sha256:" + hashlib.sha256(data).hexdigest(), answers)
