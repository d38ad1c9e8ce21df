"""`hdt-fm twin alert PATH`: one person's nights in, those that are unlike their own out."""

import json
from itertools import count
from pathlib import Path
from typing import Any

from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.schema.errors import ConfigError, RecordingError, unknown_name

ROOT = Path("runs/twin")
USAGE = """\
usage: hdt-fm twin alert PATH [budget_per_year=2] [dates=false] [--to FOLDER] [--json] [SETTING=...]

  Judges each night by the person's own nights before it, and writes alert.json and alert.html (one file, no script).
  It needs 28 nights with data before the first that it can judge. It is no diagnosis.

  budget_per_year=2    false alerts allowed in a year that is watched (0.1 to 20)
  dates=false          nights are numbered from 1; neither file nor the words hold a date
  --to FOLDER          where the files go; an earlier pair in it is replaced (a new folder under {root})
  --json               print the content of alert.json, with the folder, and nothing else

{input}

examples:
  hdt-fm twin alert nights.csv budget_per_year=1
  hdt-fm twin alert apple_health_export --to watched dates=false
  hdt-fm twin alert data/lifesnaps_daily cohort=lifesnaps_daily person=3
"""
OWN = ("budget_per_year", "dates", "to")


def run(options: Options, arguments: list[str]) -> int:
    """Read, watch, write, say."""
    from hdt_fm.cli import twin_input

    if options.help or not arguments:
        print(_usage(), end="")
        return EXIT_OK
    paths = [word for word in arguments if "=" not in word or Path(word).exists()]
    settings = dict(word.split("=", 1) for word in arguments if word not in paths)
    for key in settings:
        if key not in (*OWN, *twin_input.SETTINGS):
            raise unknown_name("setting", key, (*OWN, *twin_input.SETTINGS), where="hdt-fm twin alert")
    if len(paths) != 1:
        raise ConfigError(
            "`twin alert` takes one path", got=f"{len(paths)} paths", fix="see `hdt-fm twin alert --help`"
        )
    told, folder = _judged(Path(paths[0]), settings)
    if options.json:
        print(json.dumps({**told, "folder": str(folder)}, allow_nan=False))
    else:
        from hdt_fm.twin.page import HTML_NAME, JSON_NAME
        from hdt_fm.twin.told import lines

        print("\n".join([*lines(told), f"page -> {folder / HTML_NAME}", f"json -> {folder / JSON_NAME}"]))
    return EXIT_OK


def _judged(path: Path, settings: dict[str, str]) -> tuple[dict[str, Any], Path]:
    """What is told, and the folder that it was written to; nothing is written if anything is wrong."""
    from hdt_fm.cli.twin_input import read_nights
    from hdt_fm.twin.alert import watch
    from hdt_fm.twin.page import JSON_NAME, html, screened, write_report
    from hdt_fm.twin.settings import AlertSettings
    from hdt_fm.twin.told import record

    dates, target = dates_of(settings), target_of(settings)
    watched = AlertSettings(budget_per_year=_budget(settings)) if "budget_per_year" in settings else AlertSettings()
    given = read_nights(path, settings)
    report = watch(given.nights, watched)
    if report.usable_from is None:
        raise _too_few(report.nights_missing, len(report.dates) - report.nights_of("abstained"), len(report.renewed))
    told = record(report, given.nights, dates=dates, source=given.source, notes=given.notes)
    page = html(report, given.nights, told, dates=dates)
    screened(json.dumps(told), JSON_NAME, dates=dates)
    folder = target or _next_folder()
    try:
        write_report(folder, page, told)
    except OSError as error:
        raise ConfigError("The report cannot be written", where="to", got=type(error).__name__) from error
    finally:
        # A folder that was taken for this run and got nothing goes again.
        if target is None and not any(folder.iterdir()):
            folder.rmdir()
    return told, folder


def _too_few(missing: int, seen: int, renewed: int) -> RecordingError:
    from hdt_fm.twin.told import counted

    again = f", and another device came {counted(renewed, 'time')}" if renewed else ""
    return RecordingError(
        "There are too few nights to say what is usual for this person",
        expected="28 nights with data of one device before the first that is judged",
        got=f"{counted(seen, 'night')} with data{again}",
        fix=f"come back after {counted(missing, 'more night')} with data",
    )


def dates_of(settings: dict[str, str]) -> bool:
    told = settings.get("dates", "true").lower()
    if told not in ("true", "false"):
        raise ConfigError("dates cannot be read", where="dates", expected="true or false")
    return told == "true"


def _budget(settings: dict[str, str]) -> float:
    try:
        return float(settings["budget_per_year"])
    except ValueError:
        raise ConfigError(
            "budget_per_year is no number", where="budget_per_year", expected="false alerts a year, 0.1 to 20"
        ) from None


def target_of(settings: dict[str, str]) -> Path | None:
    if "to" not in settings:
        return None
    folder = Path(settings["to"])
    if not settings["to"] or (folder.exists() and not folder.is_dir()):
        raise ConfigError("The report cannot go there", where="to", expected="a folder, there or not")
    return folder


def _next_folder() -> Path:
    """The next number that is free; taken at once, so that two runs side by side have one each."""
    for number in count(1):
        folder = ROOT / f"alert-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("numbers do not end")


def _usage() -> str:
    from hdt_fm.cli.twin_input import USAGE as INPUT
    from hdt_fm.twin.indicators import INDICATORS

    columns = [f"    {one.name:<19} {one.unit:<8} {one.label}" for one in INDICATORS.values()]
    return USAGE.format(root=ROOT, input=INPUT.format(columns="\n".join(columns)))
