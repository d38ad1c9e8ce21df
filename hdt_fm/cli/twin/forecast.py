"""`hdt-fm twin forecast PATH checkpoint=FOLDER`: one person's glucose in, the next hours out."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.twin.arguments import ROOT, dates_of, folder_for, path_and_settings, refuse, say, target_of
from hdt_fm.schema.errors import CheckpointError, ConfigError
from hdt_fm.schema.series import ForecastTask

if TYPE_CHECKING:
    from hdt_fm.checkpoint import Model
    from hdt_fm.schema.protocols import HeadInput
    from hdt_fm.schema.series import Series
    from hdt_fm.signal.moments import Moments
    from hdt_fm.twin.forecast.within import Within

MODALITY = "glucose"
MAKE_ONE = (
    "make one: `hdt-fm shard experiment=t1d_uom source=FOLDER`, then pretrain and finetune with the same experiment; "
    "it is runs/t1d_uom/finetune/checkpoint (without data: experiment=virtual_diabetes, which needs no source)"
)
USAGE = """\
usage: hdt-fm twin forecast PATH checkpoint=FOLDER [at=TIME] [dates=false] [--to FOLDER] [--json] [SETTING=...]
       hdt-fm twin forecast TWIN [checkpoint=FOLDER] [dates=false] [--to FOLDER] [--json]

  Says where glucose is expected to be in the next hours, with an interval that this person's own past has set, and how
  far to trust it. Writes forecast.json, forecast.html (one file, no script) and forecast.png. It is no medical advice.
  Where the checkpoint has a head of risks too (`hdt-fm finetune experiment=t1d_uom head=event_risk` adds it), chances
  of a low and a high are of any reading up to a time ahead; else of that time alone.

  TWIN is a folder that `hdt-fm twin create` made: from its newest reading, by all that its person has taught it.

  checkpoint=FOLDER        with a head that forecasts glucose (`hdt-fm finetune experiment=t1d_uom` makes one); of a
                           twin, where its own is now (where it was)
  dates=false              times are told from the newest reading alone; no file holds a date or a time of day
  --to FOLDER              where the files go; earlier ones in it are replaced (a new folder under {root})
  --json                   print the content of forecast.json, with the folder, and nothing else

{input}

examples:
  hdt-fm twin forecast libreview.csv checkpoint=runs/t1d_uom/finetune/checkpoint
  hdt-fm twin forecast clarity.csv checkpoint=mine at=2026-03-05T14:30 utc_offset_s=0 --to ahead
  hdt-fm twin forecast my_twin --to ahead
  hdt-fm twin forecast data/azt1d cohort=azt1d person=3 checkpoint=mine --json
  hdt-fm twin forecast virtual_diabetes cohort=virtual_diabetes person=15 checkpoint=mine
