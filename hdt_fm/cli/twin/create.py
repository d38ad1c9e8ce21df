"""`hdt-fm twin create [PATH] checkpoint=FOLDER --to FOLDER`: a person's twin, from a first export or empty."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.twin.arguments import paths_and_settings, refuse, say
from hdt_fm.schema.errors import ConfigError

USAGE = """\
usage: hdt-fm twin create [PATH] checkpoint=FOLDER --to FOLDER [at=TIME] [--json] [SETTING=...]

  Makes a folder that is one person's twin: what a forecast needs of their last days, and what their own past taught,
  as sums. It stays of one size however long it is updated, and knows the checkpoint by its digest. Without PATH it is
  a twin that has read nothing yet.

  checkpoint=FOLDER        with a head that forecasts glucose (`hdt-fm finetune experiment=t1d_uom` makes one)
  --to FOLDER              a new one
  --json                   one JSON object, and nothing else

{input}

examples:
  hdt-fm twin create clarity.csv checkpoint=runs/t1d_uom/finetune/checkpoint --to my_twin
  hdt-fm twin create data/azt1d cohort=azt1d person=3 checkpoint=mine --to third at=2024-02-01T00:00
  hdt-fm twin create checkpoint=mine --to empty_twin
"""


def run(options: Options, arguments: list[str]) -> int:
    """Load, read, absorb, write, say."""
    from hdt_fm.cli.twin import readings

    if options.help or not arguments:
        print(USAGE.format(input=readings.USAGE), end="")
        return EXIT_OK
    known = ("checkpoint", "to", *readings.SETTINGS)
    paths, settings = paths_and_settings("create", arguments, known, expected=("one person's export?",))
    if not settings.get("to"):
        raise ConfigError(
            "A twin needs a folder", where="to", expected="a path where nothing is yet", fix="say --to FOLDER"
        )
    if not paths:
        refuse(settings, readings.SETTINGS, "a twin that has read nothing")
    folder = Path(settings["to"])
    told = _created(paths[0] if paths else None, settings, folder)
    say(told, folder, _lines, {}, as_json=options.json)
    return EXIT_OK


def _created(path: Path | None, settings: dict[str, str], folder: Path) -> dict[str, Any]:
    from hdt_fm.checkpoint.versions import Versions
    from hdt_fm.cli.twin.kept import brain_of, new_state, take_in
    from hdt_fm.cli.twin.update import facts_of, nothing_new, scores_of, told_of
    from hdt_fm.cli.twin.window import read_window
    from hdt_fm.twin.state.state import save_state
    from hdt_fm.twin.state.tracks import Counts

    begun, brain = time.perf_counter(), brain_of(settings.get("checkpoint", ""))
    state = new_state(brain)
    facts: dict[str, Any] = {"kind": "empty"}
    scores: dict[str, float] = {}
    data: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    if path is not None:
        came = read_window(path, settings, brain.asked.task, brain.preparation)
        if came.window.end_s == -np.inf:
            raise nothing_new("reading", Counts())
        found = take_in(state, came, brain)
        lately = new_state(brain).learned.lately(state.newest_s)
        data, scores, facts = (came.digest,), scores_of(found, lately, state), facts_of(found, state, begun)
        notes = came.notes
    versions = Versions.create(folder, lambda place: save_state(state, place), told_of(data, scores, facts))
    return {"version": versions.number, "scores": scores, "facts": facts, "notes": list(notes)}


def _lines(told: Mapping[str, Any]) -> list[str]:
    from hdt_fm.cli.twin.update import lines

    return [*lines(told), "next: hdt-fm twin forecast FOLDER; with new data: hdt-fm twin update FOLDER PATH"]
