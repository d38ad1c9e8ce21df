"""Results as tables: markdown for cards and docs, rich for the terminal, flat rows for `--json`.

Baselines are printed whether they lose or win; the best value of each metric is marked, whoever holds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hdt_fm.schema.errors import PublishError
from hdt_fm.schema.result import Result, Row, Scalar

DIFFERENCE = "ours_minus_this"
UNITLESS = ("", "1")


@dataclass(frozen=True)
class Grid:
    """One task of a Result as text cells; `best` holds (line, column) of the best value of each metric."""

    what: str
    metrics: tuple[str, ...]
    last: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]]
    differences: tuple[tuple[str, ...], ...]
    headline: str

    @property
    def header(self) -> tuple[str, ...]:
        return ("model", "role", *self.metrics, *self.last)


def markdown(result: Result) -> str:
    """The Result as markdown: one table a task, then the paired differences, then how it was made.

    Raises:
        PublishError: If a baseline that is owed is missing, or ours stands without anything beside it.
    """
    checked = _checked(result)
    cohort = checked.protocol.get("cohort")
    parts = [f"### {checked.name}" + (f" ({cohort})" if cohort else ""), _made_how(checked)]
    for grid in _grids(checked):
        parts += [f"**{grid.what}**", _markdown_table(grid.header, _marked(grid))]
        if grid.differences:
            parts += [f"{grid.headline} minus each baseline, paired over people:"]
            parts += [_markdown_table(("model", *grid.metrics), grid.differences)]
    return "\n\n".join(part for part in parts if part) + "\n"


def rich_table(result: Result) -> Any:
    """The Result as one `rich` table, a section a task.

    Raises:
        PublishError: As `markdown`.
    """
    from rich.table import Table

    checked = _checked(result)
    grids = _grids(checked)
    columns = list(dict.fromkeys(name for grid in grids for name in grid.header))
    table = Table(title=checked.name, caption="best value of each metric in bold; 95 % intervals over people")
    table.add_column("task")
    for name in columns:
        table.add_column(name, justify="left" if name in ("model", "role") else "right")
    for grid in grids:
        for number, line in enumerate(grid.lines):
            cells = dict(zip(grid.header, line, strict=True))
            bold = {grid.header[column] for at, column in grid.best if at == number}
            texts = [_bold_rich(cells.get(name, ""), name in bold) for name in columns]
            table.add_row(_escaped(grid.what) if number == 0 else "", *texts, end_section=number + 1 == len(grid.lines))
    return table


def flat_rows(results: Sequence[Result]) -> list[dict[str, Scalar]]:
    """Every row of every Result as one flat mapping; a NaN value becomes None, which JSON can hold.

    Raises:
        PublishError: As `markdown`.
    """
    flat = [{"result": result.name, **row.flat()} for result in map(_checked, results) for row in result.rows]
    return [{key: None if value != value else value for key, value in row.items()} for row in flat]


def _checked(result: Result) -> Result:
    """The Result built anew, so that its own rules hold even if someone went around them."""
    try:
        checked = Result.model_validate(result.model_dump())
    except ValueError as error:
        missing = "; ".join(str(one["msg"]) for one in getattr(error, "errors", list)())
        raise PublishError(
            "A table cannot be printed without the baselines it owes",
            expected=", ".join(result.required_baselines),
            got=missing or None,
            where=result.name,
            fix="run the evaluation with every baseline",
        ) from error
    beside = {(row.what, row.metric) for row in checked.rows if row.role != "ours"}
    alone = {(row.what, row.metric) for row in checked.rows if row.role == "ours"} - beside
    if alone:
        raise PublishError(
            "A table cannot be printed without any baseline",
            expected="a baseline or reference row for each task and metric",
            got=f"{len(alone)} numbers of ours alone",
            where=checked.name,
            fix="run the evaluation with its baselines",
        )
    return checked


def _grids(result: Result) -> list[Grid]:
    tasks = dict.fromkeys(row.what for row in result.rows)
    return [_grid(result, what, [row for row in result.rows if row.what == what]) for what in tasks]


def _grid(result: Result, what: str, rows: Sequence[Row]) -> Grid:
    models = list(dict.fromkeys((row.model, row.role) for row in rows))
    metrics = list(dict.fromkeys(row.metric for row in rows))
    at = {(row.model, row.role, row.metric): row for row in rows}
    notes = any(_note(row) for row in rows)
    lines, differences = [], []
    for model, role in models:
        own = [at.get((model, role, metric)) for metric in metrics]
        there = [row for row in own if row is not None]
        cells = [model, role, *map(_cell, own), _people(there)]
        lines.append(tuple([*cells, _note(there[0])] if notes else cells))
        if any(DIFFERENCE in row.columns for row in there):
            differences.append((model, *map(_difference_cell, own)))
    best = {(line, 2 + column) for column, metric in enumerate(metrics) for line in _best(result, metric, models, at)}
    return Grid(
        what=what,
        metrics=tuple(_titled(metric, rows) for metric in metrics),
        last=("n", "notes") if notes else ("n",),
        lines=tuple(lines),
        best=frozenset(best),
        differences=tuple(differences),
        headline=str(result.protocol.get("headline", "ours")),
    )


def _people(rows: Sequence[Row]) -> str:
    """How many people; a range where metrics rest on different numbers."""
    numbers = sorted({row.n for row in rows})
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}"


def _best(result: Result, metric: str, models: Sequence[tuple[str, Any]], at: dict[Any, Row]) -> list[int]:
    """Lines that hold the best value; none where the protocol names no better direction."""
    better = result.protocol.get("better", {}).get(metric)
    rows = [at.get((model, role, metric)) for model, role in models]
    values = {line: row.value for line, row in enumerate(rows) if row is not None and row.value == row.value}
    if better not in ("higher", "lower") or not values:
        return []
    top = max(values.values()) if better == "higher" else min(values.values())
    return [line for line, value in values.items() if value == top]


def _titled(metric: str, rows: Sequence[Row]) -> str:
    unit = next((row.unit for row in rows if row.metric == metric), "")
    return metric if unit in UNITLESS else f"{metric} ({unit})"


def _cell(row: Row | None) -> str:
    if row is None or row.value != row.value:
        return "–"
    return _number(row.value) + _bracket(row.low, row.high)


def _difference_cell(row: Row | None) -> str:
    value = row.columns.get(DIFFERENCE) if row is not None else None
    if row is None or not isinstance(value, float) or value != value:
        return "–"
    low, high = row.columns.get(f"{DIFFERENCE}_low"), row.columns.get(f"{DIFFERENCE}_high")
    return f"{value:+.3f}" + _bracket(low, high, signed=True)


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def _bracket(low: Scalar, high: Scalar, *, signed: bool = False) -> str:
    if not isinstance(low, float) or not isinstance(high, float):
        return ""
    return f" [{low:+.3f}, {high:+.3f}]" if signed else f" [{_number(low)}, {_number(high)}]"


def _note(row: Row) -> str:
    shown = {key: value for key, value in row.columns.items() if not key.startswith(DIFFERENCE) and value is not None}
    texts = [f"{key.replace('_', ' ')}: {_short(value)}" for key, value in shown.items()]
    return "; ".join(texts)


def _short(value: Scalar) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _made_how(result: Result) -> str:
    """The protocol in one line: plain values only, digests cut short."""
    shown = ("split", "people", "windows", "intervals", "seed")
    texts = [f"{key}: {result.protocol[key]}" for key in shown if key in result.protocol]
    audit = result.protocol.get("audit", {})
    if "pretraining" in audit:
        texts.append(f"pretraining and test people: {audit['pretraining']}")
    return "; ".join(texts)


def _marked(grid: Grid) -> list[tuple[str, ...]]:
    return [
        tuple(_bold_markdown(cell) if (number, column) in grid.best else cell for column, cell in enumerate(line))
        for number, line in enumerate(grid.lines)
    ]


def _bold_markdown(cell: str) -> str:
    value, _, rest = cell.partition(" ")
    return f"**{value}**" + (f" {rest}" if rest else "")


def _bold_rich(cell: str, bold: bool) -> str:
    return f"[bold]{_escaped(cell)}[/bold]" if bold else _escaped(cell)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


def _markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    table = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in table)
