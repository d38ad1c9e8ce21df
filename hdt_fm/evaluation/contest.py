"""What the further protocols share: features of several makers over the same folds, audited, and one short metric."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from hdt_fm.evaluation import people
from hdt_fm.evaluation.audit import Pretraining, audit
from hdt_fm.evaluation.baselines import DUMMY, HAND, RANDOM_ENCODER, check_inputs, one_or_more
from hdt_fm.evaluation.contenders import Contender, Metric, Role, rows_of
from hdt_fm.evaluation.folds import Fold
from hdt_fm.evaluation.fused import Fuse, by_fold, fused_values, with_mean
from hdt_fm.evaluation.people import people_draws
from hdt_fm.evaluation.probes import Fit, best_strength, constant, logistic, out_of_fold, ridge, uninformed
from hdt_fm.evaluation.record import protocol_record
from hdt_fm.evaluation.targets import Target, class_target, label_target
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.result import Row

OURS = "encoder"
CHANCE_AUROC = 0.5
# The middle of the strengths that are searched. A choice among forms at one strength costs a sixteenth.
QUICK_C = 1e-2


@dataclass(frozen=True)
class Source:
    """What fused features are made of, so that they can be made again of whatever is left."""

    modalities: tuple[str, ...]
    embeddings: Float[np.ndarray, "row modality width"]
    fuse: Fuse

    def features(self, present: Bool[np.ndarray, "row modality"]) -> "Features":
        """One embedding of each window, of these of its modalities alone."""
        values = fused_values(self.modalities, self.embeddings, present, self.fuse)
        return Features(values, np.full(values.shape[1], -1), present, self)


@dataclass(frozen=True)
class Features:
    """A feature matrix whose columns know their modality, or that can be made again without some modalities.

    Attributes:
        values: NaN where the modality is absent.
        modality: Of each column; a place in the table's modalities, or -1 for what belongs to none.
        present: Which modalities a window holds.
        source: Of columns in which modalities are fused; None where each column has a modality of its own.
    """

    values: Float[np.ndarray, "row feature"]
    modality: Int[np.ndarray, " feature"]
    present: Bool[np.ndarray, "row modality"]
    source: Source | None = None

    def __len__(self) -> int:
        return len(self.values)

    def at(self, rows: Int[np.ndarray, " some"]) -> "Features":
        """Some of the windows."""
        source = replace(self.source, embeddings=self.source.embeddings[rows]) if self.source else None
        return Features(self.values[rows], self.modality, self.present[rows], source)

    def without(self, lost: Bool[np.ndarray, "row modality"]) -> "Features":
        """The same windows with some modalities lost, as if they had not been worn."""
        if self.source:
            return self.source.features(self.present & ~lost)
        gone = np.where(self.modality >= 0, lost[:, self.modality.clip(min=0)], False)
        return Features(np.where(gone, np.nan, self.values), self.modality, self.present & ~lost)

    def of(self, modalities: Sequence[int]) -> Float[np.ndarray, "row _"]:
        """Columns of some modalities; of fused columns, those that these modalities alone would give."""
        if self.source:
            return self.source.features(self.present & np.isin(np.arange(self.present.shape[1]), modalities)).values
        return self.values[:, np.isin(self.modality, modalities)]


@dataclass(frozen=True)
class Maker:
    """Who makes features: an encoder (one table for all folds, or one a fold), or hand."""

    name: str
    role: Role
    features: Sequence[Features]

    def in_fold(self, number: int) -> Features:
        """The features that fold uses."""
        return self.features[0 if len(self.features) == 1 else number]


@dataclass(frozen=True)
class Contest:
    """Audited inputs of a protocol: nobody gets one without `audit` having passed.

    Attributes:
        checks: What the audit found.
        own_tables, random_tables: One for all folds or one a fold; protocols on projections use them.
    """

    table: EmbeddingTable
    target: Target
    folds: Sequence[Fold]
    makers: Sequence[Maker]
    checks: Mapping[str, str]
    draws: int = 1000
    seed: int = 0
    own_tables: Sequence[EmbeddingTable] = ()
    random_tables: Sequence[EmbeddingTable] = ()

    @property
    def is_class(self) -> bool:
        return bool(self.target.classes)

    @property
    def outputs(self) -> int:
        return len(self.target.classes) or 1

    @property
    def scored(self) -> Int[np.ndarray, " row"]:
        """Rows of the table that are known and tested."""
        return np.flatnonzero(self.target.scored)

    def base(self, *, strength: float | None = None) -> Fit:
        """The linear probe of this kind of label; C is searched where it is not given (a ridge always searches)."""
        if not self.is_class:
            return ridge(seed=self.seed)
        return logistic(self.outputs, seed=self.seed, strength=strength)

    def strength(self, x: Features, rows: Int[np.ndarray, " row"]) -> float:
        """C of the plain probe on some training rows."""
        y, group = self.target.values[rows], self.table.group[rows]
        return best_strength(x.values[rows], y, group, self.outputs, self.seed) if self.is_class else QUICK_C

    def training(self, fold: Fold) -> Int[np.ndarray, " row"]:
        """Rows of the fold's training people whose label is known."""
        return fold.train[np.isfinite(self.target.values[fold.train])]

    def rows(
        self,
        what: str,
        contenders: Sequence[Contender],
        *,
        headline: str,
        metrics: Callable[[np.ndarray, np.ndarray], Sequence[Metric]] | None = None,
        rows: Int[np.ndarray, " row"] | None = None,
    ) -> list[Row]:
        """Rows of one task; scores are those of the whole table, the rows in play are picked here."""
        picked = self.scored if rows is None else rows
        if not len(picked):
            return []
        _, person = np.unique(self.table.group[picked], return_inverse=True)
        counts = people_draws(int(person.max()) + 1, draws=self.draws, seed=self.seed)
        in_play = [one.at(picked, pretraining=self.checks["pretraining"]) for one in contenders]
        asked = (metrics or self.metrics)(self.target.values[picked], person)
        return rows_of(what, in_play, asked, counts=counts, headline=headline)

    def metrics(self, truth: Float[np.ndarray, " row"], person: Int[np.ndarray, " row"]) -> list[Metric]:
        """The short list: AUROC and balanced accuracy, or MAE."""
        if not self.is_class:
            return [Metric("mae", lambda s: mean_error(s, truth, person), "lower", self.target.unit)]
        labels = truth.astype(np.int64)
        return [
            Metric("auroc", lambda s: people.auroc(s, labels, person), "higher"),
            Metric("balanced_accuracy", lambda s: people.balanced_accuracy(s, labels, person), "higher"),
        ]

    def dummy(self) -> Contender:
        """Every class alike, or the median of the training people."""
        fit = uninformed(self.outputs) if self.is_class else constant(np.median)
        empty = np.zeros((len(self.table), 1))
        return Contender(
            DUMMY,
            "baseline",
            out_of_fold(fit, [empty], self.target.values, self.table.group, self.folds, outputs=self.outputs),
        )

    def record(self, task: str, *, headline: str, **more: Any) -> dict[str, Any]:
        """What the Result says of how it was made."""
        made = protocol_record(
            self.table, self.target, self.folds, checks=self.checks, draws=self.draws, seed=self.seed
        )
        better = {"auroc": "higher", "balanced_accuracy": "higher"} if self.is_class else {"mae": "lower"}
        made |= {"task": task, "headline": headline, "better": better}
        return made | {"encoder_per_fold": len(self.own_tables) > 1} | more


