"""`hdt-fm twin what-if PATH checkpoint=FOLDER plan=...`: one person's glucose in, one plan against another out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.twin.arguments import ROOT, dates_of, folder_for, is_twin, path_and_settings, refuse, say, target_of
from hdt_fm.schema.errors import ConfigError, RecordingError
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.series import ForecastTask
from hdt_fm.schema.treatment import Plan
from hdt_fm.schema.what_if import TREATMENTS

if TYPE_CHECKING:
    from hdt_fm.cli.plans import PlanModel
    from hdt_fm.cli.twin.readings import Readings

EXAMPLE = 'plan="bolus 4 U; carbs 45 g in 10 min"'
USAGE = """\
usage: hdt-fm twin what-if PATH checkpoint=FOLDER plan="..." [against=nothing] [at=TIME] [dates=false] [--to FOLDER]
                            [--json] [SETTING=...]
       hdt-fm twin what-if TWIN plan="..." [against=nothing] [checkpoint=FOLDER] [dates=false] [--to FOLDER] [--json]

  Says where glucose is expected to be under a plan and under another, what the plan changes, and how far to trust that:
  an interventional forecast under stated assumptions. Both plans begin at the newest reading. Writes what_if.json,
  what_if.html (one file, no script) and what_if.png. It is no medical advice.

  TWIN is a folder that `hdt-fm twin create` made with such a checkpoint: it keeps four weeks of what was read.

  checkpoint=FOLDER        with a head that answers plans (`hdt-fm finetune head=plan_response` makes one); of a twin,
                           where its own is now (where it was)
  plan="bolus 4 U"         KIND DOSE UNIT [in N min] [for N min], parted by `;`, in quotes; `nothing` is a plan too
  against="bolus 2 U"      what it is compared with (nothing)
  dates=false              times are told from the newest reading alone; no file holds a date or a time of day
  --to FOLDER              where the files go; earlier ones in it are replaced (a new folder under {root})
  --json                   print the content of what_if.json, with the folder, and nothing else

{input}

examples:
  hdt-fm twin what-if clarity.csv checkpoint=mine plan="bolus 4 U; carbs 45 g in 10 min"
  hdt-fm twin what-if my_twin plan="bolus 4 U" against="bolus 2 U"
  hdt-fm twin what-if clarity.csv checkpoint=mine plan="bolus 4 U" against="bolus 2 U" at=2026-03-05T14:30 --to asked
  hdt-fm twin what-if data/azt1d cohort=azt1d person=3 checkpoint=mine plan="carbs 30 g" --json
  hdt-fm twin what-if virtual_diabetes cohort=virtual_diabetes person=15 checkpoint=mine plan="bolus 2 U; carbs 30 g"
