"""`hdt-fm twin update FOLDER PATH`: what is new in an export, absorbed into a person's twin; or an answer to it."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdt_fm.cli.main import EXIT_OK, Options
from hdt_fm.cli.twin.arguments import paths_and_settings, refuse, say, yes_or_no
from hdt_fm.schema.errors import RecordingError, unknown_name

if TYPE_CHECKING:
    from hdt_fm.checkpoint.versions import Versions
    from hdt_fm.schema.ledger import Told
    from hdt_fm.twin.state.state import TwinState
    from hdt_fm.twin.state.stream import Absorbed
    from hdt_fm.twin.state.tracks import Counts

USAGE = """\
usage: hdt-fm twin update FOLDER PATH [checkpoint=FOLDER] [at=TIME] [same_person=true] [--json] [SETTING=...]
       hdt-fm twin update FOLDER PATH nights=true [same_person=true] [--json] [SETTING=...]
       hdt-fm twin update FOLDER PATH exposures=true [law=FOLDER] [same_person=true] [--json] [SETTING=...]
       hdt-fm twin update FOLDER answer=accepted|declined [--json]

  Absorbs what is new in an export: readings that are known are recognised, those that are older than the newest and
  were not known are counted and left. All of it makes one version and one line of the ledger, or nothing has changed.
  Says too whether the person or the sensor seems to have changed; such a proposal is never acted on by itself.

  checkpoint=FOLDER        where the twin's checkpoint is now; the twin knows it by its digest (where it was)
  same_person=true         it is the same person's, though neither its name nor hours that both have can tell
  nights=true              a table of nights, or an export's nights, for `twin alert`; settings as of `twin alert`
  exposures=true           what the person was exposed to: weather, air, light, noise, meals, places, company; doses are
                           carried on for ever, see below
  answer=accepted          or declined: the open proposal (`twin show` tells it) is closed, and what is usual is learned
                           anew (another device that is declined is the same one); no reading is rescaled by either
  --json                   one JSON object, and nothing else

{input}

exposures=true:
{exposures}

examples:
  hdt-fm twin update my_twin clarity.csv
  hdt-fm twin update my_twin data/azt1d cohort=azt1d person=3 --json
  hdt-fm twin update my_twin nights.csv nights=true same_person=true
  hdt-fm twin update my_twin weather.csv exposures=true law=ozone_law same_person=true
  hdt-fm twin update my_twin answer=declined
