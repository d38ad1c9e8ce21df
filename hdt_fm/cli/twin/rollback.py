"""`hdt-fm twin rollback FOLDER`: the files of an earlier version in use again."""

from collections.abc import Mapping
from typing import Any

from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.twin.arguments import path_and_settings, say, whole_number
from hdt_fm.schema.errors import CheckpointError

USAGE = """\
usage: hdt-fm twin rollback FOLDER [to=N] [note=WORDS] [--json]

  The files of version N are in use again, bit for bit. Nothing is lost: the ledger tells of it by one more line, and
  the versions since stay, so that it can be undone by the same word.

  to=N          a version whose files are kept (`hdt-fm twin log FOLDER` lists them); left out, the one in use before
  note=WORDS    why, for the ledger
  --json        one JSON object, and nothing else

examples:
  hdt-fm twin rollback my_twin
  hdt-fm twin rollback my_twin to=3 note="sensor was faulty"
"""


def run(options: Options, arguments: list[str]) -> int:
    """Go back, say from where to where."""
    if options.help or not arguments:
        print(USAGE, end="")
        return EXIT_OK
    from hdt_fm.checkpoint.versions import Versions
    from hdt_fm.schema.ledger import Told

    folder, settings = path_and_settings("rollback", arguments, ("to", "note"))
    # What is in use may be damaged: then this word is the way out.
    versions = Versions(folder, check_files=False)
    before = versions.number
    to = whole_number(settings, "to") if "to" in settings else _before(versions.entries)
    entry = versions.rollback(to, Told(facts={"from version": before}, note=settings.get("note", "")))
    told = {"from": before, "in_use": entry.version, "entry": entry.number, "content": entry.content}
    say(told, folder, _lines, {}, as_json=options.json)
    return EXIT_OK


def _before(entries: tuple[Any, ...]) -> int:
    """The version that was in use before the one that is."""
    if len(entries) < 2:
        raise CheckpointError(
            "There is one version only", where="to", expected="two or more", fix="there is nothing to go back to"
        )
    return int(entries[-2].version)


def _lines(told: Mapping[str, Any]) -> list[str]:
    return [
        f"version {told['in_use']} is in use, version {told['from']} was; entry {told['entry']} of the ledger says so",
        f"undo: hdt-fm twin rollback FOLDER to={told['from']}",
    ]
