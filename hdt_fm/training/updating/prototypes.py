"""Prototypes: a domain as a mixture of Gaussians over what a head reads and what came, and no row of anyone.

People are dealt into cells of five or more; each cell has a mixture of its own, learned of its people together, and
each component of it rests on three people or more. Rows are drawn from it and rehearsed as if somebody had lived them.
Who withdraws takes the whole cell along: nothing that was learned of them stays in the memory. This is no differential
privacy: a mean over three people is not a bound on what can be guessed of one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hdt_fm.schema.errors import ConfigError
from hdt_fm.training.updating.cells import LEAST_ROWS, LEAST_TOGETHER, PARTS, Cell, cell_of
from hdt_fm.training.updating.memory import Drawn, Kept
from hdt_fm.training.updating.rows import Layout, Taught

CELL_PEOPLE = 5
# As inputs are held (`hdt_fm.layers.moment.FAR`).
FAR = 8.0


class PrototypeMemory:
    """Cells of people, domain by domain.

    Args:
        components: Of each cell's mixture at most.
        rank: Directions in which the columns of a component move together.
        seed: Of cells and mixtures.
    """

    def __init__(self, layout: Layout, *, components: int = 48, rank: int = 12, seed: int = 0) -> None:
        if min(components, rank) < 1:
            raise ConfigError(
                "Prototypes need something to be made of",
                where="strategy.components, strategy.rank",
                expected="1 or more",
                got=f"{components}, {rank}",
            )
        self.layout, self.components, self.rank, self.seed = layout, components, rank, seed
        self._cells: dict[str, list[Cell]] = {}
        self._flagged = np.zeros(layout.known // 2, dtype=bool)

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(self._cells)

    @property
    def bytes(self) -> int:
        return sum(cell.bytes for cells in self._cells.values() for cell in cells)

    def add(self, domain: str, rows: Taught) -> None:
        """As `Memory.add`.

        Raises:
            ConfigError: If there are too few people to hide among.
        """
        people = np.unique(rows.person)
        if len(people) < CELL_PEOPLE:
            raise ConfigError(
                "Too few people to keep nothing of anyone",
                where="update.strategy=prototypes",
                expected=f"{CELL_PEOPLE} people or more who teach",
                got=f"{len(people)}",
                fix="wait for more people, or begin a line that keeps rows of those who agree: update.strategy=rows",
            )
        self._flagged |= (rows.inputs[:, self.layout.known // 2 : self.layout.known] > 0).any(axis=0)
        draws = np.random.default_rng([self.seed, len(self._cells), len(self._cells.get(domain, ()))])
        dealt = np.array_split(draws.permutation(people), len(people) // CELL_PEOPLE)
        cells = self._cells_of(rows, dealt, draws)
        if len(dealt) > 1 and not _has_all(cells, rows):
            # A class that is too rare for several cells may do for one.
            cells = self._cells_of(rows, [people], draws)
        if not _has_all(cells, rows):
            raise _too_few(rows)
        self._cells.setdefault(domain, []).extend(cells)

    def _cells_of(self, rows: Taught, dealt: Sequence[np.ndarray], draws: np.random.Generator) -> list[Cell]:
        found = []
        for some in dealt:
            own = rows.of(np.flatnonzero(np.isin(rows.person, some)))
            found.append(cell_of(own, self.components, self.rank, int(draws.integers(2**31))))
        return [cell for cell in found if cell is not None]

    def draw(self, count: int, draws: np.random.Generator, *, domain: str | None = None) -> Drawn:
        asked = list(self._cells.values()) if domain is None else [self._cells[domain]]
        cells = [(cell, 1 / len(some)) for some in asked for cell in some]
        chance = np.concatenate([share * cell.weight.astype(np.float64) / cell.weight.sum() for cell, share in cells])
        rows, found, first = draws.multinomial(count, chance / chance.sum()), [], 0
        for cell, _ in cells:
            own = rows[first : first + len(cell.weight)]
            found += [self._drawn(cell, component, int(many), draws) for component, many in enumerate(own) if many]
            first += len(cell.weight)
        both = np.concatenate(found)[draws.permutation(count)]
        return self._as_read(both[:, : self.layout.inputs]), both[:, self.layout.inputs :]

    def _drawn(self, cell: Cell, component: int, many: int, draws: np.random.Generator) -> np.ndarray:
        """Targets as they can be: a class by its number, an event by yes or no."""
        both, first = cell.draw(component, many, draws), self.layout.inputs
        if self.layout.target == "class":
            both[:, first:] = np.rint(cell.mean[component, first:])
        elif self.layout.target == "event":
            both[:, first:] = cell.happened(component, both[:, first:])
        return both

    def _as_read(self, inputs: np.ndarray) -> np.ndarray:
        """Flags are yes or no again; what is not known, and a window that is not there, is 0."""
        layout = self.layout
        # Heads of a moment hold what they read; a probe reads embeddings as they are.
        out = np.clip(inputs, -FAR, FAR) if layout.known else inputs.copy()
        half = layout.known // 2
        seen = out[:, half : layout.known] > 0.5
        out[:, half : layout.known] = seen & self._flagged
        out[:, :half] *= seen | ~self._flagged
        if layout.windows:
            there = out[:, -layout.windows :] > 0.5
            out[:, -layout.windows :] = there
            context = out[:, layout.known : -layout.windows].reshape(len(out), layout.windows, layout.width)
            out[:, layout.known : -layout.windows] = (context * there[..., None]).reshape(len(out), -1)
        return out

    def withdraw(self, person: str) -> int:
        before = self._count()
        stay = {name: [cell for cell in cells if person not in cell.people] for name, cells in self._cells.items()}
        self._cells = {name: cells for name, cells in stay.items() if cells}
        return before - self._count()

    def _count(self) -> int:
        return sum(len(cell.weight) for cells in self._cells.values() for cell in cells)

    def kept(self) -> Kept:
        arrays = {
            f"{number}.{place}.{part}": getattr(cell, part).astype(np.float16)
            for number, cells in enumerate(self._cells.values())
            for place, cell in enumerate(cells)
            for part in PARTS
        }
        plain = {
            "domains": list(self._cells),
            "people": [[list(cell.people) for cell in cells] for cells in self._cells.values()],
            "components": self.components,
            "rank": self.rank,
            "seed": self.seed,
        }
        return {**arrays, "flagged": self._flagged}, plain

    @classmethod
    def of(cls, layout: Layout, arrays: Mapping[str, np.ndarray], plain: Mapping[str, Any]) -> "PrototypeMemory":
        """What `kept` gave."""
        memory = cls(layout, **{name: int(plain[name]) for name in ("components", "rank", "seed")})
        memory._flagged = arrays["flagged"].astype(bool)
        for number, name in enumerate(plain["domains"]):
            memory._cells[name] = [
                Cell(tuple(people), *(arrays[f"{number}.{place}.{part}"].astype(np.float32) for part in PARTS))
                for place, people in enumerate(plain["people"][number])
            ]
        return memory


def _has_all(cells: list[Cell], rows: Taught) -> bool:
    """Whether something can be drawn of the cells, and of every class that the rows have."""
    if not cells:
        return False
    if rows.layout.target != "class":
        return True
    first = rows.layout.inputs
    there = {int(one) for cell in cells for one in np.rint(cell.mean[:, first])}
    return {int(one) for one in np.unique(rows.target)} <= there


def _too_few(rows: Taught) -> ConfigError:
    share, what = f"{LEAST_TOGETHER} people or more", "windows" if rows.layout.target == "class" else "moments"
    classes = rows.layout.target == "class"
    return ConfigError(
        f"{'A class is' if classes else 'What is known is'} shared by too few people to keep nothing of anyone",
        where="update.strategy=prototypes",
        expected=f"{'of each class ' if classes else ''}{LEAST_ROWS} {what} or more, of {share}",
        got="fewer of one class or more" if classes else "fewer",
        fix="wait for more people, or begin a line that keeps rows of those who agree: update.strategy=rows",
    )
