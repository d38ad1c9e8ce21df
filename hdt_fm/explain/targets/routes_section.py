"""The section `routes` of a report: by which way what was measured reached a forecast or a risk."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hdt_fm.explain.aggregate.over_people import mean_over, of_units, shown
from hdt_fm.explain.cohort.cells import MINIMUM_CELL
from hdt_fm.explain.page.axis import short
from hdt_fm.explain.page.section import Section
from hdt_fm.explain.targets.routes import RouteCredit
from hdt_fm.explain.targets.routes_figure import CREDIT, SHARE, routes_figure
from hdt_fm.explain.targets.told import Telling
from hdt_fm.schema.modalities import modality
from hdt_fm.schema.series import DAY_S

KEY = "routes"
LABELS = {"encoder": "Encoder", "recent": "Last readings", "own days": "Own days", "treatments": "Treatments"}
_NUMBERS = (*CREDIT, *SHARE)


def section(found: RouteCredit, *, unit: str = "", draws: int = 1000, seed: int = 0) -> Section:
    """Mean share of the size and mean signed credit of each way over those who are told anything by it.

    Intervals are over people, or over the windows of a lone person; of fewer than five there is none. A way that tells
    of one to four people of a cohort is named without numbers; shares are then among the ways that are shown, and the
    whole change is left out, so that nothing can be had by subtraction.

    Args:
        unit: Of the answer; empty for a pure number.
        draws, seed: Of the intervals.
    """
    lone = len(np.unique(found.person)) == 1
    rows = [_status(found, way, lone) for way in found.ways]
    told = [one["name"] for one in rows if one["status"] == "shown"]
    rows = [one | _means(found, one["name"], told, draws, seed) for one in rows]
    hidden = any(one["status"] == "too few people" for one in rows)
    record = {
        "target": found.target,
        "reference": found.reference,
        "unit": unit,
        "windows": len(found.change),
        "over": "windows" if lone else "people",
        "change": None if hidden else float(of_units(found.change, found.person)[0].mean()),
        "largest_gap": float(found.gap.max()),
        "ways": rows,
    }
    holds = ways_in_words(found.telling)
    shapes = [{**one, "label": LABELS[one["name"]], "holds": holds[one["name"]]} for one in rows]
    view = {
        **record,
        "fewest": MINIMUM_CELL,
        "some_hidden": hidden,
        "intervals": any(np.isfinite(one["credit_low"]) for one in rows if one["status"] == "shown"),
        "ways": shapes,
        "figure": routes_figure(shapes, unit=unit),
    }
    words = {
        "Way (route)": "A form in which the model's head is told of what was measured: reading by reading, as means of "
        "days, as embeddings of the encoder, or as treatments that still act. The same reading goes several ways.",
    }
    caution = (
        "A way's credit says through which form the model was reached, not which readings mattered. Ways tell much of "
        "the same, so what two of them both say is split between them; and in between stand moments that nobody has, "
        "with last readings of one course and days of another."
    )
    return Section(KEY, "By which ways the output was reached", record, view, words, (caution,))


def ways_in_words(telling: Telling) -> dict[str, str]:
    """What a head is told by each way."""
    task, days = telling.task, [str(one) for one in telling.days_before]
    many = "the newest stretch" if task.windows == 1 else f"each of {task.windows} stretches"
    apart = f", {_long(task.apart_s)} apart" if task.windows > 1 else ""
    spans = sorted({min(telling.spans_s, default=0.0), max(telling.spans_s, default=0.0)})
    own = [f"means and spreads of the last {' to '.join(map(_long, spans))}"] if telling.spans_s else []
    given = [modality(name).label.lower() for name in sorted(task.treatments)]
    own += [f"readings {_listed(days)} {'day' if days == ['1'] else 'days'} before"] if days else []
    return {
        "encoder": f"what the frozen encoder makes of {many} of {_long(telling.window_s - telling.unread_s)}{apart}",
        "recent": f"the newest reading, and those of the last {_long(task.context_s)} one by one",
        "own days": "; ".join(own),
        "treatments": f"what of {_listed(given)} still acts",
    }


def _long(seconds: float) -> str:
    """How long, in hours up to a day, as people say it."""
    return f"{short(seconds / 3600)} h" if seconds <= DAY_S else f"{short(seconds / DAY_S)} days"


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _status(found: RouteCredit, way: str, lone: bool) -> dict[str, Any]:
    held = found.held[:, found.ways.index(way)]
    if not held.any():
        return {"name": way, "status": "absent", "count": 0}
    count = int(held.sum()) if lone else len(np.unique(found.person[held]))
    if not shown(count, "windows" if lone else "people"):
        return {"name": way, "status": "too few people", "count": None}
    return {"name": way, "status": "shown", "count": count}


def _means(found: RouteCredit, way: str, told: list[str], draws: int, seed: int) -> dict[str, float | None]:
    if way not in told:
        return dict.fromkeys(_NUMBERS)
    column = found.ways.index(way)
    held = found.held[:, column]
    table = np.stack([found.credit[held, column], found.shares(told)[held, column]], axis=1)
    mean = mean_over(of_units(table, found.person[held])[0], draws=draws, seed=seed)
    few = mean.count < MINIMUM_CELL
    low, high = np.where(few, np.nan, mean.low), np.where(few, np.nan, mean.high)
    return dict(zip(_NUMBERS, np.stack([mean.value, low, high], axis=1).ravel().tolist(), strict=True))
