"""Domains one after the other: what a model that learns them in turn says of all of them, after each.

The matrix holds the error of each person never taught, before anything was learned and after each domain. Of it:
*average* (domains alike) after the last; *forgetting* (after the last, less right after the domain was learned);
*forward transfer* (on a domain before it is learned, less what an untaught head says); the *worst* person of an earlier
domain. Intervals are over people, drawn domain by domain; orders and seeds are averaged before.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import process_time
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from hdt_fm.evaluation.people import interval, people_draws
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.result import Result, Row

JOINT = "joint training on all domains"
DRAWS = 1000
Roles = Mapping[str, Literal["ours", "baseline", "reference"]]


@dataclass(frozen=True)
class Asked:
    """A domain's rows of people who are never taught.

    Attributes:
        truth: What came; NaN where unknown.
    """

    truth: Float[np.ndarray, " row"]
    person: Int[np.ndarray, " row"]


@runtime_checkable
class Learner(Protocol):
    """What learns domains in turn."""

    def learn(self, domain: str) -> None: ...

    def ask(self, domain: str) -> Float[np.ndarray, " row"]:
        """Answers for the rows that are asked of a domain, by what is known now."""
        ...

    @property
    def bytes(self) -> int:
        """Of what is kept of earlier domains."""
        ...


@dataclass(frozen=True)
class Streamed:
    """One learner through one order.

    Attributes:
        order: Domains as they came.
        error: RMSE of each person of each domain, domain -> (stage, person); stage 0 is before anything was learned.
        person: Whose they are.
        bytes: Kept at the end, and `seconds` of CPU time an update, the first domain left out.
        at_once: It learned all domains together.
    """

    order: tuple[str, ...]
    error: dict[str, NDArray[np.float64]]
    person: dict[str, NDArray[np.int64]]
    bytes: int
    seconds: float
    at_once: bool = False


def streamed(learner: Learner, asked: Mapping[str, Asked], order: Sequence[str], *, at_once: bool = False) -> Streamed:
    """Teach domain after domain, and ask about all of them after each.

    Args:
        at_once: The learner learns all domains together with the first one: the bound.

    Raises:
        ConfigError: If the order does not name each domain once.
        ShapeError: If answers are not finite or not one a row.
    """
    if sorted(order) != sorted(asked):
        raise ConfigError("An order names each domain once", expected=", ".join(sorted(asked)), got=", ".join(order))
    stages, seconds = [_errors(learner, asked)], []
    for number, domain in enumerate(order):
        if at_once and number:
            stages.append(stages[-1])
            continue
        begin = process_time()
        learner.learn(domain)
        seconds.append(process_time() - begin)
        stages.append(_errors(learner, asked))
    return Streamed(
        order=tuple(order),
        error={name: np.stack([stage[name] for stage in stages]) for name in asked},
        person={name: np.unique(one.person) for name, one in asked.items()},
        bytes=learner.bytes,
        seconds=float(np.mean(seconds[1:] or seconds)),
        at_once=at_once,
    )


def _errors(learner: Learner, asked: Mapping[str, Asked]) -> dict[str, NDArray[np.float64]]:
    out = {}
    for name, rows in asked.items():
        said = np.asarray(learner.ask(name), dtype=np.float64)
        if said.shape != rows.truth.shape or not np.isfinite(said).all():
            raise ShapeError(
                "Answers do not fit", where=name, expected=f"finite, {rows.truth.shape}", got=str(said.shape)
            )
        square = (said - rows.truth) ** 2
        out[name] = np.array([np.sqrt(np.nanmean(square[rows.person == one])) for one in np.unique(rows.person)])
    return out


@dataclass(frozen=True)
class _Numbers:
    """A model's numbers of each person of a domain, averaged over the runs in which the person was asked."""

    last: NDArray[np.float64]
    forgot: NDArray[np.float64]
    forward: NDArray[np.float64]


