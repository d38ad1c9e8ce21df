"""What is kept of earlier domains to be rehearsed. A memory is plain arrays and plain values: nothing in it runs."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64

from hdt_fm.schema.errors import ConfigError
from hdt_fm.training.updating.rows import Layout, Taught

Drawn = tuple[Float32[np.ndarray, "row column"], Float32[np.ndarray, "row horizon"]]
Kept = tuple[dict[str, np.ndarray], dict[str, Any]]


@runtime_checkable
class Memory(Protocol):
    """Earlier domains, each drawn from alike."""

    layout: Layout

    @property
    def domains(self) -> tuple[str, ...]: ...

    @property
    def bytes(self) -> int:
        """As it is kept on disk."""
        ...

    def add(self, domain: str, rows: Taught) -> None:
        """Take in a domain that the head has been taught; one of that name is added to."""
        ...

    def draw(self, count: int, draws: np.random.Generator, *, domain: str | None = None) -> Drawn:
        """Rows that stand for one domain, or for all alike; there must be one."""
        ...

    def withdraw(self, person: str) -> int:
        """Let go of all that a person gave; how many rows or components went."""
        ...

    def kept(self) -> Kept:
        """All of it as plain arrays and plain values."""
        ...


class RowMemory:
    """Rows as they were, in half precision; people alike within a domain, and domains alike.

    Args:
        most_bytes: Of all rows together, however many domains come.
        seed: Of which rows stay.
    """

    def __init__(self, layout: Layout, *, most_bytes: int = 4_500_000, seed: int = 0) -> None:
        if most_bytes < 2 * _row_bytes(layout):
            raise ConfigError(
                "The memory holds not even two rows",
                where="strategy.most_bytes",
                expected=f"{2 * _row_bytes(layout)} bytes or more",
                got=f"{most_bytes}",
            )
        self.layout, self.most_bytes, self.seed = layout, most_bytes, seed
        self._rows: dict[str, Taught] = {}

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(self._rows)

    @property
    def bytes(self) -> int:
        return sum(len(rows) for rows in self._rows.values()) * _row_bytes(self.layout)

    def add(self, domain: str, rows: Taught) -> None:
        there = self._rows.get(domain)
        self._rows[domain] = _half(rows if there is None else there.joined(rows))
        each = max(1, self.most_bytes // _row_bytes(self.layout) // len(self._rows))
        draws = np.random.default_rng([self.seed, len(self._rows)])
        for name, some in self._rows.items():
            self._rows[name] = some.of(balanced(some.person, each, draws))

    def draw(self, count: int, draws: np.random.Generator, *, domain: str | None = None) -> Drawn:
        asked = list(self._rows.values()) if domain is None else [self._rows[domain]]
        which = draws.integers(len(asked), size=count)
        found = []
        for number, rows in enumerate(asked):
            some = draws.integers(len(rows), size=int((which == number).sum()))
            found.append((rows.inputs[some], rows.target[some]))
        return np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])

    def withdraw(self, person: str) -> int:
        before = sum(len(rows) for rows in self._rows.values())
        stay = {name: rows.of(np.flatnonzero(rows.person != person)) for name, rows in self._rows.items()}
        self._rows = {name: rows for name, rows in stay.items() if len(rows)}
        return before - sum(len(rows) for rows in self._rows.values())

    def kept(self) -> Kept:
        arrays, people = {}, []
        for number, rows in enumerate(self._rows.values()):
            names, code = np.unique(rows.person, return_inverse=True)
            people.append(names.tolist())
            arrays[f"{number}.inputs"] = rows.inputs.astype(np.float16)
            arrays[f"{number}.target"] = rows.target.astype(np.float16)
            arrays[f"{number}.person"] = code.astype(np.int32)
        plain = {"domains": list(self._rows), "people": people, "most_bytes": self.most_bytes, "seed": self.seed}
        return arrays, plain

    @classmethod
    def of(cls, layout: Layout, arrays: Mapping[str, np.ndarray], plain: Mapping[str, Any]) -> "RowMemory":
        """What `kept` gave."""
        memory = cls(layout, most_bytes=int(plain["most_bytes"]), seed=int(plain["seed"]))
        for number, name in enumerate(plain["domains"]):
            person = np.array(plain["people"][number])[arrays[f"{number}.person"]]
            inputs, target = (arrays[f"{number}.{part}"].astype(np.float32) for part in ("inputs", "target"))
            memory._rows[name] = Taught(layout, inputs, target, person)
        return memory


def balanced(person: np.ndarray, most: int, draws: np.random.Generator) -> Int64[np.ndarray, " row"]:
    """Up to `most` rows, people as alike as their rows allow."""
    order = draws.permutation(len(person))
    _, code = np.unique(person[order], return_inverse=True)
    # The turn of each row among its person's own: every first one comes before any second one.
    turn = np.empty(len(code), dtype=np.int64)
    for one in range(int(code.max(initial=-1)) + 1):
        own = np.flatnonzero(code == one)
        turn[own] = np.arange(len(own))
    return np.sort(order[np.argsort(turn, kind="stable")[:most]])


def _row_bytes(layout: Layout) -> int:
    # Two bytes a number, and four that say whose it is.
    return 2 * (layout.inputs + layout.horizons) + 4


def _half(rows: Taught) -> Taught:
    """As it will be read back, so that an update does not depend on whether the memory was on disk meanwhile."""
    inputs, target = (one.astype(np.float16).astype(np.float32) for one in (rows.inputs, rows.target))
    return Taught(rows.layout, inputs, target, rows.person)
