"""`hdt-fm update take | withdraw LINE`: the checkpoint in use; people who leave what is kept of earlier cohorts."""

import json
from pathlib import Path
from typing import Any

from data_pipelines.revoke import read_subjects
from hdt_fm.checkpoint.versions import Versions
from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.update.line import Domain, State
from hdt_fm.cli.update.taken import updates_of, write_taken
from hdt_fm.cli.words import paths_and_settings
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.ledger import Told
from hdt_fm.schema.result import Scalar

USAGE = {
    "take": """usage: hdt-fm update take LINE --to FOLDER [domain=NAME] [--json]

  Writes the checkpoint in use, with its head as it is now: for `hdt-fm twin` and `hdt-fm publish`, whose card then
  says how often it was updated, how, and what it scored last. Where FOLDER holds a checkpoint of the same encoder
  already, such as one with the head of another line, its other heads stay.

  domain=NAME      as this domain has it, where the line's strategy is adapter (take one checkpoint for each domain: who
                   asks must know to which a person belongs); else the head that all share""",
    "withdraw": """usage: hdt-fm update withdraw LINE --subjects FILE [--json]

  --subjects FILE  one pseudonym a line, or a CSV with the column `subject`

  Takes out of the memory all that these people gave: their rows, or the prototypes of every group that they were in.
  A new version is written, and the files of all earlier ones go, since they still held it: there is no way back.
  The head itself was taught with them, and so were a line's weights to hold (strategy ewc); the ledger's worst scores
  of a person stay, without a name. Where that must go too, begin the line anew without them.""",
}
KNOWN = {"take": ("to", "domain"), "withdraw": ("subjects",)}
NEEDED = {"take": "to", "withdraw": "subjects"}


def run(options: Options, arguments: list[str]) -> int:
    """Do one of them; `--json` prints what was done as one object."""
    word, rest = arguments[0], arguments[1:]
    if options.help or not rest:
        print(USAGE[word])
        return EXIT_OK
    (line,), settings = paths_and_settings(
        f"update {word}", rest, known=KNOWN[word], needed=(NEEDED[word],), usage=USAGE[word]
    )
    if word == "take":
        told = take(line, Path(settings["to"]), settings.get("domain"))
    else:
        told = withdraw(line, read_subjects(Path(settings["subjects"])))
    print(json.dumps(told) if options.json else "\n".join(f"{key}: {value}" for key, value in told.items()))
    return EXIT_OK


def take(line: Path, target: Path, domain: str | None) -> dict[str, Any]:
    """Write the checkpoint in use.

    Raises:
        UnknownNameError: If the line has not learned the domain.
        CheckpointError: If the target holds something else than a checkpoint.
    """
    versions = Versions(line)
    with versions.opened() as files:
        state = State.read(files)
    write_taken(state.model_of(domain), state, updates_of(state, versions, domain), target)
    return {
        "version": versions.number,
        "head": state.domains.head,
        "domain": domain or "all",
        "checkpoint": str(target),
    }


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
    domains = [_without(one, people) for one in state.domains.domains]
    asked, taught = (
        sum(len(getattr(one, part)) for one in state.domains.domains) - sum(len(getattr(one, part)) for one in domains)
        for part in ("asked", "teachers")
    )
    if not gone and not asked and not taught:
        raise ConfigError(
            "None of these people is in what the line keeps",
            where="--subjects",
            expected="pseudonyms as they stand in the shards that were learned",
            got=f"{len(people)} that are not there",
            fix="nothing has to be done, if the pseudonyms are right and no line before this one was taught with them",
        )
    facts: dict[str, Scalar] = {
        "withdrawn": len(people),
        "rows or prototypes gone": gone,
        "people asked no more": asked,
        "had taught the head": taught,
    }
    # Earlier versions hold the same memory with them in it.
    versions.append(state.with_domains(domains).write, Told(facts=facts, note="people withdrew"), forget=True)
    return {**facts, "version": versions.number}


def _without(domain: Domain, people: set[str]) -> Domain:
    """Who was asked is asked no more, so what was scored with them is compared with nothing."""
    asked, teachers = (tuple(who for who in some if who not in people) for some in (domain.asked, domain.teachers))
    score = domain.score if len(asked) == len(domain.asked) else None
    return domain.model_copy(update={"asked": asked, "teachers": teachers, "score": score})
