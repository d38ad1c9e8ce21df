"""Which method is fit for which architecture: the shipped table and one of your own, how they are written and read."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from hdt_fm.explain.explanation import Verdict
from hdt_fm.explain.fitness.architecture import architecture_of
from hdt_fm.explain.fitness.measure import Plot
from hdt_fm.explain.fitness.score import RANDOM_MAP, RECOMMENDED_WIDTH
from hdt_fm.explain.fitness.verdict import Judged, judge
from hdt_fm.explain.gate.planted import Fitness
from hdt_fm.schema.errors import ExplainError
from hdt_fm.schema.manifest import ModelConfig
from hdt_fm.schema.preparation import Plain

TABLE = Path(__file__).parent / "table.json"
TABLE_VERSION = 1
COMMAND = "python scripts/reproduce_explain.py --part planted --write-fitness"
REMEDY = "explain.fitness=measure"


Number = float | None  # what is not finite is no JSON


class Row(Plain):
    """One method in one architecture, as `Judged` has it; without numbers where nothing could be measured.

    Attributes:
        auprc, share: The mean and the bounds of its interval.
    """

    verdict: Verdict | None
    why: str
    refused: bool = False
    auprc: tuple[Number, Number, Number] = (None, None, None)
    null: Number = None
    share: tuple[Number, Number, Number] = (None, None, None)
    share_null: Number = None
    by_kind: dict[str, Number] = {}
    models: int = 0


class Taught(Plain):
    """One kind of event: how many models could be taught it, and the AUROC of all that were tried."""

    models: int
    auroc: tuple[Number, ...]


class Measured(Plain):
    """One architecture."""

    kinds: dict[str, Taught]
    methods: dict[str, Row]


class Table(Plain):
    """The file. `settings`: how it was measured; `command`: by what."""

    version: int
    command: str
    software: dict[str, str]
    width: float
    settings: dict[str, Any]
    architectures: dict[str, Measured]


def write_table(
    plots: Sequence[Plot],
    path: Path = TABLE,
    *,
    methods: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    command: str = COMMAND,
) -> None:
    """Write verdicts of all architectures and methods among some plots.

    Args:
        methods: Who gets a row even where no model was good enough to be explained.
        settings: How they were measured, plain data.
        command: What makes the same again.
    """
    architectures = dict.fromkeys(plot.architecture for plot in plots)
    record = {
        "version": TABLE_VERSION,
        "command": command,
        "software": {name: version(name) for name in ("torch", "captum", "numpy")},
        "width": RECOMMENDED_WIDTH,
        "settings": dict(settings or {}),
        "architectures": {
            name: _written([one for one in plots if one.architecture == name], methods) for name in architectures
        },
    }
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")


def _written(plots: Sequence[Plot], methods: Sequence[str]) -> dict[str, Any]:
    told = [name for plot in plots for name in (*plot.found, *plot.refused) if name != RANDOM_MAP]
    kinds = dict.fromkeys(plot.kind for plot in plots)
    taught = {kind: [plot for plot in plots if plot.kind == kind] for kind in kinds}
    return {
        "kinds": {
            kind: {"models": sum(one.measured for one in some), "auroc": [_digits(one.auroc) for one in some]}
            for kind, some in taught.items()
        },
        "methods": {name: _row(judge(plots, name)) for name in dict.fromkeys((*told, *methods))},
    }


def _row(one: Judged) -> dict[str, Any]:
    if one.fitness is None:
        return {"verdict": None, "refused": one.refused, "why": one.why}
    return {
        "verdict": one.fitness.verdict,
        "why": one.why,
        "auprc": [_digits(number) for number in (one.auprc.value, one.auprc.low, one.auprc.high)],
        "null": _digits(one.fitness.null),
        "share": [_digits(number) for number in (one.share.value, one.share.low, one.share.high)],
        "share_null": _digits(one.share_null),
        "by_kind": {kind: _digits(value) for kind, value in one.by_kind.items()},
        "models": one.models,
    }


def _digits(number: float) -> float | None:
    return round(float(number), 3) if np.isfinite(number) else None


def read_table(path: Path = TABLE) -> dict[str, Measured]:
    """The architectures of a written table.

    Raises:
        ExplainError: If the file is missing, is no JSON, is of another version, or holds something else.
    """
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise _unreadable(path, type(error).__name__) from error
    found = record.get("version") if isinstance(record, dict) else None
    if found != TABLE_VERSION:
        raise _unreadable(path, f"version {found}")
    try:
        return Table(**record).architectures
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _unreadable(path, f"{place}: {first['msg']}") from error


def _unreadable(path: Path, got: str) -> ExplainError:
    return ExplainError(
        "The table of fitness cannot be read",
        where=path.name,
        expected=f"a table of version {TABLE_VERSION}, as JSON",
        got=got,
        fix=COMMAND if path == TABLE else f"write one: hdt-fm explain ... {REMEDY}",
    )


def rows_of(config: ModelConfig, *, own: Path | None = None, path: Path = TABLE) -> dict[str, Row]:
    """All that is known of the architecture of a config, by method.

    Args:
        own: A further table, whose rows go before those of `path`.

    Raises:
        ExplainError: As `read_table`, of either.
    """
    architecture = architecture_of(config)
    rows: dict[str, Row] = {}
    for one in (path, own):
        found = read_table(one).get(architecture) if one is not None else None
        rows |= found.methods if found else {}
    return rows


def fitness_of(config: ModelConfig, method: str, *, own: Path | None = None, path: Path = TABLE) -> Fitness | None:
    """What was measured of a method in the architecture of a config; None where nothing was.

    Raises:
        ExplainError: As `read_table`.
    """
    row = rows_of(config, own=own, path=path).get(method)
    return None if row is None else _fitness(architecture_of(config), method, row)


def _fitness(architecture: str, method: str, row: Row) -> Fitness | None:
    if row.verdict is None:
        return None
    value, low, _ = row.auprc
    # One model alone has no interval.
    numbers = (value, value if low is None else low, row.null, row.share[0])
    auprc, least, null, share = (float("nan") if one is None else one for one in numbers)
    return Fitness(method, architecture, auprc, least, null, share, row.verdict)


@dataclass(frozen=True)
class Fit:
    """Methods sorted by what was measured of them in one architecture.

    Attributes:
        fit: Found what was planted, or found it in part (`warn`).
        unfit: Did not, or cannot explain such a model at all; with the reason, for a refusal or a stamp.
        unknown: Nothing was measured; with the reason.
        fitness: What the gate is given, of all that were measured.
    """

    fit: tuple[str, ...]
    unfit: Mapping[str, str]
    unknown: Mapping[str, str]
    fitness: tuple[Fitness, ...]


def fit_methods(config: ModelConfig, methods: Sequence[str], *, own: Path | None = None, path: Path = TABLE) -> Fit:
    """Say of each method whether it is fit for the architecture of a config, and why not.

    Args:
        own: As in `rows_of`.

    Raises:
        ExplainError: As `read_table`.
    """
    architecture = architecture_of(config)
    rows = rows_of(config, own=own, path=path)
    fit: list[str] = []
    unfit, unknown, told = {}, {}, []
    for name in methods:
        row = rows.get(name)
        one = _fitness(architecture, name, row) if row else None
        if one is not None:
            told.append(one)
        if row is None:
            unknown[name] = f"Never measured on models of the kind {architecture!r}; {REMEDY} does it."
        elif one is None and not row.refused:
            unknown[name] = row.why
        elif one is None or one.verdict == "fail":
            unfit[name] = row.why
        else:
            fit.append(name)
    return Fit(tuple(fit), unfit, unknown, tuple(told))