"""
OWN = ("checkpoint", "plan", "against", "dates", "to")


def run(options: Options, arguments: list[str]) -> int:
    """Read, ask, write, say."""
    from hdt_fm.cli.twin import readings as given

    if options.help or not arguments:
        print(USAGE.format(root=ROOT, input=given.USAGE), end="")
        return EXIT_OK
    path, settings = path_and_settings("what-if", arguments, (*OWN, *given.SETTINGS))
    told, folder = _compared(path, settings)
    from hdt_fm.twin.what_if.page import HTML_NAME, JSON_NAME, PNG_NAME
    from hdt_fm.twin.what_if.words import lines

    files = {"html": HTML_NAME, "png": PNG_NAME, "json": JSON_NAME}
    say(told, folder, lines, files, as_json=options.json)
    return EXIT_OK


def _compared(path: Path, settings: dict[str, str]) -> tuple[dict[str, Any], Path]:
    """What is told, and the folder that it was written to; nothing is written if anything is wrong."""
    dates, target, plans = dates_of(settings), target_of(settings), _plans(settings)
    told = _told(path, settings, plans, dates=dates)
    from hdt_fm.twin.page import write_together
    from hdt_fm.twin.what_if.page import files_of

    files = files_of(told)
    with folder_for("what-if", target) as folder:
        write_together(folder, files)
    return told, folder


def _told(path: Path, settings: dict[str, str], plans: tuple[Plan, Plan], *, dates: bool) -> dict[str, Any]:
    from hdt_fm.cli.plans import compare
    from hdt_fm.twin.what_if.told import record

    found, given = (_of_twin if is_twin(path) else _of_export)(path, settings, plans)
    check_written(given)
    return record(
        compare(found, given, *plans),
        plans,
        (given.times_s, given.values),
        age_s=given.age_s,
        clock=given.clock,
        dates=dates,
        source=given.source,
        notes=given.notes,
    )


def _of_export(path: Path, settings: dict[str, str], plans: tuple[Plan, Plan]) -> "tuple[PlanModel, Readings]":
    from hdt_fm.checkpoint import load_preprocess
    from hdt_fm.cli.plans import MAKE_ONE, head_of
    from hdt_fm.cli.twin.readings import read

    if not settings.get("checkpoint"):
        raise ConfigError(
            "A what-if needs a checkpoint",
            where="checkpoint",
            expected="a folder with a head that answers plans",
            fix=MAKE_ONE,
        )
    found = head_of(settings["checkpoint"])
    check_plans(plans, found.task)
    preparation = load_preprocess(settings["checkpoint"]).prepared(found.task.modality)
    return found, read(path, settings, found.task, preparation)


def _of_twin(folder: Path, settings: dict[str, str], plans: tuple[Plan, Plan]) -> "tuple[PlanModel, Readings]":
    from hdt_fm.cli.plans import head_of
    from hdt_fm.cli.twin import readings
    from hdt_fm.cli.twin.kept import brain_for, open_twin, readings_of
    from hdt_fm.cli.twin.refusals import check_known

    refuse(settings, readings.SETTINGS, "a twin, which answers from its newest reading")
    kept = open_twin(folder)
    # It refuses another checkpoint than the twin's.
    brain = brain_for(kept.state, settings)
    found = head_of(brain.reference.place)
    check_plans(plans, found.task)
    given = readings_of(kept.state, found.task)
    check_known(given.series[-1], found.task)
    return found, given


def check_plans(plans: tuple[Plan, Plan], task: ForecastTask) -> None:
    """What the head was taught, within the hours that it answers, and two things that differ.

    Raises:
        ConfigError: If they are not.
    """
    step_s, horizon_s = task.treatments_step_s, max(task.horizons_s)
    steps = round(horizon_s / step_s)
    # More may be told of what was taken before; a plan is of these.
    kinds = [name for name in TREATMENTS if name in task.treatments]
    plan, against = (one.on_grid(kinds, step_s=step_s, steps=steps) for one in plans)
    parts = [part for one in plans for part in one.interventions]
    if any(part.onset_s + part.duration_s > horizon_s for part in parts):
        raise ConfigError(
            "A plan goes on for longer than is answered",
            where="plan",
            expected=f"that all of it is given within {horizon_s / 60:g} min",
            fix="ask for less of it, or give it sooner",
        )
    if np.array_equal(plan, against):
        raise ConfigError(
            "There is nothing to compare: the plan and the other are the same",
            where="against",
            expected=f"plans that differ in a dose, or by {step_s / 60:g} min or more in time",
            fix=f'say another, such as {EXAMPLE} against="bolus 2 U"',
        )


def check_written(given: "Readings") -> None:
    """Both doses and meals act on in every plan, so it must be known what was taken; not written down is not zero.

    Raises:
        RecordingError: If it is not known.
    """
    missing = [name for name in TREATMENTS if not _known_now(given, name)]
    if missing:
        words = " and ".join(modality(name).label.lower() for name in missing)
        raise RecordingError(
            f"What was taken is unknown here: {words}",
            where="the recording",
            expected="entries of it up to the newest reading, the last one at most two days before",
            got="none, which is not a dose of zero",
            fix="export them with the readings, choose another moment with at=TIME, or give another person's recording",
        )


def _known_now(given: "Readings", name: str) -> bool:
    """Whether the step with the newest reading is one in which somebody wrote things down."""
    found: Sequence[Any] = given.given.get(name, ())
    newest_s = float(given.times_s[-1])
    begun = [one for one in found if one.start_s <= newest_s]
    if not begun:
        return False
    last = begun[-1]
    return bool(last.observed[min(int((newest_s - last.start_s) / last.step_s + 1e-6), len(last) - 1)])


def _plans(settings: dict[str, str]) -> tuple[Plan, Plan]:
    if not settings.get("plan"):
        raise ConfigError(
            "A what-if needs a plan",
            where="plan",
            expected="KIND DOSE UNIT [in N min] [for N min], parted by `;`",
            fix=f"say {EXAMPLE}, in quotes",
        )
    return Plan.spoken(settings["plan"]), Plan.spoken(settings.get("against") or "nothing")
