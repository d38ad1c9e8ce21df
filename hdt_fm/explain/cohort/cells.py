"""Groups of people that may be told of: none so small, nor to be had from the others by arithmetic, that it is a few.

Means and counts of groups give sums, and sums can be added and taken away. So small groups are joined rather than left
out (what is left out of a whole is what its other parts lack), and groups of several facts are looked at together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hdt_fm.schema.errors import ExplainError

# A number that rests on fewer people is not shown.
MINIMUM_CELL = 5
NOT_KNOWN = "not known"
# Past this many small cells of people the search takes long, and people are nearly told apart one by one.
_MOST_SMALL = 40
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Group:
    """People of one value of a fact, or of several joined ones."""

    name: str
    members: Mask  # (person,)


@dataclass(frozen=True)
class Fact:
    """Groups of one fact about people; none, with the reason, where they may not be shown."""

    name: str
    groups: tuple[Group, ...]
    hidden: str = ""


def enough(held: Mask) -> bool:
    """Whether each column of (person, column) is held by nobody or by as many as may be shown."""
    count = held.sum(0)
    return bool(((count == 0) | (count >= MINIMUM_CELL)).all())


def joined_columns(held: Mask) -> tuple[tuple[int, ...], ...]:
    """Columns of (person, modality) joined until each is held by enough people; those that nobody holds are left out.

    A column that is left out could be had from the others, since shares add up to one.
    """
    columns: list[tuple[int, ...]] = [(k,) for k in np.flatnonzero(held.any(0)).tolist()]

    def holders(some: tuple[int, ...]) -> int:
        return int(held[:, some].any(1).sum())

    while len(columns) > 1:
        columns.sort(key=holders)
        if holders(columns[0]) >= MINIMUM_CELL:
            break
        columns = [tuple(sorted(columns[0] + columns[1])), *columns[2:]]
    return tuple(sorted(columns))


def facts_shown(values: Mapping[str, Sequence[str]], held: Mask) -> tuple[Fact, ...]:
    """Groups of each fact, in the order of the facts; a fact is hidden where it would tell of a few people.

    Args:
        values: Per fact and person; empty where not known, which is a group like the others.
        held: (person, column) who holds what is shown of a group.
    """
    shown: list[Mask] = [np.ones(len(held), dtype=np.bool_)]
    facts = []
    for name, some in values.items():
        groups = _joined_groups(some, held)
        if len(groups) < 2:
            facts.append(Fact(name, (), f"no two groups of {MINIMUM_CELL} people or more"))
            continue
        masks = [group.members for group in groups]
        if tells_of_a_few([*shown, *masks], held):
            reason = f"together with the facts above it would tell of fewer than {MINIMUM_CELL} people"
            facts.append(Fact(name, (), reason))
            continue
        shown += masks
        facts.append(Fact(name, groups))
    return tuple(facts)


def _joined_groups(values: Sequence[str], held: Mask) -> tuple[Group, ...]:
    named = np.array([value or NOT_KNOWN for value in values], dtype=object)
    groups: list[tuple[tuple[str, ...], Mask]] = [
        ((str(value),), named == value) for value in sorted(set(named.tolist()))
    ]

    def small(mask: Mask) -> bool:
        return int(mask.sum()) < MINIMUM_CELL or not enough(held[mask])

    while len(groups) > 1 and any(small(mask) for _, mask in groups):
        # The smallest one that may not stand alone takes in the smallest of the others, small ones first.
        groups.sort(key=lambda group: (not small(group[1]), int(group[1].sum()), group[0]))
        (first, one), (second, other), *rest = groups
        groups = [(tuple(sorted(first + second)), one | other), *rest]
    return tuple(Group(" or ".join(names), mask) for names, mask in sorted(groups, key=lambda group: group[0]))


def tells_of_a_few(groups: Sequence[Mask], held: Mask) -> bool:
    """Whether sums over these groups can be added and taken away until a few people's own sum is left.

    Exact for sets of fewer people than may be shown; where too many small cells make the search long, the answer is
    yes.
    """
    whole = np.ones(len(held), dtype=np.bool_)
    return any(_tells(np.stack(groups)[:, here].astype(np.float64)) for here in (whole, *held.T) if here.any())


def _tells(groups: NDArray[np.float64]) -> bool:
    # People who are in the same groups cannot be told apart: a cell of them enters a sum as one.
    cells, sizes = np.unique(groups, axis=1, return_counts=True)
    small = np.flatnonzero(sizes < MINIMUM_CELL)
    if len(small) > _MOST_SMALL:
        return True
    # What is left of a cell's indicator once all combinations of groups are taken out of it; 0 for a set that is one.
    rest = np.eye(len(sizes)) - np.linalg.pinv(cells) @ cells
    for count in range(1, MINIMUM_CELL):
        sets = np.array([one for one in combinations(small, count) if sizes[list(one)].sum() < MINIMUM_CELL], dtype=int)
        if len(sets) and (np.abs(rest[:, sets].sum(-1)).max(0) < 1e-8).any():
            return True
    return False


def by_person(name: str, values: Sequence[str], person: NDArray[np.integer]) -> list[str]:
    """One value a person from one a window.

    Raises:
        ExplainError: If there is not one value a window, or a person has two.
    """
    if len(values) != len(person):
        raise ExplainError(
            f"Fact {name!r} does not fit the windows", expected=f"{len(person)} values", got=f"{len(values)}"
        )
    found: dict[int, str] = {}
    for who, value in zip(person.tolist(), values, strict=True):
        if found.setdefault(who, value) != value:
            raise ExplainError(
                f"A person has two values of {name!r}",
                expected="a fact that is the same in all of a person's windows",
                fix="give a fact of the person, such as sex or age band; leave labels of windows out",
            )
    return [found[who] for who in sorted(found)]
