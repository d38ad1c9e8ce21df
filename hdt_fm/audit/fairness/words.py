"""Gaps between cells of people, in sentences that say first whether there is more than chance would make."""

from hdt_fm.audit.fairness.table import ALL_SHOWN, GAP, Fairness
from hdt_fm.schema.result import Row

ALPHA = 0.05
CAUTION = (
    "A gap that is not told from chance is not shown to be absent: of so few people only one above the named size "
    "would have been told. What differs between cells here may differ for other reasons than the fact that names them."
)


def fairness_words(found: Fairness) -> list[str]:
    """For each column: gaps of floors, the gap before and after, what moved, what remedies did; then what is hidden."""
    said: list[str] = []
    for column in found.columns.shown:
        rows = [row for row in found.result.rows if row.columns["column"] == column.name]
        gaps = {row.model: row for row in rows if row.metric == found.leads + GAP}
        floors = [gaps[one.model] for one in found.models if one.when == "floor" and one.model in gaps]
        if floors:
            said.append(_floors(floors, found.leads))
        for model in (one for one in found.models if one.when != "floor" and one.model in gaps):
            said.append(_gap(gaps[model.model], found.leads))
            if gaps[model.model].columns.get("change") is not None:
                of = (row for row in rows if (row.model, row.metric) == (model.model, found.leads))
                said.append(_change(gaps[model.model], next(one for one in of if one.what.endswith(ALL_SHOWN))))
    return said + [f"Not shown: {name}: {why}." for name, why in found.columns.left_out.items()]


def headline(found: Fairness) -> dict[str, str]:
    """Gap of each column and unremedied model of ours, for the terminal."""
    shown = {one.model for one in found.models if one.role == "ours" and one.column is None}
    return {
        f"{row.columns['column']}, {row.model}": _told(row.value, row.low, row.high)
        + f" (chance {_number(row.columns['chance'])})"
        for row in found.result.rows
        if row.metric == found.leads + GAP and row.model in shown
    }


def verdict(row: Row) -> str:
    """Whether the gap is more than chance makes, as one of the columns asked."""
    p = row.columns.get("p_of_columns", row.columns.get("p"))
    if p is None:
        return "too few people to tell it from chance"
    return "more than chance" if float(p) < ALPHA else "not more than chance"


def _floors(rows: list[Row], metric: str) -> str:
    """All floors of a column at once: a gap that they have too is of the task, not of the encoder."""
    each = "; ".join(f"{row.model} {_told(row.value, row.low, row.high)}, {verdict(row)}" for row in rows)
    return f"{rows[0].what}, floors: gap of {metric.replace('_', ' ')} with {each}."


def _gap(row: Row, metric: str) -> str:
    columns, unit = row.columns, f" {row.unit}" if row.unit else ""
    several = f" ({_number(columns['p_of_columns'])} as one of {columns['columns_asked']} columns)"
    return (
        f"{row.what}, {row.model} ({columns['when']}): {metric.replace('_', ' ')} is worst in {columns['worst']} "
        f"({_number(columns['worst_value'])}{unit}); gap {_told(row.value, row.low, row.high)}{unit}, "
        f"{row.n} people in {columns['cells']} cells; chance alone makes {_number(columns['chance'])}, and in one deal "
        f"of twenty over {_number(columns['chance_95'])}; p {_number(columns['p'])}"
        f"{several if columns.get('columns_asked', 1) != 1 else ''}: {verdict(row)}."
    )


def _change(gap: Row, whole: Row) -> str:
    columns, unit = gap.columns, f" {gap.unit}" if gap.unit else ""
    low, high = columns["change_low"], columns["change_high"]
    if low is None or high is None:
        moved = "too few people to tell"
    elif float(low) > 0:
        moved = "wider"
    elif float(high) < 0:
        moved = "narrower"
    else:
        moved = "not told from no change"
    all_of = whole.columns
    return (
        f"{gap.what}, {gap.model} against {columns['than']}: gap by "
        f"{_told(columns['change'], low, high, signed=True)}{unit}: {moved}; of all shown "
        f"{whole.metric.replace('_', ' ')} by "
        f"{_told(all_of['change'], all_of['change_low'], all_of['change_high'], signed=True)}{unit}."
    )


def _told(value: object, low: object, high: object, *, signed: bool = False) -> str:
    bracket = "" if low is None or high is None else f" [{_number(low, signed)}, {_number(high, signed)}]"
    return f"{_number(value, signed)}{bracket}"


def _number(value: object, signed: bool = False) -> str:
    if value is None:
        return "unknown"
    return f"{float(value):+.3f}" if signed else f"{float(value):.3f}"  # type: ignore[arg-type]
