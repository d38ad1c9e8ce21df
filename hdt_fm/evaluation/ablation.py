"""What each choice of pretraining is worth: variants of one encoder, same folds, same probe, paired over people."""

from collections.abc import Callable, Mapping, Sequence
from itertools import permutations

import numpy as np
from jaxtyping import Float

from hdt_fm.evaluation import people
from hdt_fm.evaluation.baselines import HAND, RANDOM_ENCODER
from hdt_fm.evaluation.contenders import Contender, Metric, rows_of
from hdt_fm.evaluation.contest import OURS, Contest, of_table
from hdt_fm.evaluation.probes import out_of_fold
from hdt_fm.evaluation.standardise import check_same_windows
from hdt_fm.metrics.retrieval import ranks
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ShapeError
from hdt_fm.schema.result import Result, Row

CHANCE = "chance"
RECALL = 10
REQUIRED = (RANDOM_ENCODER,)


def ablation(
    contest: Contest,
    variants: Mapping[str, Sequence[EmbeddingTable]],
    *,
    base: str = OURS,
    probe: Sequence[int] | None = None,
    metrics: Callable[[np.ndarray, np.ndarray], Sequence[Metric]] | None = None,
) -> Result:
    """Rows for the base and for each variant: a linear probe, and mean recall@10 over ordered pairs of modalities.

    Args:
        contest: Audited inputs; its own tables are those of the base.
        variants: Name of what was changed -> one table a fold, same windows in the same order.
        base: How the rows of the base are called.
        probe: Places of the modalities that the probe reads; None is all. Retrieval is among all.
        metrics: Of the probe; those of the contest where not given.

    Returns:
        The base is `ours`; each variant is compared with it, so that its `ours_minus_this` is what the changed
        choice was worth, with an interval over people (not over seeds).

    Raises:
        ShapeError: If a variant has not one table a fold, or other windows.
    """
    for name, tables in variants.items():
        if len(tables) != len(contest.folds):
            raise ShapeError("A variant needs one table a fold", expected=str(len(contest.folds)), got=str(len(tables)))
        check_same_windows(contest.table, tables, where=f"variant {name}")
    rows = _probe_rows(contest, variants, base, probe, metrics) + _retrieval_rows(contest, variants, base)
    asked = (metrics or contest.metrics)(np.zeros(1), np.zeros(1, np.int64))
    better = {metric.name: metric.better for metric in asked} | {f"recall@{RECALL}": "higher"}
    record = contest.record("ablation", headline=base) | {"better": better}
    name = f"ablation, {contest.target.name}"
    return Result(name=name, protocol=record, rows=tuple(rows), required_baselines=REQUIRED)


def _probe_rows(
    contest: Contest,
    variants: Mapping[str, Sequence[EmbeddingTable]],
    base: str,
    probe: Sequence[int] | None,
    metrics: Callable[[np.ndarray, np.ndarray], Sequence[Metric]] | None,
) -> list[Row]:
    asked = range(len(contest.table.modalities)) if probe is None else probe
    features = {maker.name: [one.of(asked) for one in maker.features] for maker in contest.makers}
    features |= {name: [of_table(one).of(asked) for one in tables] for name, tables in variants.items()}

    def contend(name: str, role: str) -> Contender:
        given = contest.target.values, contest.table.group, contest.folds
        scores = out_of_fold(contest.base(), features[name], *given, outputs=contest.outputs)
        return Contender(base if name == OURS else name, role, scores)  # type: ignore[arg-type]

    contenders = [contend(OURS, "ours"), *(contend(name, "baseline") for name in (*variants, RANDOM_ENCODER, HAND))]
    return contest.rows(
        f"{contest.target.name}, linear probe", [*contenders, contest.dummy()], headline=base, metrics=metrics
    )


def _retrieval_rows(contest: Contest, variants: Mapping[str, Sequence[EmbeddingTable]], base: str) -> list[Row]:
    """Pools are the windows of each fold's test people; a person's own windows stay in."""
    tables = {base: contest.own_tables, **variants, RANDOM_ENCODER: contest.random_tables}
    pairs = list(permutations(range(len(contest.table.modalities)), 2))
    hits = {name: np.full((len(contest.table), len(pairs)), np.nan) for name in (*tables, CHANCE)}
    for number, fold in enumerate(contest.folds):
        for column, (query, key) in enumerate(pairs):
            present = contest.table.present[fold.test]
            rows = fold.test[present[:, query] & present[:, key]]
            if len(rows) < 2:
                continue
            for name, some in tables.items():
                found, chance = _hits(some[0 if len(some) == 1 else number], rows, query, key)
                hits[name][rows, column], hits[CHANCE][rows, column] = found, chance
    asked = np.flatnonzero(np.isfinite(hits[base]).any(axis=1))
    if not len(asked):
        return []
    _, person = np.unique(contest.table.group[asked], return_inverse=True)
    counts = people.people_draws(int(person.max()) + 1, draws=contest.draws, seed=contest.seed)
    contenders = [
        Contender(name, "ours" if name == base else "baseline", values[asked]) for name, values in hits.items()
    ]

    def recall(scores: Float[np.ndarray, "row pair"]) -> people.Score:
        """Mean over pairs that a person has, then over people."""
        own = np.stack([people.person_means(scores[:, one], person) for one in range(scores.shape[1])])
        known = np.isfinite(own)
        total = np.where(known, own, 0.0).sum(axis=0)
        return people.mean_of_people(np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan))

    metric = Metric(f"recall@{RECALL}", recall, "higher")
    return rows_of("retrieval, mean over pairs", contenders, [metric], counts=counts, headline=base)


def _hits(table: EmbeddingTable, rows: np.ndarray, query: int, key: int) -> tuple[np.ndarray, np.ndarray]:
    found = ranks(table.projections[rows, query], table.projections[rows, key], table.group[rows], table.time_s[rows])
    return found.hit(RECALL), found.chance(RECALL)
