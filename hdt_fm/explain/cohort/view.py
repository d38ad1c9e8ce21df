"""One output over many people: shares, subgroups and their gaps, patterns, worst cases, drift from training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdt_fm.explain.cohort import cells, prototypes, shares, worst
from hdt_fm.explain.cohort.prototypes import Prototypes
from hdt_fm.explain.cohort.shares import Gap, ShareOf
from hdt_fm.explain.cohort.worst import Worst
from hdt_fm.explain.explanation import Explanation
from hdt_fm.explain.page.shares import MINIMUM_CELL, channel_shares
from hdt_fm.schema.errors import ExplainError
from hdt_fm.schema.modalities import modality

Array = NDArray[np.float64]
STRETCHES = 12


@dataclass(frozen=True)
class GroupShares:
    """Mean shares of one subgroup."""

    name: str
    people: int
    shares: tuple[ShareOf, ...]


@dataclass(frozen=True)
class FactShares:
    """Subgroups of one fact; none, with the reason, where they may not be shown."""

    name: str
    groups: tuple[GroupShares, ...]
    hidden: str


@dataclass(frozen=True)
class CohortView:
    """All that a report tells of a cohort; every number rests on enough people.

    Attributes:
        columns: What shares are told of, by label, with the modalities in it: several where one alone is held by too
            few people.
        channels: Shares of the channels of modalities that have several.
        drift: These people against those whom the model learned from; empty where they are not known or too few.
        training_people: How many these are; 0 where not known.
    """

    target: str
    method: str
    people: int
    windows: int
    columns: Mapping[str, tuple[str, ...]]
    shares: tuple[ShareOf, ...]
    channels: tuple[ShareOf, ...]
    facts: tuple[FactShares, ...]
    gaps: tuple[Gap, ...]
    patterns: Prototypes
    worst: tuple[Worst, ...]
    drift: tuple[Gap, ...]
    training_people: int


def cohort_view(
    explanation: Explanation,
    *,
    facts: Mapping[str, Sequence[str]] | None = None,
    label: NDArray[np.floating] | None = None,
    positive_class: int | None = None,
    training: Mapping[str, Array] | None = None,
    method: str | None = None,
    draws: int = 1000,
    shuffles: int = 4999,
    seed: int = 0,
) -> CohortView:
    """Look at the explained windows of many people.

    Args:
        explanation: Of some windows of each person; each person counts once.
        facts: Per name, such as sex, age band or device, one value a window that is the same in all of a person's
            windows; empty where not known. They are admitted in this order: one that would tell of a few people
            together with those before is not shown.
        label: (window,) class number or value, NaN where unknown; without it there are no worst errors.
        positive_class: The class whose log-odds the output is; None for a value.
        training: Per modality (person,) shares of the people whom the model learned from, by `shares_of_people`.
        method: Whose map; the leading one by default.
        draws, shuffles, seed: Of intervals and p-values.

    Raises:
        ExplainError: If there are fewer people than may be shown, or facts do not fit.
    """
    method, person = method or explanation.maps[0].method, explanation.person
    people = len(np.unique(person))
    if people < MINIMUM_CELL:
        raise ExplainError(
            "A cohort's view would tell of single people",
            expected=f"windows of at least {MINIMUM_CELL} people",
            got=f"{people}",
            fix="take more people, or make a report of one person",
        )
    holds = shares.over_windows(np.where(explanation.present, 1.0, 0.0), person) > 0
    columns = {
        " and ".join(modality(explanation.modalities[k]).label for k in some): tuple(
            explanation.modalities[k] for k in some
        )
        for some in cells.joined_columns(holds)
    }
    by_window = _by_window(explanation, method, columns)
    units = shares.over_windows(by_window, person)
    held = np.isfinite(units)
    given = {name: cells.by_person(name, some, person) for name, some in (facts or {}).items()}
    shown = cells.facts_shown(given, held)
    names = tuple(columns)
    drift, training_people = _drift(training, units, columns, draws=draws, shuffles=shuffles, seed=seed)
    return CohortView(
        target=explanation.target,
        method=method,
        people=people,
        windows=len(explanation),
        columns=columns,
        shares=shares.means(units, names, draws=draws, seed=seed),
        channels=_channels(explanation, method, columns),
        facts=tuple(
            FactShares(
                fact.name,
                tuple(
                    GroupShares(
                        group.name,
                        int(group.members.sum()),
                        shares.means(units[group.members], names, draws=draws, seed=seed),
                    )
                    for group in fact.groups
                ),
                fact.hidden,
            )
            for fact in shown
        ),
        gaps=shares.gaps_of(shown, units, names, draws=draws, shuffles=shuffles, seed=seed),
        patterns=prototypes.prototypes(
            patterns_of(explanation, method, columns), np.isfinite(by_window), person, seed=seed
        ),
        worst=_worst(explanation, by_window, label, positive_class),
        drift=drift,
        training_people=training_people,
    )


def _by_window(explanation: Explanation, method: str, columns: Mapping[str, tuple[str, ...]]) -> Array:
    """(window, column) shares; NaN where no modality of the column is present."""
    found = np.where(explanation.present, explanation.shares(method), np.nan)
    by_name = {name: found[:, k] for k, name in enumerate(explanation.modalities)}
    return np.column_stack([shares.joined(by_name, names) for names in columns.values()])


def patterns_of(explanation: Explanation, method: str, columns: Mapping[str, tuple[str, ...]]) -> Array:
    """(window, column, stretch) share of the size of credit in twelve stretches of the window."""
    out = np.zeros((len(explanation), len(columns), STRETCHES))
    values = explanation.find(method).values
    for k, names in enumerate(columns.values()):
        for name in names:
            if name in values:
                out[:, k] += _stretches(np.abs(values[name]).sum(1, dtype=np.float64))
    whole = out.sum((1, 2), keepdims=True)
    return np.divide(out, whole, out=np.zeros_like(out), where=whole > 0)


def _stretches(size: Array) -> Array:
    """Sums over stretches of equal length; a sample on an edge is shared between both."""
    samples = size.shape[1]
    so_far = np.concatenate([np.zeros((len(size), 1)), np.cumsum(size, axis=1)], axis=1)
    edges = np.linspace(0, samples, STRETCHES + 1)
    below = np.minimum(edges.astype(int), samples - 1)
    at_edges = so_far[:, below] + (edges - below) * size[:, below]
    return np.diff(at_edges, axis=1)


def _channels(explanation: Explanation, method: str, columns: Mapping[str, tuple[str, ...]]) -> tuple[ShareOf, ...]:
    alone = {names[0]: label for label, names in columns.items() if len(names) == 1}
    found = channel_shares(explanation, method, "cohort")
    return tuple(
        ShareOf(f"{alone[name]}, channel {channel + 1}", one.mean, one.low, one.high, one.people)
        for (name, channel), one in found.items()
        if name in alone and not one.hidden and one.windows and (name, 1) in found
    )


def _worst(
    explanation: Explanation, by_window: Array, label: NDArray[np.floating] | None, positive_class: int | None
) -> tuple[Worst, ...]:
    output, person = explanation.output, explanation.person
    agreement = worst.agreement_by_window(explanation)
    found = [worst.worst("methods disagree", -agreement, agreement, by_window, output, person)]
    if label is not None:
        if label.shape != output.shape:
            raise ExplainError("Labels do not fit the windows", expected=str(output.shape), got=str(label.shape))
        error = worst.error_by_window(output, label.astype(np.float64), positive_class=positive_class)
        found.append(worst.worst("output misses its label", error, error, by_window, output, person))
    return tuple(one for one in found if one is not None)


def _drift(
    training: Mapping[str, Array] | None,
    units: Array,
    columns: Mapping[str, tuple[str, ...]],
    *,
    draws: int,
    shuffles: int,
    seed: int,
) -> tuple[tuple[Gap, ...], int]:
    """Gaps, and how many people of training they rest on; none where these are not known or too few."""
    if not training:
        return (), 0
    held = np.column_stack([np.isfinite(shares.joined(training, names)) for names in columns.values()])
    people = int(held.any(1).sum())
    if people < MINIMUM_CELL or not cells.enough(held):
        return (), 0
    found = shares.drift_from(training, units, columns, draws=draws, shuffles=shuffles, seed=seed)
    return found, people
