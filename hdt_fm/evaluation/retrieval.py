"""Finding a window's other modality among other windows: with the pool stated, with and without the person's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

import numpy as np
from jaxtyping import Bool, Float, Int

from hdt_fm.evaluation import people
from hdt_fm.evaluation.baselines import RANDOM_ENCODER
from hdt_fm.evaluation.contenders import Contender, Metric, directions, rows_of
from hdt_fm.evaluation.standardise import check_same_windows
from hdt_fm.metrics.retrieval import Ranks, ranks
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.modalities import STATIC
from hdt_fm.schema.result import Result, Row

OURS = "encoder"
CHANCE = "chance"
LINEAR = "multiview CCA"
REQUIRED = (CHANCE, RANDOM_ENCODER)
RECALLS = (1, 5, 10)
MIN_WINDOWS = 2
MIN_PEOPLE = 2


@dataclass(frozen=True)
class Part:
    """One encoder, its untrained twin, and the people that it was kept from.

    Attributes:
        table: Projections of the trained encoder.
        random_table: Those of an untrained encoder of the same config, same windows.
        subjects: Pseudonyms of the people in play: those left out of training. None is everyone.
        extra_tables: Further projections as baselines, e.g. fitted on hand-made features.
    """

    table: EmbeddingTable
    random_table: EmbeddingTable
    subjects: Sequence[str] | None = None
    extra_tables: Mapping[str, EmbeddingTable] = field(default_factory=dict)

    @property
    def tables(self) -> dict[str, EmbeddingTable]:
        """Every contender's projections by name, ours first."""
        return {OURS: self.table, RANDOM_ENCODER: self.random_table, **self.extra_tables}

    def rows(self) -> Bool[np.ndarray, " row"]:
        """Rows of the people in play."""
        if self.subjects is None:
            return np.ones(len(self.table), dtype=np.bool_)
        wanted = set(self.subjects)
        return np.isin(self.table.subject, [row for row, one in enumerate(self.table.subjects) if one in wanted])


def retrieval(
    table: EmbeddingTable,
    *,
    random_table: EmbeddingTable,
    pools: Sequence[int | None] = (None,),
    exclude_same_subject: bool | None = None,
    subjects: Sequence[str] | None = None,
    extra_tables: Mapping[str, EmbeddingTable] | None = None,
    seed: int = 0,
    draws: int = 1000,
) -> Result:
    """Retrieval by one encoder; see `retrieval_over` and `Part`."""
    part = Part(table, random_table, subjects, extra_tables or {})
    return retrieval_over([part], pools=pools, exclude_same_subject=exclude_same_subject, seed=seed, draws=draws)


def retrieval_over(
    parts: Sequence[Part],
    *,
    pools: Sequence[int | None] = (None,),
    exclude_same_subject: bool | None = None,
    seed: int = 0,
    draws: int = 1000,
) -> Result:
    """Recall at 1, 5, 10 and median rank for each ordered pair of modalities, by cosine of projections.

    Facts about people (`static`) are left out: equal in all windows of a person, they cannot find one of them.

    Args:
        parts: One a fold. Each part is its own pool, since spaces of two encoders cannot be compared; scores
            and intervals go over the people of all parts.
        pools: Size of the pool, the match included; None is every candidate. A pool larger than the
            candidates is cut to them, and `pool` in the row says the mean size that was met.
        exclude_same_subject: True leaves the person's other windows out of the pool, False keeps them,
            None gives both.

    Raises:
        ConfigError: If no pair of modalities shares two windows of the people in play.
        ShapeError: If tables do not hold the same windows.
    """
    first_table = parts[0].table
    for part in parts:
        check_same_windows(first_table, list(part.tables.values()), where="retrieval")
    exclusions = (False, True) if exclude_same_subject is None else (exclude_same_subject,)
    rows = []
    signals = [number for number, name in enumerate(first_table.modalities) if name != STATIC]
    for first, second in permutations(signals, 2):
        for excluded in exclusions:
            for pool in pools:
                found, group = _found(parts, first, second, excluded, pool, seed)
                # One person who asks gives no interval, and a number without one says nothing about others.
                if len(np.unique(group)) >= MIN_PEOPLE:
                    what = _what(first_table, first, second, pool, excluded)
                    rows += _pair_rows(what, found, group, excluded, draws, seed)
    if not rows:
        raise ConfigError(
            "No pair of modalities can be retrieved",
            expected="windows that hold both modalities, of two people or more",
            fix="name more people, or a table of more than one modality",
        )
    in_play = np.any([part.rows() for part in parts], axis=0)
    protocol = {
        "task": "retrieval",
        "people": len(np.unique(first_table.group[in_play])),
        "windows": int(in_play.sum()),
        "encoders": len(parts),
        "pools": [pool or "all" for pool in pools],
        "same_person": ["excluded" if one else "kept" for one in exclusions],
        "intervals": f"95 % percentile, {draws} resamples of the people who ask; pools stay",
        "seed": seed,
        "headline": OURS,
        "better": directions(_metrics(np.zeros(1, np.int64))),
        "model_digest": first_table.model_digest,
        "data_digest": first_table.data_digest,
    }
    return Result(name="cross-modal retrieval", protocol=protocol, rows=tuple(rows), required_baselines=REQUIRED)


