"""`fairness.md`: the findings in words, then a table of each column and measure, floors first."""

from collections.abc import Sequence

from hdt_fm.audit.fairness.table import ALL_SHOWN, GAP, Fairness
from hdt_fm.schema.result import Row


def fairness_page(found: Fairness, said: Sequence[str]) -> str:
    """The page; every number is in the JSON beside it."""
    made = found.result.protocol
    parts = ["# Fairness audit", "", *(f"- {sentence}" for sentence in said), ""]
    parts += [f"{key}: {made[key]}. " for key in ("encoders", "before", "after") if key in made]
    parts += [
        "",
        "Gap: largest less smallest, of the same cells in every draw. By chance: the mean gap of people dealt to cells "
        "of the same sizes at random, and the one that a twentieth of deals exceeds. p is of this column alone. "
        "Change: of the gap, fine-tuned less frozen, or a remedy less the same model without it.",
    ]
    for column in found.columns.shown:
        rows = [row for row in found.result.rows if row.columns["column"] == column.name]
        for metric in dict.fromkeys(row.metric for row in rows if not row.metric.endswith(GAP)):
            parts += ["", f"## {column.name}: {metric.replace('_', ' ')}", "", *_table(rows, metric, column.cells)]
    return "\n".join(parts) + "\n"


def _table(rows: Sequence[Row], metric: str, cells: Sequence[str]) -> list[str]:
    of = [row for row in rows if row.metric == metric]
    there = [cell for cell in cells if any(row.columns.get("subgroup") == cell for row in of)]
    sizes = {row.columns["subgroup"]: row.n for row in of if "subgroup" in row.columns}
    head = ["", *(f"{cell} ({sizes[cell]})" for cell in there), ALL_SHOWN, "gap", "by chance (95 %)", "p", "change"]
    lines = [head, ["---"] * len(head)]
    for gap in (row for row in rows if row.metric == metric + GAP):
        own = [row for row in of if row.model == gap.model]
        by_cell = {row.columns.get("subgroup"): row for row in own}
        change = gap.columns.get("change")
        lines.append(
            [
                gap.model,
                *(_told(by_cell[cell].value, by_cell[cell].low, by_cell[cell].high) for cell in there),
                _told(by_cell[None].value, by_cell[None].low, by_cell[None].high),
                _told(gap.value, gap.low, gap.high),
                f"{_number(gap.columns['chance'])} ({_number(gap.columns['chance_95'])})",
                _number(gap.columns["p"]),
                "" if change is None else _told(change, gap.columns["change_low"], gap.columns["change_high"]),
            ]
        )
    return [f"| {' | '.join(line)} |" for line in lines]


def _told(value: object, low: object, high: object) -> str:
    bracket = "" if low is None or high is None else f" [{_number(low)}, {_number(high)}]"
    return f"{_number(value)}{bracket}"


def _number(value: object) -> str:
    return "" if value is None else f"{float(value):.3f}"  # type: ignore[arg-type]
