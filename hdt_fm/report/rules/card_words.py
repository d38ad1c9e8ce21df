"""What people typed: nothing left out, no placeholder left."""

import re
from collections.abc import Iterator

from hdt_fm.report.card_facts import OWED, CardFacts
from hdt_fm.report.rules.folder import Folder

_PLACEHOLDER = re.compile(
    r"\b(?:TODO|TBD|FIXME|XXX)\b|\?\?\?|\[more information needed\]|lorem ipsum|\bchange me\b"
    r"|<(?:your|fill|insert|add|name|describe)\b[^>]*>",
    re.IGNORECASE,
)


def placeholders(folder: Folder) -> Iterator[str]:
    """A placeholder in any file; of the card's own words the field is named."""
    if folder.facts:
        fields = placeholder_fields(folder.facts.card)
        if fields:
            yield f"card.yaml holds a placeholder that was not filled in: {', '.join(fields)}"
    for name, text in folder.texts():
        # A page of figures has tags such as <a ...>; none of them is a placeholder of ours, whose words are two.
        if _PLACEHOLDER.search(text):
            yield f"{name} holds a placeholder that was not filled in"


def nothing_left_out(folder: Folder) -> Iterator[str]:
    """Fields of card.yaml that a folder owes, and those whose form others rely on."""
    if folder.facts:
        silent = [name for name in OWED if not getattr(folder.facts.card, name)]
        if silent:
            yield f"card.yaml says nothing of: {', '.join(silent)}"
        card = folder.facts.card
        if card.released and not re.fullmatch(r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])", card.released):
            yield "card.yaml: released is no day (year-month-day)"
        if card.contact and not card.contact.startswith("https://"):
            yield "card.yaml: contact is no address on the web (https://...)"


def placeholder_fields(card: CardFacts) -> list[str]:
    """Names of the fields that hold one."""
    return [name for name, said in card.model_dump().items() if any(_PLACEHOLDER.search(one) for one in _texts(said))]


def _texts(said: object) -> list[str]:
    return [str(one) for one in said] if isinstance(said, list | tuple) else [str(said)]
