"""`hdt-fm consent withdraw REGISTER subject=PSEUDONYM root=FOLDER`: a person leaves."""

from pathlib import Path
from typing import Any

from hdt_fm.cli.consent.words import Asked, asked, say
from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.consent.register import Register
from hdt_fm.consent.remedies import check_there
from hdt_fm.schema.errors import ConfigError

USAGE = """\
usage: hdt-fm consent withdraw REGISTER subject=PSEUDONYM [root=FOLDER ...] [--json] [SETTING=...]

  Writes down that a person took back what they agreed to: the next build with this register leaves them out. Then it
  looks through each FOLDER (runs, shards, publications) for what they touched, by pseudonym and by digest, and says
  what is to be done about each, with the command. Nothing is deleted here. The report goes to
  REGISTER/withdrawals/NUMBER: report.json, report.md (both name nobody), subjects.txt (for commands).
  Do it again with other folders whenever one turns up: the withdrawal is written down once.

  subject=PSEUDONYM  as often as needed; or --subjects FILE
  root=FOLDER        as often as needed
  scope=CODES        what is taken back (DUO codes), where it is not all; ends every consent that permits any of it
  at=TIME            when the person said so; now where left out
  --json             one JSON object, and nothing else

example:
  hdt-fm consent withdraw consent_register subject=s0123456789abcdef0123456789abcdef root=runs
"""
SETTINGS = ("subject", "subjects", "root", "scope", "at")
REPORTS = "withdrawals"


def run(options: Options, arguments: list[str]) -> int:
    """Write down, look, report, say."""
    if options.help or not arguments:
        print(USAGE, end="")
        return EXIT_OK
    wanted = asked("withdraw", arguments, SETTINGS)
    register, people = Register(wanted.register), wanted.people()
    check_there(wanted.roots)
    _take_back(register, people, wanted)
    told, lines = [], []
    for one in people:
        report, said = _reported(register, one, wanted.roots)
        told.append(report)
        lines += said
    say({"withdrawals": told}, lines, as_json=options.json)
    return EXIT_OK


def _take_back(register: Register, people: list[str], wanted: Asked) -> None:
    """One entry a person, of those who have not left already; before anything is looked for, so that it counts at once.

    Raises:
        ConfigError: If nobody knows one of them: a slip in a pseudonym would let the person stay.
    """
    from hdt_fm.consent.duo import scope_of
    from hdt_fm.consent.entry import Said, time_of
    from hdt_fm.consent.remedies import found_in
    from hdt_fm.consent.standing import standings

    scope, at = wanted.settings.get("scope", []), time_of(wanted.one("at"))
    codes = scope_of(scope) if scope else None
    known = standings(register.entries)
    strangers = [one for one in people if one not in known]
    if strangers:
        artefacts = found_in(wanted.roots, strangers)
        seen = {one for artefact in artefacts for some in _named(artefact) for one in some}
        if not set(strangers) <= seen:
            raise ConfigError(
                "Somebody is not in the register, nor in a folder that was looked through",
                where="subject",
                expected="a pseudonym that is known",
                got=f"{len(set(strangers) - seen)} that are not",
                fix="look for a slip in the pseudonym, or say root=FOLDER where they are; nothing was written",
            )
    said = [
        Said(kind="withdrawn", subject=one, scope=(*codes.codes, *codes.diseases) if codes else (), at=at)
        for one in people
        if one not in known or not known[one].left
    ]
    if said:
        register.add(said)


def _named(artefact: Any) -> tuple[frozenset[str], ...]:
    return artefact.holds, artefact.taught, artefact.asked, artefact.lists


def _reported(register: Register, subject: str, roots: list[Path]) -> tuple[dict[str, Any], list[str]]:
    from hdt_fm.consent.lineage import trace
    from hdt_fm.consent.remedies import found_in, write_down
    from hdt_fm.consent.report import WORDS, lines_of, report_of, write_report

    entry = [one for one in register.entries if one.kind == "withdrawn" and one.subject == subject][-1]
    artefacts = found_in(roots, [subject])
    touched = trace(subject, artefacts, register.entries)
    write_down(register, subject, artefacts, touched)
    unreadable = [f"{one.place}: {one.note}" for one in artefacts if one.kind == "unreadable"]
    home = register.folder / REPORTS / f"{entry.number:06d}"
    try:
        report = write_report(home, report_of(entry.number, entry.at, touched, roots, unreadable), subject)
    except OSError as error:
        raise ConfigError(
            "The withdrawal is written down, and its report cannot be",
            where=str(home),
            got=error.strerror or type(error).__name__,
            fix="make room, or make the folder writable, and do it again",
        ) from error
    first = f"withdrawn: entry {entry.number} of {register.folder}; the next build with it leaves the person out"
    return {**report, "report": str(home / WORDS)}, [first, *lines_of(report), f"report -> {home / WORDS}"]
