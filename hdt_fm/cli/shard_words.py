"""`hdt-fm shard verify | index | revoke | compact | seal | unseal FOLDER`: what is done to a finished shard folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_pipelines.compact import compact
from data_pipelines.finished import make_indexes
from data_pipelines.revoke import revoke
from data_pipelines.sealing import Way, rewrite
from data_pipelines.verify import verify_folder
from hdt_fm.cli import progress
from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.words import paths_and_settings

# Nothing was wrong with the command; the folder is.
EXIT_DAMAGED = 1
USAGE = {
    "verify": """usage: hdt-fm shard verify FOLDER [--json]

  Reads all of a shard folder and names each fault by shard, block and member: sizes, sha256, headers, every member's
  checksum, packed members, the index against a walk through the tar, people in two splits, windows twice.
  Ends with 0 if the folder is sound, 1 if not.""",
    "index": """usage: hdt-fm shard index FOLDER [--json]

  Makes the indexes (.idx) again from the tars, which must be what the manifest says.""",
    "revoke": """usage: hdt-fm shard revoke FOLDER --subjects FILE [--json]

  --subjects FILE  one pseudonym a line, or a CSV with the column `subject`

  From the next opening on none of these people's windows is read; training that is under way must be started again.
  `hdt-fm shard compact FOLDER` then erases them from the tars. Checkpoints, embedding tables and copies of the folder
  that were made before keep what they hold: delete them, or make them again.""",
    "compact": """usage: hdt-fm shard compact FOLDER [--json]

  Writes the shards that hold revoked windows again without them. Interrupted, the folder stays whole: the same command
  goes on. Runs that began before must be started again. Rebuilding from the recordings would bring the people back:
  give `hdt-fm shard` a consent table as well.""",
    "seal": """usage: hdt-fm shard seal FOLDER --to FOLDER [--json]

  --to FOLDER  a new folder

  Writes a shard folder again so that only those whose public keys are in HDT_FM_RECIPIENTS can read it (by age; needs
  hdt-fm[sealed]). A folder that lies sealed already is opened with HDT_FM_IDENTITY and sealed for the new recipients.
  The digest of the folder stays, and with it what checkpoints say that they learned from. Whoever had the old folder
  or a key to it keeps that: delete the old one. `shard.sealed=true` builds a folder sealed from the beginning.""",
    "unseal": """usage: hdt-fm shard unseal FOLDER --to FOLDER [--json]

  --to FOLDER  a new folder

  Writes a sealed shard folder again as plain files, the same to the byte as if it had never been sealed. Nothing needs
  this to train, embed or evaluate: set HDT_FM_IDENTITY (or HDT_FM_IDENTITY_FILE) instead.""",
}
ONLY = {"revoke": ("subjects",), "seal": ("to",), "unseal": ("to",)}


def run(options: Options, arguments: list[str]) -> int:
    """Do one of them; `--json` prints what was done as one object."""
    word, rest = arguments[0], arguments[1:]
    if options.help or not rest:
        print(USAGE[word])
        return EXIT_OK
    (path,), settings = paths_and_settings(
        f"shard {word}", rest, known=ONLY.get(word, ()), needed=ONLY.get(word, ()), usage=USAGE[word]
    )
    told, status = DO[word](path, settings, progress.reporter(f"shard {word}"))
    if options.json:
        print(json.dumps(told))
    else:
        print("\n".join(_lines(told)))
    return status


def _verify(folder: Path, settings: dict[str, str], report: progress.Report) -> tuple[dict[str, Any], int]:
    found = verify_folder(folder, report=report)
    return found.to_dict(), EXIT_OK if found.sound else EXIT_DAMAGED


def _index(folder: Path, settings: dict[str, str], report: progress.Report) -> tuple[dict[str, Any], int]:
    return {"indexes": make_indexes(folder, report=report)}, EXIT_OK


def _revoke(folder: Path, settings: dict[str, str], report: progress.Report) -> tuple[dict[str, Any], int]:
    return revoke(folder, Path(settings["subjects"])).to_dict(), EXIT_OK


def _compact(folder: Path, settings: dict[str, str], report: progress.Report) -> tuple[dict[str, Any], int]:
    return compact(folder, report=report).to_dict(), EXIT_OK


def _rewrite(folder: Path, way: Way, settings: dict[str, str], report: progress.Report) -> tuple[dict[str, Any], int]:
    return rewrite(folder, Path(settings["to"]), way=way, report=report).to_dict(), EXIT_OK


def _lines(told: dict[str, Any]) -> list[str]:
    """For a person: a line a number, a line a fault."""
    faults = told.get("faults", [])
    lines = [f"{key.replace('_', ' '):<18} {value}" for key, value in told.items() if key not in ("faults", "sound")]
    for fault in faults:
        place = ", ".join(
            str(part)
            for part in (
                fault["shard"],
                f"block {fault['block']}" if fault["block"] is not None else "",
                fault["member"],
            )
            if part
        )
        lines.append(f"fault: {place}: {fault['problem']}")
    if "sound" in told:
        lines.append("the folder is sound" if told["sound"] else f"the folder is damaged: {len(faults)} faults")
    return lines


DO: dict[str, Callable[[Path, dict[str, str], progress.Report], tuple[dict[str, Any], int]]] = {
    "verify": _verify,
    "index": _index,
    "revoke": _revoke,
    "compact": _compact,
    "seal": lambda folder, settings, report: _rewrite(folder, "seal", settings, report),
    "unseal": lambda folder, settings, report: _rewrite(folder, "unseal", settings, report),
}
