"""Door 5: the Result. A table that cannot be made without its baselines, and the record that every verb leaves.

Contract, version 1: a table MUST name the baselines it owes in `required_baselines`, and for every (what,
metric) that holds a row of ours each of them MUST have a row there too; a row that is estimated over people
MUST carry its interval and `n` people. A Result that breaks this cannot be built, so it cannot be printed.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from hdt_fm.schema.cost import Cost
from hdt_fm.schema.preparation import Plain

RESULT_VERSION = 1
Scalar = str | int | float | bool | None


class Row(Plain):
    """One number of a table.

    Attributes:
        what: The task, e.g. `stress` or `retrieval ppg->eda`.
        role: `ours`, a `baseline`, or a `reference` (a published or closed-form mark, chance level).
        low, high: 95 % interval over subjects, when there is one.
        n: How many people (or the pool of a retrieval) the number rests on.
        columns: Further flat columns of this row.
    """

    what: str
    model: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""
    n: int = Field(ge=0)
    role: Literal["ours", "baseline", "reference"] = "ours"
    columns: dict[str, Scalar] = {}

    def flat(self) -> dict[str, Scalar]:
        """The row as one flat mapping, as `--json` prints it."""
        return {**self.model_dump(exclude={"columns"}), **self.columns}


class Result(Plain):
    """A table of numbers with the baselines it owes."""

    version: int = RESULT_VERSION
    name: str
    protocol: dict[str, Any]
    rows: tuple[Row, ...]
    required_baselines: tuple[str, ...]

    @model_validator(mode="after")
    def _baselines_are_there(self) -> "Result":
        for what, metric in {(row.what, row.metric) for row in self.rows if row.role == "ours"}:
            beside = {row.model for row in self.rows if (row.what, row.metric) == (what, metric) and row.role != "ours"}
            missing = [name for name in self.required_baselines if name not in beside]
            if missing:
                raise ValueError(f"{what} / {metric} has no row for the baselines it owes: {', '.join(missing)}")
        return self

    def over(self, cohort: str) -> "Result":
        """This table with the cohort that it was measured on."""
        return self.model_copy(update={"protocol": {"cohort": cohort, **self.protocol}})

    def find(self, model: str, metric: str, what: str | None = None) -> Row:
        """The row of a model and metric; raises KeyError when there is none."""
        for row in self.rows:
            if (row.model, row.metric) == (model, metric) and what in (None, row.what):
                return row
        raise KeyError(f"no row for {model} / {metric}")

    def joined(self, others: Sequence["Result"]) -> "Result":
        """This table and others as one; each keeps what it owes by being validated before."""
        rows = [row for result in (self, *others) for row in result.rows]
        return Result(name=self.name, protocol=self.protocol, rows=tuple(rows), required_baselines=())


class RunRecord(Plain):
    """`result.json` of a run folder: what a verb did, what it left, what to run next.

    Attributes:
        outputs: Name to path, relative to the run folder.
        summary: A few headline facts, plain scalars.
        provenance: Versions, digests, seeds; nothing about a person. `config_file` is the digest of the `config.yaml`
            beside the record, so that a later start that came to nothing does not lend it other settings.
        cost: What it spent, with the sessions before it that led here; None in records older than that.
    """

    version: int = RESULT_VERSION
    verb: str
    name: str
    outputs: dict[str, str]
    next: tuple[str, ...] = ()
    seconds: float
    summary: dict[str, Scalar] = {}
    provenance: dict[str, Any] = {}
    cost: Cost | None = None
    results: tuple[Result, ...] = ()
