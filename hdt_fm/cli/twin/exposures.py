"""What a person was exposed to, out of a file into their twin; and what the twin's doses are."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hdt_fm.cli.exposure.one_person import READ_AS, Given, read_exposures
from hdt_fm.cli.twin.arguments import refuse, yes_or_no
from hdt_fm.cli.twin.window import check_whose, whose_digest
from hdt_fm.schema.errors import CheckpointError, ConfigError, RecordingError
from hdt_fm.schema.exposure import EXPOSURES, Exposure, exposure_kind
from hdt_fm.schema.series import DAY_S
from hdt_fm.twin.state.exposures import Exposed, take
from hdt_fm.twin.state.exposures_parts import AGES, ByAge, added_up, by_age, held_for
from hdt_fm.twin.state.tracks import Counts

if TYPE_CHECKING:
    from hdt_fm.cli.exposure.law import Law
    from hdt_fm.twin.state.state import TwinState

CONFIRM = "same_person"
_NOTHING: tuple[str, ...] = ()


def update(folder: Path, path: Path | None, settings: dict[str, str]) -> dict[str, Any]:
    """Read, accumulate, commit: one version and one line of the ledger, or nothing has changed.

    Raises:
        ReaderError, RecordingError, ConfigError: If the file cannot be read, is another person's or tells nothing new.
    """
    from hdt_fm.cli.exposure.law import read_law
    from hdt_fm.cli.twin.kept import open_twin
    from hdt_fm.cli.twin.update import commit, counted, nothing_new, spent

    refuse(settings, ("checkpoint", "at", "nights"), "exposures")
    begun, kept = time.perf_counter(), open_twin(folder)
    law = read_law(Path(settings["law"])) if "law" in settings else None
    if law is not None:
        _give(kept.state, law)
    facts, data, notes = _facts(kept.state, "law"), _NOTHING, _NOTHING
    if path is not None:
        given = read_exposures(path, settings)
        _refuse_the_future(given.exposures, datetime.now(UTC))
        counts = _take_in(kept.state, given, confirmed=yes_or_no(settings, CONFIRM))
        if not counts.new and law is None:
            raise nothing_new("day", counts)
        facts, data, notes = {**_facts(kept.state, READ_AS), **counted("days", counts)}, _digest(given), given.notes
    told = commit(kept.versions, kept.state, data, {}, {**facts, **spent(kept.state, begun)}, notes)
    return {**told, "doses": record(kept.state, dates=False)}


def record(state: "TwinState", *, dates: bool) -> dict[str, Any] | None:
    """All doses of a twin, what its law says and what each is made of; None where it was told of no exposure.

    Args:
        dates: Whether dates may be told, of the person's calendar.
    """
    if not state.exposures:
        return None
    from hdt_fm.cli.exposure import dosing
    from hdt_fm.cli.exposure.law import law_of

    kept = exposed(state)
    day = dosing.as_of(kept)
    found = []
    for name, one in sorted(kept.items()):
        kind, known = exposure_kind(name), np.append(one.days, one.value)
        found.append(
            {
                "kind": name,
                "label": kind.label,
                "unit": dosing.unit_told(name),
                "days_behind": day - one.day,
                "days_kept": len(known),
                "days_known": int(np.isfinite(known).sum()),
                "doses": _reaching(dosing.doses(one, day), one, day),
            }
        )
    law = None if state.exposure_law is None else law_of(state.exposure_law)
    return {
        "as_of": str(np.datetime64(day, "D")) if dates else None,
        "exposures": found,
        "law": None if law is None else {**_told_of(law), **_law_in_parts(kept, law, day)},
    }


def exposed(state: "TwinState") -> dict[str, Exposed]:
    """Each exposure of a twin, by its kind.

    Raises:
        CheckpointError: If one of them is none.
    """
    unknown = [name for name in state.exposures if name not in EXPOSURES]
    if unknown:
        raise CheckpointError(
            "The twin keeps an exposure that this hdt_fm does not know",
            where="exposures",
            got=f"{len(unknown)} of {len(state.exposures)}",
            fix="install the newest hdt_fm",
        )
    return {name: Exposed.of(name, arrays) for name, arrays in state.exposures.items()}


def _reaching(doses: Sequence[dict[str, Any]], one: Exposed, day: int) -> list[dict[str, Any]]:
    """With what each leaky dose is made of, by the age of days."""
    return [
        {**dose, "parts": _parts_by_age(by_age(one, day, dose["time_constant_d"], *held_for(one, "bank", place)), dose)}
        for place, dose in enumerate(doses)
    ]


def _parts_by_age(ages: ByAge, dose: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """None where the dose is not told; else they add up to it."""
    if dose["value"] is None:
        return None
    rows = zip(AGES, added_up(ages.weight, 1.0), added_up(ages.value, dose["value"]), strict=True)
    return [{"days": name, "weight": weight, "value": value} for name, weight, value in rows]


def _law_in_parts(kept: Mapping[str, Exposed], law: "Law", day: int) -> dict[str, Any]:
    """Its doses and its effect, and what each is made of; parts of the effect are in the outcome's unit."""
    from hdt_fm.cli.exposure import dosing

    told, learned = dosing.effect(kept, law, day), law.head.learned
    # The head's own time constant is the middle one of the three that an accumulator holds.
    ages = {
        kind: by_age(kept[kind], day, tau, *held_for(kept[kind], "law", 1))
        for kind, tau in zip(law.kinds, law.head.taus.tolist(), strict=True)
        if kind in kept
    }
    rows = [
        {
            **row,
            "middle_dose": middle,
            "parts": _parts_by_age(ages[row["kind"]], row) if row["kind"] in ages else None,
        }
        for row, middle in zip(told["exposures"], learned.middle.tolist(), strict=True)
    ]
    if told["effect"] is None:
        return {**told, "exposures": rows, "parts": None}
    doses = np.array([[ages[kind].value.sum() for kind in law.kinds]])
    found = law.head.law.parts(doses, learned.middle, learned.fitted.knots, learned.fitted.slopes)[0]
    of = [[kind] for kind in law.kinds] + [[law.kinds[one], law.kinds[other]] for one, other in law.head.law.pairs]
    values = zip(of, added_up(found, told["effect"]["value"]), strict=True)
    parts = [{"of": kinds, "value": value, "unit": law.facts["outcome_unit"]} for kinds, value in values]
    return {**told, "exposures": rows, "parts": parts}