"""
CONFIRM, NIGHTS, EXPOSURES, ANSWER = "same_person", "nights", "exposures", "answer"
OWN = ("checkpoint", CONFIRM, NIGHTS, EXPOSURES, ANSWER)


def run(options: Options, arguments: list[str]) -> int:
    """Read, absorb, commit, say."""
    from hdt_fm.cli.exposure import one_person
    from hdt_fm.cli.twin import exposures, nights, readings

    if options.help or not arguments:
        print(USAGE.format(input=readings.USAGE, exposures=one_person.usage()), end="")
        return EXIT_OK
    known = (*OWN, *dict.fromkeys((*readings.SETTINGS, *nights.SETTINGS, *one_person.SETTINGS)))
    answers, law = (any(one.startswith(f"{name}=") for one in arguments) for name in (ANSWER, "law"))
    expected = ("a twin's folder",) if answers else ("a twin's folder", "a path?" if law else "a path")
    (folder, *paths), settings = paths_and_settings("update", arguments, known, expected=expected)
    if answers:
        told = _answered(folder, settings)
    elif yes_or_no(settings, EXPOSURES):
        told = exposures.update(folder, paths[0] if paths else None, settings)
    else:
        refuse(settings, _of_exposures(), "readings or nights; say exposures=true too")
        told = (_nights if yes_or_no(settings, NIGHTS) else _readings)(folder, paths[0], settings)
    say(told, folder, lines, {}, as_json=options.json)
    return EXIT_OK


def _of_exposures() -> list[str]:
    """Settings that only exposures have."""
    from hdt_fm.cli.exposure import one_person
    from hdt_fm.cli.twin import nights, readings

    return [one for one in one_person.SETTINGS if one not in (*readings.SETTINGS, *nights.SETTINGS)]


def _readings(folder: Path, path: Path, settings: dict[str, str]) -> dict[str, Any]:
    from hdt_fm.cli.twin import nights, readings
    from hdt_fm.cli.twin.kept import brain_for, open_twin, take_in
    from hdt_fm.cli.twin.window import check_whose, overlap, read_window

    refuse(settings, [one for one in nights.SETTINGS if one not in readings.SETTINGS], "readings; say nights=true too")
    begun = time.perf_counter()
    kept = open_twin(folder)
    brain = brain_for(kept.state, settings)
    came = read_window(path, settings, brain.asked.task, brain.preparation)
    counts = overlap(kept.state, came.window)
    check_whose(kept.state, came.whose, counts, confirmed=yes_or_no(settings, CONFIRM))
    if not counts.new:
        raise nothing_new("reading", counts)
    lately = kept.state.learned.lately(kept.state.newest_s)
    found = take_in(kept.state, came, brain)
    scores = scores_of(found, lately, kept.state)
    facts = facts_of(found, kept.state, begun)
    return commit(kept.versions, kept.state, (came.digest,), scores, facts, came.notes)


def _answered(folder: Path, settings: dict[str, str]) -> dict[str, Any]:
    """Close the open proposal; a version and a line of the ledger, and nothing of the person is changed by it."""
    from hdt_fm.cli.twin.kept import open_twin
    from hdt_fm.twin.state.watch_told import ACCEPTED, ANSWERS, answer_words
    from hdt_fm.twin.state.watched import Watched

    refuse(settings, [one for one in settings if one != ANSWER], "an answer")
    answer = settings[ANSWER]
    if answer not in ANSWERS:
        raise unknown_name("answer", answer, ANSWERS, where=ANSWER)
    kept = open_twin(folder)
    # Without a watch nothing can be open: said by the same words.
    proposal = (kept.state.watch or Watched()).answered(accepted=answer == ACCEPTED)
    facts = {"kind": "answer", "proposal": proposal.cause, "answer": answer}
    return commit(kept.versions, kept.state, (), {}, facts, tuple(answer_words(proposal, answer)))


def _nights(folder: Path, path: Path, settings: dict[str, str]) -> dict[str, Any]:
    from hdt_fm.cli.twin import nights
    from hdt_fm.cli.twin.kept import open_twin, take_in_nights
    from hdt_fm.cli.twin.nights import read_nights

    refuse(settings, ("checkpoint", "at"), "nights")
    begun, kept = time.perf_counter(), open_twin(folder)
    typed = {name: value for name, value in settings.items() if name in nights.SETTINGS}
    given = read_nights(path, typed)
    confirmed = yes_or_no(settings, CONFIRM)
    counts, digest = take_in_nights(kept.state, given, path, confirmed=confirmed, cohort="cohort" in settings)
    if not counts.new:
        raise nothing_new("night", counts)
    facts = {"kind": "nights", **counted("nights", counts), **spent(kept.state, begun)}
    return commit(kept.versions, kept.state, (digest,), {}, facts, given.notes)


def commit(
    versions: "Versions",
    state: "TwinState",
    data: tuple[str, ...],
    scores: Mapping[str, float],
    facts: Mapping[str, Any],
    notes: tuple[str, ...],
) -> dict[str, Any]:
    """One version and one line of the ledger; what is told of them, and what the drift watch says."""
    from hdt_fm.twin.state import watch_told
    from hdt_fm.twin.state.state import save_state

    entry = versions.append(lambda place: save_state(state, place), told_of(data, scores, facts))
    watch = watch_told.record(state.watch, dates=False)
    told = {"version": entry.version, "scores": dict(scores), "facts": dict(facts), "notes": list(notes)}
    return {**told, "watch": watch}


def told_of(data: tuple[str, ...], scores: Mapping[str, float], facts: Mapping[str, Any]) -> "Told":
    """For the ledger: digests, scores and counts; no reading, time, id or path."""
    from hdt_fm.schema.ledger import Told

    return Told(data=data, scores=dict(scores), facts=dict(facts))


def facts_of(found: "Absorbed", state: "TwinState", begun: float) -> dict[str, Any]:
    """How much came, what became of it, whether a proposal waits for an answer, and how long it took."""
    facts: dict[str, Any] = {"kind": "readings", **counted("readings", found.readings)}
    facts |= counted("treatments", found.treatments)
    if state.watch is not None and state.watch.proposal is not None:
        facts["open proposal"] = state.watch.proposal.cause
    return {**facts, "forecasts made": found.forecasts, **spent(state, begun)}


def scores_of(found: "Absorbed", lately: Any, state: "TwinState") -> dict[str, float]:
    """Of the truths that came: what was told of them before, and the head alone; of the last seven days, before and
    after this update."""
    unit, came = state.reference.task.unit, dict(found.came)
    scores = {f"{name}{f', {unit}' if 'error' in name else ''}": value for name, value in came.items()}
    now = state.learned.lately(state.newest_s)
    for horizon, one, two in zip(state.learned.horizons_s, lately, now, strict=True):
        for when, some in (("before", one), ("after", two)):
            if some.forecasts:
                scores[f"mean error {horizon / 60:g} min, last 7 days {when}, {unit}"] = round(some.mean_error, 3)
                scores[f"interval held {horizon / 60:g} min, last 7 days {when}"] = round(some.held, 4)
    return {name: round(value, 4) for name, value in scores.items()}


def counted(what: str, counts: "Counts") -> dict[str, int]:
    """What became of entries that came in; of what did not happen nothing is said."""
    names = {"new": "new", "known": "known", "differing": "told otherwise", "late": "too late", "before": "too old"}
    return {f"{what} {word}": getattr(counts, name) for name, word in names.items() if getattr(counts, name)}


def spent(state: "TwinState", begun: float) -> dict[str, float]:
    """Seconds since, and megabytes that are kept."""
    from hdt_fm.twin.state.state import bytes_kept

    return {"seconds": round(time.perf_counter() - begun, 3), "MB": round(bytes_kept(state) / 1e6, 3)}


def nothing_new(what: str, counts: "Counts") -> RecordingError:
    """For an export that has nothing to absorb."""
    left = counts.late + counts.before
    return RecordingError(
        f"There is no {what} here that the twin does not know",
        expected=f"one that is newer than the newest {what} of the twin",
        got=f"{counts.known + counts.differing} that are known, {left} that are older than the newest",
        fix="export anew; what comes too late is left, since what was learned after it stands",
    )


def lines(told: Mapping[str, Any]) -> list[str]:
    """What became of it, for a person to read."""
    from hdt_fm.twin.state import exposures_told
    from hdt_fm.twin.state.watch_told import words

    return [
        f"version {told['version']} is in use",
        *(f"{name}: {value}" for name, value in told["facts"].items()),
        *(f"{name}: {value:g}" for name, value in told["scores"].items()),
        *(f"note: {one}" for one in told["notes"]),
        *(exposures_told.words(told["doses"]) if "doses" in told else ()),
        # A new twin says nothing of it: `show` does.
        *(words(told["watch"]) if "watch" in told else ()),
    ]
