"""`hdt-fm twin export FOLDER --to FILE`: all that is kept of the person, in one file of plain tables and words."""

import csv
import io
import json
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.twin.arguments import path_and_settings
from hdt_fm.schema.cells import plain_cell
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.exposure import exposure_kind

if TYPE_CHECKING:
    from hdt_fm.twin.state.exposures import Exposed
    from hdt_fm.twin.state.state import TwinState

USAGE = """\
usage: hdt-fm twin export FOLDER --to FILE.zip [--json]

  Writes all that the version in use keeps of the person, for them to take away: README.txt says in words what each file
  is, the rest are tables (CSV) and plain JSON. It holds readings and times: it is the person's own.

  --to FILE.zip    a new file
  --json           one JSON object, and nothing else

example:
  hdt-fm twin export my_twin --to mine.zip
"""
# Every export of one state is the same to the byte.
_WHEN = (1980, 1, 1, 0, 0, 0)
_FILES = {
    "summary.json": "what is kept, as counts",
    "readings.csv": "readings: local time, value in {unit}",
    "treatments.csv": "what was injected or eaten, as it was written down or recorded: local time, what, amount",
    "forecasts.csv": "forecasts of the last week: local time, minutes ahead, what was told, what came",
    "intervals.json": "how far the interval was moved by what came, for each time ahead",
    "own_layer.csv": "what the truths taught, as sums: for each time ahead, products and weights of each feature",
    "own_layer_squares.csv": "the same: sums of products of two features",
    "nights.csv": "nights: date, device, indicators",
    "watch.json": "the drift watch: six numbers of each of the last days, as far as they are kept, and its proposal",
    "exposures.csv": "doses of exposures at the end of the newest day: unit, time constant in days, value, 95 % "
    "interval, share seen, by whom it is told; `effect` is what the law says that they do",
    "exposure_parts.csv": "what each dose is made of, by the age of days: value (they add up to it), share of weight; "
    "and what the effect is made of, by exposures and pairs of them, which add up to it",
    "exposure_days.csv": "days of exposures that are kept, a year at most: date, exposure, value, unit; empty: unknown",
    "exposure_state.csv": "what accumulators hold of all days before: which exposure, which array, place in it, value",
    "exposure_law.json": "the law that says what exposures do; learned from other people, nothing of you is in it",
    "ledger.jsonl": "what changed the twin, and when: digests, scores and counts",
}


def run(options: Options, arguments: list[str]) -> int:
    """Open, write, say."""
    if options.help or not arguments:
        print(USAGE, end="")
        return EXIT_OK
    folder, settings = path_and_settings("export", arguments, ("to",))
    target = _target(settings)
    files = _files(folder)
    _write(target, files)
    told = {"file": str(target), "files": {name: len(content) for name, content in files.items()}}
    if options.json:
        print(json.dumps(told))
    else:
        lines = [f"{name:<22} {len(content):>9} bytes" for name, content in files.items()]
        print("\n".join([*lines, f"export -> {target}", "it holds this person's readings and times: keep it as such"]))
    return EXIT_OK


def _target(settings: Mapping[str, str]) -> Path:
    target = Path(settings.get("to") or "")
    if not settings.get("to") or target.exists():
        raise ConfigError(
            "The export cannot go there",
            where="to",
            expected="a new file, such as mine.zip",
            got="something that is there" if settings.get("to") else "nothing",
            fix="say --to FILE.zip",
        )
    return target


def _files(folder: Path) -> dict[str, bytes]:
    from hdt_fm.cli.twin.kept import open_twin
    from hdt_fm.cli.twin.show import holds, words
    from hdt_fm.schema.ledger import LEDGER_NAME

    kept = open_twin(folder)
    state, told = kept.state, holds(kept.state, dates=True)
    files = {
        "summary.json": json.dumps({"version": kept.versions.number, **told}, indent=1).encode(),
        "readings.csv": _csv(("time", "value"), _values(state)),
        "treatments.csv": _csv(("time", "what", "amount"), _treatments(state)),
        "forecasts.csv": _csv(("time", "minutes_ahead", "point", "low", "high", "came"), _forecasts(state)),
        "intervals.json": json.dumps([one.state() for one in state.learned.shifts], indent=1).encode(),
        "own_layer.csv": _csv(("minutes_ahead", "feature", "products", "weights"), _own_layer(state)),
        "own_layer_squares.csv": _csv(("minutes_ahead", "feature", "sums"), _squares(state)),
        "ledger.jsonl": (folder / LEDGER_NAME).read_bytes(),
    }
    if state.watch is not None:
        files["watch.json"] = json.dumps(state.watch.state(), indent=1).encode()
    if state.nights is not None:
        files["nights.csv"] = _csv(("date", "device", *state.nights.names), _nights(state))
    if state.exposures:
        files |= _exposures(state, told["doses"])
    if state.exposure_law is not None:
        files["exposure_law.json"] = json.dumps(state.exposure_law, indent=1).encode()
    meant = [f"{name}: {_FILES[name].format(unit=told['unit'])}" for name in files]
    about = [
        "What a twin keeps of you in the version in use. Earlier versions (`hdt-fm twin log`) may hold older readings.",
        "",
        *words(told),
        "",
        *meant,
    ]
    return {"README.txt": ("\n".join(about) + "\n").encode(), **files}