def _told_of(law: "Law") -> dict[str, Any]:
    names = ("outcome", "outcome_unit", "next_day", "people", "verdict", "reliable", "misfit")
    return {"digest": law.digest[:12], **{name: law.facts[name] for name in names}}


def _give(state: "TwinState", law: "Law") -> None:
    """Keep a law; one that is another than before is told of the days that are kept."""
    from hdt_fm.cli.exposure import dosing
    from hdt_fm.cli.exposure.law import law_of

    foreign = [kind for kind in law.kinds if kind not in EXPOSURES]
    if foreign:
        raise ConfigError(
            "The law is of exposures that no table can tell a twin of",
            where="law",
            expected=f"exposures of {', '.join(EXPOSURES)}",
            got=f"{len(foreign)} other(s) of {len(law.kinds)}",
            fix="learn it from a table with columns of that name",
        )
    if state.exposure_law is not None and law_of(state.exposure_law).digest == law.digest:
        return
    state.exposure_law = law.facts
    for name, one in exposed(state).items():
        fresh = replace(one, held=dosing.without_law(one))
        state.exposures[name] = replace(fresh, held=dosing.folded(fresh, np.zeros(0), law)).arrays()


def _take_in(state: "TwinState", given: Given, *, confirmed: bool) -> Counts:
    """Accumulate, and remember whose it is."""
    from hdt_fm.cli.exposure import dosing
    from hdt_fm.cli.exposure.law import law_of

    kept, counts, after = exposed(state), Counts(), {}
    law = None if state.exposure_law is None else law_of(state.exposure_law)
    for came in given.exposures:
        found = take(kept.get(came.kind), came)
        counts += found.counts
        if found.after is not None:
            after[came.kind] = replace(found.after, held=dosing.folded(found.after, found.closed, law)).arrays()
    # Days that agree say nothing of whose they are: a whole town has the same weather. Those that do not agree do.
    for some in (counts, None):
        check_whose(state, given.whose, some, confirmed=confirmed, what="days", of="days")
    state.exposures |= after
    state.whose[given.whose.read_as] = whose_digest(state.salt, given.whose.subject)
    return counts


def _refuse_the_future(exposures: Sequence[Exposure], now: datetime) -> None:
    """A slip in a year would close every day before it."""
    latest_s = now.timestamp() + 2 * DAY_S
    ends = [one.start_s[-1] + one.length_s[-1] for one in exposures if len(one) and np.isfinite(one.values).any()]
    if ends and max(ends) > latest_s:
        raise RecordingError(
            "Exposures are told of days that are still to come",
            where="date",
            expected="days up to today, by this machine's clock",
            fix="look for a slip in a year; forecasts of the weather are no record",
        )


def _facts(state: "TwinState", kind: str) -> dict[str, Any]:
    """For the ledger."""
    from hdt_fm.cli.exposure.law import law_of

    facts: dict[str, Any] = {"kind": kind, "exposures": ", ".join(sorted(state.exposures)) or "none"}
    if state.exposure_law is not None:
        law = law_of(state.exposure_law)
        facts |= {"law": law.digest[:12], "verdict of the law": law.facts["verdict"]}
    content = b"".join(one.tobytes() for kept in state.exposures.values() for one in kept.values())
    return {**facts, "exposure state": hashlib.sha256(content).hexdigest()[:16]}


def _digest(given: Given) -> tuple[str, ...]:
    digest = hashlib.sha256()
    for one in given.exposures:
        digest.update(one.kind.encode() + one.start_s.tobytes() + one.length_s.tobytes() + one.values.tobytes())
    return (f"sha256:{digest.hexdigest()}",)
