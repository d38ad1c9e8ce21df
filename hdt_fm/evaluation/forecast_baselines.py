"""Forecasts that every head must beat. Each gives points (fold, origin, horizon) from its training people."""

from collections.abc import Sequence

import numpy as np

from hdt_fm.evaluation.origins import Origins
from hdt_fm.evaluation.probes import ridge

Sides = Sequence[tuple[np.ndarray, np.ndarray]]


def persistence_forecast(origins: Origins, sides: Sides) -> np.ndarray:
    """The last known value at every step; the training median where the context knows none."""
    known = np.isfinite(origins.recent)
    newest = known.shape[1] - 1 - known[:, ::-1].argmax(axis=1)
    last = np.where(known.any(axis=1), origins.recent[np.arange(len(origins)), newest], np.nan)
    points = np.repeat(last[:, None], origins.target.shape[1], axis=1)
    out = np.full((len(sides), *points.shape), np.nan)
    for number, (train, _) in enumerate(sides):
        out[number] = np.where(np.isfinite(points), points, np.nanmedian(origins.target[train]))
    return out


def mean_forecast(origins: Origins, sides: Sides) -> np.ndarray:
    """The training people's mean at each step."""
    means = [_mean_known(origins.target[train]) for train, _ in sides]
    return np.stack([np.repeat(mean[None], len(origins), axis=0) for mean in means])


def _mean_known(target: np.ndarray) -> np.ndarray:
    known = np.isfinite(target)
    overall = target[known].mean() if known.any() else np.nan
    step = np.where(known, target, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known.any(axis=0), step, overall)


def linear_forecast(origins: Origins, sides: Sides, seed: int) -> np.ndarray:
    """Ridge on the context's values, a model a step; fold by fold, for training and test origins alike."""
    out = np.full((len(sides), *origins.target.shape), np.nan)
    for number, (train, _) in enumerate(sides):
        for step in range(origins.target.shape[1]):
            rows = train[np.isfinite(origins.target[train, step])]
            if len(rows):
                fitted = ridge(seed=seed)(origins.recent[rows], origins.target[rows, step], origins.group[rows])
                out[number, :, step] = fitted.predict(origins.recent)[:, 0]
    return out


def with_spread(origins: Origins, sides: Sides, points: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Point forecasts (fold, origin, horizon) and their quantiles from the residuals of the training people.

    Returns:
        (origin, horizon, 1 + level): the point, untouched, then the quantiles; NaN for origins never tested.
    """
    out = np.full((*origins.target.shape, 1 + len(levels)), np.nan)
    for number, (train, test) in enumerate(sides):
        residual = origins.target[train] - points[number, train]
        for step in range(residual.shape[1]):
            known = residual[np.isfinite(residual[:, step]), step]
            shift = np.quantile(known, levels) if len(known) else np.zeros(len(levels))
            out[test, step] = points[number, test, step, None] + np.append(0.0, shift)
    return out
