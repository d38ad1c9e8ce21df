"""Heads that must answer when modalities are gone: four ways, and the choice between them on training people."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float

from hdt_fm.evaluation import people
from hdt_fm.evaluation.audit import FittedOn
from hdt_fm.evaluation.contest import Features, mean_error
from hdt_fm.evaluation.folds import inner_folds
from hdt_fm.evaluation.probes import INNER_FOLDS, Fit, Predict

COPIES = 2
PROBABILITY_FLOOR = 1e-6


@dataclass(frozen=True)
class FittedHead:
    """Features, whole or with losses -> scores (row, output); and whom it saw."""

    predict: Callable[[Features], np.ndarray]
    fitted_on: FittedOn


FitHead = Callable[[Features, np.ndarray, np.ndarray], FittedHead]


def imputed(base: Fit, *, outputs: int, seed: int) -> FitHead:
    """The plain probe: what is gone counts as the training mean."""

    def fit(x: Features, y: np.ndarray, group: np.ndarray) -> FittedHead:
        varies = np.asarray(x.present.any(axis=0) & ~x.present.all(axis=0))
        model = base(_with_presence(x, varies), y, group)
        return FittedHead(lambda new: model.predict(_with_presence(new, varies)), model.fitted_on)

    return fit


def dropped(base: Fit, *, outputs: int, seed: int) -> FitHead:
    """The plain probe, fitted on the training windows and on copies that lost a random set of modalities."""

    def fit(x: Features, y: np.ndarray, group: np.ndarray) -> FittedHead:
        every = np.ones(x.present.shape[1], dtype=np.bool_)
        generator = np.random.default_rng(seed)
        copies = [x, *(x.without(random_losses(x.present, generator)) for _ in range(COPIES))]
        rows = np.concatenate([_with_presence(one, every) for one in copies])
        model = base(rows, np.tile(y, len(copies)), np.tile(group, len(copies)))
        return FittedHead(lambda new: model.predict(_with_presence(new, every)), model.fitted_on)

    return fit


def per_subset(base: Fit, *, outputs: int, seed: int) -> FitHead:
    """One probe for each set of modalities that is met, fitted on those columns of the training windows."""

    def fit(x: Features, y: np.ndarray, group: np.ndarray) -> FittedHead:
        def fitted(subset: tuple[int, ...]) -> Predict:
            rows = np.flatnonzero(x.present[:, list(subset)].any(axis=1))
            model = base(x.of(subset)[rows], y[rows], group[rows]) if len(rows) else None
            return (lambda new: model.predict(new)) if model else (lambda new: _no_idea(len(new), y, outputs))

        met: dict[tuple[int, ...], Predict] = {}

        def predict(new: Features) -> np.ndarray:
            return _by_pattern(new, y, outputs, lambda rows, subset: _once(met, subset, fitted)(rows.of(subset)))

        return FittedHead(predict, FittedOn.of(group))

    return fit


def fused(base: Fit, *, outputs: int, seed: int) -> FitHead:
    """Late fusion: a probe a modality; how much each one's log-odds count is learned out of fold, for each set.

    The second stage sees what the first said of people whom it had not seen (inner folds of the training
    people), so an over-fitted modality earns little weight. For values the predictions stand in for log-odds.
    """

    def fit(x: Features, y: np.ndarray, group: np.ndarray) -> FittedHead:
        own = [_own_probe(base, x, y, group, m) for m in range(x.present.shape[1])]
        width = _evidence(_no_idea(1, y, outputs)).shape[1]
        heard = np.full((len(y), len(own), width), np.nan)
        for inner in inner_folds(group, INNER_FOLDS, seed):
            inside, asked = x.at(inner.train), x.at(inner.test)
            for m in range(len(own)):
                probe = _own_probe(base, inside, y[inner.train], group[inner.train], m)
                heard[inner.test, m] = _said(probe, asked, m, width)

        def fitted(subset: tuple[int, ...]) -> Predict:
            rows = np.flatnonzero(np.isfinite(heard[:, list(subset)]).any(axis=(1, 2)))
            if not len(rows):
                return lambda new: _no_idea(len(new), y, outputs)
            return base(heard[rows][:, list(subset)].reshape(len(rows), -1), y[rows], group[rows]).predict

        met: dict[tuple[int, ...], Predict] = {}

        def answer(rows: Features, subset: tuple[int, ...]) -> np.ndarray:
            said = np.stack([_said(own[m], rows, m, width) for m in subset], axis=1)
            return _once(met, subset, fitted)(said.reshape(len(rows), -1))

        return FittedHead(lambda new: _by_pattern(new, y, outputs, answer), FittedOn.of(group))

    return fit


HEADS: Mapping[str, Callable[..., FitHead]] = {
    "mean imputation": imputed,
    "modality dropout": dropped,
    "probe a subset": per_subset,
    "late fusion": fused,
}


def best_head(
    heads: Mapping[str, FitHead], x: Features, y: np.ndarray, group: np.ndarray, *, is_class: bool, seed: int
) -> str:
    """The head that does best on inner test people when none to all but one of the modalities are gone.

    Every number of lost modalities counts alike, and within it every set; scores as the table's own: AUROC of
    classes, mean absolute error of values.
    """
    merit = dict.fromkeys(heads, 0.0)
    for inner in inner_folds(group, INNER_FOLDS, seed):
        inside, asked = x.at(inner.train), x.at(inner.test)
        for name, fit in heads.items():
            head = fit(inside, y[inner.train], group[inner.train])
            merit[name] += _merit(head, asked, y[inner.test], group[inner.test], is_class)
    return max(merit, key=lambda name: merit[name])


def losses_of(modalities: int, k: int) -> list[Bool[np.ndarray, " modality"]]:
    """Every way in which exactly k modalities can be gone."""
    return [np.isin(np.arange(modalities), lost) for lost in combinations(range(modalities), k)]


def random_losses(
    present: Bool[np.ndarray, "row modality"], generator: np.random.Generator
) -> Bool[np.ndarray, "row modality"]:
    """For each window a number of losses that leaves at least one modality, and a random set of that size."""
    held = present.sum(axis=1)
    lose = (generator.random(len(present)) * np.maximum(held, 1)).astype(np.int64)
    order = np.where(present, generator.random(present.shape), np.inf).argsort(axis=1).argsort(axis=1)
    return present & (order < lose[:, None])


def _merit(head: FittedHead, x: Features, y: np.ndarray, group: np.ndarray, is_class: bool) -> float:
    _, person = np.unique(group, return_inverse=True)
    even = np.ones((1, int(person.max()) + 1))
    modalities = x.present.shape[1]
    shares = []
    for k in range(modalities):
        found = []
        for lost in losses_of(modalities, k):
            said = head.predict(x.without(np.tile(lost, (len(x), 1))))
            score = people.auroc(said, y.astype(np.int64), person) if is_class else mean_error(said, y, person)
            found.append(score.over(even)[0] * (1 if is_class else -1))
        shares.append(np.mean(found))
    return float(np.nan_to_num(np.mean(shares)))


def _own_probe(base: Fit, x: Features, y: np.ndarray, group: np.ndarray, modality: int) -> Predict | None:
    """The probe of one modality; None when no training window holds it."""
    rows = np.flatnonzero(x.present[:, modality])
    return base(x.of([modality])[rows], y[rows], group[rows]).predict if len(rows) else None


def _said(probe: Predict | None, x: Features, modality: int, width: int) -> Float[np.ndarray, "row width"]:
    """What a modality's probe says; NaN where the modality is absent."""
    said = np.full((len(x), width), np.nan)
    there = np.flatnonzero(x.present[:, modality])
    if probe is not None and len(there):
        said[there] = _evidence(probe(x.of([modality])[there]))
    return said


