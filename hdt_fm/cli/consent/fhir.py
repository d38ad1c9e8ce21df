"""`hdt-fm consent fhir REGISTER --to FILE | --from FILE`: FHIR Consent resources, there and back."""

import json
import os
from pathlib import Path

from hdt_fm.cli.consent.words import asked, say
from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.consent.fhir import PSEUDONYM_SYSTEM, bundle_of, said_in
from hdt_fm.consent.register import Register
from hdt_fm.schema.errors import ConfigError

MOST_BYTES = 1 << 30
USAGE = f"""\
usage: hdt-fm consent fhir REGISTER --to FILE | --from FILE [--json]

  --to FILE    writes a FHIR R4 Bundle with a Consent for each consent that was given: active, or inactive once it was
               taken back; purposes by the Data Use Ontology; people as identifiers of the system {PSEUDONYM_SYSTEM}
  --from FILE  writes down what such a bundle says and the register does not: all of it, or nothing where one resource
               is wrong. Names, references and other identifiers are refused
  --json       one JSON object, and nothing else

example:
  hdt-fm consent fhir consent_register --to consents.json
"""


def run(options: Options, arguments: list[str]) -> int:
    """Write or read, say."""
    if options.help or not arguments:
        print(USAGE, end="")
        return EXIT_OK
    wanted = asked("fhir", arguments, ("to", "from"))
    to, source = wanted.one("to"), wanted.one("from")
    if bool(to) == bool(source):
        raise ConfigError("`consent fhir` writes or reads", expected="--to FILE or --from FILE", fix="say one of them")
    register = Register(wanted.register)
    if to:
        bundle = bundle_of(register.entries)
        _write(Path(to), json.dumps(bundle, indent=1) + "\n")
        told = {"written": len(bundle["entry"]), "file": to}
        say(told, [f"{len(bundle['entry'])} consents -> {to}"], as_json=options.json)
        return EXIT_OK
    read = said_in(_bytes(Path(source)), register.entries)
    if read.said:
        register.add(read.said)
    told = {"added": len(read.said), "known": read.known}
    say(told, [f"{len(read.said)} entries added, {read.known} were known"], as_json=options.json)
    return EXIT_OK


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(text)
        os.replace(fresh, path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise ConfigError(
            "The bundle cannot be written",
            where="--to",
            got=error.strerror or type(error).__name__,
            fix="name a file in a folder that is there and can be written to",
        ) from error


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            "The bundle cannot be read", where="--from", got=error.strerror or type(error).__name__, fix="name a file"
        ) from error
    if len(data) > MOST_BYTES:
        raise ConfigError("The bundle is too large", where="--from", expected="1 GiB or less", fix="part it")
    return data
