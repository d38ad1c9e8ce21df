"""Classes of windows from frozen embeddings, people held out, beside everything a reader would compare with."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int, Num

from hdt_fm.evaluation import people
from hdt_fm.evaluation.audit import Pretraining, audit
from hdt_fm.evaluation.baselines import (
    DUMMY,
    FROM_SCRATCH,
    HAND,
    RANDOM_ENCODER,
    check_inputs,
    check_owed,
    given_contenders,
    one_or_more,
    unaided,
)
from hdt_fm.evaluation.contenders import Contender, Metric, Role, directions, scored_rows
from hdt_fm.evaluation.folds import Fold
from hdt_fm.evaluation.fused import Fuse, by_fold, fused_features, with_mean
from hdt_fm.evaluation.personal import PersonalView, personal_views
from hdt_fm.evaluation.probes import (
    Fit,
    boosted_classes,
    forest,
    logistic,
    most_common,
    nearest,
    out_of_fold,
    uninformed,
)
from hdt_fm.evaluation.record import protocol_record
from hdt_fm.evaluation.standardise import embedding_features, side_by_side
from hdt_fm.evaluation.targets import Target, class_target, rows_in_play
from hdt_fm.schema.embedding import EmbeddingTable
from hdt_fm.schema.result import Result

LINEAR = "logistic regression"
TREES = "gradient boosting"
FOREST = "random forest"
COMMONEST = f"{DUMMY} (commonest class)"
HEADLINE = f"encoder + {LINEAR}"
MANY = 2
REQUIRED = (DUMMY, f"{HAND} + {LINEAR}", f"{HAND} + {TREES}", f"{RANDOM_ENCODER} + {LINEAR}", FROM_SCRATCH)


def classification(
    *,
    table: EmbeddingTable,
    label: str,
    hand: tuple[Num[np.ndarray, "row feature"], Sequence[str]],
    folds: Sequence[Fold],
    extra_tables: Mapping[str, EmbeddingTable | Sequence[EmbeddingTable]],
    predictions: Mapping[str, np.ndarray],
    fold_tables: Sequence[EmbeddingTable] | None = None,
    fuse: Sequence[Fuse] | None = None,
    ours: Mapping[str, np.ndarray] | None = None,
    pretraining: Pretraining | None = None,
    personal: Sequence[str] = ("nothing",),
    seed: int = 0,
    draws: int = 1000,
) -> Result:
    """The full table for one class label.

    Args:
        table: Frozen embeddings of the whole cohort; also gives labels, groups and times.
        label: A label of kind class.
        hand: Hand-made features of the same windows (NaN where absent) and their names.
        folds: Made from `table.group`.
        extra_tables: Further frozen encoders as baselines, one table or one a fold; must hold `random encoder`.
        predictions: Further out-of-fold scores as baselines, (row,) of class 1 or (row, class); must hold
            `trained from scratch`.
        fold_tables: One table a fold, where the encoder was pretrained per fold without the test people.
        fuse: What the encoder's fusion makes of a window's modalities, one for all folds or one a fold; its rows and
            those of the plain mean join the table. None where the encoder has no fusion.
        ours: Out-of-fold scores of ours made elsewhere, such as a fine-tuned encoder.
        pretraining: Whom the encoder saw; None when its record does not say.
        personal: Kinds of unlabelled own data a test person gives: `nothing`, `own session`, `own start`.
        draws: Bootstrap resamples of people.

    Returns:
        Rows for AUROC (pooled, and mean of people), average precision, accuracy (plain and balanced) and macro F1.

    Raises:
        LeakError: If the audit finds a leak.
        ConfigError: If the label or a baseline that is owed is missing.
        ShapeError: If inputs do not hold the same windows.
    """
    check_owed(extra_tables, predictions)
    check_inputs(table, hand[0], extra_tables, fold_tables, folds)
    target = class_target(table, label, folds)
    checks = audit(table, folds, features=[hand[0]], pretraining=pretraining)
    outputs = len(target.classes)
    given = given_contenders({"baseline": predictions, "ours": ours or {}}, target, outputs)
    views = personal_views(table, personal)
    for view in views:
        rows_in_play(target, view)
    rows = []
    for view in views:
        fitted = _fitted(view, target, hand[0], folds, extra_tables, fold_tables or [table], fuse, seed)
        rows += scored_rows(
            view,
            target,
            [*fitted, *unaided(given, view)],
            class_metrics,
            headline=HEADLINE,
            pretraining=checks["pretraining"],
            draws=draws,
            seed=seed,
        )
    record = protocol_record(table, target, folds, checks=checks, draws=draws, seed=seed)
    record |= {
        "task": "classification",
        "classes": list(target.classes),
        "headline": HEADLINE,
        "better": directions(class_metrics(np.zeros(1), np.zeros(1, np.int64))),
        "hand_features": len(hand[1]),
        "encoder_per_fold": fold_tables is not None,
    }
    owed = (*REQUIRED, f"{HAND} + {FOREST}", COMMONEST) if outputs > MANY else REQUIRED
    return Result(name=f"classification of {label}", protocol=record, rows=tuple(rows), required_baselines=owed)


def _fitted(
    view: PersonalView,
    target: Target,
    hand: np.ndarray,
    folds: Sequence[Fold],
    extra_tables: Mapping[str, EmbeddingTable | Sequence[EmbeddingTable]],
    own_tables: Sequence[EmbeddingTable],
    fuse: Sequence[Fuse] | None,
    seed: int,
) -> list[Contender]:
    """Every model that is fitted here, on the features that the view allows."""
    classes = len(target.classes)
    linear, trees = logistic(classes, seed=seed), boosted_classes(classes, seed=seed)
    known = np.where(view.kept(), target.values, np.nan)
    own = [view.features(embedding_features(one)) for one in own_tables]
    by_hand = view.features(hand)
    both = [side_by_side(one, by_hand) for one in own]

    def contend(model: str, role: Role, fit: Fit, features: Sequence[np.ndarray]) -> Contender:
        scores = out_of_fold(fit, features, known, view.table.group, folds, outputs=classes)
        return Contender(model, role, scores, view.columns)

    contenders = [
        contend(HEADLINE, "ours", linear, own),
        contend("encoder + k-NN", "ours", nearest(classes), own),
        contend(f"encoder + {HAND} + {LINEAR}", "ours", linear, both),
        contend(DUMMY, "baseline", uninformed(classes), [by_hand]),
        contend(f"{HAND} + {LINEAR}", "baseline", linear, [by_hand]),
        contend(f"{HAND} + {TREES}", "baseline", trees, [by_hand]),
    ]
    if classes > MANY:  # what activity recognition is used to comparing with
        contenders.append(contend(f"{HAND} + {FOREST}", "baseline", forest(classes, seed=seed), [by_hand]))
        contenders.append(contend(COMMONEST, "baseline", most_common(classes), [by_hand]))
    for name, some in with_mean(fuse).items():
        features = [view.features(fused_features(*one)) for one in by_fold(own_tables, some)]
        contenders.append(contend(f"{name} + {LINEAR}", "ours", linear, features))
    for name, other in extra_tables.items():
        features = [view.features(embedding_features(one)) for one in one_or_more(other)]
        contenders.append(contend(f"{name} + {LINEAR}", "baseline", linear, features))
    return contenders


def class_metrics(truth: Float[np.ndarray, " row"], person: Int[np.ndarray, " row"]) -> list[Metric]:
    """Scores of class outputs: AUROC pooled and within people, average precision; shares that were answered right."""
    labels = truth.astype(np.int64)
    return [
        Metric("auroc", lambda s: people.auroc(s, labels, person), "higher"),
        Metric("auroc_mean_of_people", lambda s: people.auroc(s, labels, person, within_person=True), "higher"),
        Metric("balanced_accuracy", lambda s: people.balanced_accuracy(s, labels, person), "higher"),
        Metric("average_precision", lambda s: people.average_precision(s, labels, person), "higher"),
        Metric("accuracy", lambda s: people.accuracy(s, labels, person), "higher"),
        Metric("macro_f1", lambda s: people.macro_f1(s, labels, person), "higher"),
    ]
