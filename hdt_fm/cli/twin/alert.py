"""`hdt-fm twin alert PATH`: one person's nights in, those that are unlike their own out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.twin.arguments import ROOT, dates_of, folder_for, is_twin, path_and_settings, refuse, say, target_of
from hdt_fm.schema.errors import ConfigError, RecordingError

if TYPE_CHECKING:
    from hdt_fm.cli.twin.nights import Given

USAGE = """\
usage: hdt-fm twin alert PATH [budget_per_year=2] [dates=false] [--to FOLDER] [--json] [SETTING=...]
       hdt-fm twin alert TWIN [indicators=A,B] [budget_per_year=2] [dates=false] [--to FOLDER] [--json]

  Judges each night by the person's own nights before it, and writes alert.json and alert.html (one file, no script).
  It needs 28 nights with data before the first that it can judge. It is no diagnosis.
  Each alert says what deviates, and what its score is made of: points and shares by indicator that add up to it.

  TWIN is a folder that `hdt-fm twin create` made, whose nights `hdt-fm twin update TWIN PATH nights=true` keeps: at
  most the last two years of them.

  budget_per_year=2    false alerts allowed in a year that is watched (0.1 to 20)
  dates=false          nights are numbered from 1; neither file nor the words hold a date
  --to FOLDER          where the files go; an earlier pair in it is replaced (a new folder under {root})
  --json               print the content of alert.json, with the folder, and nothing else

{input}

examples:
  hdt-fm twin alert nights.csv budget_per_year=1
  hdt-fm twin alert my_twin
  hdt-fm twin alert apple_health_export --to watched dates=false
  hdt-fm twin alert data/lifesnaps_daily cohort=lifesnaps_daily person=3
"""
OWN = ("budget_per_year", "dates", "to")


def run(options: Options, arguments: list[str]) -> int:
    """Read, watch, write, say."""
    from hdt_fm.cli.twin import nights

    if options.help or not arguments:
        print(_usage(), end="")
        return EXIT_OK
    path, settings = path_and_settings("alert", arguments, (*OWN, *nights.SETTINGS))
    told, folder = _judged(path, settings)
    from hdt_fm.twin.alert.page import HTML_NAME, JSON_NAME
    from hdt_fm.twin.alert.told import lines

    say(told, folder, lines, {"page": HTML_NAME, "json": JSON_NAME}, as_json=options.json)
    return EXIT_OK


def _judged(path: Path, settings: dict[str, str]) -> tuple[dict[str, Any], Path]:
    """What is told, and the folder that it was written to; nothing is written if anything is wrong."""
    from hdt_fm.cli.twin.nights import read_nights
    from hdt_fm.twin.alert.page import files_of
    from hdt_fm.twin.alert.report import watch
    from hdt_fm.twin.alert.settings import AlertSettings
    from hdt_fm.twin.alert.told import record
    from hdt_fm.twin.page import write_together

    dates, target = dates_of(settings), target_of(settings)
    watched = AlertSettings(budget_per_year=_budget(settings)) if "budget_per_year" in settings else AlertSettings()
    given = _nights_of_twin(path, settings) if is_twin(path) else read_nights(path, settings)
    report = watch(given.nights, watched)
    if report.usable_from is None:
        raise _too_few(report.nights_missing, len(report.dates) - report.nights_of("abstained"), len(report.renewed))
    told = record(report, given.nights, dates=dates, source=given.source, notes=given.notes)
    files = files_of(report, given.nights, told, dates=dates)
    with folder_for("alert", target) as folder:
        write_together(folder, files)
    return told, folder


def _nights_of_twin(folder: Path, settings: dict[str, str]) -> "Given":
    from hdt_fm.cli.twin import nights
    from hdt_fm.cli.twin.kept import open_twin

    refuse(settings, [one for one in nights.SETTINGS if one != "indicators"], "a twin, whose nights are read already")
    state = open_twin(folder).state
    if state.nights is None:
        raise RecordingError(
            "The twin keeps no nights",
            expected="nights of the person, for the alerts",
            got="readings of glucose alone" if len(state.readings) else "nothing yet",
            fix="hdt-fm twin update FOLDER nights.csv nights=true, or give a table of nights in place of the twin",
        )
    return nights.Given(nights.chosen(state.nights, settings), "the twin's nights")


def _too_few(missing: int, seen: int, renewed: int) -> RecordingError:
    from hdt_fm.twin.alert.told import counted

    again = f", and another device came {counted(renewed, 'time')}" if renewed else ""
    return RecordingError(
        "There are too few nights to say what is usual for this person",
        expected="28 nights with data of one device before the first that is judged",
        got=f"{counted(seen, 'night')} with data{again}",
        fix=f"come back after {counted(missing, 'more night')} with data",
    )


def _budget(settings: dict[str, str]) -> float:
    try:
        return float(settings["budget_per_year"])
    except ValueError:
        raise ConfigError(
            "budget_per_year is no number",
            where="budget_per_year",
            expected="false alerts a year, 0.1 to 20",
            fix="say budget_per_year=1, or leave it out for 2",
        ) from None


def _usage() -> str:
    from hdt_fm.cli.twin.nights import USAGE as INPUT
    from hdt_fm.twin.nights.indicators import INDICATORS

    columns = [f"    {one.name:<19} {one.unit:<8} {one.label}" for one in INDICATORS.values()]
    return USAGE.format(root=ROOT, input=INPUT.format(columns="\n".join(columns)))