def contest(
    *,
    table: EmbeddingTable,
    label: str,
    hand: tuple[Num[np.ndarray, "row feature"], Sequence[str]],
    folds: Sequence[Fold],
    random_tables: Sequence[EmbeddingTable],
    fold_tables: Sequence[EmbeddingTable] | None = None,
    fuse: Sequence[Fuse] | None = None,
    pretraining: Pretraining | None = None,
    kind: str = "class",
    seed: int = 0,
    draws: int = 1000,
) -> Contest:
    """Check and audit the inputs once, for every protocol that is to run on them.

    Args:
        table: As in `classification`; `fold_tables`, `fuse` and `pretraining` too.
        hand: Hand-made features and their names, `<modality>.<feature>`.
        random_tables: The untrained encoder, one table for all folds or one a fold.
        kind: "class" or "value".

    Raises:
        LeakError: If the audit finds a leak.
        ConfigError: If the label is missing or of another kind, or a feature's name tells no modality.
        ShapeError: If inputs do not hold the same windows.
    """
    check_inputs(table, hand[0], {RANDOM_ENCODER: random_tables}, fold_tables, folds)
    target = class_target(table, label, folds) if kind == "class" else label_target(table, label, folds)
    checks = audit(table, folds, features=[hand[0]], pretraining=pretraining)
    own = list(fold_tables or [table])
    fused = with_mean(fuse)
    makers = (
        Maker(OURS, "ours", [of_table(one) for one in own]),
        Maker(HAND, "baseline", [of_hand(table, *hand)]),
        Maker(RANDOM_ENCODER, "baseline", [of_table(one) for one in one_or_more(random_tables)]),
        *(Maker(name, "ours", [of_fused(*one) for one in by_fold(own, some)]) for name, some in fused.items()),
    )
    return Contest(table, target, folds, makers, checks, draws, seed, own, list(random_tables))


