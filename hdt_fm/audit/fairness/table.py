"""Gaps between cells of people, before and after an encoder is moved by labels, beside floors and beside chance."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hdt_fm.audit.fairness.answers import Answers, Asked, check_answers
from hdt_fm.audit.fairness.cells import Column, Columns
from hdt_fm.audit.fairness.gaps import Apart, apart, bounds, deals_of, holm
from hdt_fm.audit.fairness.measures import Measure, measures_of
from hdt_fm.schema.result import Result, Row, Scalar

GAP = " gap"
ALL_SHOWN = "all shown"


@dataclass(frozen=True)
class _One:
    """One model in one column, under one measure."""

    answers: Answers
    measure: Measure
    apart: Apart


@dataclass(frozen=True)
class Fairness:
    """What was found.

    Attributes:
        result: Rows of cells, of all who are shown, and of gaps.
        leads: The measure that words speak of.
    """

    result: Result
    columns: Columns
    leads: str
    models: tuple[Answers, ...] = field(default=())


def fairness(
    asked: Asked,
    answers: Sequence[Answers],
    columns: Columns,
    *,
    min_people: int = 5,
    draws: int = 1000,
    permutations: int = 1000,
    seed: int = 0,
    protocol: dict[str, Any] | None = None,
) -> Fairness:
    """Score every model in every cell.

    Args:
        answers: Floors first; a model that another is compared with stands before it.
        draws: People of each cell drawn again, for intervals.
        permutations: Deals of people to cells at random, for what chance does.

    Returns:
        A row for each model, measure and cell; for all who are shown; and for the gap, which says the worst cell, the
        mean gap of chance, the gap that chance exceeds in a twentieth of deals, p (alone, and as one of the columns
        asked), and by how much it differs from the model that it is compared with.

    Raises:
        ShapeError: If answers do not fit.
    """
    check_answers(asked, list(answers))
    measures, rows = measures_of(asked), []
    for column in columns.shown:
        deals = deals_of(column, draws=draws, permutations=permutations, seed=seed)
        for measure in measures:
            found: dict[str, _One] = {}
            for one in answers:
                if one.column not in (None, column.name):
                    continue
                told = apart(measure, one.scores, deals, min_people=min_people)
                if told is not None:
                    found[one.model] = _One(one, measure, told)
                    rows += _rows(asked, column, found[one.model], found.get(one.against or ""))
    floors = tuple(one.model for one in answers if one.when == "floor")
    made = {
        "task": "fairness",
        "label": asked.name,
        "people": asked.people,
        "fewest people shown": min_people,
        "draws": draws,
        "permutations": permutations,
        "seed": seed,
        "columns": {one.name: list(one.cells) for one in columns.shown},
        "left out": columns.left_out,
        "better": {one.name: one.aim for one in measures if isinstance(one.aim, str)},
    }
    name = f"fairness, {asked.name}"
    result = Result(
        name=name,
        protocol={**made, **(protocol or {})},
        rows=tuple(_corrected(rows, answers)),
        required_baselines=floors,
    )
    return Fairness(result, columns, measures[0].name, tuple(answers))


def _rows(asked: Asked, column: Column, one: _One, other: _One | None) -> list[Row]:
    """Of each cell, of everyone shown, and of the gap."""
    said: dict[str, Scalar] = {"column": column.name, "when": one.answers.when}
    said |= {"remedy": one.answers.remedy} if one.answers.remedy else {}
    found = one.apart

    def row(what: str, metric: str, values: np.ndarray, n: int, **more: Scalar) -> Row:
        low, high = bounds(values)
        return Row(
            what=f"{asked.name}, {what}",
            model=one.answers.model,
            metric=metric,
            value=float(values[0]),
            low=low,
            high=high,
            unit=one.measure.unit,
            n=n,
            role=one.answers.role,
            columns={**said, **more},
        )

    metric = one.measure.name
    rows = [
        row(f"{column.name} {cell}", metric, found.drawn[:, number], int(found.sizes[number]), subgroup=cell)
        for number, cell in enumerate(column.cells)
        if found.enough[number]
    ]
    shown = int(found.sizes[found.enough].sum())
    rows.append(row(f"{column.name}, {ALL_SHOWN}", metric, found.shown, shown, **_less(found.shown, other, "shown")))
    there = np.flatnonzero(found.enough)
    worst = int(there[one.measure.badness(found.drawn[0, there]).argmax()])
    chance = found.chance or (None, None)
    gap = row(
        column.name,
        metric + GAP,
        found.gaps,
        shown,
        cells=len(there),
        worst=column.cells[worst],
        worst_value=float(found.drawn[0, worst]),
        largest=column.cells[found.top],
        smallest=column.cells[found.bottom],
        chance=chance[0],
        chance_95=chance[1],
        p=found.p,
        **_less(found.gaps, other, "gaps"),
    )
    return [*rows, gap]


def _less(values: np.ndarray, other: _One | None, what: str) -> dict[str, Scalar]:
    """How much more than the other model's, over the same draws of people."""
    if other is None:
        return {}
    change = values - getattr(other.apart, what)
    low, high = bounds(change)
    return {"than": other.answers.model, "change": float(change[0]), "change_low": low, "change_high": high}


def _corrected(rows: Sequence[Row], answers: Sequence[Answers]) -> list[Row]:
    """Gaps with p as one of all the columns that were asked of the same model, or remedy, and measure."""
    found, family = list(rows), {one.model: one.family for one in answers}
    asked: dict[tuple[tuple[str, str], str], list[int]] = {}
    for place, row in enumerate(found):
        if row.columns.get("p") is not None:
            asked.setdefault((family[row.model], row.metric), []).append(place)
    for places in asked.values():
        ps = holm([float(found[place].columns["p"]) for place in places])  # type: ignore[arg-type]
        for place, p in zip(places, ps, strict=True):
            columns = {**found[place].columns, "p_of_columns": p, "columns_asked": len(places)}
            found[place] = found[place].model_copy(update={"columns": columns})
    return found
