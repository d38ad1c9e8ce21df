"""`hdt-fm twin log FOLDER`: what made each version of a twin or a model, and how it scored."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.twin.arguments import path_and_settings, say, whole_number
from hdt_fm.schema.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from hdt_fm.checkpoint.versions import Versions

USAGE = """\
usage: hdt-fm twin log FOLDER [last=N] [--json]

  The ledger of a person's twin, or of a model that `hdt-fm update` changes: the newest change first, with its scores.
  All of the ledger is compared with its digests, and with HDT_FM_LEDGER_KEY its signatures; files that are kept too.

  last=N    the newest N changes only
  --json    one JSON object, and nothing else

examples:
  hdt-fm twin log my_twin
  hdt-fm twin log runs/update/model last=5 --json
"""


def run(options: Options, arguments: list[str]) -> int:
    """Open, compare, say."""
    if options.help or not arguments:
        print(USAGE, end="")
        return EXIT_OK
    folder, settings = path_and_settings("log", arguments, ("last",))
    last = whole_number(settings, "last") if "last" in settings else None
    if last is not None and last < 1:
        raise ConfigError(
            "last is no count", where="last", expected="1 or more", got=str(last), fix="leave it out for all entries"
        )
    say(_told(folder, last), folder, _lines, {}, as_json=options.json)
    return EXIT_OK


def _told(folder: Path, last: int | None) -> dict[str, Any]:
    from hdt_fm.checkpoint.versions import Versions

    versions = Versions(folder, check_files=False)
    entries = versions.entries[::-1][:last]
    return {
        "in_use": versions.number,
        "kept": list(versions.kept),
        "damaged": _damaged(versions),
        "signed": versions.entries[-1].signature is not None,
        "sealed": versions.entries[-1].sealed,
        "entries": [json.loads(entry.model_dump_json()) for entry in entries],
    }


def _damaged(versions: "Versions") -> list[int]:
    """Of those that are kept, and the one in use whether it is there or not."""
    found = []
    for number in sorted({*versions.kept, versions.number}):
        try:
            versions.check(number)
        except CheckpointError:
            found.append(number)
    return found


def _lines(told: Mapping[str, Any]) -> list[str]:
    kinds = {"create": "created as", "update": "updated to", "rollback": "back to"}
    lines = [
        f"version {told['in_use']} is in use; files are kept of {', '.join(map(str, told['kept']))}",
        f"files {'sealed' if told['sealed'] else 'not sealed'}, ledger {'signed' if told['signed'] else 'not signed'}",
    ]
    if told["damaged"]:
        lines.append(
            f"DAMAGED: files of version {', '.join(map(str, told['damaged']))} are not those that were written; "
            "`hdt-fm twin rollback FOLDER to=N` goes to one that is whole"
        )
    for entry in told["entries"]:
        what = f"{kinds[entry['kind']]} version {entry['version']}" + ("; those before it forgotten" * entry["forgets"])
        lines.append(f"{entry['number']:>4}  {entry['written']}  {what}")
        details = [entry["note"]] if entry["note"] else []
        details += [f"{name}: {value:g}" for name, value in entry["scores"].items() if not isinstance(value, str)]
        details += [f"{name}: none" for name, value in entry["scores"].items() if isinstance(value, str)]
        details += [f"{name}: {value}" for name, value in entry["facts"].items()]
        lines += [f"      {detail}" for detail in details]
    return lines
