"""Prototypes: a domain as a mixture of Gaussians over what a head reads and what came, and no row of anyone.

People are dealt into cells of five or more; each cell has a mixture of its own, learned of its people together, and
each component of it rests on three people or more. Rows are drawn from it and rehearsed as if somebody had lived them.
Who withdraws takes the whole cell along: nothing that was learned of them stays in the memory. This is no differential
privacy: a mean over three people is not a bound on what can be guessed of one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32
from sklearn.cluster import KMeans

from hdt_fm.schema.errors import ConfigError
from hdt_fm.training.updating.memory import Drawn, Kept
from hdt_fm.training.updating.rows import Layout, Taught

CELL_PEOPLE = 5
LEAST_TOGETHER = 3
# A component that rests on fewer rows tells of moments, not of people.
LEAST_ROWS = 30
# As inputs are held (`hdt_fm.layers.moment.FAR`).
FAR = 8.0
PARTS = ("weight", "mean", "loadings", "noise")


@dataclass(frozen=True)
class Cell:
    """The mixture of a few people; columns are inputs, then targets.

    Attributes:
        people: Their pseudonyms; nothing says what each gave.
        weight: Of each component.
        loadings, noise: A component's covariance is the product of its loadings with themselves, and noise squared.
    """

    people: tuple[str, ...]
    weight: Float32[np.ndarray, " component"]
    mean: Float32[np.ndarray, "component column"]
    loadings: Float32[np.ndarray, "component rank column"]
    noise: Float32[np.ndarray, "component column"]

    @property
    def bytes(self) -> int:
        return 2 * sum(getattr(self, part).size for part in PARTS)

    def draw(self, component: int, rows: int, draws: np.random.Generator) -> Float32[np.ndarray, "row column"]:
        loadings = self.loadings[component]
        together = draws.standard_normal((rows, len(loadings)), dtype=np.float32) @ loadings
        alone = draws.standard_normal((rows, loadings.shape[1]), dtype=np.float32) * self.noise[component]
        out: np.ndarray = self.mean[component] + together + alone
        return out


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
        for some in np.array_split(draws.permutation(people), len(people) // CELL_PEOPLE):
            own = rows.of(np.flatnonzero(np.isin(rows.person, some)))
            cell = _cell(own, self.components, self.rank, int(draws.integers(2**31)))
            self._cells.setdefault(domain, []).append(cell)

    def draw(self, count: int, draws: np.random.Generator, *, domain: str | None = None) -> Drawn:
        asked = list(self._cells.values()) if domain is None else [self._cells[domain]]
        cells = [(cell, 1 / len(some)) for some in asked for cell in some]
        chance = np.concatenate([share * cell.weight.astype(np.float64) / cell.weight.sum() for cell, share in cells])
        rows, found, first = draws.multinomial(count, chance / chance.sum()), [], 0
        for cell, _ in cells:
            own = rows[first : first + len(cell.weight)]
            found += [cell.draw(component, int(many), draws) for component, many in enumerate(own) if many]
            first += len(cell.weight)
        both = np.concatenate(found)[draws.permutation(count)]
        return self._as_read(both[:, : self.layout.inputs]), both[:, self.layout.inputs :]

    def _as_read(self, inputs: np.ndarray) -> np.ndarray:
        """Flags are yes or no again; what is not known, and a window that is not there, is 0."""
        layout, out = self.layout, np.clip(inputs, -FAR, FAR)
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


def _cell(rows: Taught, components: int, rank: int, seed: int) -> Cell:
    """The mixture of a few people's rows together: clusters, and how columns move in each."""
    both = np.concatenate([rows.inputs, rows.target], axis=1)
    # A mixture has no place for what is not known; a target is seldom that, and then the mean of the others.
    with np.errstate(invalid="ignore"):
        mean = np.nan_to_num(np.nanmean(both, axis=0))
    both = np.where(np.isfinite(both), both, mean)
    label = _clusters(both, rows.person, components, seed)
    names, count = np.unique(label, return_counts=True)
    parts = [_moves(both[label == one], rank) for one in names]
    arrays = (count / count.sum(), *(np.stack([part[place] for part in parts]) for place in range(3)))
    people: Sequence[str] = np.unique(rows.person).tolist()
    return Cell(tuple(people), *(one.astype(np.float16).astype(np.float32) for one in arrays))


def _clusters(both: np.ndarray, person: np.ndarray, most: int, seed: int) -> np.ndarray:
    """The component of each row; one that rests on too few people or rows joins the nearest that does not."""
    many = max(1, min(most, len(both) // LEAST_ROWS))
    fitted = KMeans(n_clusters=many, n_init=1, max_iter=30, random_state=seed).fit(both)
    label, centers = fitted.labels_.astype(np.int64), fitted.cluster_centers_
    enough = np.array(
        [
            one
            for one in range(many)
            if len(np.unique(person[label == one])) >= LEAST_TOGETHER and (label == one).sum() >= LEAST_ROWS
        ],
        dtype=np.int64,
    )
    if not len(enough):
        return np.zeros(len(both), dtype=np.int64)
    near = ((centers[:, None] - centers[enough]) ** 2).sum(axis=-1).argmin(axis=1)
    return enough[near][label]


def _moves(rows: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean of rows, directions in which they move together, and the spread that these leave."""
    mean = rows.mean(axis=0)
    centred, freedom = rows - mean, max(1, len(rows) - 1)
    value, way = np.linalg.eigh(centred.T @ centred / freedom)
    loadings = np.zeros((rank, rows.shape[1]))
    some = min(rank, len(value))
    loadings[:some] = (np.sqrt(np.maximum(value[-some:], 0.0)) * way[:, -some:]).T
    left = (centred**2).sum(axis=0) / freedom - (loadings**2).sum(axis=0)
    return mean, loadings, np.sqrt(np.maximum(left, 0.0))
