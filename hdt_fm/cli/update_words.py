"""`hdt-fm update withdraw LINE --subjects FILE`: people leave what a model keeps of earlier cohorts."""

import json
from pathlib import Path
from typing import Any

from data_pipelines.revoke import read_subjects
from hdt_fm.checkpoint.versions import Versions
from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.update_line import State
from hdt_fm.schema.errors import ConfigError, unknown_name
from hdt_fm.schema.ledger import Told
from hdt_fm.schema.result import Scalar

USAGE = """usage: hdt-fm update withdraw LINE --subjects FILE [--json]

  --subjects FILE  one pseudonym a line, or a CSV with the column `subject`

  Takes out of the memory all that these people gave: their rows, or the prototypes of every group that they were in.
  A new version is written, and the files of all earlier ones go, since they still held it: there is no way back.
  The head itself was taught with them; where that must go too, begin the line anew without them."""


def run(options: Options, arguments: list[str]) -> int:
    """Let them leave; `--json` prints what went as one object."""
    rest = arguments[1:]
    if options.help or not rest:
        print(USAGE)
        return EXIT_OK
    paths = [one for one in rest if "=" not in one]
    settings = dict(one.split("=", 1) for one in rest if "=" in one)
    for key in settings:
        if key != "subjects":
            raise unknown_name("option", f"--{key}", ["--subjects", "--json"])
    if len(paths) != 1 or not settings.get("subjects"):
        raise ConfigError("`update withdraw` is not called like this", expected=USAGE.splitlines()[0])
    told = withdraw(Path(paths[0]), read_subjects(Path(settings["subjects"])))
    print(json.dumps(told) if options.json else "\n".join(f"{key}: {value}" for key, value in told.items()))
    return EXIT_OK


def withdraw(line: Path, people: set[str]) -> dict[str, Any]:
    """Take people out of a line's memory and out of those who are asked.

    Raises:
        ConfigError: If none of them is in it.
    """
    versions = Versions(line)
    # What a kill left of an earlier withdrawal goes first.
    versions.clear()
    with versions.opened() as files:
        state = State.read(files)
    gone = sum(state.memory.withdraw(one) for one in sorted(people)) if state.memory is not None else 0
    domains = [
        one.model_copy(update={"asked": tuple(who for who in one.asked if who not in people)})
        for one in state.domains.domains
    ]
    asked = sum(len(one.asked) for one in state.domains.domains) - sum(len(one.asked) for one in domains)
    if not gone and not asked:
        raise ConfigError(
            "None of these people is in what the line keeps",
            where="--subjects",
            expected="pseudonyms as they stand in the shards that were learned",
            got=f"{len(people)} that are not there",
            fix="nothing has to be done, if the pseudonyms are right",
        )
    facts: dict[str, Scalar] = {
        "withdrawn": len(people),
        "rows or prototypes gone": gone,
        "people asked no more": asked,
    }
    # Earlier versions hold the same memory with them in it.
    versions.append(state.with_domains(domains).write, Told(facts=facts, note="people withdrew"), forget=True)
    return {**facts, "version": versions.number}
