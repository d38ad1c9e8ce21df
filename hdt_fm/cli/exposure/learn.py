"""`hdt-fm exposure learn TABLE outcome=COLUMN --to FOLDER`: what exposures of weeks do, from a table of many people."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from hdt_fm.cli.exposure.sets import SETS, people_of
from hdt_fm.cli.exposure.words import chosen, kinds_told, listed, pairs_of, path_and_settings, units_of
from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.progress import reporter
from hdt_fm.cli.twin.arguments import folder_for, refuse, say, whole_number, yes_or_no
from hdt_fm.schema.errors import ConfigError, ReaderError, unknown_name
from hdt_fm.schema.exposure import EXPOSURES

if TYPE_CHECKING:
    from data_pipelines.exposures.sets._person_days import PersonDays
    from hdt_fm.cli.exposure.evidence import People
    from hdt_fm.heads.exposure_dose import ExposureDose, Followed

USAGE = """\
usage: hdt-fm exposure learn TABLE outcome=COLUMN --to FOLDER [--json] [SETTING=...]

  Learns from many people how long each exposure is kept, from which dose on it counts and how much it then does; and
  says how far that is to be trusted: placebos, the days after, people who taught nothing. If no effect is reliable, the
  folder says so, and so does every twin that is told of it.

  TABLE (CSV, TSV; text in UTF-8) has a row a person and day: person, date (YYYY-MM-DD), the outcome, and columns called
  as exposures, with another unit in brackets or behind (`ozone [ppb]`, `temperature_celsius`). An empty cell, and a day
  without a row, is not known. Exposures, with their unit:
{kinds}

  outcome=COLUMN           what they may do something to; it keeps its own unit
  --to FOLDER              a new one: dose.json (the law) and evidence.json
  outcome_unit=ms          the outcome's unit, for words
  next_day=true            the outcome is that of the day after (measured in the morning, say), not of the same day
  exposures=A,B            these only; all that the table has
  forms=hinge,ramp         forms of the law, tried in this order until the data do not speak against one
                           (hinge, ramp, line, below, bent)
  pairs=temperature*pm2_5  exposures that matter together
  season=shared            what goes with the season is taken out: one for all (shared), each person's own, or none
  units=ozone:ppb,...      units that heads do not say
  cohort=NAME              a public set in place of the table: {sets}
  draws=199                placebos of each kind; seed=0 theirs and that of folds
  --json                   one JSON object, and nothing else

examples:
  hdt-fm exposure learn people.csv outcome=rmssd outcome_unit=ms --to air_law
  hdt-fm exposure learn data/welltory_covid19 cohort=welltory_covid19 outcome="ln RMSSD" next_day=true --to weather_law
then: hdt-fm twin update my_twin air.csv exposures=true law=air_law
"""
SETTINGS = (
    "outcome",
    "to",
    "outcome_unit",
    "next_day",
    "exposures",
    "forms",
    "pairs",
    "season",
    "units",
    "cohort",
    "draws",
    "seed",
)
SEASONS = ("shared", "own", "none")
FORMS = ("hinge", "ramp")
DRAWS, FEWEST_DRAWS = 199, 39


def run(options: Options, arguments: list[str]) -> int:
    """Read, learn, judge, write, say."""
    if options.help or not arguments:
        print(USAGE.format(kinds=kinds_told(), sets=", ".join(SETS)), end="")
        return EXIT_OK
    path, settings = path_and_settings("learn", arguments, SETTINGS)
    folder = _new_folder(settings)
    told, evidence = _learned(path, settings)
    from hdt_fm.cli.exposure.law import EVIDENCE_NAME, LAW_NAME
    from hdt_fm.cli.exposure.told import lines
    from hdt_fm.twin.page import write_together

    files = {
        name: (json.dumps(content, allow_nan=False, indent=1) + "\n").encode()
        for name, content in ((LAW_NAME, told), (EVIDENCE_NAME, evidence))
    }
    with folder_for("law", folder):
        write_together(folder, files)
    say(told, folder, lines, {"law": LAW_NAME, "evidence": EVIDENCE_NAME}, as_json=options.json)
    return EXIT_OK


def _new_folder(settings: Mapping[str, str]) -> Path:
    folder = Path(settings.get("to") or "")
    if not settings.get("to") or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise ConfigError(
            "The law needs a folder of its own",
            where="to",
            expected="a path where nothing is yet",
            got="something that is there" if settings.get("to") else "nothing",
            fix="say --to FOLDER",
        )
    return folder


def _learned(path: Path, settings: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `dose.json` and `evidence.json` hold."""
    from hdt_fm.cli.exposure import evidence

    outcome, seed = _outcome(settings), whole_number(settings, "seed") if "seed" in settings else 0
    draws = _draws(settings)
    people, notes = _read(path, outcome, settings)
    learn = _learner(people.names, settings, seed)
    head = learn(people.followed)
    tested = evidence.placebos(people, outcome, draws=draws, seed=seed, progress=reporter("placebos"))
    explained, note = evidence.folds(people, outcome, learn, seed=seed)
    facts = _facts(people, head, outcome, settings, (*notes, note) if note else notes)
    kinds = evidence.verdicts(head, tested)
    facts |= {"verdicts": kinds, "verdict": evidence.overall(kinds)}
    facts |= {"reliable": any(one["reliable"] for one in kinds.values())}
    facts["explained"] = [] if explained is None else [_row(row) for row in explained.rows]
    results = [tested] if explained is None else [tested, explained]
    return facts, {"results": [json.loads(one.model_dump_json()) for one in results]}


