"""Who is in which cell: people by sex, age band, device, ... such that no cell, shown or reckoned, holds too few."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Int

from hdt_fm.schema.errors import ConfigError, unknown_name

UNKNOWN = "unknown"
OR_FEW = "or too few"
BOTH = "+"
_BAND = re.compile(r"(\d+)(?:-(\d+)|(\+))")


@dataclass(frozen=True)
class Column:
    """People by one fact about them, or by two at once.

    Attributes:
        cells: Names of the cells that may be shown, in order.
        cell: Number of each person's cell; -1 where it may not be shown.
    """

    name: str
    cells: tuple[str, ...]
    cell: Int[np.ndarray, " person"]

    @property
    def hides(self) -> bool:
        """Whether somebody is in no cell that is shown."""
        return bool((self.cell < 0).any())

    @property
    def members(self) -> Bool[np.ndarray, "cell person"]:
        """Who is in each cell."""
        return self.cell[None] == np.arange(len(self.cells))[:, None]


@dataclass(frozen=True)
class Columns:
    """What may be compared, and why the rest may not."""

    shown: tuple[Column, ...]
    left_out: dict[str, str]


def columns_of(people: Sequence[Mapping[str, str]], *, by: Sequence[str] | None = None, min_people: int = 5) -> Columns:
    """Cells of each column, and of each two columns at once.

    A value of fewer than `min_people` people is never shown. Bands of numbers (20-29, 90+) are joined with their
    neighbors until they are large enough. Other small values are pooled and hidden; where the pool itself is too small,
    totals would give it away: then the smallest cell is hidden with it, or, of two cells, takes it in and says so.
    A column that would give fewer people away by subtraction from those before it is left out.

    Args:
        people: Facts of each person; every person is one that is scored.
        by: Columns, two at once joined by `+`; None takes all, and all pairs.

    Raises:
        UnknownNameError: If nobody has such a column.
        ConfigError: If no column has two cells that may be shown.
    """
    known = sorted({name for one in people for name in one})
    asked = list(by) if by is not None else [*known, *(BOTH.join(pair) for pair in combinations(known, 2))]
    for part in (part for name in asked for part in name.split(BOTH)):
        if part not in known:
            raise unknown_name("column of the people", part, known, where="audit.by")
    shown: list[Column] = []
    left_out: dict[str, str] = {}
    for name in sorted(dict.fromkeys(asked), key=lambda one: BOTH in one):
        column = _pair(name, people, min_people) if BOTH in name else _single(name, people, min_people)
        if column is None:
            left_out[name] = f"fewer than two cells of {min_people} people or more may be shown"
        elif _gives_away(column, shown, min_people):
            left_out[name] = f"beside the columns before it, fewer than {min_people} people could be reckoned"
        else:
            shown.append(column)
    if not shown:
        raise ConfigError(
            "No column parts the scored people into cells that may be shown",
            expected=f"a column with two cells of {min_people} scored people or more",
            got=f"{len(people)} scored people; columns: {', '.join(known) or '(none)'}",
            where="audit.by",
            fix="protocol.people=per_fold scores everyone; or give facts about people when building the shards",
        )
    return Columns(tuple(shown), left_out)


def _single(name: str, people: Sequence[Mapping[str, str]], fewest: int) -> Column | None:
    values = _joined_bands([one.get(name) or UNKNOWN for one in people], fewest)
    sizes = Counter(values)
    large = sorted(one for one in sizes if sizes[one] >= fewest and one != UNKNOWN)
    hidden = len(values) - sum(sizes[one] for one in large)
    if 0 < hidden < fewest and len(large) > 1:
        smallest = min(large, key=lambda one: (sizes[one], one))
        large.remove(smallest)
        if len(large) == 1:
            # Two cells are compared all the same; nothing then says how many of the smaller one are its own.
            values = [one if one in large else f"{smallest} {OR_FEW}" for one in values]
            large.append(f"{smallest} {OR_FEW}")
    return _column(name, values, large)


def _pair(name: str, people: Sequence[Mapping[str, str]], fewest: int) -> Column | None:
    """Two columns at once, by the cells that each of them shows."""
    parts = [_single(part, people, fewest) for part in name.split(BOTH)]
    if len(parts) != len(set(name.split(BOTH))) or any(part is None for part in parts):
        return None
    values = []
    for person in range(len(people)):
        own = [part.cells[part.cell[person]] if part.cell[person] >= 0 else None for part in parts if part]
        values.append(UNKNOWN if None in own else ", ".join(str(one) for one in own))
    sizes = Counter(values)
    return _column(name, values, sorted(one for one in sizes if sizes[one] >= fewest and one != UNKNOWN))


def _column(name: str, values: Sequence[str], cells: Sequence[str]) -> Column | None:
    if len(cells) < 2:
        return None
    number = {cell: place for place, cell in enumerate(cells)}
    return Column(name, tuple(cells), np.array([number.get(value, -1) for value in values], dtype=np.int64))


def _joined_bands(values: Sequence[str], fewest: int) -> list[str]:
    """Bands of numbers joined from the lowest up, each until it has enough people; what is left joins the last."""
    bands = {one: _BAND.fullmatch(one) for one in set(values) - {UNKNOWN}}
    if not bands or not all(bands.values()):
        return list(values)
    sizes, joined, open_now = Counter(values), [], []
    for band in sorted(bands, key=lambda one: int(bands[one][1])):  # type: ignore[index]
        open_now.append(band)
        if sum(sizes[one] for one in open_now) >= fewest:
            joined.append(open_now)
            open_now = []
    if open_now:
        joined = [*joined[:-1], [*joined[-1], *open_now]] if joined else [open_now]
    names = {one: _span(some[0], some[-1]) for some in joined for one in some}
    return [names.get(one, one) for one in values]


def _span(first: str, last: str) -> str:
    low, high = first.split("-")[0].rstrip("+"), _BAND.fullmatch(last)
    assert high is not None
    return first if first == last else f"{low}+" if high[3] else f"{low}-{high[2]}"


def _gives_away(column: Column, before: Sequence[Column], fewest: int) -> bool:
    """Whether what is shown of these cells, less what is shown of others, would be of some, but too few, people.

    Everyone's numbers are in the tables of `evaluate`. Sums of cells within cells are looked at, not every way of
    adding columns up.
    """
    everyone = np.ones((1, len(column.cell)), dtype=np.bool_)
    families = [everyone, *(one.members for one in before)]
    return any(_leaves_few(a, b, fewest) for one in families for a, b in ((one, column.members), (column.members, one)))


def _leaves_few(outer: Bool[np.ndarray, "outer person"], inner: Bool[np.ndarray, "inner person"], fewest: int) -> bool:
    """Whether a set, or all of them together, less the others that lie within it, is of some but too few people."""
    for whole in (*outer, outer.any(axis=0)):
        within = inner[~(inner & ~whole).any(axis=1)]
        if len(within) and 0 < int((whole & ~within.any(axis=0)).sum()) < fewest:
            return True
    return False
