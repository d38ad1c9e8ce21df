"""Which method is fit for which architecture: the shipped table, how it is written and looked up."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from hdt_fm.explain.fitness.architecture import architecture_of
from hdt_fm.explain.fitness.measure import Plot
from hdt_fm.explain.fitness.score import RANDOM_MAP, RECOMMENDED_WIDTH
from hdt_fm.explain.fitness.verdict import Judged, judge
from hdt_fm.explain.gate.planted import Fitness
from hdt_fm.schema.errors import ExplainError
from hdt_fm.schema.manifest import ModelConfig

TABLE = Path(__file__).parent / "table.json"
TABLE_VERSION = 1
COMMAND = "python scripts/reproduce_explain.py --part planted --write-fitness"


def write_table(plots: Sequence[Plot], path: Path = TABLE, *, settings: Mapping[str, Any] | None = None) -> None:
    """Write verdicts of all architectures and methods among some plots.

    Args:
        settings: How they were measured, plain data.
    """
    architectures = dict.fromkeys(plot.architecture for plot in plots)
    record = {
        "version": TABLE_VERSION,
        "command": COMMAND,
        "software": {name: version(name) for name in ("torch", "captum", "numpy")},
        "width": RECOMMENDED_WIDTH,
        "settings": dict(settings or {}),
        "architectures": {name: _written([one for one in plots if one.architecture == name]) for name in architectures},
    }
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")


def _written(plots: Sequence[Plot]) -> dict[str, Any]:
    methods = dict.fromkeys(name for plot in plots for name in (*plot.found, *plot.refused) if name != RANDOM_MAP)
    kinds = dict.fromkeys(plot.kind for plot in plots)
    taught = {kind: [plot for plot in plots if plot.kind == kind] for kind in kinds}
    return {
        "kinds": {
            kind: {"models": sum(one.measured for one in some), "auroc": [_digits(one.auroc) for one in some]}
            for kind, some in taught.items()
        },
        "methods": {name: _row(judge(plots, name)) for name in methods},
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


def read_table(path: Path = TABLE) -> dict[str, Any]:
    """The architectures of a written table.

    Raises:
        ExplainError: If the file is missing, is no JSON, or is of another version.
    """
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise _unreadable(path, type(error).__name__) from error
    found = record.get("version") if isinstance(record, dict) else None
    if found != TABLE_VERSION:
        raise _unreadable(path, f"version {found}")
    return record["architectures"]


def _unreadable(path: Path, got: str) -> ExplainError:
    return ExplainError(
        "The table of fitness cannot be read",
        where=path.name,
        expected=f"JSON of version {TABLE_VERSION}",
        got=got,
        fix=COMMAND,
    )


def fitness_of(config: ModelConfig, method: str, *, path: Path = TABLE) -> Fitness | None:
    """What was measured of a method in the architecture of a config; None where nothing was.

    Raises:
        ExplainError: As `read_table`.
    """
    architecture = architecture_of(config)
    row = read_table(path).get(architecture, {}).get("methods", {}).get(method)
    if row is None or row["verdict"] is None:
        return None
    value, low, _ = row["auprc"]
    low = value if low is None else low
    return Fitness(method, architecture, value, low, row["null"], row["share"][0], row["verdict"])


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


def fit_methods(config: ModelConfig, methods: Sequence[str], *, path: Path = TABLE) -> Fit:
    """Say of each method whether it is fit for the architecture of a config, and why not.

    Raises:
        ExplainError: As `read_table`.
    """
    architecture = architecture_of(config)
    rows = read_table(path).get(architecture, {}).get("methods", {})
    fit: list[str] = []
    unfit, unknown, told = {}, {}, []
    for name in methods:
        one = fitness_of(config, name, path=path)
        if one is not None:
            told.append(one)
        if name not in rows:
            unknown[name] = f"Never measured on models of the kind {architecture!r}; `measure` does it in minutes."
        elif one is None and not rows[name]["refused"]:
            unknown[name] = rows[name]["why"]
        elif one is None or one.verdict == "fail":
            unfit[name] = rows[name]["why"]
        else:
            fit.append(name)
    return Fit(tuple(fit), unfit, unknown, tuple(told))
