"""A part of the report beyond maps and their tests: what its JSON says, and what its template is given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Section:
    """One section of a report.

    Attributes:
        key: Its name in the JSON and its anchor on the page; `templates/sections/KEY.html.j2` draws it, and
            `schema/KEY.json` says what its record looks like.
        record: Plain data for the JSON (numbers that are not finite become null); nothing about one person that the
            page does not show.
        view: What the template is given, as `view`; figures are inline SVG (`Markup`).
        words: Terms that the section adds to the glossary, each with one plain sentence.
        cautions: Sentences for "Before you read the figures".
    """

    key: str
    heading: str
    record: Mapping[str, Any]
    view: Mapping[str, Any]
    words: Mapping[str, str] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()
