"""What every model of real doses and meals must beat: the last value, and learners that read past and plan.

They are told what ours is: readings and what was taken before, habits that the person's other lives showed, and all
that is taken until the minute asked, by how long before that minute. Nothing after the minute is in their features.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from sklearn.impute import SimpleImputer
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from hdt_fm.evaluation.what_if import halves
from hdt_fm.evaluation.what_if_floors import (
    ALPHAS,
    HIGHEST_MG_DL,
    LOWEST_MG_DL,
    PLAN_FEATURES,
    Regress,
    features_of,
)
from hdt_fm.evaluation.what_if_real import Learn, Tell
from hdt_fm.evaluation.what_if_windows import OLDEST_STEPS, Windows, readings_at, windows_of
from hdt_fm.schema.lives import STEP_MINUTES, Asked, Lives

# What is taken counts by how long before the minute asked.
AGES_MINUTES = (0, 30, 60, 90, 120, 180, 240)

# Rows in a leaf of boosted trees, at least.
LEAF = 40
# People's doses differ tenfold: a line is not drawn beyond so many standard deviations of training people's.
FARTHEST_SD = 3.0

# What a learner reads beside the past: (lives, lives that taught, windows) -> (moment, minute, feature).
Beside = Callable[[Lives, Lives, Windows], np.ndarray]
# From training people to what is read beside.
Read = Callable[[Lives, int], Beside]


def last_value(train: Lives, seed: int) -> Tell:
    """Nothing moves; where no reading is known, the mean of all."""
    mean = float(np.nanmean(train.glucose_mg_dl))

    def tell(own: Lives, taught: Lives, windows: Windows) -> np.ndarray:
        reading = readings_at(own, windows.life, windows.time)
        return np.repeat(np.where(np.isfinite(reading), reading, mean)[:, None], len(windows.minutes), axis=1)

    return tell


def linear(features: np.ndarray, change: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Ridge on unit scales; what is unknown is the mean, and what nobody was like is taken as the farthest usual."""
    within = FunctionTransformer(np.clip, kw_args={"a_min": -FARTHEST_SD, "a_max": FARTHEST_SD})
    fitted = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), within, RidgeCV(ALPHAS))
    fitted.fit(features, change)
    return lambda asked: np.asarray(fitted.predict(asked))


def learner(minutes: tuple[int, ...], regress: Regress, read: Read) -> Learn:
    """A regression of the change for each minute, on the past and on what is read beside."""

    def learn(train: Lives, seed: int) -> Tell:
        beside, floor = read(train, seed), last_value(train, seed)
        features, change = _taught(train, minutes, beside)
        models = []
        for at in range(len(minutes)):
            known = np.isfinite(change[:, at])
            models.append(regress(features[known, at], change[known, at], seed))

        def tell(own: Lives, taught: Lives, windows: Windows) -> np.ndarray:
            table = _features(own, taught, windows, beside)
            moved = np.stack([model(table[:, at]) for at, model in enumerate(models)], axis=1)
            level: np.ndarray = floor(own, taught, windows) + moved
            return level.clip(LOWEST_MG_DL, HIGHEST_MG_DL)

        return tell

    return learn


def nothing_beside(own: Lives, taught: Lives, windows: Windows) -> Float[np.ndarray, "moment minute 0"]:
    """The past alone."""
    return np.zeros((len(windows), len(windows.minutes), 0))


def action_beside(own: Lives, taught: Lives, windows: Windows) -> Float[np.ndarray, "moment minute feature"]:
    """The action, and nothing of what is taken later."""
    return planned(own, taught, windows.alone)


def planned(own: Lives, taught: Lives, windows: Windows) -> Float[np.ndarray, "moment minute feature"]:
    """All that is taken until each minute: by how long before it, by an hour's basal insulin, by reading and ratio."""
    basal = own.basal_units_per_hour[windows.life]
    reading = np.nan_to_num(readings_at(own, windows.life, windows.time))
    found = []
    for step in windows.steps:
        age = (step - np.arange(windows.units.shape[1])) * STEP_MINUTES
        within = (age[:, None] > AGES_MINUTES[:-1]) & (age[:, None] <= np.array([*AGES_MINUTES[1:-1], np.inf]))
        units, grams = windows.units @ within, windows.grams @ within
        dose, meal = units.sum(axis=1) / basal, grams.sum(axis=1) / basal
        found.append(np.column_stack([units, grams, dose, meal, dose * reading / 100.0, units / basal[:, None]]))
    return np.stack(found, axis=1)


def _taught(train: Lives, minutes: tuple[int, ...], beside: Beside) -> tuple[np.ndarray, np.ndarray]:
    """Windows of training people's lives in two halves, each taught by the other: features and how glucose moved."""
    one, other = halves(train)
    features, change = [], []
    for rows, teaching in ((one, other), (other, one)):
        own, taught = train.take(rows), train.take(teaching)
        windows = windows_of(own, minutes)
        features.append(_features(own, taught, windows, beside))
        came = readings_at(own, windows.life[:, None], windows.time[:, None] + np.array(windows.steps))
        change.append(came - readings_at(own, windows.life, windows.time)[:, None])
    return np.concatenate(features), np.concatenate(change)


def _features(own: Lives, taught: Lives, windows: Windows, beside: Beside) -> np.ndarray:
    """(moment, minute, feature): of the past, the same for all minutes, then what is read beside."""
    nothing = np.zeros((len(windows), 1))
    asked = Asked(
        life=windows.life,
        time=windows.time,
        dose_units=nothing,
        carbs_g=nothing,
        contrasts=(),
        minutes=windows.minutes,
    )
    past = features_of(_held(own), taught, asked)[:, :, : -len(PLAN_FEATURES)]
    read = beside(own, taught, windows)
    return np.concatenate([np.repeat(past, read.shape[1], axis=1), read], axis=2)


def _held(lives: Lives) -> Lives:
    """Between readings of a slow sensor the newest one stands."""
    glucose = lives.glucose_mg_dl.copy()
    for _ in range(OLDEST_STEPS):
        glucose[:, 1:] = np.where(np.isfinite(glucose[:, 1:]), glucose[:, 1:], glucose[:, :-1])
    return replace(lives, glucose_mg_dl=glucose)
