"""How likely each event is at any reading up to a horizon, and how often such chances came true of this person.

A forecast's quantiles say what is likely at a horizon; what comes and goes before is missed. These chances are a head's
own. A moment's answer rests on it and on earlier moments; nothing later changes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hdt_fm.metrics.events import Event
from hdt_fm.schema.errors import ShapeError
from hdt_fm.signal.moments import Moments
from hdt_fm.twin.forecast.outlook import LATELY_S

OriginHorizonEvent = Float[np.ndarray, "origin horizon event"]


@dataclass(frozen=True)
class Within:
    """One horizon; a value for each event.

    Attributes:
        chances: That it comes at any reading up to the horizon; NaN where it is there now.
        moments: How many of the last days' moments were asked, and are known to have been followed by it or not.
        expected: The sum of the chances that were told at them: how often it should have come.
        came: How often it came.
    """

    chances: tuple[float, ...]
    moments: tuple[int, ...]
    expected: tuple[float, ...]
    came: tuple[int, ...]


def within(
    moments: Moments, risks: OriginHorizonEvent, happened: OriginHorizonEvent, events: Sequence[Event], *, now: int = -1
) -> tuple[Within, ...]:
    """The chances at one of a person's moments, horizon by horizon.

    Args:
        moments: Of one person, rising in time.
        risks: As they were told at each of them.
        happened: Within each horizon 0 or 1, NaN where it was there already or is not known
            (`hdt_fm.signal.within.happened_within`).
        events: In the order of the last axis.
        now: Which moment, counted as a list does.

    Raises:
        ShapeError: If these do not go together.
    """
    wanted = (len(moments), len(moments.horizons_s), len(events))
    if risks.shape != wanted or happened.shape != wanted:
        raise ShapeError(
            "Chances do not go with the moments",
            where="within",
            expected=f"chances and truths of shape {wanted}",
            got=f"{risks.shape} and {happened.shape}",
            fix="ask the head once for each moment, horizon and event",
        )
    here = range(len(moments))[now]
    there = np.array([bool(event.of(moments.last[here : here + 1])[0]) for event in events])
    return tuple(
        _one(moments.time_s[: here + 1], horizon_s, risks[: here + 1, column], happened[: here + 1, column], there)
        for column, horizon_s in enumerate(moments.horizons_s)
    )


def _one(
    time_s: Float[np.ndarray, " origin"],
    horizon_s: float,
    risks: Float[np.ndarray, "origin event"],
    happened: Float[np.ndarray, "origin event"],
    there: np.ndarray,
) -> Within:
    # A span that is still open could only say that the event came, never that it did not.
    closed = time_s + horizon_s <= time_s[-1]
    recent = time_s + horizon_s > time_s[-1] - LATELY_S
    known = (closed & recent)[:, None] & np.isfinite(happened)
    return Within(
        chances=tuple(np.where(there, np.nan, risks[-1]).tolist()),
        moments=tuple(known.sum(axis=0).tolist()),
        expected=tuple(np.where(known, risks, 0.0).sum(axis=0).tolist()),
        came=tuple(int(count) for count in np.where(known, happened, 0.0).sum(axis=0)),
    )
