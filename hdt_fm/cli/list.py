"""`hdt-fm list [GROUP]`: every name a config may use, with the first comment line of its file."""

import json
from pathlib import Path

from hdt_fm.cli.config_files import config_root, group_names, groups, summary_of
from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.schema.errors import unknown_name
from hdt_fm.schema.modalities import MODALITIES, PLACES
from hdt_fm.schema.published import CARD_NAME, published


def run(options: Options, arguments: list[str]) -> int:
    """Print the names of one group, or of all."""
    known = [*groups(), "modality", "model"]
    if options.help:
        print(f"usage: hdt-fm list [{' | '.join(known)}] [--json]")
        return EXIT_OK
    # `encoders` and `encoder` are the same question.
    chosen = [_singular(word, known) for word in arguments] or known
    tables = {group: _names(group) for group in chosen}
    if options.json:
        print(json.dumps(tables))
        return EXIT_OK
    for group, names in tables.items():
        print(f"{group}:")
        for name, summary in names.items():
            print(f"  {name:<20} {summary}")
        if group == "modality":
            print(f"  <any>_<place>        the same, worn elsewhere; places: {', '.join(PLACES)}")
    return EXIT_OK


def _singular(word: str, known: list[str]) -> str:
    for candidate in (word, word.removesuffix("s"), word.removesuffix("ies") + "y"):
        if candidate in known:
            return candidate
    raise unknown_name("group", word, known)


def _names(group: str) -> dict[str, str]:
    if group == "modality":
        return {name: f"{entry.label}, {entry.unit}" for name, entry in MODALITIES.items()}
    if group == "model":
        return {name: _summary(folder / CARD_NAME) for name, folder in published().items()}
    return {name: summary_of(config_root() / group / f"{name}.yaml") for name in group_names(group)}


def _summary(card: Path) -> str:
    """The sentence under a card's title."""
    lines = card.read_text(encoding="utf-8").splitlines() if card.is_file() else []
    titles = [at for at, line in enumerate(lines) if line.startswith("# ")]
    return next((line for line in lines[titles[0] + 1 :] if line), "") if titles else ""
