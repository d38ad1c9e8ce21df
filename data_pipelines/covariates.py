"""What a person's covariates may be: coarse facts. What names a person by itself does not enter a shard folder."""

import re
from collections import Counter
from collections.abc import Iterable

from data_pipelines.work import VisitFacts
from hdt_fm.schema.covariates import as_number
from hdt_fm.schema.errors import ShardError

OLDEST = 90
MAX_LENGTH = 40
_NAMING = {"address", "birth", "birthday", "birthdate", "dob", "email", "mail", "mrn", "name", "phone", "postcode"}
_NAMING |= {"postal", "serial", "ssn", "street", "surname", "zip"}
_DATE = re.compile(r"\b\d{4}[-/.]\d{1,2}[-/.]\d{1,2}\b|\b\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})\b")
# Decimals are how exactly a number was measured, and no identifier.
_ID = re.compile(r"(?<![\d.])\d{6,}|\S+@\S+")


def check_coarse(visits: Iterable[VisitFacts]) -> None:
    """Refuse covariates that would name a person: identifiers, dates, free text, an exact age above 90.

    Raises:
        ShardError: Names the column, never a value.
    """
    for visit in visits:
        for column, value in visit.covariates.items():
            if (why := _names_a_person(column, value)) is not None:
                raise ShardError(
                    f"The covariate {column!r} would name people",
                    where=f"subject {visit.subject}",
                    expected="coarse facts, such as sex, age_band (30-39, 90+), or a number that many share",
                    got=why,
                    fix="leave it out of cohort.covariates, or write bands",
                )


def _names_a_person(column: str, value: str) -> str | None:
    if not _NAMING.isdisjoint(column.lower().split("_")):
        return "a column of identifiers"
    if _DATE.search(value):
        return "a date"
    if _ID.search(value):
        return "a long number or an address"
    if len(value) > MAX_LENGTH:
        return f"more than {MAX_LENGTH} letters"
    age = as_number("age", value) if column.lower() == "age" else None
    return f"an exact age above {OLDEST}" if age is not None and age > OLDEST else None


def smallest_group(visits: Iterable[VisitFacts]) -> int:
    """People of the rarest combination of covariates: 1 means that somebody stands out by them alone."""
    people = {visit.subject: tuple(sorted(visit.covariates.items())) for visit in visits}
    return min(Counter(people.values()).values(), default=0)