def _found(
    parts: Sequence[Part], first: int, second: int, excluded: bool, pool: int | None, seed: int
) -> tuple[dict[str, Ranks], Int[np.ndarray, " query"]]:
    """Ranks of every contender over the queries of all parts, and who asked."""
    pieces: dict[str, list[Ranks]] = {name: [] for name in parts[0].tables}
    groups = [np.zeros(0, dtype=np.int64)]
    for part in parts:
        present = part.table.present
        both = np.flatnonzero(part.rows() & present[:, first] & present[:, second])
        if len(both) < MIN_WINDOWS or (excluded and len(np.unique(part.table.group[both])) < 2):
            continue
        for name, table in part.tables.items():
            pieces[name].append(_ranks(table, both, first, second, excluded, pool, seed))
        groups.append(part.table.group[both])
    group = np.concatenate(groups)
    return {name: _joined(some) for name, some in pieces.items() if some}, group


def _joined(pieces: Sequence[Ranks]) -> Ranks:
    return Ranks(
        np.concatenate([piece.greater for piece in pieces]),
        np.concatenate([piece.ties for piece in pieces]),
        np.concatenate([piece.pool for piece in pieces]),
    )


def _what(table: EmbeddingTable, first: int, second: int, pool: int | None, excluded: bool) -> str:
    own = "excluded" if excluded else "kept"
    query, key = table.modalities[first], table.modalities[second]
    return f"retrieval {query}->{key}, pool {pool or 'all'}, own windows {own}"


def _ranks(
    table: EmbeddingTable,
    rows: Int[np.ndarray, " row"],
    first: int,
    second: int,
    excluded: bool,
    pool: int | None,
    seed: int,
) -> Ranks:
    return ranks(
        table.projections[rows, first],
        table.projections[rows, second],
        table.group[rows],
        table.time_s[rows],
        exclude_same_subject=excluded,
        pool=pool,
        seed=seed,
    )


def _pair_rows(
    what: str,
    found: Mapping[str, Ranks],
    group: Int[np.ndarray, " row"],
    excluded: bool,
    draws: int,
    seed: int,
) -> list[Row]:
    """Rows of one pair, pool and exclusion; chance is the expectation of a random ranking of the same pools."""
    _, person = np.unique(group, return_inverse=True)
    counts = people.people_draws(int(person.max()) + 1, draws=draws, seed=seed)
    pool = found[OURS].pool
    columns = {"pool": float(pool.mean()), "queries": len(pool), "own_windows": "excluded" if excluded else "kept"}
    metrics = _metrics(person)
    contenders = [Contender(OURS, "ours", _scores(found[OURS]), columns)]
    contenders += [Contender(name, "baseline", _scores(one), columns) for name, one in found.items() if name != OURS]
    chance = np.stack([*(found[OURS].chance(k) for k in RECALLS), (pool + 1) / 2], axis=1)
    contenders.append(Contender(CHANCE, "baseline", chance, columns))
    return rows_of(what, contenders, metrics, counts=counts, headline=OURS)


def _scores(found: Ranks) -> Float[np.ndarray, "query metric"]:
    return np.stack([*(found.hit(k) for k in RECALLS), found.rank], axis=1)


def _metrics(person: Int[np.ndarray, " query"]) -> list[Metric]:
    size = int(person.max()) + 1
    asked = np.bincount(person, minlength=size).astype(np.float64)

    def recall(column: int) -> Metric:
        def score(scores: np.ndarray) -> people.Score:
            return people.ratio_of_sums(np.bincount(person, weights=scores[:, column], minlength=size), asked)

        return Metric(f"recall@{RECALLS[column]}", score, "higher")

    recalls = [recall(column) for column in range(len(RECALLS))]
    return [*recalls, Metric("median_rank", lambda scores: people.median(scores[:, -1], person), "lower")]
