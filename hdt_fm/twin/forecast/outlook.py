"""What a head said of one person at many moments -> what is told of the hours ahead, and how far to trust it.

The interval is the person's own: it begins where people kept apart left it and moves by what has come true since
(`hdt_fm.metrics.conformal.online_shift`). A moment's answer rests on it and on earlier moments; nothing later changes
it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from hdt_fm.metrics.conformal import HASTE, online_shift
from hdt_fm.metrics.events import Event, risk_of
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.series import DAY_S
from hdt_fm.signal.moments import Moments

PROMISED = 0.8
# How far back forecasts are looked at to say how they did.
LATELY_S = 7.0 * DAY_S
# With fewer readings the interval is still that of other people.
LEARNED_S = 1.0 * DAY_S


@dataclass(frozen=True)
class OfPeople:
    """What training people left in a head, for each horizon.

    Attributes:
        levels: Of the quantiles, from .1 to .9.
        shift: By how much both ends of the 80 % interval move for somebody new.
        score_spread: The unit in which a person's own interval moves on.
    """

    levels: tuple[float, ...]
    shift: tuple[float, ...]
    score_spread: tuple[float, ...]

    def __post_init__(self) -> None:
        inside = len(self.levels) > 1 and np.all(np.diff(self.levels) > 0)
        if not inside or abs(self.levels[0] - 0.1) > 1e-9 or abs(self.levels[-1] - 0.9) > 1e-9:
            raise ConfigError(
                "The head's quantiles do not make an interval of 80 %",
                where="head.levels",
                expected="rising levels from 0.1 to 0.9",
                got=str(list(self.levels)),
                fix="take a head that was taught with such levels",
            )


@dataclass(frozen=True)
class Lately:
    """How this person's last forecasts of one horizon did; only those that have come true by now.

    Attributes:
        forecasts: How many.
        held: Share of them inside the interval as it was told then; NaN where there are none.
        mean_error: Mean absolute difference of the point, in the unit of the series.
        expected: For each event, the sum of the chances that were told: how often it should have come.
        came: How often it came.
    """

    forecasts: int
    held: float
    mean_error: float
    expected: tuple[float, ...]
    came: tuple[int, ...]


@dataclass(frozen=True)
class Ahead:
    """One horizon. Values are in the unit of the series.

    Attributes:
        horizon_s: From the newest reading.
        time_s: The same on the person's own clock.
        point: The mean that is expected.
        quantiles: At the head's levels, after the person's own shift; the first and the last are the 80 % interval.
        shift: By how much its ends were moved outwards.
        chances: Of each event.
    """

    horizon_s: float
    time_s: float
    point: float
    quantiles: tuple[float, ...]
    shift: float
    chances: tuple[float, ...]
    lately: Lately

    @property
    def low(self) -> float:
        return self.quantiles[0]

    @property
    def high(self) -> float:
        return self.quantiles[-1]


@dataclass(frozen=True)
class Outlook:
    """The hours ahead of one person.

    Attributes:
        now_s: Time of the newest reading, on the person's own clock; horizons are counted from it.
        age_s: How old it is at the moment of asking.
        reading: The newest reading.
        learned: Whether the interval is the person's own yet.
    """

    now_s: float
    age_s: float
    reading: float
    levels: tuple[float, ...]
    events: tuple[Event, ...]
    ahead: tuple[Ahead, ...]
    learned: bool


def outlook(
    moments: Moments,
    said: Float[np.ndarray, "origin horizon mean_and_level"],
    people: OfPeople,
    *,
    readings_s: float,
    age_s: float = 0.0,
    events: Sequence[Event] = (),
    plausible: tuple[float, float] = (-np.inf, np.inf),
    now: int = -1,
) -> Outlook:
    """The answer at one of a person's moments, from what was said and came true up to it.

    Args:
        moments: Of one person, rising in time; `target` is what came, NaN where nothing was measured.
        said: By the head at each of them, in the unit of the series: the mean, then a quantile at each of its levels.
        readings_s: For how long there are readings up to the moment.
        age_s: Of the newest reading.
        plausible: What a body can have; nothing beyond it is told.
        now: Which moment, counted as a list does.

    Raises:
        ShapeError: If moments do not rise in time or do not go with what was said.
    """
    wanted = (len(moments), len(moments.horizons_s), 1 + len(people.levels))
    rising = bool(np.all(np.diff(moments.time_s) > 0))
    if said.shape != wanted or not rising:
        raise ShapeError(
            "What was said does not go with the moments",
            where="outlook",
            expected=f"moments that rise in time, and answers of shape {wanted}",
            got=f"answers of shape {said.shape}" + ("" if rising else ", moments that do not rise"),
            fix="take one person's moments in order, and ask the head once for each",
        )
    upto = range(len(moments))[now] + 1
    time_s = moments.time_s[:upto]
    ahead = [
        _ahead(column, time_s, said[:upto, column], moments, people, tuple(events), plausible)
        for column in range(len(moments.horizons_s))
    ]
    return Outlook(
        now_s=float(time_s[-1]),
        age_s=float(age_s),
        reading=float(moments.last[upto - 1]),
        levels=people.levels,
        events=tuple(events),
        ahead=tuple(ahead),
        learned=readings_s >= LEARNED_S,
    )


def _ahead(
    column: int,
    time_s: NDArray[np.float64],
    said: NDArray[np.float64],
    moments: Moments,
    people: OfPeople,
    events: tuple[Event, ...],
    plausible: tuple[float, float],
) -> Ahead:
    horizon_s = moments.horizons_s[column]
    # What has not come true by now is not known, whatever the moments hold.
    truth = np.where(time_s + horizon_s <= time_s[-1], moments.target[: len(time_s), column], np.nan)
    quantiles = np.sort(said[:, 1:], axis=1)
    shift = online_shift(
        time_s,
        quantiles[:, 0],
        quantiles[:, -1],
        truth,
        horizon_s=horizon_s,
        start=people.shift[column],
        spread=people.score_spread[column],
        coverage=PROMISED,
        haste=HASTE,
    )
    own = moved(quantiles, people.levels, shift)
    chances = np.stack([risk_of(own, people.levels, event) for event in events], axis=1) if events else own[:, :0]
    return Ahead(
        horizon_s=horizon_s,
        time_s=float(time_s[-1] + horizon_s),
        point=float(np.clip(said[-1, 0], *plausible)),
        quantiles=tuple(np.clip(own[-1], *plausible).tolist()),
        shift=float(shift[-1]),
        chances=tuple(chances[-1].tolist()),
        lately=_lately(time_s + horizon_s > time_s[-1] - LATELY_S, truth, said[:, 0], own, chances, events),
    )


def moved(
    quantiles: Float[np.ndarray, "origin level"], levels: Sequence[float], shift: Float[np.ndarray, " origin"]
) -> Float[np.ndarray, "origin level"]:
    """Quantiles after both ends were moved outwards by `shift`; those between move by their share, the median stays.

    So interval, fan and chances say the same. A shift inwards stops where the ends would meet.
    """
    held = np.maximum(shift, -(quantiles[:, -1] - quantiles[:, 0]) / 2)
    share = (np.asarray(levels) - 0.5) / (levels[-1] - 0.5)
    return np.sort(quantiles + held[:, None] * share, axis=1)


def _lately(
    recent: NDArray[np.bool_],
    truth: NDArray[np.float64],
    point: NDArray[np.float64],
    own: NDArray[np.float64],
    chances: NDArray[np.float64],
    events: tuple[Event, ...],
) -> Lately:
    rows = np.flatnonzero(recent & np.isfinite(truth))
    came, inside = truth[rows], (truth[rows] >= own[rows, 0]) & (truth[rows] <= own[rows, -1])
    return Lately(
        forecasts=len(rows),
        held=float(inside.mean()) if len(rows) else float("nan"),
        mean_error=float(np.abs(point[rows] - came).mean()) if len(rows) else float("nan"),
        expected=tuple(chances[rows].sum(axis=0).tolist()),
        came=tuple(int(event.of(came).sum()) for event in events),
    )
