"""Models side by side: their scores become rows with intervals, and each baseline carries its paired difference."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.evaluation.people import Score, interval, people_draws
from hdt_fm.evaluation.personal import PersonalView
from hdt_fm.evaluation.targets import Target, rows_in_play
from hdt_fm.schema.result import Row, Scalar

Role = Literal["ours", "baseline", "reference"]


@dataclass(frozen=True)
class Contender:
    """A model's out-of-fold scores, shape (row, ...), and what a reader must know about it."""

    model: str
    role: Role
    scores: np.ndarray
    columns: Mapping[str, Scalar] = field(default_factory=dict)

    def at(self, rows: Int[np.ndarray, " row"], *, pretraining: str) -> "Contender":
        """The scores of some rows; ours also say how the encoder's pretraining relates to the test people."""
        said: dict[str, Scalar] = {"pretraining": pretraining} if self.role == "ours" else {}
        return Contender(self.model, self.role, self.scores[rows], {**self.columns, **said})


@dataclass(frozen=True)
class Metric:
    """A named score of a contender's outputs.

    Attributes:
        score: Scores of the rows in play -> a score over people.
        better: Which way is good; None when a target value is (coverage).
    """

    name: str
    score: Callable[[np.ndarray], Score]
    better: Literal["higher", "lower"] | None
    unit: str = ""


def rows_of(
    what: str,
    contenders: Sequence[Contender],
    metrics: Sequence[Metric],
    *,
    counts: Float[np.ndarray, "draw person"],
    headline: str,
) -> list[Row]:
    """One row for each metric and contender.

    Args:
        counts: How often each person counts; the first row is all ones, the others are bootstrap draws.
        headline: The contender of ours from which every baseline's paired difference is taken; those rows
            carry `ours_minus_this` with its own interval over the same draws.

    Returns:
        Rows; a metric for which no person counts is left out.
    """
    rows = []
    for metric in metrics:
        scores = [metric.score(contender.scores) for contender in contenders]
        if not any(score.people for score in scores):
            continue
        drawn = [score.over(counts) for score in scores]
        ours = next(values for one, values in zip(contenders, drawn, strict=True) if one.model == headline)
        for contender, score, values in zip(contenders, scores, drawn, strict=True):
            columns = dict(contender.columns)
            if contender.role != "ours":
                columns |= _difference(ours - values, score.people)
            rows.append(_row(what, contender, metric, values, score.people, columns))
    return rows


def _row(
    what: str,
    contender: Contender,
    metric: Metric,
    values: Float[np.ndarray, " draw"],
    people: int,
    columns: dict[str, Scalar],
) -> Row:
    low, high = _interval(values, people)
    return Row(
        what=what,
        model=contender.model,
        metric=metric.name,
        value=float(values[0]),
        low=low,
        high=high,
        unit=metric.unit,
        n=people,
        role=contender.role,
        columns=columns,
    )


def scored_rows(
    view: PersonalView,
    target: Target,
    contenders: Sequence[Contender],
    metrics: Callable[[np.ndarray, np.ndarray], Sequence[Metric]],
    *,
    headline: str,
    pretraining: str,
    draws: int,
    seed: int,
) -> list[Row]:
    """Rows of one label under one kind of own data; `metrics` is called with the true values and person codes."""
    scored = rows_in_play(target, view)
    _, person = np.unique(view.table.group[scored], return_inverse=True)
    counts = people_draws(int(person.max()) + 1, draws=draws, seed=seed)
    in_play = [one.at(scored, pretraining=pretraining) for one in contenders]
    asked = metrics(target.values[scored], person)
    return rows_of(f"{target.name}{view.suffix}", in_play, asked, counts=counts, headline=headline)


def directions(metrics: Sequence[Metric]) -> dict[str, str]:
    """Which way is better for each metric that has one, as the Result's protocol records it."""
    return {metric.name: metric.better for metric in metrics if metric.better}


def _interval(values: Float[np.ndarray, " draw"], people: int) -> tuple[float | None, float | None]:
    """A lone person says nothing about others: no interval."""
    return interval(values) if people > 1 else (None, None)


def _difference(values: Float[np.ndarray, " draw"], people: int) -> dict[str, Scalar]:
    low, high = _interval(values, people)
    return {"ours_minus_this": float(values[0]), "ours_minus_this_low": low, "ours_minus_this_high": high}
