"""The withdrawal report: what was found and what is to be done, as JSON and as words; it names nobody."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hdt_fm.consent.lineage import SUBJECTS, Touched

REPORT, WORDS, PEOPLE = "report.json", "report.md", "subjects.txt"
NO_UNLEARNING = (
    "No model is said to have forgotten: weights that learned from a person are trained again without them, "
    "or stay weights that learned from them."
)
_MEANING = {
    "delete and rebuild": "holds what the person gave, or was made of it",
    "retrain": "weights that learned from the person",
    "withdraw from publication": "a new version is needed, and the old one may go out no more",
    "cannot be undone": "copies that left the lab; tell those who have one, and settle",
    "none needed": "looked at; nothing of the person can be taken out of it",
}


def report_of(
    number: int, written: str, touched: Sequence[Touched], folders: Sequence[Path], unreadable: Sequence[str]
) -> dict[str, Any]:
    """The report as plain data.

    Args:
        number, written: Of the entry by which the person left.
        folders: That were looked through.
    """
    return {
        "format": 1,
        "entry": number,
        "withdrawn": written,
        "looked through": [str(one) for one in folders],
        "open": sum(one.open for one in touched),
        "artefacts": [one.to_dict() for one in touched],
        "could not be read": list(unreadable),
        "note": NO_UNLEARNING,
    }


def lines_of(report: Mapping[str, Any]) -> list[str]:
    """The report in words, for a terminal."""
    looked = report["looked through"]
    if not looked:
        return ["no folder was looked through: say root=FOLDER to see what the person touched", NO_UNLEARNING]
    found = [f"looked through {', '.join(looked)}: {len(report['artefacts'])} artefacts, {report['open']} to be mended"]
    for one in report["artefacts"]:
        found.append(f"  {one['kind']} {one['place']}")
        found.append(f"    {one['remedy']}: {one['why']}")
        found += [f"    told: {one['settled']}"] if one["settled"] else [f"    $ {word}" for word in one["commands"]]
    found += [f"  could not be read, look at it yourself: {one}" for one in report["could not be read"]]
    return [*found, NO_UNLEARNING]


def markdown_of(report: Mapping[str, Any]) -> str:
    """The report as a document."""
    lines = [
        f"# Withdrawal, entry {report['entry']} of the register",
        "",
        f"Withdrawn {report['withdrawn']}. Looked through: {', '.join(report['looked through']) or 'nothing'}.",
        f"{len(report['artefacts'])} artefacts, {report['open']} to be mended. {report['note']}",
    ]
    for remedy, meaning in _MEANING.items():
        some = [one for one in report["artefacts"] if one["remedy"] == remedy]
        if not some:
            continue
        lines += ["", f"## {remedy}", "", f"{meaning[0].upper()}{meaning[1:]}.", ""]
        for one in some:
            told = f" (told: {one['settled']})" if one["settled"] else ""
            lines.append(f"- {one['kind']} `{one['place']}`: {one['why']}{told}")
            lines += [f"  - `{word}`" for word in one["commands"] if not one["settled"]]
    if report["could not be read"]:
        lines += ["", "## could not be read", "", *[f"- {one}" for one in report["could not be read"]]]
    return "\n".join([*lines, ""])


def write_report(home: Path, report: Mapping[str, Any], subject: str) -> dict[str, Any]:
    """Write `report.json`, `report.md` and `subjects.txt` (for `--subjects`) at one stroke; an older one is replaced.

    Args:
        home: Folder of the report; it appears with all files or not at all.

    Returns:
        The report with the file of the pseudonym in its commands.

    Raises:
        OSError: If it cannot be written.
    """
    told = json.loads(json.dumps(report).replace(f"--subjects {SUBJECTS}", f"--subjects {home / PEOPLE}"))
    told["artefacts"] = [
        {**one, "commands": [word.replace("settle REGISTER", f"settle {home.parents[1]}") for word in one["commands"]]}
        for one in told["artefacts"]
    ]
    fresh = home.with_name(f".{home.name}.{os.getpid()}")
    try:
        fresh.mkdir(parents=True)
        (fresh / REPORT).write_text(json.dumps(told, indent=1) + "\n")
        (fresh / WORDS).write_text(markdown_of(told))
        (fresh / PEOPLE).write_text(f"{subject}\n")
        if home.exists():
            for name in (REPORT, WORDS, PEOPLE):
                os.replace(fresh / name, home / name)
        else:
            os.rename(fresh, home)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return dict(told)
