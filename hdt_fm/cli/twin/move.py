"""`hdt-fm twin move FOLDER checkpoint=NEW`: a person's twin goes over to another checkpoint, such as an updated one."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.twin.arguments import paths_and_settings, refuse, say, yes_or_no
from hdt_fm.schema.errors import ConfigError

USAGE = """\
usage: hdt-fm twin move FOLDER [PATH] checkpoint=NEW [same_person=true] [--json] [SETTING=...]

  The twin goes on with another checkpoint: one that `hdt-fm update take` or `hdt-fm finetune` made. The new head reads
  again what is kept of the person's readings and treatments, and learns of the person from that. What the earlier head
  had learned of older readings cannot be carried over; PATH, an export that has them, teaches it anew. Nights and
  exposures stay. One version and one line of the ledger; `hdt-fm twin rollback` undoes it.

  checkpoint=NEW           a folder, or a published name; `hdt-fm twin show` tells which one the twin has now
  same_person=true         PATH is the same person's, though neither its name nor hours that both have can tell
  --json                   one JSON object, and nothing else

{input}

examples:
  hdt-fm twin move my_twin checkpoint=runs/update/taken
  hdt-fm twin move my_twin clarity_since_january.csv checkpoint=runs/update/taken
"""
CONFIRM = "same_person"
NOTE = (
    "before and after are the same last seven days; after is by a head that met this person anew, at the first reading "
    "that it was given"
)


def run(options: Options, arguments: list[str]) -> int:
    """Load, read again, commit, say."""
    from hdt_fm.cli.twin import readings

    if options.help or not arguments:
        print(USAGE.format(input=readings.USAGE), end="")
        return EXIT_OK
    known = ("checkpoint", CONFIRM, *readings.SETTINGS)
    expected = ("a twin's folder", "an export?")
    (folder, *paths), settings = paths_and_settings("move", arguments, known, expected=expected)
    if not settings.get("checkpoint"):
        raise ConfigError(
            "A move needs the checkpoint to go to",
            where="checkpoint",
            expected="a folder, or a published name",
            fix="say checkpoint=NEW",
        )
    if not paths:
        refuse(settings, (CONFIRM, *readings.SETTINGS), "a move without an export")
    told = _moved(folder, paths[0] if paths else None, settings)
    say(told, folder, _lines, {}, as_json=options.json)
    return EXIT_OK


def _moved(folder: Path, path: Path | None, settings: dict[str, str]) -> dict[str, Any]:
    from hdt_fm.cli.twin.kept import brain_of, new_state, open_twin
    from hdt_fm.cli.twin.refusals import check_unfiltered
    from hdt_fm.cli.twin.update import commit, scores_of, spent
    from hdt_fm.cli.twin.window import check_whose, overlap, read_window
    from hdt_fm.twin.state.move import moved

    begun, kept = time.perf_counter(), open_twin(folder)
    brain = brain_of(settings["checkpoint"])
    old = kept.state
    _check_another(old.reference.digest, brain.reference.digest)
    check_unfiltered(old.step_s, brain.asked.task, brain.preparation)
    came = None if path is None else read_window(path, settings, brain.asked.task, brain.preparation)
    if came is not None:
        check_whose(old, came.whose, overlap(old, came.window), confirmed=yes_or_no(settings, CONFIRM))
    state, found = moved(old, new_state(brain), brain.asked, earlier=None if came is None else came.window)
    facts: dict[str, Any] = {
        "kind": "move",
        "checkpoint before": old.reference.digest[:12],
        "checkpoint": state.reference.digest[:12],
        "readings read again": len(old.readings),
        "an earlier export read": came is not None,
        "forecasts made": found.forecasts,
        **spent(state, begun),
    }
    scores = scores_of(found, old.learned.lately(old.newest_s), state) if len(old.readings) else {}
    return commit(kept.versions, state, () if came is None else (came.digest,), scores, facts, (NOTE,))


def _check_another(was: str, now: str) -> None:
    if was == now:
        raise ConfigError(
            "The twin has this checkpoint already",
            where="checkpoint",
            expected="another one",
            got=f"the digest {now[:12]}",
            fix="nothing has to be done; where it lies now is said by checkpoint=FOLDER to any other word",
        )


def _lines(told: Mapping[str, Any]) -> list[str]:
    from hdt_fm.cli.twin.update import lines

    return [*lines(told), "undo: hdt-fm twin rollback FOLDER"]