def stream_rows(
    what: str, runs: Mapping[str, Sequence[Streamed]], roles: Roles, *, unit: str, draws: int = DRAWS
) -> tuple[Row, ...]:
    """A table's rows of all models; `JOINT` is the bound that others are measured by.

    Args:
        runs: Model -> its runs through the same orders with the same people asked.
        roles: Of each model, as in `Row`.

    Raises:
        ConfigError: If the bound is missing, or runs differ in orders or in people.
    """
    shape = {model: [_asked_of(one) for one in some] for model, some in runs.items()}
    if JOINT not in runs or any(one != shape[JOINT] for one in shape.values()):
        raise ConfigError("Runs cannot be compared", expected=f"{JOINT!r} and the same orders and people in all runs")
    numbers = {model: _numbers(some) for model, some in runs.items()}
    domains = tuple(sorted(numbers[JOINT]))
    people = [len(numbers[JOINT][name].last) for name in domains]
    counts = [people_draws(count, draws=draws, seed=place) for place, count in enumerate(people)]

    def over(values: Callable[[_Numbers], NDArray[np.float64]], model: str) -> NDArray[np.float64]:
        parts = []
        for name, drawn in zip(domains, counts, strict=True):
            value = values(numbers[model][name])
            known = np.isfinite(value)
            parts.append(_ratio(drawn[:, known] @ value[known], drawn[:, known].sum(axis=1)))
        return np.mean(parts, axis=0)

    joint = over(lambda one: one.last, JOINT)
    rows = []
    for model, some in runs.items():
        last = over(lambda one: one.last, model)
        found = {
            "average RMSE": (last, unit),
            "average over joint": (100 * (last / joint - 1), "%"),
            "forgetting": (over(lambda one: one.forgot, model), unit),
            "forward transfer": (over(lambda one: one.forward, model), unit),
        }
        plain = {
            "worst person of an earlier domain": (_worst(numbers[model]), unit),
            "memory": (max(one.bytes for one in some) / 1e6, "MB"),
            "CPU time of an update": (float(np.median([one.seconds for one in some])), "s"),
        }
        row: dict[str, Any] = {"what": what, "model": model, "n": sum(people), "role": roles[model]}
        for metric, (values, of) in found.items():
            # What learns all at once has no domain before it.
            if not np.isfinite(values[0]):
                continue
            low, high = interval(values)
            rows.append(Row(metric=metric, value=float(values[0]), low=low, high=high, unit=of, **row))
        rows += [Row(metric=metric, value=value, unit=of, **row) for metric, (value, of) in plain.items()]
    return tuple(rows)


def _ratio(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > 0)


def _asked_of(run: Streamed) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    return run.order, {name: people.tolist() for name, people in run.person.items()}


def _numbers(runs: Sequence[Streamed]) -> dict[str, _Numbers]:
    out = {}
    for name in runs[0].person:
        people = np.unique(np.concatenate([one.person[name] for one in runs]))
        table = np.full((3, len(runs), len(people)), np.nan)
        for number, one in enumerate(runs):
            at, stage, error = np.searchsorted(people, one.person[name]), one.order.index(name) + 1, one.error[name]
            table[0, number, at] = error[-1]
            if stage < len(one.order):
                table[1, number, at] = error[-1] - error[stage]
            if stage > 1 and not one.at_once:
                table[2, number, at] = error[stage - 1] - error[0]
        with np.errstate(invalid="ignore"):
            known = np.isfinite(table)
            mean = np.where(known, table, 0.0).sum(axis=1) / known.sum(axis=1)
        out[name] = _Numbers(*mean)
    return out


def _worst(numbers: Mapping[str, _Numbers]) -> float:
    return float(max(np.nanmax(one.forgot) for one in numbers.values()))


def matrix_rows(what: str, runs: Mapping[str, Sequence[Streamed]], roles: Roles, *, unit: str) -> tuple[Row, ...]:
    """The matrix of each model and order, seeds averaged: the error on each domain after each was learned."""
    rows = []
    for model, some in runs.items():
        for order in dict.fromkeys(one.order for one in some):
            same = [one for one in some if one.order == order]
            where: dict[str, Any] = {"what": f"{what}: {' -> '.join(order)}", "model": model, "role": roles[model]}
            for stage, learned in enumerate(order, start=1):
                for name in order:
                    value = float(np.mean([one.error[name][stage].mean() for one in same]))
                    people = len(same[0].person[name])
                    rows.append(Row(metric=f"after {learned}: {name}", value=value, unit=unit, n=people, **where))
    return tuple(rows)


def stream_result(name: str, rows: Sequence[Row], protocol: Mapping[str, Any], owed: Sequence[str]) -> Result:
    """The table."""
    return Result(name=name, protocol=dict(protocol), rows=tuple(rows), required_baselines=tuple(owed))