def of_table(table: EmbeddingTable) -> Features:
    """Embeddings side by side, NaN where absent."""
    values = table.embeddings.astype(np.float64)
    values[~table.present] = np.nan
    width = table.embeddings.shape[2]
    return Features(values.reshape(len(table), -1), np.repeat(np.arange(len(table.modalities)), width), table.present)


def of_fused(table: EmbeddingTable, fuse: Fuse) -> Features:
    """One embedding of each window, made again of what is left wherever modalities are lost."""
    return Source(table.modalities, table.embeddings.astype(np.float64), fuse).features(table.present)


def of_hand(table: EmbeddingTable, values: Num[np.ndarray, "row feature"], names: Sequence[str]) -> Features:
    """Hand-made features; the name of each begins with its modality.

    Raises:
        ConfigError: If a name begins with nothing that the table holds: dropping a modality would leave it in.
    """
    stems = [name.split(".")[0] for name in names]
    unknown = sorted({stem for stem in stems if stem not in table.modalities})
    if unknown:
        raise ConfigError(
            "Some hand-made features belong to no modality of the table",
            expected=f"names such as {table.modalities[0]}.<feature>",
            got=", ".join(unknown),
            fix="name each feature after the modality that it is made from",
        )
    modality = np.array([table.modalities.index(stem) for stem in stems], dtype=np.int64)
    return Features(np.asarray(values, dtype=np.float64), modality, table.present)


def over_variants(metrics: Sequence[Metric]) -> list[Metric]:
    """The same metrics of scores (row, variant, output): their mean over variants inside each bootstrap draw."""

    def of(metric: Metric) -> Metric:
        def score(scores: np.ndarray) -> people.Score:
            return mean_score([metric.score(scores[:, one]) for one in range(scores.shape[1])])

        return Metric(metric.name, score, metric.better, metric.unit)

    return [of(metric) for metric in metrics]


def mean_score(scores: Sequence[people.Score]) -> people.Score:
    """The mean of several scores over the same people."""
    return people.Score(lambda counts: np.mean([one.over(counts) for one in scores], axis=0), scores[0].people)


def mean_error(scores: Float[np.ndarray, "row 1"], truth: np.ndarray, person: np.ndarray) -> people.Score:
    """Mean over people of each one's own mean absolute error."""
    return people.mean_of_people(people.person_means(np.abs(scores[:, 0] - truth), person))
