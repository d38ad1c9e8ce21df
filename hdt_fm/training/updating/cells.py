"""The mixture of a few people's rows: clusters of them, and how columns move together in each.

A component's rows are of three people or more. Of a column that is unknown in most of them fewer may have told.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32
from scipy.special import ndtri
from sklearn.cluster import KMeans

from hdt_fm.training.updating.rows import Taught

LEAST_TOGETHER = 3
# A component that rests on fewer rows tells of moments, not of people.
LEAST_ROWS = 30
# An event that is known of a smaller share of a component's rows is unknown in what is drawn of it.
LEAST_KNOWN = 0.5
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

    def happened(self, component: int, drawn: Float32[np.ndarray, "row column"]) -> Float32[np.ndarray, "row column"]:
        """The same, with yes or no for each event among the targets: as often as it came to this component's rows.

        Of a drawn number the highest are taken, so that what goes with more of it goes with the event. An event that
        was not known of most rows stays unknown.

        Args:
            drawn: The last columns are events.
        """
        columns = drawn.shape[1]
        mean = self.mean[component, -columns:]
        loadings, noise = self.loadings[component][:, -columns:], self.noise[component, -columns:]
        spread = np.sqrt((loadings**2).sum(axis=0) + noise**2)
        rate = np.clip(np.nan_to_num(mean), 0.0, 1.0)
        edge = mean - spread * ndtri(np.clip(rate, 1e-6, 1 - 1e-6))
        came = np.where((rate > 0) & (rate < 1), drawn > edge, rate >= 1)
        return np.where(np.isnan(mean), np.nan, came).astype(np.float32)


def cell_of(rows: Taught, components: int, rank: int, seed: int) -> Cell | None:
    """The mixture of a few people's rows together; classes, and events that come, each have components of their own.

    Returns:
        None where too few people share any class.
    """
    both = np.concatenate([rows.inputs, rows.target], axis=1)
    known = np.isfinite(both)
    # A mixture has no place for what is not known; a target is seldom that, and then the mean of the others.
    filled = np.where(known, both, _mean_known(both))
    label = _labels(filled, rows, components, seed)
    names, count = np.unique(label[label >= 0], return_counts=True)
    if not len(names):
        return None
    parts = []
    for one in names:
        own = label == one
        if rows.layout.target == "event":
            parts.append(_moves_of_events(both[own], known[own], rows.layout.inputs, rank))
        else:
            parts.append(_moves(filled[own], rank))
    arrays = (count / count.sum(), *(np.stack([part[place] for part in parts]) for place in range(3)))
    people: Sequence[str] = np.unique(rows.person).tolist()
    return Cell(tuple(people), *(one.astype(np.float16).astype(np.float32) for one in arrays))


def enough(person: np.ndarray) -> bool:
    """Whether rows tell of people together, and not of one or of a few moments."""
    return len(np.unique(person)) >= LEAST_TOGETHER and len(person) >= LEAST_ROWS


def _mean_known(rows: np.ndarray) -> np.ndarray:
    """Of each column, over the rows that know it; 0 where none does."""
    known = np.isfinite(rows)
    total = np.where(known, rows, 0).sum(axis=0, dtype=rows.dtype)
    return (total / np.maximum(known.sum(axis=0), 1)).astype(rows.dtype)


def _labels(both: np.ndarray, rows: Taught, most: int, seed: int) -> np.ndarray:
    """The component of each row; -1 where what came to it is shared by too few."""
    if rows.layout.target == "value":
        return _clusters(both, rows.person, most, seed)
    apart = rows.target[:, 0] if rows.layout.target == "class" else _rarest(rows)
    label, first = np.full(len(rows), -1, dtype=np.int64), 0
    for one in np.unique(apart):
        own = np.flatnonzero(apart == one)
        if enough(rows.person[own]):
            share = max(1, round(most * len(own) / len(rows)))
            label[own] = first + _clusters(both[own], rows.person[own], share, seed)
            first = int(label.max()) + 1
    return label


def _rarest(rows: Taught) -> np.ndarray:
    """The rarest event that came to each row and to enough others, and whether all is known of the row, as a number.

    What goes with a rare event would be lost in components of all rows; what is unknown would be taken for an event
    that did not come.
    """
    came, known = rows.target == 1, np.isfinite(rows.target)
    whole = known[:, known.any(axis=0)].all(axis=1)
    out, left = np.full(len(rows), came.shape[1]), np.ones(len(rows), dtype=bool)
    for column in np.argsort(came.mean(axis=0), kind="stable"):
        own = left & came[:, column]
        if enough(rows.person[own]):
            out[own], left[own] = column, False
    for one in np.unique(out):
        own = out == one
        if enough(rows.person[own & whole]) and enough(rows.person[own & ~whole]):
            out[own & ~whole] = -1 - one
    return out


def _clusters(both: np.ndarray, person: np.ndarray, most: int, seed: int) -> np.ndarray:
    """The component of each row; one that rests on too few people or rows joins the nearest that does not."""
    many = max(1, min(most, len(both) // LEAST_ROWS))
    fitted = KMeans(n_clusters=many, n_init=1, max_iter=30, random_state=seed).fit(both)
    label, centers = fitted.labels_.astype(np.int64), fitted.cluster_centers_
    there = np.array([one for one in range(many) if enough(person[label == one])], dtype=np.int64)
    if not len(there):
        return np.zeros(len(both), dtype=np.int64)
    near = ((centers[:, None] - centers[there]) ** 2).sum(axis=-1).argmin(axis=1)
    return there[near][label]


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


def _moves_of_events(
    rows: np.ndarray, known: Bool[np.ndarray, "row column"], inputs: int, rank: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`_moves`, unknown events filled with how often these very rows had them; one that most lack has no mean."""
    mean, loadings, noise = _moves(np.where(known, rows, _mean_known(rows)), rank)
    rare = known.mean(axis=0) < LEAST_KNOWN
    rare[:inputs] = False
    mean[rare] = np.nan
    return mean, loadings, noise