def _evidence(scores: Float[np.ndarray, "row output"]) -> Float[np.ndarray, "row _"]:
    """Log-odds of two classes as one column, centred log-probabilities of more; values as they are."""
    if scores.shape[1] == 1:
        return scores
    logs = np.log(np.maximum(scores, PROBABILITY_FLOOR))
    return logs[:, 1:] - logs[:, :1] if scores.shape[1] == 2 else logs - logs.mean(axis=1, keepdims=True)


def _by_pattern(
    x: Features, y: np.ndarray, outputs: int, answer: Callable[[Features, tuple[int, ...]], np.ndarray]
) -> Float[np.ndarray, "row output"]:
    """Asks once for each set of modalities that some window holds; a window that holds none gets no idea."""
    scores = _no_idea(len(x), y, outputs)
    patterns, which = np.unique(x.present, axis=0, return_inverse=True)
    for place, pattern in enumerate(patterns):
        rows = np.flatnonzero(which.reshape(-1) == place)
        if pattern.any():
            scores[rows] = answer(x.at(rows), tuple(int(m) for m in np.flatnonzero(pattern)))
    return scores


def _no_idea(rows: int, y: np.ndarray, outputs: int) -> Float[np.ndarray, "row output"]:
    """Every class equally likely, or the training mean."""
    return np.full((rows, outputs), 1.0 / outputs if outputs > 1 else float(y.mean()))


def _once(kept: dict, key: tuple[int, ...], make: Callable[[tuple[int, ...]], Predict]) -> Predict:
    if key not in kept:
        kept[key] = make(key)
    return kept[key]


def _with_presence(x: Features, varies: Bool[np.ndarray, " modality"]) -> Float[np.ndarray, "row _"]:
    return np.concatenate([x.values, x.present[:, varies].astype(np.float64)], axis=1)
