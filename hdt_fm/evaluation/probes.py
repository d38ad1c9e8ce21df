"""Small models on frozen features. Everything that is estimated is estimated on training people and says on whom."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from hdt_fm.evaluation.audit import FittedOn, refuse_fitted_on_test
from hdt_fm.evaluation.folds import Fold, inner_folds
from hdt_fm.evaluation.standardise import Standardise
from hdt_fm.schema.errors import SplitError

STRENGTHS_C = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
RIDGE_ALPHAS = tuple(10.0**power for power in range(6))
# How many features a sparse ridge may keep; beside these it may keep all.
FEW = (6, 12, 24, 48)
INNER_FOLDS = 3
NEIGHBOURS = 20
NEIGHBOUR_TEMPERATURE = 0.07
TREES = 100
FOREST_TREES = 200

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Fitted:
    """A model after fitting: features (row, feature) -> scores (row, output), and whom it saw."""

    predict: Predict
    fitted_on: FittedOn


Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], Fitted]


def out_of_fold(
    fit: Fit,
    features: Sequence[Float[np.ndarray, "row _"]],
    target: Float[np.ndarray, " row"],
    group: Int[np.ndarray, " row"],
    folds: Sequence[Fold],
    *,
    outputs: int,
) -> Float[np.ndarray, "row output"]:
    """Scores of every test row, by the model that has not seen its person.

    Args:
        features: One matrix for all folds, or one a fold; NaN where unknown.
        target: NaN rows are neither fitted nor scored.

    Returns:
        NaN in rows that no fold tests.

    Raises:
        LeakError: If a fitted model reports that it saw a test person.
        SplitError: If a fold has nothing to fit on.
    """
    scores = np.full((len(target), outputs), np.nan)
    for number, fold in enumerate(folds):
        x = features[0 if len(features) == 1 else number]
        rows = fold.train[np.isfinite(target[fold.train])]
        if not len(rows):
            raise SplitError(
                "A fold has no training window with a known label",
                where=f"fold {number + 1} of {len(folds)}",
                fix="use fewer folds, or stratify them by the label",
            )
        fitted = fit(x[rows], target[rows], group[rows])
        refuse_fitted_on_test(fitted.fitted_on, test_groups=fold.test_groups, what="a model")
        scores[fold.test] = fitted.predict(x[fold.test])
    return scores


def logistic(classes: int, *, seed: int, strength: float | None = None) -> Fit:
    """L2 logistic regression on standardised features.

    Args:
        strength: C; None finds it by grouped folds inside the training people.
    """

    def fit(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> Fitted:
        chosen = best_strength(x, y, group, classes, seed) if strength is None else strength
        scale = Standardise.fit(x, group)
        path = list(_logistic_path(scale(x), y, classes, (chosen,)))
        return Fitted(lambda new: path[0](scale(new)), scale.fitted_on)

    return fit


def nearest(classes: int, *, neighbours: int = NEIGHBOURS, temperature: float = NEIGHBOUR_TEMPERATURE) -> Fit:
    """Weighted vote of the nearest training windows by cosine, after standardising; class priors divided out."""

    def fit(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> Fitted:
        scale = Standardise.fit(x, group)
        bank, votes = _unit(scale(x)), np.eye(classes)[y.astype(np.int64)]
        prior = votes.mean(axis=0)

        def predict(new: np.ndarray) -> np.ndarray:
            cosine = _unit(scale(new)) @ bank.T
            few = min(neighbours, len(bank))
            near = np.argpartition(-cosine, few - 1, axis=1)[:, :few]
            weight = np.exp((np.take_along_axis(cosine, near, axis=1) - 1.0) / temperature)
            return _balanced((weight[:, :, None] * votes[near]).sum(axis=1), prior)

        return Fitted(predict, scale.fitted_on)

    return fit


def boosted_classes(classes: int, *, seed: int) -> Fit:
    """Gradient-boosted trees; class priors divided out (sample weights cost five times the time)."""

    def fit(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> Fitted:
        present, codes = np.unique(y.astype(np.int64), return_inverse=True)
        prior = np.bincount(y.astype(np.int64), minlength=classes) / len(y)
        if len(present) < 2:
            return Fitted(lambda new: np.tile(np.eye(classes)[present[0]], (len(new), 1)), FittedOn.of(group))
        model = HistGradientBoostingClassifier(
            max_iter=TREES, max_leaf_nodes=15, max_bins=63, early_stopping=False, random_state=seed
        )
        known = _ever_known(x)
        model.fit(known(x), codes)

        def predict(new: np.ndarray) -> np.ndarray:
            full = np.zeros((len(new), classes))
            full[:, present] = model.predict_proba(known(new))
            return _balanced(full, prior)

        return Fitted(predict, FittedOn.of(group))

    return fit


def forest(classes: int, *, seed: int) -> Fit:
    """Random forest of 200 trees on mean-imputed features, its votes as they are, as the field uses it.

    Dividing class priors out of vote shares, as is done for boosted trees, would cost this baseline much accuracy.
    """

    def fit(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> Fitted:
        scale = Standardise.fit(x, group)
        labels = y.astype(np.int64)
        model = RandomForestClassifier(FOREST_TREES, random_state=seed).fit(scale(x), labels)

        def predict(new: np.ndarray) -> np.ndarray:
            full = np.zeros((len(new), classes))
            full[:, model.classes_] = model.predict_proba(scale(new))
            return full

        return Fitted(predict, scale.fitted_on)

    return fit


def uninformed(classes: int) -> Fit:
    """The dummy: every class equally likely. A fold's own prior would rank folds against each other when pooled."""

    def fit(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> Fitted:
        return Fitted(lambda new: np.full((len(new), classes), 1.0 / classes), FittedOn.of(group))

    return fit


def most_common(classes: int) -> Fit:
    """The other dummy: always the commonest class of the training people, which accuracy is easily fooled by."""

    def fit(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> Fitted:
        answer = np.eye(classes)[np.bincount(y.astype(np.int64), minlength=classes).argmax()]
        return Fitted(lambda new: np.tile(answer, (len(new), 1)), FittedOn.of(group))

    return fit


def ridge(*, seed: int, few: Sequence[int] = ()) -> Fit:
    """Ridge regression on standardised features; alpha by grouped folds inside the training people.

    Args:
        few: Numbers of features that may be kept beside all: those that correlate most with the target in the
            windows that are fitted. How many is found with alpha, by the same folds.
    """

    def fit(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> Fitted:
        counts = (*(count for count in sorted(few) if count < x.shape[1]), x.shape[1])
        errors = np.zeros((len(RIDGE_ALPHAS), len(counts)))
        for inner in inner_folds(group, INNER_FOLDS, seed):
            inside = x[inner.train], y[inner.train], group[inner.train]
            for place, count in enumerate(counts):
                scale, weights, mean = _ridge_path(*inside, count)
                predicted = scale(x[inner.test]) @ weights + mean
                errors[:, place] += ((predicted - y[inner.test][:, None]) ** 2).sum(axis=0)
        # On a tie, or with one training person, the fewest features win, and among these the strongest penalty.
        alpha, place = _last_best(errors)
        scale, weights, mean = _ridge_path(x, y, group, counts[place])
        return Fitted(lambda new: (scale(new) @ weights[:, alpha] + mean)[:, None], scale.fitted_on)

    return fit


def boosted_value(*, seed: int) -> Fit:
    """Gradient-boosted trees for a value."""

    def fit(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> Fitted:
        known = _ever_known(x)
        model = HistGradientBoostingRegressor(
            max_iter=TREES, max_leaf_nodes=15, max_bins=63, early_stopping=False, random_state=seed
        ).fit(known(x), y)
        return Fitted(lambda new: model.predict(known(new))[:, None], FittedOn.of(group))

    return fit


def constant(statistic: Callable[[np.ndarray], np.floating]) -> Fit:
    """The dummy for a value: a statistic (mean, median) of the training targets."""

    def fit(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> Fitted:
        value = float(statistic(y))
        return Fitted(lambda new: np.full((len(new), 1), value), FittedOn.of(group))

    return fit


def best_strength(x: np.ndarray, y: np.ndarray, group: np.ndarray, classes: int, seed: int) -> float:
    """The C of least class-balanced log-loss on inner test people; the strongest penalty on a tie."""
    losses = np.zeros(len(STRENGTHS_C))
    for inner in inner_folds(group, INNER_FOLDS, seed):
        inside, asked = y[inner.train], y[inner.test].astype(np.int64)
        weight = 1.0 / np.bincount(asked, minlength=classes)[asked]
        scale = Standardise.fit(x[inner.train], group[inner.train])
        path = _logistic_path(scale(x[inner.train]), inside, classes, STRENGTHS_C)
        for place, predict in enumerate(path):
            right = predict(scale(x[inner.test]))[np.arange(len(asked)), asked]
            losses[place] -= (weight * np.log(np.maximum(right, 1e-12))).sum()
    return STRENGTHS_C[int(np.argmin(losses))]


def _logistic_path(x: np.ndarray, y: np.ndarray, classes: int, strengths: Sequence[float]) -> list[Predict]:
    """One model for each C in turn, each started from the one before."""
    present = np.unique(y.astype(np.int64))
    if len(present) < 2:
        return [lambda new: np.tile(np.eye(classes)[present[0]], (len(new), 1)) for _ in strengths]
    model = LogisticRegression(class_weight="balanced", max_iter=2000, warm_start=True)
    path: list[Predict] = []
    for strength in strengths:
        model.set_params(C=strength).fit(x, y.astype(np.int64))
        path.append(_frozen_softmax(model.coef_.copy(), model.intercept_.copy(), present, classes))
    return path


def _frozen_softmax(coefficients: np.ndarray, intercepts: np.ndarray, present: np.ndarray, classes: int) -> Predict:
    """Class probabilities of a fitted logistic model; two classes have one row of coefficients."""
    if len(present) == 2:
        coefficients = np.concatenate([-coefficients / 2, coefficients / 2])
        intercepts = np.concatenate([-intercepts / 2, intercepts / 2])

    def predict(new: np.ndarray) -> np.ndarray:
        logits = new @ coefficients.T + intercepts
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        full = np.zeros((len(new), classes))
        full[:, present] = odds / odds.sum(axis=1, keepdims=True)
        return full

    return predict


def _ridge_path(x: np.ndarray, y: np.ndarray, group: np.ndarray, count: int) -> tuple[Standardise, np.ndarray, float]:
    """Scaler, weights (feature, alpha), zero for features not among the first `count`, and mean.

    One eigendecomposition serves every alpha.
    """
    scale, mean = Standardise.fit(x, group), float(y.mean())
    inputs = scale(x)
    kept = np.sort(np.argsort(-_correlation(inputs, y), kind="stable")[:count])
    some = inputs[:, kept]
    values, vectors = np.linalg.eigh(some.T @ some)
    turned = vectors.T @ (some.T @ (y - mean))
    weights = np.zeros((x.shape[1], len(RIDGE_ALPHAS)))
    weights[kept] = vectors @ (turned[:, None] / (values.clip(min=0)[:, None] + np.asarray(RIDGE_ALPHAS)))
    return scale, weights, mean


def _correlation(x: Float[np.ndarray, "row feature"], y: Float[np.ndarray, " row"]) -> Float[np.ndarray, " feature"]:
    """Size of each feature's correlation with the target; 0 for what does not vary."""
    x, y = x - x.mean(axis=0), y - y.mean()
    spread = np.sqrt((x**2).sum(axis=0) * (y**2).sum())
    return np.abs(y @ x) / np.where(spread > 0, spread, 1.0)


def _last_best(errors: Float[np.ndarray, "alpha count"]) -> tuple[int, int]:
    """Place of the least error; of equal ones the first count, and there the last alpha."""
    alphas, place = errors.shape[0], int(np.argmin(errors.min(axis=0)))
    return alphas - 1 - int(np.argmin(errors[::-1, place])), place


def _balanced(votes: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Probabilities as if each class of the training people were equally common; uniform where nothing voted."""
    even = np.where(prior > 0, votes / np.where(prior > 0, prior, 1.0), 0.0)
    total = even.sum(axis=1, keepdims=True)
    return np.where(total > 0, even / np.where(total > 0, total, 1.0), 1.0 / votes.shape[1])


def _ever_known(x: np.ndarray) -> Predict:
    """Keeps the features that training people have at all, which trees cannot do without; a zero if there is none."""
    columns = np.flatnonzero(np.isfinite(x).any(axis=0))
    return lambda new: new[:, columns] if len(columns) else np.zeros((len(new), 1))


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)
