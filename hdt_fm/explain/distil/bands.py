"""Whether a student follows its teacher alike in parts of the people: by sex, age band, device, site."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from hdt_fm.explain.distil.fidelity import Said, mean_of_sums, over_people, sums
from hdt_fm.explain.distil.named import MIN_PEOPLE, people_of
from hdt_fm.explain.distil.teacher import Teacher
from hdt_fm.metrics.bootstrap import Interval
from hdt_fm.schema.errors import ExplainError

OTHERS = "others"


@dataclass(frozen=True)
class Band:
    """A part of the people: mean size of student less teacher, and its mean, in the output's unit."""

    name: str
    level: str
    people: int
    gap: Interval
    bias: Interval


def bands(
    teacher: Teacher,
    said: Said,
    subject: Int[np.ndarray, " window"],
    groups: Mapping[str, Sequence[str]],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[Band, ...]:
    """Bands of five people or more; smaller ones together as `others`.

    Args:
        groups: By name of a covariate, the level of each window's person.

    Returns:
        Bands in the order of the groups; none of a group that has one band that can be shown.

    Raises:
        ExplainError: If a group has not one level a window.
    """
    found = []
    signed = said - teacher.output
    for name, levels in groups.items():
        if len(levels) != len(subject):
            raise ExplainError(
                "Levels of a group do not fit the windows", where=name, expected=str(len(subject)), got=str(len(levels))
            )
        merged = _merged(np.asarray(levels, dtype=object).astype(str), subject)
        shown = sorted(set(merged.tolist()))
        for level in shown if len(shown) > 1 else ():
            here = merged == level
            _, person = np.unique(subject[here], return_inverse=True)
            ones = np.ones(int(here.sum()))
            gap, bias = (
                over_people(mean_of_sums, sums(person, ones, one[here]), draws=draws, seed=seed)
                for one in (np.abs(signed), signed)
            )
            found.append(Band(name, level, people_of(subject, here), gap, bias))
    return tuple(found)


def _merged(levels: np.ndarray, subject: Int[np.ndarray, " window"]) -> np.ndarray:
    """Small bands as one; where even that is small the smallest large one joins, or a difference would give it away."""
    sizes = {level: people_of(subject, levels == level) for level in set(levels.tolist())}
    small = {level for level, size in sizes.items() if size < MIN_PEOPLE}
    large = sorted(set(sizes) - small, key=lambda level: (sizes[level], level))
    if small and people_of(subject, np.isin(levels, list(small))) < MIN_PEOPLE:
        small |= set(large[:1])
    return np.where(np.isin(levels, list(small)), OTHERS, levels)
