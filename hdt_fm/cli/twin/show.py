"""`hdt-fm twin show FOLDER`: what a twin holds, in words."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.twin.arguments import dates_of, path_and_settings, say
from hdt_fm.schema.series import DAY_S

if TYPE_CHECKING:
    from hdt_fm.twin.state.state import TwinState

USAGE = """\
usage: hdt-fm twin show FOLDER [dates=false] [--json]

  What a twin holds: which version is in use, how far it has read, what it keeps of the person and what it has learned;
  and whether the sensor, the person or their records seem to have changed since, a proposal that waits for an answer.
  Of exposures each dose with its unit, its 95 % interval, how much of it was seen and how far back it reaches; what a
  law says that they do, and which part of it each does.

  dates=false    no date or time of day
  --json         one JSON object, and nothing else

example:
  hdt-fm twin show my_twin
"""


def run(options: Options, arguments: list[str]) -> int:
    """Open, say."""
    if options.help or not arguments:
        print(USAGE, end="")
        return EXIT_OK
    folder, settings = path_and_settings("show", arguments, ("dates",))
    say(_told(folder, dates=dates_of(settings)), folder, _lines, {}, as_json=options.json)
    return EXIT_OK


def _told(folder: Path, *, dates: bool) -> dict[str, Any]:
    from hdt_fm.cli.twin.kept import bytes_of, open_twin

    kept = open_twin(folder)
    entries = kept.versions.entries
    return {
        "version": kept.versions.number,
        "versions_kept": list(kept.versions.kept),
        "changes": len(entries),
        "sealed": entries[-1].sealed,
        "mb": round(bytes_of(kept.versions) / 1e6, 3),
        **holds(kept.state, dates=dates),
    }


def holds(state: "TwinState", *, dates: bool) -> dict[str, Any]:
    """What is kept of the person, as counts and times."""
    from hdt_fm.cli.twin.exposures import record
    from hdt_fm.twin.state import watch_told

    reference, learned, newest_s = state.reference, state.learned, state.newest_s
    read = len(state.readings) > 0
    days = (newest_s - float(state.readings.times_s[0])) / DAY_S if read else 0.0
    return {
        "modality": reference.task.modality,
        "unit": reference.task.unit,
        "checkpoint": reference.digest[:12],
        "source": list(state.source),
        "clock": state.clock if dates else None,
        "newest": minute(newest_s + state.offset_s) if read and dates else None,
        "readings_kept": len(state.readings),
        "days_kept": round(days, 1),
        "days_kept_at_most": round(reference.kept_s / DAY_S, 1),
        "taken": dict(state.taken),
        "treatments_kept": {
            name: len(state.recorded.get(name, ())) + len(state.events.get(name, ()))
            for name in sorted({*state.recorded, *state.events})
        },
        "ahead": [
            {"min": horizon / 60, "truths": int(seen), "own_shift": round(shift.shift, 3)}
            for horizon, seen, shift in zip(learned.horizons_s, learned.layer.seen, learned.shifts, strict=True)
        ],
        "exposures": sorted(state.exposures),
        "doses": record(state, dates=dates),
        "nights_kept": 0 if state.nights is None else len(state.nights.dates),
        "indicators": [] if state.nights is None else list(state.nights.names),
        "watch": watch_told.record(state.watch, dates=dates),
    }


def minute(time_s: float) -> str:
    """A time of the local clock, as text."""
    return str(np.datetime64(round(time_s), "s").astype("datetime64[m]"))


def words(told: Mapping[str, Any]) -> list[str]:
    """Of `holds`, for a person to read."""
    from hdt_fm.twin.state import exposures_told, watch_told

    newest = f", the newest at {told['newest'].replace('T', ' ')}" if told["newest"] else ""
    lines = [
        f"{told['readings_kept']} readings of {told['modality']} over {told['days_kept']:g} days{newest} (at most "
        f"{told['days_kept_at_most']:g} days are kept; read as {', '.join(told['source']) or 'nothing yet'})",
    ]
    taken = told["taken"]
    if taken:
        lines.append(
            f"taken so far: {taken['new']} readings; {taken['known'] + taken['differing'] + taken['before']} were told "
            f"again or are older than what is kept, {taken['late']} came too late, in a gap, and were left"
        )
    kept = [f"{count} of {name}" for name, count in told["treatments_kept"].items() if count]
    lines.append(f"entries of treatments: {', '.join(kept) or 'none'}")
    for one in told["ahead"]:
        lines.append(
            f"{one['min']:g} min ahead: {one['truths']} truths learned from, as sums; the interval's ends moved by "
            f"{one['own_shift']:+.1f} {told['unit']}"
        )
    lines.append(f"nights: {told['nights_kept']}" + (f" ({', '.join(told['indicators'])})" * bool(told["nights_kept"])))
    return [*lines, *exposures_told.words(told["doses"]), *watch_told.words(told["watch"])]


def _lines(told: Mapping[str, Any]) -> list[str]:
    kept = ", ".join(map(str, told["versions_kept"]))
    return [
        f"version {told['version']} is in use ({told['mb']:g} MB{', sealed' if told['sealed'] else ''}); files are "
        f"kept of {kept}; {told['changes']} changes in its ledger",
        f"made with the checkpoint {told['checkpoint']}",
        *words(told),
    ]
