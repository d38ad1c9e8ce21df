"""What a dose head must beat: ridge on features of exposures, person means and calendar taken out as for ours.

Each floor is written for itself, with scipy's filters and splines: nothing of what is tested is used. A dose that is
partly unseen is the mean of what was seen; a day that is read by itself has the newest known value before. What a floor
says of a person is what its features times slopes say, the calendar's part left out. The penalty is chosen by leaving
out a fifth of the training people at a time.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.interpolate import BSpline
from scipy.signal import lfilter

from hdt_fm.evaluation.evolve.dose import BURN_IN, DoseModel, Followed, Told

BANK_D = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
HINGES_AT = (0.25, 0.5, 0.75)
GRID_D = np.geomspace(1.0, 120.0, 40)
LAGS, VALUE_SPLINES, LAG_SPLINES, DEGREE = 90, 5, 6, 3
PENALTIES = (0.0, 1.0, 10.0, 100.0, 1_000.0)
FOLDS, YEAR_D = 5, 365.25

Features = Callable[[np.ndarray], np.ndarray]
# From training exposures (person, exposure, day) to what makes features (person, day, feature) of any.
Recipe = Callable[[np.ndarray], Features]


def floors(*, together: bool = False) -> dict[str, DoseModel]:
    """All, by name.

    Args:
        together: With two rows more that have products of the exposures' leaky doses.
    """
    recipes: dict[str, Recipe] = {
        "same day": lambda _: _of_each(newest),
        "7-day mean": lambda _: _of_each(lambda values: window_mean(values, 7)),
        "30-day mean": lambda _: _of_each(lambda values: window_mean(values, 30)),
        "bank of 7": lambda _: _of_each(bank),
        "bank of 7 with hinges": _bank_with_hinges,
        "cross-basis": cross_basis,
    }
    if together:
        recipes |= {
            "bank of 7 with hinges and products": lambda train: _beside(_bank_with_hinges(train), products),
            "cross-basis with products": lambda train: _beside(cross_basis(train), products),
        }
    return {name: DoseModel(_ridge_on(recipe), "baseline") for name, recipe in recipes.items()}


def oracle() -> DoseModel:
    """Told the true effect but for its size."""
    return DoseModel(_ridge_on(lambda _: lambda effect: effect.transpose(0, 2, 1)), "reference", told_truth=True)


def newest(values: Float[np.ndarray, "person day"]) -> Float[np.ndarray, "person day one"]:
    """Known at the latest; NaN before any is."""
    place = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(values.shape[1]), -1), axis=1)
    return np.where(place >= 0, np.take_along_axis(values, place.clip(min=0), axis=1), np.nan)[..., None]


def window_mean(values: Float[np.ndarray, "person day"], days: int) -> Float[np.ndarray, "person day one"]:
    """Of what is known of the last days, today among them; NaN where nothing is."""
    return _filtered(values, np.ones(days), np.ones(1))[..., None]


def bank(values: Float[np.ndarray, "person day"]) -> Float[np.ndarray, "person day tau"]:
    """Leaky means by what is known."""
    return np.stack([_leaky(values, tau) for tau in BANK_D], axis=-1)


def _filtered(values: np.ndarray, moving: np.ndarray, keeping: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    above, below = (
        lfilter(moving, keeping, part, axis=1) for part in (np.where(known, values, 0.0), known.astype(float))
    )
    return np.where(below > 1e-9, above / np.where(below > 1e-9, below, 1.0), np.nan)


def products(exposures: Float[np.ndarray, "person two day"]) -> Float[np.ndarray, "person day feature"]:
    """Of each leaky dose of the first exposure with each of the second."""
    first, second = bank(exposures[:, 0]), bank(exposures[:, 1])
    return (first[..., :, None] * second[..., None, :]).reshape(*first.shape[:2], -1)


def leaky_lines(train: Followed) -> list[float]:
    """Of each exposure the time constant whose leaky mean, alone and as a line, goes best with the outcome."""
    out = []
    known = np.isfinite(train.outcome)
    known[:, :BURN_IN] = False
    person, day = np.nonzero(known)[0], train.day[known]
    for at in range(train.exposures.shape[1]):
        doses = np.stack([_leaky(train.exposures[:, at], tau) for tau in GRID_D], axis=-1)[known]
        left = _within(np.concatenate([doses, train.outcome[known][:, None]], axis=1), person, day)
        fits = np.square(left[:, :-1].T @ left[:, -1]) / np.square(left[:, :-1]).sum(axis=0)
        out.append(float(GRID_D[int(np.argmax(fits))]))
    return out


def _leaky(values: np.ndarray, tau: float) -> np.ndarray:
    return _filtered(values, np.ones(1), np.array([1.0, -np.exp(-1 / tau)]))


def _of_each(one: Callable[[np.ndarray], np.ndarray]) -> Features:
    return lambda exposures: np.concatenate([one(exposures[:, at]) for at in range(exposures.shape[1])], axis=-1)


def _beside(first: Features, second: Features) -> Features:
    return lambda exposures: np.concatenate([first(exposures), second(exposures)], axis=-1)


def _bank_with_hinges(train: np.ndarray) -> Features:
    plain = _of_each(bank)
    knots = np.nanquantile(plain(train)[:, BURN_IN:], HINGES_AT, axis=(0, 1))

    def features(exposures: np.ndarray) -> np.ndarray:
        doses = plain(exposures)
        return np.concatenate([doses, *(np.maximum(doses - knot, 0.0) for knot in knots)], axis=-1)

    return features


def cross_basis(train: Float[np.ndarray, "person exposure day"]) -> Features:
    """B-splines of the value times B-splines of the log lag, lags of 0 to 89 days; their sums over lags."""
    ends = np.nanquantile(train, [0.0, 1.0], axis=(0, 2)).T
    lags = _splines(np.log1p(np.arange(LAGS)), LAG_SPLINES, 0.0, float(np.log(LAGS)))

    def features(exposures: np.ndarray) -> np.ndarray:
        out = []
        for at, (low, high) in enumerate(ends):
            values = newest(exposures[:, at])[..., 0]
            values = np.where(np.isfinite(values), values, np.nanmean(train[:, at]))
            basis = _splines(values.ravel(), VALUE_SPLINES, low, high)[:, 1:].reshape(*values.shape, -1)
            out += [lfilter(weights, [1.0], basis, axis=1) for weights in lags.T]
        return np.concatenate(out, axis=-1)

    return features


def _splines(values: np.ndarray, count: int, low: float, high: float) -> np.ndarray:
    inner = np.linspace(low, high, count - DEGREE + 1)
    knots = np.concatenate([[low] * DEGREE, inner, [high] * DEGREE])
    out: np.ndarray = BSpline.design_matrix(values.clip(low, high), knots, DEGREE).toarray()
    return out


def _ridge_on(recipe: Recipe) -> Callable[[Followed], Told]:
    def fit(train: Followed) -> Told:
        features = recipe(train.exposures)
        table = features(train.exposures)
        known = np.isfinite(table).all(axis=-1) & np.isfinite(train.outcome)
        known[:, :BURN_IN] = False
        person = np.nonzero(known)[0]
        left = _within(np.concatenate([table[known], train.outcome[known][:, None]], axis=1), person, train.day[known])
        slopes = _ridge(left[:, :-1], left[:, -1], person)

        def effect(exposures: np.ndarray, day: np.ndarray) -> np.ndarray:
            out: np.ndarray = features(exposures) @ slopes
            return out

        return Told(effect, table.shape[-1])

    return fit


def _within(columns: np.ndarray, person: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Without person means, then without two waves of the year and a line."""
    turn = 2 * np.pi * day / YEAR_D
    terms = np.stack([np.sin(turn), np.cos(turn), np.sin(2 * turn), np.cos(2 * turn), day / YEAR_D], axis=1)
    both = np.concatenate([columns, terms], axis=1)
    _, code, count = np.unique(person, return_inverse=True, return_counts=True)
    means = np.zeros((len(count), both.shape[1]))
    np.add.at(means, code, both)
    both = both - (means / count[:, None])[code]
    columns, terms = both[:, : columns.shape[1]], both[:, columns.shape[1] :]
    out: np.ndarray = columns - terms @ np.linalg.lstsq(terms, columns, rcond=None)[0]
    return out


def _ridge(features: np.ndarray, outcome: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Slopes under the penalty (in people's days, features of unit spread) that serves people who were left out."""
    scale = features.std(axis=0).clip(min=1e-12)
    unit, fold = features / scale, np.unique(person, return_inverse=True)[1] % FOLDS
    parts = [unit[fold == one] for one in range(FOLDS)]
    grams = np.stack([part.T @ part for part in parts])
    told = np.stack([part.T @ outcome[fold == one] for one, part in enumerate(parts)])
    missed = []
    for penalty in PENALTIES:
        slopes = [
            _solve(grams.sum(0) - gram, told.sum(0) - own, penalty) for gram, own in zip(grams, told, strict=True)
        ]
        missed.append(sum(one @ gram @ one - 2 * one @ own for one, gram, own in zip(slopes, grams, told, strict=True)))
    out: np.ndarray = _solve(grams.sum(0), told.sum(0), PENALTIES[int(np.argmin(missed))]) / scale
    return out


def _solve(gram: np.ndarray, told: np.ndarray, penalty: float) -> np.ndarray:
    out: np.ndarray = np.linalg.lstsq(gram + penalty * np.eye(len(gram)), told, rcond=1e-12)[0]
    return out