def _values(state: "TwinState") -> Iterable[Sequence[Any]]:
    return zip(_local(state, state.readings.times_s), state.readings.values.tolist(), strict=True)


def _treatments(state: "TwinState") -> Iterable[Sequence[Any]]:
    for name, events in state.events.items():
        for at, amount in zip(_local(state, events.times_s), events.amounts.tolist(), strict=True):
            yield at, name, amount
    for name, track in state.recorded.items():
        for at, amount in zip(_local(state, track.times_s), track.values.tolist(), strict=True):
            yield at, name, amount


def _forecasts(state: "TwinState") -> Iterable[Sequence[Any]]:
    learned = state.learned
    for row, at in enumerate(_local(state, learned.time_s)):
        for column, horizon in enumerate(learned.horizons_s):
            told = [float(learned.told[name][row, column]) for name in ("point", "low", "high", "truth")]
            yield at, horizon / 60, *("" if np.isnan(one) else one for one in told)


def _own_layer(state: "TwinState") -> Iterable[Sequence[Any]]:
    learned = state.learned
    for column, horizon in enumerate(learned.horizons_s):
        both = zip(learned.layer.products[column].tolist(), learned.weights[column].tolist(), strict=True)
        for feature, (product, weight) in enumerate(both):
            yield horizon / 60, feature, product, weight


def _squares(state: "TwinState") -> Iterable[Sequence[Any]]:
    """Each row up to the diagonal: the rest is the same again."""
    for horizon, table in zip(state.learned.horizons_s, state.learned.layer.squares, strict=True):
        for feature, row in enumerate(table.tolist()):
            yield horizon / 60, feature, " ".join(f"{one:.12g}" for one in row[: feature + 1])


def _nights(state: "TwinState") -> Iterable[Sequence[Any]]:
    nights = state.nights
    assert nights is not None
    devices = nights.devices or ("",) * len(nights.dates)
    for date, device, row in zip(nights.dates, devices, nights.values.tolist(), strict=True):
        yield str(date), device, *("" if np.isnan(one) else one for one in row)


def _exposures(state: "TwinState", told: Mapping[str, Any]) -> dict[str, bytes]:
    """Doses as they are told, the days that are kept, and all else as it is held."""
    from hdt_fm.cli.twin.exposures import exposed
    from hdt_fm.twin.state.exposures_told import rows_of_parts

    parts = ("of", "unit", "told_by", "time_constant_d", "part", "value", "weight")
    head = ("exposure", "unit", "told_by", "time_constant_d", "value", "low", "high", "seen", "as_of")
    return {
        "exposures.csv": _csv(head, _doses(told)),
        "exposure_parts.csv": _csv(parts, rows_of_parts(told)),
        "exposure_days.csv": _csv(("date", "exposure", "value", "unit"), _exposure_days(exposed(state))),
        "exposure_state.csv": _csv(("exposure", "array", "place", "value"), _held(state)),
    }


def _doses(told: Mapping[str, Any]) -> Iterable[Sequence[Any]]:
    law = told["law"]
    for one in told["exposures"]:
        for dose in one["doses"]:
            yield one["kind"], one["unit"], "leaky mean", dose["time_constant_d"], *_sides(dose), told["as_of"]
    for one in law["exposures"] if law else ():
        yield one["kind"], one["unit"], "law", one["time_constant_d"]["value"], *_sides(one), told["as_of"]
    if law and law["effect"]:
        of = f"law; {law['verdict']}"
        yield (
            f"effect on {law['outcome']}",
            law["outcome_unit"],
            of,
            "",
            *_sides({**law["effect"], "seen": ""}),
            told["as_of"],
        )


def _sides(dose: Mapping[str, Any]) -> list[Any]:
    return ["" if dose[name] is None else dose[name] for name in ("value", "low", "high", "seen")]


def _exposure_days(kept: Mapping[str, "Exposed"]) -> Iterable[Sequence[Any]]:
    for kind, one in kept.items():
        days = np.arange(one.day - len(one.days), one.day + 1).astype("datetime64[D]")
        for day, value in zip(days, [*one.days.tolist(), one.value], strict=True):
            yield str(day), kind, "" if np.isnan(value) else round(value, 6), exposure_kind(kind).unit


def _held(state: "TwinState") -> Iterable[Sequence[Any]]:
    for kind, arrays in state.exposures.items():
        for name, array in arrays.items():
            for place, value in enumerate(array.ravel().tolist() if name != "days" else ()):
                yield kind, name, place, value


def _local(state: "TwinState", times_s: np.ndarray) -> list[str]:
    return [str(one) for one in np.round(times_s + state.offset_s).astype("datetime64[s]")]


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerows([plain_cell(cell) for cell in row] for row in (head, *rows))
    return text.getvalue().encode()


def _write(target: Path, files: Mapping[str, bytes]) -> None:
    """All of it or nothing, for its owner's eyes alone."""
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as packed:
            for name, content in files.items():
                packed.writestr(zipfile.ZipInfo(name, _WHEN), content, zipfile.ZIP_DEFLATED)
        os.replace(fresh, target)
    except OSError as error:
        raise ConfigError(
            "The export cannot be written",
            where="to",
            expected="a place that can be written to, with room on its disk",
            got=type(error).__name__,
            fix="say --to another FILE.zip",
        ) from error
    finally:
        fresh.unlink(missing_ok=True)
