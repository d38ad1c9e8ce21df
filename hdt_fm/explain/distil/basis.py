"""Columns that a student's terms are made of: straight lines or smooth curves of each feature, and who lacks it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.preprocessing import SplineTransformer

from hdt_fm.explain.distil.named import MIN_PEOPLE, people_of

Shape = Literal["line", "curve"]
# A line is read within so many SD of the mean and stays level beyond, where nobody was to learn from.
FAR = 4.0
KNOTS = (0.02, 0.33, 0.67, 0.98)
_DEGREE = 3

Values = Float[np.ndarray, "window feature"]


@dataclass(frozen=True)
class Basis:
    """Columns of every feature, by numbers of the people that it was fitted on.

    A feature that is not known gives 0 in its own columns, that is the mean of those who have it, and 1 in a column
    that says so, where five people or more lack it and have it; that column is a part of the feature's block. A feature
    that fewer have, or that does not vary, has no column at all.

    Attributes:
        center, spread: Of each feature, over known values.
        blocks: Columns of each feature; -1 fills up.
        says_missing: Which features have a column for being missing.
        curves: The spline of the features that vary, in curves; `level` its columns' means over known values.
    """

    shape: Shape
    center: Float[np.ndarray, " feature"]
    spread: Float[np.ndarray, " feature"]
    varies: Bool[np.ndarray, " feature"]
    says_missing: Bool[np.ndarray, " feature"]
    blocks: Int[np.ndarray, "feature _"]
    curves: SplineTransformer | None
    level: Float[np.ndarray, "_ _"]
    missing_sd: Float[np.ndarray, " feature"]

    @classmethod
    def fit(cls, values: Values, subject: Int[np.ndarray, " window"], shape: Shape) -> "Basis":
        """Centres, spreads, knots and who lacks what, of training windows."""
        known = np.isfinite(values)
        count = np.maximum(known.sum(axis=0), 1)
        center = np.where(known, values, 0.0).sum(axis=0) / count
        spread = np.sqrt(np.square(np.where(known, values - center, 0.0)).sum(axis=0) / count)
        enough = np.array([people_of(subject, column) >= MIN_PEOPLE for column in known.T])
        varies = enough & (spread > 1e-9 * np.maximum(np.abs(center), 1.0))
        lacking = np.array([people_of(subject, ~column) >= MIN_PEOPLE for column in known.T])
        says_missing = enough & lacking
        share = known.mean(axis=0)
        missing_sd = np.sqrt(np.maximum(share * (1 - share), 1e-12))
        spread = np.where(varies, spread, 1.0)
        curves = (
            _curves(values[:, varies], center[varies], spread[varies]) if shape == "curve" and varies.any() else None
        )
        size = _size(curves, int(varies.sum()))
        level = np.zeros((int(varies.sum()), size))
        if curves is not None:
            made = _expanded(curves, _filled(values, center)[:, varies], size)
            here = known[:, varies, None]
            level = np.where(here, made, 0.0).sum(axis=0) / here.sum(axis=0)
        blocks = _blocks(varies, says_missing, size)
        return cls(shape, center, spread, varies, says_missing, blocks, curves, level, missing_sd)

    def columns(self, values: Values) -> Float[np.ndarray, "window _"]:
        """Columns of any windows, in the order of `blocks`."""
        known = np.isfinite(values)
        filled = _filled(values, self.center)
        if self.curves is not None:
            made = _expanded(self.curves, filled[:, self.varies], self.level.shape[1]) - self.level
            own = np.where(known[:, self.varies, None], made, 0.0).reshape(len(values), -1)
        else:
            own = np.clip((filled - self.center) / self.spread, -FAR, FAR)[:, self.varies]
        lacks = (~known / self.missing_sd)[:, self.says_missing]
        return np.concatenate([own, lacks], axis=1)

    def unforeseen(self, values: Values, features: Int[np.ndarray, " some"]) -> Bool[np.ndarray, " window"]:
        """Windows that lack one of these features though hardly anybody did whom this was fitted on."""
        some = features[~self.says_missing[features]]
        return (~np.isfinite(values[:, some])).any(axis=1)


def _filled(values: Values, center: Float[np.ndarray, " feature"]) -> Values:
    return np.where(np.isfinite(values), values, center)


def _size(curves: SplineTransformer | None, features: int) -> int:
    return curves.n_features_out_ // features if curves is not None else 1


def _expanded(curves: SplineTransformer, values: Values, size: int) -> Float[np.ndarray, "window feature size"]:
    return curves.transform(values).reshape(len(values), values.shape[1], size)


def _curves(
    values: Values, center: Float[np.ndarray, " feature"], spread: Float[np.ndarray, " feature"]
) -> SplineTransformer:
    """Cubic splines with knots at quantiles, level beyond the outer ones; even knots where quantiles coincide."""
    knots = np.nanquantile(values, KNOTS, axis=0)
    low, high = knots[0], knots[-1]
    narrow = high - low <= 1e-6 * spread
    low, high = np.where(narrow, center - spread, low), np.where(narrow, center + spread, high)
    even = low + np.linspace(0.0, 1.0, len(KNOTS))[:, None] * (high - low)
    coincide = (np.diff(knots, axis=0) <= 1e-3 * (high - low)).any(axis=0)
    placed = np.where(coincide, even, knots)
    spline = SplineTransformer(degree=_DEGREE, knots=placed, extrapolation="constant", include_bias=False)
    return spline.fit(np.zeros((2, values.shape[1])) + center)


def _blocks(
    varies: Bool[np.ndarray, " feature"], says_missing: Bool[np.ndarray, " feature"], size: int
) -> Int[np.ndarray, "feature _"]:
    blocks = np.full((len(varies), size + 1), -1, dtype=np.int64)
    blocks[varies, :size] = np.arange(varies.sum() * size).reshape(-1, size)
    blocks[says_missing, size] = varies.sum() * size + np.arange(says_missing.sum())
    return blocks
