"""`hdt-fm consent export REGISTER subject=PSEUDONYM root=FOLDER --to FOLDER`: one person's data, to take away."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hdt_fm.cli.consent.words import Asked, asked, say
from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.schema.errors import ConfigError, unknown_name

USAGE = """\
usage: hdt-fm consent export REGISTER subject=PSEUDONYM root=FOLDER ... --to FOLDER [format=csv] [--json]

  Writes all that the folders hold of one person, and nothing of anybody else: signals of their windows by modality, in
  their units, with times and what was observed; labels; embeddings; what they agreed to. README.txt says what each file
  is. Windows that are revoked and not erased yet are among them. A twin is exported by `hdt-fm twin export`.

  root=FOLDER     as often as needed: runs, shards
  --to FOLDER     a new one, outside of folders of runs: the export holds the person's own data and their pseudonym
  format=parquet  tables as parquet (pyarrow) in place of CSV
  --json          one JSON object, and nothing else

example:
  hdt-fm consent export consent_register subject=s0123456789abcdef0123456789abcdef root=runs --to for_them
"""
FORMATS = ("csv", "parquet")
OBSERVED = "Where `observed` is 0, nothing was measured, and the value beside it says nothing."
TIMES = "Times are seconds since 1970, UTC, shifted by secret whole weeks: days of the week and times of day are true."


def run(options: Options, arguments: list[str]) -> int:
    """Look, write, say."""
    if options.help or not arguments:
        print(USAGE, end="")
        return EXIT_OK
    wanted = asked("export", arguments, ("subject", "root", "to", "format"))
    from hdt_fm.consent.personal import fresh_export, write_words
    from hdt_fm.consent.register import Register, now
    from hdt_fm.consent.remedies import found_in

    register, subject = Register(wanted.register), _one(wanted)
    target, kind = Path(wanted.needed("to", "--to FOLDER")), wanted.one("format", "csv")
    if kind not in FORMATS:
        raise unknown_name("value of format", kind, FORMATS, where="format")
    wanted.needed_root()
    artefacts = [one for one in found_in(wanted.roots, [subject]) if subject in one.holds]
    history = [one for one in register.entries if one.subject == subject and one.kind in ("given", "withdrawn")]
    if not artefacts and not history:
        raise ConfigError(
            "Nothing of this person was found",
            where="subject",
            expected="somebody in the register or below the folders",
            fix="look for a slip in the pseudonym, or say root=FOLDER where they are",
        )
    with fresh_export(target, wanted.roots) as folder:
        parts = list(_written(folder, subject, artefacts, kind))
        consent = [json.loads(one.model_dump_json(exclude={"parent", "signature", "subject"})) for one in history]
        (folder / "consent.json").write_text(json.dumps(consent, indent=1) + "\n")
        parts.append(("consent.json", "what you agreed to and took back"))
        twins = [one.place.name for one in artefacts if one.kind == "twin"]
        notes = [TIMES, OBSERVED, *(f"There is a twin of you, {name}: ask for `hdt-fm twin export`." for name in twins)]
        write_words(folder, subject, parts, notes, written=now().isoformat(timespec="seconds"))
    lines = [f"{name}: {what}" for name, what in parts]
    say({"files": [name for name, _ in parts], "folder": str(target)}, [*lines, f"-> {target}"], as_json=options.json)
    return EXIT_OK


def _one(wanted: Asked) -> str:
    people = wanted.people()
    if len(people) != 1:
        raise ConfigError("An export is of one person", where="subject", fix="say subject=PSEUDONYM once")
    return people[0]


def _written(folder: Path, subject: str, artefacts: Sequence[Any], kind: Any) -> Iterator[tuple[str, str]]:
    """Name and meaning of each file, as it is written."""
    from hdt_fm.cli.consent.rows import rows_of_shards, rows_of_table
    from hdt_fm.consent.personal import labels_table, windows_table, write_table

    shards = [one for one in artefacts if one.kind == "shards"]
    for number, one in enumerate(shards, 1):
        manifest, windows = rows_of_shards(one.place, subject)
        home = f"windows_{number}_{manifest.cohort}"
        for column in manifest.header.modalities:
            name = write_table(folder / home / column.name, *windows_table(windows, column), kind)
            yield f"{home}/{name}", f"{column.name} in {column.unit} at {column.sampling_rate_hz:g} Hz, a row a sample"
        name = write_table(folder / home / "labels", *labels_table(windows), kind)
        classes = [f"{one.name}: {_classes(one.classes)}" for one in manifest.header.labels if one.classes]
        yield f"{home}/{name}", "; ".join(["labels of your windows, empty is unknown", *classes])
        row = next(row for row in manifest.subjects if row.subject == subject)
        facts = {**row.covariates, "windows": row.windows, "hours": row.hours}
        (folder / home / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")
        yield f"{home}/facts.json", "facts about you that stand beside"
    for number, one in enumerate((one for one in artefacts if one.kind == "embedding table"), 1):
        name = write_table(folder / f"embeddings_{number}", *rows_of_table(one.place, subject), kind)
        yield name, "what an encoder made of your windows: numbers without a unit, a row a window and modality"


def _classes(names: Sequence[str]) -> str:
    return ", ".join(f"{number} {name}" for number, name in enumerate(names))
