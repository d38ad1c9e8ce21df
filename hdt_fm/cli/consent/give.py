"""`hdt-fm consent give REGISTER --subjects FILE scope=DUO:0000042 version=1.0`: people agreed."""

from textwrap import fill

from hdt_fm.cli.consent.words import asked, say
from hdt_fm.cli.main import EXIT_OK, Options

USAGE = """\
usage: hdt-fm consent give REGISTER --subjects FILE scope=CODES version=FORM [--json] [SETTING=...]

  Writes down that people agreed. Codes are those of the GA4GH Data Use Ontology, by number or short name, several with
  + between; a use must be permitted, and keep to every modifier:
{codes}

  --subjects FILE      one pseudonym a line, or a CSV with the column `subject`; or subject=PSEUDONYM, one or more
  scope=CODES          DUO:0000042, HMB+NCU, DUO:0000007+MONDO:0005148 (a disease, compared as it is written)
  version=FORM         of the consent form, such as 1.0
  valid_from, valid_to first and last day, YYYY-MM-DD; open where left out
  at=TIME              when they signed, YYYY-MM-DD or with a time; now where left out
  --json               one JSON object, and nothing else

example:
  hdt-fm consent give consent_register --subjects people.txt scope=DUO:0000042 version=1.0 valid_to=2031-12-31
"""
SETTINGS = ("subject", "subjects", "scope", "version", "valid_from", "valid_to", "at")


def run(options: Options, arguments: list[str]) -> int:
    """Read, write down, say."""
    from hdt_fm.consent.duo import TERMS, scope_of

    if options.help or not arguments:
        codes = "; ".join(f"{term.code} {term.short} {term.meaning}" for term in TERMS.values())
        print(USAGE.format(codes=fill(codes, 116, initial_indent="    ", subsequent_indent="    ")), end="")
        return EXIT_OK
    from hdt_fm.consent.entry import Said, time_of
    from hdt_fm.consent.register import Register

    wanted = asked("give", arguments, SETTINGS)
    wanted.needed("scope", "scope=DUO:0000042")
    scope = scope_of(wanted.settings["scope"])
    days = {name: wanted.one(name) for name in ("valid_from", "valid_to")}
    form, at, both = wanted.one("version"), time_of(wanted.one("at")), (*scope.codes, *scope.diseases)
    said = [
        Said(
            kind="given",
            subject=one,
            scope=both,
            version=form,
            valid_from=days["valid_from"],
            valid_to=days["valid_to"],
            at=at,
        )
        for one in wanted.people()
    ]
    added = Register(wanted.register).add(said)
    told = {"given": len(added), "scope": list(both), "entries": [one.number for one in added]}
    within = "".join(f", {name.replace('_', ' ')} {day}" for name, day in days.items() if day)
    lines = [
        f"{len(added)} people agreed to {scope}, form {form}{within}",
        f"  entries {added[0].number} to {added[-1].number} of {wanted.register}",
        f"next: hdt-fm shard shard.consent={wanted.register} shard.purpose={'+'.join(both)} ...",
    ]
    say(told, lines, as_json=options.json)
    return EXIT_OK
