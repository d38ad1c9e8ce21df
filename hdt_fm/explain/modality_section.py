"""The section `modalities` of a report: what each signal adds to the output, and how sure that is."""

from typing import Any

import numpy as np
from markupsafe import Markup

from hdt_fm.explain.aggregate.over_people import mean_over, of_units, shown
from hdt_fm.explain.modality_shapley import ModalityShapley
from hdt_fm.explain.page.palette import AGAINST, COLOURS, FOR
from hdt_fm.explain.page.section import Section
from hdt_fm.explain.page.shares import MINIMUM_CELL
from hdt_fm.schema.modalities import modality as look_up_modality

KEY = "modalities"
_NUMBERS = tuple(f"{what}{end}" for what in ("value", "share") for end in ("", "_low", "_high"))


def section(found: ModalityShapley, *, unit: str = "", draws: int = 1000, seed: int = 0) -> Section:
    """Mean value and share of each modality over those who hold it, with intervals over people.

    Of a lone person the intervals are over windows. What one to four people of a cohort hold is named without numbers;
    shares are then among the modalities that are shown, and the way from base to output is left out, so that nothing
    can be had by subtraction.

    Args:
        unit: Of the output; empty for a pure number.
        draws, seed: Of the intervals.
    """
    lone = len(np.unique(found.person)) == 1
    rows = [_status(found, name, lone) for name in found.modalities]
    told = [one["name"] for one in rows if one["status"] == "shown"]
    rows = [one | _means(found, one["name"], told, draws, seed) for one in rows]
    whole = bool(told) and not any(one["status"] == "too few people" for one in rows)
    record = {
        "target": found.target,
        "unit": unit,
        "windows": len(found.output),
        "over": "windows" if lone else "people",
        "base": float(of_units(found.base, found.person)[0].mean()) if whole else None,
        "output": float(of_units(found.output, found.person)[0].mean()) if whole else None,
        "largest_gap": float(found.gap.max()),
        "modalities": rows,
    }
    ends = [one[key] for one in rows for key in _NUMBERS[:3] if one["status"] == "shown"]
    scale = float(np.nanmax(np.abs(ends), initial=0.0))
    shapes = [{**one, "label": look_up_modality(one["name"]).label, "bar": _bar(one, scale)} for one in rows]
    words = {
        "Worth of a signal (Shapley value)": "What a signal adds to the output on average over all orders in which "
        "the signals of a window could have come in; the worths of a window add up to its whole change.",
    }
    caution = (
        "A signal's worth is its worth to this model. Two signals that tell the same share the worth between them, so "
        "a small one does not mean that the body is quiet there; and a model that met all signals together in training "
        "only guesses what it says without some."
    )
    view = {**record, "fewest": MINIMUM_CELL, "modalities": shapes}
    return Section(KEY, "What each signal is worth", record, view, words, (caution,))


def _status(found: ModalityShapley, name: str, lone: bool) -> dict[str, Any]:
    held = found.present[:, found.modalities.index(name)]
    if not held.any():
        return {"name": name, "status": "absent", "count": 0}
    count = int(held.sum()) if lone else len(np.unique(found.person[held]))
    if not shown(count, "windows" if lone else "people"):
        return {"name": name, "status": "too few people", "count": None}
    return {"name": name, "status": "shown", "count": count}


def _means(found: ModalityShapley, name: str, told: list[str], draws: int, seed: int) -> dict[str, float | None]:
    if name not in told:
        return dict.fromkeys(_NUMBERS)
    column = found.modalities.index(name)
    held = found.present[:, column]
    table = np.stack([found.values[held, column], found.shares(told)[held, column]], axis=1)
    mean = mean_over(of_units(table, found.person[held])[0], draws=draws, seed=seed)
    numbers = np.stack([mean.value, mean.low, mean.high], axis=1).ravel().tolist()
    return dict(zip(_NUMBERS, numbers, strict=True))


def _bar(one: dict[str, Any], scale: float) -> Markup:
    """A signed bar from the middle, with its interval; the numbers stand beside it, so no screen reader needs it."""
    if one["status"] != "shown":
        return Markup("")
    value, low, high = (100 + (95 * one[key] / scale if scale else 0.0) for key in _NUMBERS[:3])
    whisker = ""
    if np.isfinite(low) and np.isfinite(high):
        whisker = (
            f'<path d="M{low:.1f} 7H{high:.1f}M{low:.1f} 3v8M{high:.1f} 3v8" stroke="{COLOURS["ink"]}" '
            'stroke-width="2" fill="none"/>'
        )
    return Markup(
        '<svg viewBox="0 0 200 14" preserveAspectRatio="xMinYMid" class="bar" aria-hidden="true">'
        f'<rect width="200" height="14" fill="{COLOURS["track"]}"/>'
        f'<rect x="{min(value, 100):.1f}" width="{abs(value - 100):.1f}" height="14" '
        f'fill="{FOR if value >= 100 else AGAINST}" fill-opacity=".75"/>'
        f'<path d="M100 0v14" stroke="{COLOURS["soft"]}"/>{whisker}</svg>'
    )
