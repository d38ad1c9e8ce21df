"""Nothing of a person or a machine in any file: found by its form, reported by kind, never quoted."""

import re
from collections.abc import Iterator

from hdt_fm.report.rules.folder import Folder
from hdt_fm.schema.privacy import private_traces

_YEAR, _MONTH, _DAY = r"(?:19|20)\d{2}", r"(?:0?[1-9]|1[0-2])", r"(?:0?[1-9]|[12]\d|3[01])"
_DATE = rf"(?:{_YEAR}[-/.]{_MONTH}[-/.]{_DAY}|{_DAY}[-/.]{_MONTH}[-/.]{_YEAR}|{_MONTH}/{_DAY}/{_YEAR})"
# A date beside a word of birth; without one, a day so long ago that hardly anything but a birth is dated by it.
_BIRTH = (
    re.compile(rf"(?:birth|\bborn\b|\bdob\b|geburt|naissance)[^\n]{{0,40}}?(?<!\d){_DATE}(?!\d)", re.IGNORECASE),
    re.compile(r"(?:birth|\bborn\b|geburt|naissance)[\w\"' :=]{0,20}(?<!\d)(?:19|20)\d{2}(?!\d)", re.IGNORECASE),
    re.compile(
        r"(?<![\d./-])(?:(?:19\d{2}|200\d)-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
        r"|(?:0[1-9]|[12]\d|3[01])[./](?:0[1-9]|1[0-2])[./](?:19\d{2}|200\d))(?![\d./-])"
    ),
)


def private(folder: Folder) -> Iterator[str]:
    """Absolute path, e-mail address, pseudonym, or a word of the caller's list."""
    for name, text in folder.texts():
        yield from (f"{name} holds {kind}" for kind in private_traces(text, forbidden=folder.forbidden))


def dates_of_birth(folder: Folder) -> Iterator[str]:
    """What looks like the day on which somebody was born."""
    for name, text in folder.texts():
        if any(pattern.search(text) for pattern in _BIRTH):
            yield f"{name} holds what may be a date of birth"