def _learner(names: Sequence[str], settings: Mapping[str, str], seed: int) -> "Callable[[Followed], ExposureDose]":
    """Learns as the settings say; of all people, and of those of a fold."""
    from hdt_fm.heads.exposure_dose import first_that_fits
    from hdt_fm.layers.dose_law import Form

    forms: list[Form] = [chosen("forms", one, get_args(Form)) for one in listed(settings, "forms") or FORMS]
    pairs, season = pairs_of(settings, names), chosen("season", settings.get("season", SEASONS[0]), SEASONS)

    def learn(followed: "Followed") -> "ExposureDose":
        try:
            return first_that_fits(followed, exposures=names, tried=forms, pairs=pairs, season=season, seed=seed)
        except ConfigError as error:
            raise ConfigError(
                error.problem,
                where="the table",
                expected=error.expected,
                got=error.got,
                fix=error.fix or "ask for fewer exposures (exposures=A), or bring longer records of more people",
            ) from None

    return learn


def _draws(settings: Mapping[str, str]) -> int:
    draws = whole_number(settings, "draws") if "draws" in settings else DRAWS
    if draws < FEWEST_DRAWS:
        raise ConfigError(
            "So few placebos tell nothing",
            where="draws",
            expected=f"{FEWEST_DRAWS} or more",
            got=str(draws),
            fix=f"say draws={DRAWS}, or leave it out",
        )
    return draws


def _outcome(settings: Mapping[str, str]) -> str:
    from hdt_fm.schema.privacy import private_traces

    outcome = settings.get("outcome", "").strip()
    told = " ".join((outcome, settings.get("outcome_unit", "")))
    if not outcome or not told.isprintable() or private_traces(told):
        raise ConfigError(
            "It is not told what exposures may do something to",
            where="outcome",
            expected="the name of a column, which stays in what is written",
            got="a name that would tell of a person or a machine, or that cannot be printed" if outcome else "nothing",
            fix="say outcome=COLUMN",
        )
    return outcome


def _read(path: Path, outcome: str, settings: Mapping[str, str]) -> "tuple[People, tuple[str, ...]]":
    from data_pipelines.exposures.tables.people import read_people

    if not path.exists():
        raise ReaderError(
            "There is nothing at this path",
            expected="a table with a row a person and day",
            fix="look for a slip in the path, or give it from where you are",
        )
    notes: tuple[str, ...] = ()
    if "cohort" in settings:
        refuse(settings, ("units",), "a cohort")
        days = people_of(path, settings["cohort"])
        if outcome not in days[0].outcomes:
            raise unknown_name("outcome", outcome, days[0].outcomes, where="outcome")
    else:
        table = read_people(path, outcome=outcome, units=units_of(settings))
        days, notes = list(table.people), table.notes
    names = list(dict.fromkeys(listed(settings, "exposures"))) or list(days[0].exposures)
    for name in names:
        if name not in days[0].exposures:
            raise unknown_name("exposure", name, days[0].exposures, where="exposures")
    return _on_one_grid(days, names, outcome, next_day=yes_or_no(settings, "next_day")), notes


def _on_one_grid(days: "Sequence[PersonDays]", names: Sequence[str], outcome: str, *, next_day: bool) -> "People":
    from hdt_fm.cli.exposure.evidence import People
    from hdt_fm.evaluation.evolve.exposure_doses import DailyRecords

    whole = DailyRecords.of(days)
    exposures = np.stack([whole.exposures[name] for name in names], axis=1)
    steps = np.arange(exposures.shape[2], dtype=np.float64)
    return People(
        tuple(names), exposures, whole.outcomes[outcome], whole.first_day[:, None] + steps, whole.group, next_day
    )


def _facts(
    people: "People", head: "ExposureDose", outcome: str, settings: Mapping[str, str], notes: Sequence[str]
) -> dict[str, Any]:
    from hdt_fm.cli.exposure import evidence
    from hdt_fm.cli.exposure.law import FORMAT

    units = [EXPOSURES[name].unit if name in EXPOSURES else "1" for name in people.names]
    unit = settings.get("outcome_unit", "")
    known = np.isfinite(people.followed.outcome) & np.isfinite(people.exposures).any(axis=1)
    digest = hashlib.sha256(people.exposures.tobytes() + people.outcome.tobytes() + people.day.tobytes())
    return {
        "format": FORMAT,
        "law": head.plain(),
        "exposures": [
            {"kind": name, "unit": one, "form": form}
            for name, one, form in zip(people.names, units, head.law.forms, strict=True)
        ],
        "outcome": outcome,
        "outcome_unit": unit,
        "next_day": people.next_day,
        "season": settings.get("season", "shared"),
        "people": head.learned.people,
        "days": int(known.sum()),
        "table": f"sha256:{digest.hexdigest()}",
        "misfit": round(head.misfit, 4),
        "wrong_form": evidence.called_wrong(head.misfit),
        "numbers": evidence.numbers_of(head, units, unit or "1"),
        "notes": list(notes),
    }


def _row(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("model", "value", "low", "high", "n")}
