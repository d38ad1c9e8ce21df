"""`CITATION.cff`: how to cite the model, in the Citation File Format 1.2.0."""

import json
import re

from hdt_fm.report.facts import Facts
from hdt_fm.report.licences import spdx

NAME = "CITATION.cff"


def make(facts: Facts) -> str:
    """YAML whose every text is a JSON string, which YAML reads alike: nothing typed can become another field."""
    card = facts.card
    authors = [one.strip() for one in card.authors.split(";") if one.strip()] or ["unknown"]
    lines = [
        "cff-version: 1.2.0",
        f"message: {_text(card.citation or 'Please cite this model by its name and release.')}",
        "type: software",
        f"title: {_text(card.name)}",
        f"abstract: {_text(card.summary)}",
        "authors:",
        *(f"  - name: {_text(author)}" for author in authors),
    ]
    if card.release:
        lines.append(f"version: {_text(card.release)}")
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", card.released):
        lines.append(f"date-released: {_text(card.released)}")
    licence = spdx(card.licence)
    lines.append(f"license: {_text(licence)}" if licence else f"license-url: {_text(card.licence_link)}")
    if card.contact.startswith("https://"):
        lines.append(f"url: {_text(card.contact)}")
    lines += ["keywords:", *(f"  - {_text(word)}" for word in keywords(facts))]
    if card.publications:
        lines += ["references:"]
        for one in card.publications:
            lines += ["  - type: article", f"    title: {_text(one)}", "    authors:", '      - name: "see title"']
    return "\n".join(lines) + "\n"


def keywords(facts: Facts) -> list[str]:
    """Words to find the model by: modalities, then those of the card."""
    names = [one.name for one in facts.config.modalities]
    return list(dict.fromkeys(["wearables", "biosignals", *names, *facts.card.tags]))


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
