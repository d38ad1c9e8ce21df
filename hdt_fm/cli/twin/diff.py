"""`hdt-fm twin diff FOLDER`: two versions side by side."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.twin.arguments import path_and_settings, say, whole_number

USAGE = """\
usage: hdt-fm twin diff FOLDER [from=N] [to=M] [--json]

  Scores of two versions, which files differ, and how far each tensor of a safetensors file moved (Euclidean norm of the
  change, and of what was there before). Never what a file holds.

  from=N    a version whose files are kept; left out, the one before `to`
  to=M      left out, the one in use
  --json    one JSON object, and nothing else

examples:
  hdt-fm twin diff my_twin
  hdt-fm twin diff my_twin from=2 to=5 --json
"""


def run(options: Options, arguments: list[str]) -> int:
    """Compare, say."""
    if options.help or not arguments:
        print(USAGE, end="")
        return EXIT_OK
    folder, settings = path_and_settings("diff", arguments, ("from", "to"))
    told = _told(folder, {name: whole_number(settings, name) for name in settings})
    say(told, folder, _lines, {}, as_json=options.json)
    return EXIT_OK


def _told(folder: Path, asked: Mapping[str, int]) -> dict[str, Any]:
    from hdt_fm.checkpoint.differences import differences
    from hdt_fm.checkpoint.versions import Versions

    versions = Versions(folder, check_files=False)
    after = asked.get("to", versions.number)
    # Of the first version there is none before: said by the same words as any other that is not there.
    before = asked.get("from", after - 1)
    with versions.opened(before) as old, versions.opened(after) as new:
        found = asdict(differences(old, new))
    return {
        "from": before,
        "to": after,
        "scores": _scores(versions.entry_of(before).scores, versions.entry_of(after).scores),
        "files": {what: list(found[what]) for what in ("changed", "new", "gone", "same")},
        "tensors": found["tensors"],
    }


def _scores(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, dict[str, float | None]]:
    names = [*before, *(name for name in after if name not in before)]
    return {name: {"from": _finite(before.get(name)), "to": _finite(after.get(name))} for name in names}


def _finite(value: float | None) -> float | None:
    """JSON has no NaN: a score that is none is told as one that is missing."""
    return value if value is not None and abs(value) < float("inf") else None


def _lines(told: Mapping[str, Any]) -> list[str]:
    lines = [f"version {told['from']} -> version {told['to']}"]
    for name, pair in told["scores"].items():
        one, other = pair["from"], pair["to"]
        change = "" if one is None or other is None else f"  ({other - one:+g})"
        lines.append(f"  {name}: {_number(one)} -> {_number(other)}{change}")
    lines += [f"  {what}: {name}" for what in ("changed", "new", "gone") for name in told["files"][what]]
    lines.append(f"  {len(told['files']['same'])} files are the same")
    for file, tensors in told["tensors"].items():
        lines.append(f"  tensors of {file}:")
        lines += [f"    {name}: {_move(one)}" for name, one in tensors.items()]
    return lines


def _move(one: Mapping[str, Any]) -> str:
    if one["what"] != "moved":
        return str(one["what"])
    return f"moved by {one['change']:.4g}, norm {one['before']:.4g} before"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"
