"""`hdt-fm consent status REGISTER`: who may be used for what today, and what is still to be done."""

from collections import Counter
from datetime import UTC, date, datetime
from typing import Any

from hdt_fm.cli.consent.words import Asked, asked, say
from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.consent.register import Register
from hdt_fm.consent.standing import Standing, standings

# Nothing was wrong with the command; somebody who left is still there.
EXIT_OPEN = 1
USAGE = """\
usage: hdt-fm consent status REGISTER [subject=PSEUDONYM] [purpose=CODES] [root=FOLDER ...] [--json]

  How many people permit what today. With purpose=CODES: how many may be used for it. With subject=PSEUDONYM: all that
  the person said. With root=FOLDER: what below it is still to be done for people who withdrew, by what lies on disk:
  ends with 1 while there is something, with 0 if not.

examples:
  hdt-fm consent status consent_register purpose=DUO:0000042
  hdt-fm consent status consent_register root=runs
"""


def run(options: Options, arguments: list[str]) -> int:
    """Count, look, say."""
    if options.help or not arguments:
        print(USAGE, end="")
        return EXIT_OK
    wanted = asked("status", arguments, ("subject", "purpose", "root"))
    register = Register(wanted.register)
    today = datetime.now(UTC).date()
    told, lines = _counts(register, wanted, today)
    if "subject" in wanted.settings:
        of_one, said = _history(register, wanted, today)
        told, lines = told | of_one, [*lines, *said]
    status = EXIT_OK
    if wanted.roots:
        found, said = _remedies(register, wanted)
        told, lines = told | found, [*lines, *said]
        status = EXIT_OPEN if found["open"] else EXIT_OK
    say(told, lines, as_json=options.json)
    return status


def _counts(register: Register, wanted: Asked, day: date) -> tuple[dict[str, Any], list[str]]:
    from hdt_fm.consent.duo import scope_of

    people = standings(register.entries)
    states = Counter[str](one.state(None, day) for one in people.values())
    scopes = Counter(scope for one in people.values() for scope in set(one.scope_texts(day)))
    told: dict[str, Any] = {
        "people": len(people),
        "entries": len(register.entries),
        "signed": register.signed,
        "digest": register.digest,
        "today": dict(states),
        "permitted": dict(scopes),
    }
    signed = "every line signed" if register.signed else "not signed"
    lines = [f"{len(people)} people, {len(register.entries)} entries, the chain is whole, {signed}"]
    words = {"permits": "permit something", "not yet": "not yet", "ended": "ended", "withdrawn": "withdrawn"}
    lines.append("today: " + ", ".join(f"{states[key]} {word}" for key, word in words.items()))
    lines += [f"  {scope}: {count}" for scope, count in sorted(scopes.items())]
    if purpose := wanted.one("purpose"):
        use = scope_of([purpose], where="purpose")
        may = sum(one.state(use, day) == "permits" for one in people.values())
        told["purpose"] = {"codes": [*use.codes, *use.diseases], "may be used": may}
        lines.append(f"for {use}: {may} of {len(people)} may be used")
    return told, lines


def _history(register: Register, wanted: Asked, day: date) -> tuple[dict[str, Any], list[str]]:
    (subject,) = wanted.people()[:1]
    standing = standings(register.entries).get(subject, Standing(subject))
    known = standing.given or standing.withdrawn is not None
    state = standing.state(None, day) if known else "not in the register"
    keys = ("number", "kind", "at", "written", "scope", "valid_from", "valid_to", "version")
    rows = [
        {key: getattr(one, key) for key in keys}
        for one in register.entries
        if one.subject == subject and one.kind in ("given", "withdrawn")
    ]
    lines = [f"the person: {state}"]
    for row in rows:
        days = f", {row['valid_from'] or '...'} to {row['valid_to'] or '...'}" * bool(
            row["valid_from"] or row["valid_to"]
        )
        form = f", form {row['version']}" if row["version"] else ""
        said = f"{row['kind']} {'+'.join(row['scope']) or 'all'}"
        lines.append(f"  entry {row['number']}, {row['at']}: {said}{form}{days}")
    return {"person": {"state": state, "history": [{**row, "scope": list(row["scope"])} for row in rows]}}, lines


def _remedies(register: Register, wanted: Asked) -> tuple[dict[str, Any], list[str]]:
    from hdt_fm.consent.remedies import look

    found = look(register, wanted.roots)
    rows = [one.to_dict() for one in found.open]
    places = ", ".join(map(str, wanted.roots))
    lines = [f"{len(found.touched)} people withdrew; still to be done below {places}: {len(rows)}"]
    for one in found.open:
        lines.append(f"  {one.kind} {one.place}: {one.remedy} ({one.why})")
    lines += [f"  could not be read, look at it yourself: {one}" for one in found.unreadable]
    if rows:
        lines.append(f"commands: {register.folder}/withdrawals/NUMBER/report.md")
    return {"open": rows, "could not be read": list(found.unreadable)}, lines
