"""Scores of forecasts of ordered classes, and the grades of glucose. The last axis of a prediction is the class."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdt_fm.metrics._rows import rows
from hdt_fm.metrics.events import Event
from hdt_fm.schema.errors import ShapeError

# Levels 1 and 2 of low and of high glucose (ATTD consensus, Danne et al. 2017), mg/dL; each holds wherever a worse one
# does.
GRADES: Mapping[str, Mapping[str, tuple[Event, ...]]] = {
    "glucose": {
        "low": (Event("below 70 mg/dL", 70.0, below=True), Event("below 54 mg/dL", 54.0, below=True)),
        "high": (Event("above 180 mg/dL", 180.0, below=False), Event("above 250 mg/dL", 250.0, below=False)),
    }
}


def rps(probabilities: ArrayLike, target: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Ranked probability score: squared misses of the probabilities of at least each class, summed; 0 is perfect.

    A miss by two classes costs more than by one. With two classes it is the Brier score.

    Args:
        probabilities: Of each class, in order; rows sum to 1.
        target: The class that came, from 0.

    Raises:
        ShapeError: If rows do not fit, do not sum to 1, or a class is unknown.

    Source: Epstein 1969; not divided by the number of thresholds.
    """
    said, came, weights = _forecasts(probabilities, target, weight)
    thresholds = np.arange(1, said.shape[1])
    reached = 1 - said.cumsum(axis=1)[:, :-1]
    missed = np.square(reached - (came[:, None] >= thresholds)).sum(axis=1)
    return _mean(missed, weights)


def log_loss(probabilities: ArrayLike, target: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Mean natural log of one over the probability of the class that came; infinite where it was held impossible.

    Raises:
        ShapeError: As `rps`.
    """
    said, came, weights = _forecasts(probabilities, target, weight)
    with np.errstate(divide="ignore"):
        return _mean(-np.log(said[np.arange(len(came)), came]), weights)


def _forecasts(
    probabilities: ArrayLike, target: ArrayLike, weight: ArrayLike | None
) -> tuple[NDArray, NDArray, NDArray]:
    (said, came), weights = rows(probabilities, target, weight=weight)
    classes = said.shape[-1] if said.ndim == 2 else 0
    whole = said.ndim == 2 and bool((said >= 0).all()) and np.allclose(said.sum(axis=1), 1.0, atol=1e-6)
    if not whole or came.ndim != 1 or not np.isin(came, np.arange(classes)).all():
        raise ShapeError(
            "Probabilities do not fit the classes",
            expected="(row, class) of 0 or more that sum to 1, and a class of them that came for each row",
            got=f"probabilities {said.shape}, classes {came.shape}",
        )
    return said, came.astype(np.int64), weights


def _mean(each: NDArray, weights: NDArray) -> float:
    return float((each * weights).sum() / weights.sum()) if weights.sum() > 0 else float("nan")