"""
OWN = ("checkpoint", "dates", "to")


def run(options: Options, arguments: list[str]) -> int:
    """Read, ask, write, say."""
    from hdt_fm.cli.twin import readings as given

    if options.help or not arguments:
        print(USAGE.format(root=ROOT, input=given.USAGE), end="")
        return EXIT_OK
    path, settings = path_and_settings("forecast", arguments, (*OWN, *given.SETTINGS))
    told, folder = _forecast(path, settings)
    from hdt_fm.twin.forecast.page import HTML_NAME, JSON_NAME, PNG_NAME
    from hdt_fm.twin.forecast.told import lines

    files = {"html": HTML_NAME, "png": PNG_NAME, "json": JSON_NAME}
    say(told, folder, lines, files, as_json=options.json)
    return EXIT_OK


def _forecast(path: Path, settings: dict[str, str]) -> tuple[dict[str, Any], Path]:
    """What is told, and the folder that it was written to; nothing is written if anything is wrong."""
    dates, target = dates_of(settings), target_of(settings)
    from hdt_fm.cli.twin.arguments import is_twin

    told = (_told_of_twin if is_twin(path) else _told)(path, settings, dates=dates)
    from hdt_fm.twin.forecast.page import files_of
    from hdt_fm.twin.page import write_together

    files = files_of(told)
    with folder_for("forecast", target) as folder:
        write_together(folder, files)
    return told, folder


def _told(path: Path, settings: dict[str, str], *, dates: bool) -> dict[str, Any]:
    from hdt_fm.checkpoint import load_preprocess
    from hdt_fm.cli.series import corrections
    from hdt_fm.cli.series import told as told_to_head
    from hdt_fm.cli.twin.readings import read
    from hdt_fm.cli.twin.refusals import check_habits
    from hdt_fm.metrics.events import EVENTS
    from hdt_fm.schema.modalities import modality
    from hdt_fm.training.forecasts import ask
    from hdt_fm.twin.forecast.outlook import OfPeople, outlook
    from hdt_fm.twin.forecast.told import record

    model, head, task = head_of(settings.get("checkpoint", ""))
    risk = _risk_head(model, task)
    given = read(path, settings, task, load_preprocess(settings["checkpoint"]).prepared(task.modality))
    check_habits(given.series[-1], head.usual.tolist(), task)
    moments, inputs = told_to_head(model, given.series, task, given=given.given, now=True)
    said = ask(head, inputs)
    added = corrections(head, moments, inputs, said)
    found = outlook(
        moments,
        said + added[..., None],
        OfPeople(head.levels, tuple(head.shift.tolist()), tuple(head.score_spread.tolist())),
        readings_s=given.readings_s,
        age_s=given.age_s,
        events=EVENTS.get(task.modality, ()),
        plausible=modality(task.modality).plausible,
    )
    return record(
        found,
        (given.times_s, given.values),
        modality=task.modality,
        unit=task.unit,
        clock=given.clock,
        dates=dates,
        source=given.source,
        within=() if risk is None else _within(risk, moments, inputs, given.series),
        notes=(*given.notes, _own_past(added[-1].tolist(), task)),
    )


def _told_of_twin(folder: Path, settings: dict[str, str], *, dates: bool) -> dict[str, Any]:
    from hdt_fm.cli.series import told as told_to_head
    from hdt_fm.cli.twin import readings
    from hdt_fm.cli.twin.kept import brain_for, open_twin, readings_of
    from hdt_fm.cli.twin.refusals import check_habits, check_known
    from hdt_fm.twin.forecast.told import record
    from hdt_fm.twin.state.answer import forecast

    refuse(settings, readings.SETTINGS, "a twin, which answers from its newest reading")
    kept = open_twin(folder)
    given = readings_of(kept.state, kept.state.reference.task)
    brain = brain_for(kept.state, settings)
    task, head = brain.asked.task, brain.asked.head
    check_known(given.series[-1], task)
    check_habits(given.series[-1], head.usual.tolist(), task)
    found, risk = forecast(kept.state, brain.asked), _risk_head(brain.model, task)
    within: tuple[Within, ...] = ()
    if risk is not None:
        moments, inputs = told_to_head(brain.model, given.series, task, given=given.given, now=True)
        within = _within(risk, moments, inputs, given.series)
    return record(
        found.outlook,
        (given.times_s, given.values),
        modality=task.modality,
        unit=task.unit,
        clock=given.clock,
        dates=dates,
        source=given.source,
        within=within,
        notes=(*given.notes, _own_past(found.corrected.added.tolist(), task)),
    )


def _within(risk: Any, moments: "Moments", inputs: "HeadInput", series: "Sequence[Series]") -> "tuple[Within, ...]":
    """What the head of risks says, and how its chances came true."""
    from hdt_fm.cli.series import own_risks, with_own_events
    from hdt_fm.metrics.events import EVENTS
    from hdt_fm.signal.within import happened_within
    from hdt_fm.twin.forecast.within import within

    events = EVENTS[MODALITY]
    happened = happened_within(moments, series, [event.of for event in events])
    risks = own_risks(risk, moments, with_own_events(inputs, moments, series, events), happened)
    return within(moments, risks, happened, events)


def _own_past(added: Sequence[float], task: ForecastTask) -> str:
    moved = ", ".join(
        f"{value:+.0f} in {horizon / 60:g} min" for value, horizon in zip(added, task.horizons_s, strict=True)
    )
    return f"What came true of this person before today moves the answers ({task.unit}): {moved}."


def head_of(checkpoint: str) -> "tuple[Model, Any, ForecastTask]":
    """A checkpoint, its head that forecasts, and what that is told.

    Raises:
        ConfigError, CheckpointError: If none is named, or it has no such head.
    """
    from hdt_fm.checkpoint import load
    from hdt_fm.cli.series import HEAD, head_name

    if not checkpoint:
        raise ConfigError(
            "A forecast needs a checkpoint",
            where="checkpoint",
            expected=f"a folder with the head {head_name(MODALITY)}",
            fix=MAKE_ONE,
        )
    model = load(checkpoint)
    name = head_name(MODALITY)
    if name not in model.heads or model.config.heads[name].name != HEAD:
        raise CheckpointError(
            f"The checkpoint has no head that forecasts {MODALITY}",
            where="checkpoint",
            expected=f"the head {name}",
            got=", ".join(model.heads) or "no head",
            fix=MAKE_ONE,
        )
    head = model.heads[name]
    task = ForecastTask.of(head.asked)  # type: ignore[arg-type]
    if task.modality != MODALITY:
        raise CheckpointError(
            "The head forecasts another modality", where=name, expected=MODALITY, got=task.modality, fix=MAKE_ONE
        )
    return model, head, task


def _risk_head(model: "Model", task: ForecastTask) -> Any:
    """The head of risks, where the checkpoint has one; it must be told what the forecast is told, and of its events."""
    from hdt_fm.cli.series import check_same_task, head_name, heads_of, risk_name
    from hdt_fm.metrics.events import EVENTS

    name = risk_name(task.modality)
    found = heads_of(model, task.modality).get(name)
    if found is None:
        return None
    check_same_task(name, ForecastTask.of(found.asked), head_name(task.modality), task)
    if found.described != [asdict(event) for event in EVENTS[task.modality]]:
        raise CheckpointError(
            "The head of risks answers other events",
            where=name,
            expected=", ".join(event.name for event in EVENTS[task.modality]),
            got=", ".join(str(one.get("name")) for one in found.described) or "events without a name",
            fix="teach it anew: hdt-fm finetune experiment=t1d_uom head=event_risk",
        )
    return found
