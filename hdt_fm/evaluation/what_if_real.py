"""What models say of courses after people's own doses and meals, and of the same moments with others: real lives.

Nobody knows what would have come under another plan, so nothing here is the truth of an effect. Scored is what can be:
the course that came, when all that was taken is told; whether telling other actions does harm; whether what is taken
later changes nothing; and what an effect is beside the record's own. All of it is association under stated assumptions:
people dose by what they see and expect, and models learn that too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hdt_fm.evaluation.contenders import Role
from hdt_fm.evaluation.folds import grouped_folds
from hdt_fm.evaluation.what_if import halves
from hdt_fm.evaluation.what_if_windows import Windows, questions, readings_at, windows_at, windows_of
from hdt_fm.schema.errors import ShapeError
from hdt_fm.schema.lives import STEPS_PER_HOUR, Lives

# The outcome that no action can have moved: from so long before the moment until the first minute asked after that.
BEFORE_STEPS = 2 * STEPS_PER_HOUR
# What people take is compared with the actions of so many moments of others that are most alike.
ALIKE, USUAL = 100, (0.05, 0.95)
TREND_STEPS = STEPS_PER_HOUR // 2

# (lives asked of, lives that taught about these people, windows) -> levels (moment, minute), mg/dL. Of the lives asked
# of nothing after a moment may be read, of windows nothing after the minute.
Tell = Callable[[Lives, Lives, Windows], np.ndarray]
# From training people to a model; the seed is of its own chance.
Learn = Callable[[Lives, int], Tell]


@dataclass(frozen=True)
class RealModel:
    """A contender; one that takes no plan says the same whatever is told, and is asked once."""

    learn: Learn
    role: Role
    takes_plan: bool = True


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What models said of windows of people whom they had not seen.

    Attributes:
        lives: The later lives of everybody.
        windows: Of rows of these.
        person: Of each moment.
        came: Readings; NaN where none is known.
        before: Reading at the first minute after `BEFORE_STEPS` before the moment.
        level: By model and question (moment, minute).
        usual: Whether dose and meal lie where nine in ten of training people's do at such moments; NaN without one.
    """

    lives: Lives
    windows: Windows
    person: Int[np.ndarray, " moment"]
    came: Float[np.ndarray, "moment minute"]
    before: Float[np.ndarray, " moment"]
    level: Mapping[str, Mapping[str, np.ndarray]]
    usual: Float[np.ndarray, "moment treatment"]


def hear(
    lives: Lives,
    models: Mapping[str, RealModel],
    minutes: tuple[int, ...],
    *,
    folds: int,
    seed: int,
    progress: Callable[[int, int, str], None] | None = None,
) -> Heard:
    """Each model learns from some people and is asked about the others' later lives, taught by their first ones.

    Args:
        lives: Two or more of everybody, in order of time.
        progress: Called as (done, total, what) after each fold.

    Raises:
        ShapeError: If what a model says does not fit or is no number.
        ConfigError, SplitError: If somebody has a single life, or there are fewer people than folds.
    """
    first, later = halves(lives)
    asked = lives.take(later)
    windows = windows_of(asked, minutes)
    person = asked.person[windows.life]
    began = np.maximum(windows.time - BEFORE_STEPS, 0)
    named = questions(windows, person, seed) | {"before": windows_at(asked, windows.life, began, minutes)}
    level: dict[str, dict[str, np.ndarray]] = {
        model: {name: np.full((len(windows), len(minutes)), np.nan) for name in (named if one.takes_plan else ["told"])}
        for model, one in models.items()
    }
    usual = np.full((len(windows), 2), np.nan)
    for number, fold in enumerate(grouped_folds(lives.person, folds, seed)):
        train, taught = lives.take(fold.train), lives.take(np.intersect1d(first, fold.test))
        own = np.flatnonzero(np.isin(asked.person, taught.person))
        mine = asked.take(own)
        rows = np.flatnonzero(np.isin(person, taught.person))
        for model, one in models.items():
            tell = one.learn(train, seed)
            for name, said in level[model].items():
                said[rows] = _checked(tell(mine, taught, named[name].of_lives(rows, own)), said[rows], model)
        usual[rows] = usual_doses(train, mine, windows.of_lives(rows, own))
        if progress:
            progress(number + 1, folds, "folds")
    before = readings_at(asked, windows.life, began + windows.steps[0])
    known = np.isfinite(readings_at(asked, windows.life, began)) & (windows.time >= BEFORE_STEPS)
    return Heard(
        lives=asked,
        windows=windows,
        person=person,
        came=readings_at(asked, windows.life[:, None], windows.time[:, None] + np.array(windows.steps)),
        before=np.where(known, before, np.nan),
        level=level,
        usual=usual,
    )


def _checked(got: np.ndarray, wanted: np.ndarray, model: str) -> np.ndarray:
    if got.shape != wanted.shape or not np.isfinite(got).all():
        expected = f"finite, {wanted.shape}"
        raise ShapeError("What a model says does not fit", where=model, expected=expected, got=str(got.shape))
    return got


def usual_doses(train: Lives, own: Lives, windows: Windows) -> Float[np.ndarray, "moment treatment"]:
    """1 where the dose (then the meal) lies within what others take at the moments most alike, 0 outside.

    Alike in reading, its trend of half an hour, and the other treatment; amounts are for an hour's basal insulin. NaN
    where none is taken.
    """
    others = windows_of(train, windows.minutes)
    (theirs, at_theirs), (ours, at_ours) = _actions(train, others), _actions(own, windows)
    out = np.full((len(windows), 2), np.nan)
    for treatment in range(2):
        known, asked = (
            np.column_stack([at, np.log1p(taken[:, 1 - treatment])])
            for at, taken in ((at_theirs, theirs), (at_ours, ours))
        )
        scale = known.std(axis=0) + 1e-6
        for row in np.flatnonzero(ours[:, treatment] > 0):
            off = np.square((known - asked[row]) / scale).sum(axis=1)
            alike = np.argpartition(off, min(ALIKE, len(off) - 1))[:ALIKE]
            low, high = np.quantile(theirs[alike, treatment], USUAL)
            out[row, treatment] = low <= ours[row, treatment] <= high
    return out


def _actions(lives: Lives, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Dose and meal for an hour's basal insulin; reading and trend, 0 where that is not known."""
    taken = np.stack(windows.first, axis=1) / lives.basal_units_per_hour[windows.life][:, None]
    reading = readings_at(lives, windows.life, windows.time)
    trend = reading - readings_at(lives, windows.life, windows.time - TREND_STEPS)
    return taken, np.stack([reading, np.nan_to_num(trend)], axis=1)
