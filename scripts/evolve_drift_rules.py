"""What ours is held against: detectors of one stream each, as they are given away and with limits set on people; and
the bound, a rule that knows the world.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import numpy as np
from evolve_drift_lives import BUDGET

from hdt_fm.evaluation.evolve.drift import Alarms, Role
from hdt_fm.twin.drift import streams
from hdt_fm.twin.drift.detectors import SLACK, Adwin, Cusum, Detector, PageHinkley
from hdt_fm.twin.drift.threshold import DAYS_PER_YEAR, limit_for, rate
from hdt_fm.twin.drift.usual import LEARN_DAYS

FEW = 20
SINGLES: dict[str, Callable[..., Detector]] = {
    "CUSUM": partial(Cusum, slack=SLACK),
    "Page-Hinkley": partial(PageHinkley, delta=SLACK, least=1, keep=1.0),
}
ADWIN_DELTAS = (0.99, 0.9, 0.7, 0.5, 0.3, 0.1, 0.002)
THREE_SDS = "3 own SDs, size of errors"
FLOORS = (THREE_SDS, "Page-Hinkley as given, size of errors", "ADWIN as given, size of errors")
KNOWS = "who knows the world and looks for this alone"
# The bound weighs no onset older than so many days; days so far apart go together no more, and it fades until then.
AGES, APART, FADED = 28, 30, 15
_CLIP, _RIDGE = 4.0, 1e-3


@dataclass(frozen=True)
class Rule:
    """A detector of one stream."""

    name: str
    role: Role
    stream: str
    make: Callable[[], Detector]

    def alarms(self, away: Mapping[str, np.ndarray], names: Sequence[str]) -> Alarms:
        """First alarms in streams (life, day, stream) of each kind of life; "setting" is left out."""
        own = {kind: days[..., names.index(self.stream)] for kind, days in away.items() if kind != "setting"}
        alarm = {kind: first_alarms(days, self.make, LEARN_DAYS) for kind, days in own.items()}
        return Alarms(self.name, self.role, alarm.pop("well"), alarm)


class ThreeSds:
    """A day that lies 3 own SDs (as far as the streams say) from the usual."""

    limit, days, height = 3.0, 1, 0.0

    def add(self, value: float) -> bool:
        return bool(abs(value) >= self.limit)

    def state(self) -> dict[str, float]:
        return {}


def rules_set_on(setting: np.ndarray, names: Sequence[str], *, all_kinds: bool) -> list[Rule]:
    """Each detector on each stream, its limit set on people in whom nothing changes (life, day, stream); and rules as
    they are given away.

    Args:
        all_kinds: Page-Hinkley and ADWIN too, on the errors that tell the most, not the CUSUM alone.
    """
    found = []
    for place, name in enumerate(names):
        if name in (streams.INSULIN, streams.CARBS):
            continue  # alone they say what was taken, and nothing of a sensor or a body
        own, several = setting[..., place], all_kinds and name in (streams.REST, streams.ACTED)
        for label, made in list(SINGLES.items())[: None if several else 1]:
            climbed = heights(own, partial(made, limit=np.inf), LEARN_DAYS)
            limit = limit_for(climbed, max(BUDGET, 2 * DAYS_PER_YEAR / climbed.size))
            found.append(Rule(f"{label}, {name}", "reference", name, partial(made, limit=limit)))
        if several and adwin_is_there(len(own)):
            least = [one for one in ADWIN_DELTAS if _rate_of(own, partial(Adwin, delta=one, every=1)) <= BUDGET]
            delta = max(least, default=min(ADWIN_DELTAS))
            found.append(Rule(f"ADWIN, {name}", "reference", name, partial(Adwin, delta=delta, every=1)))
    given: list[Callable[[], Detector]] = [ThreeSds, partial(PageHinkley, limit=50.0), Adwin]
    pairs = zip(FLOORS[: 3 if adwin_is_there(len(setting)) else 2], given, strict=False)
    return [*found, *(Rule(name, "baseline", streams.SIZE, make) for name, make in pairs)]


def first_alarms(away: np.ndarray, detector: Callable[[], Detector], first: int) -> np.ndarray:
    """(life,) The day on which a detector of one stream (life, day) first alarms; `inf` is never."""
    found = np.full(len(away), np.inf)
    for life, days in enumerate(away):
        one = detector()
        for day in range(first, len(days)):
            if one.add(days[day]):
                found[life] = day
                break
    return found


def heights(away: np.ndarray, detector: Callable[[], Detector], first: int) -> np.ndarray:
    """(life, watched day) How high it climbs where nobody stops it."""
    out = np.zeros((len(away), away.shape[1] - first))
    for life, days in enumerate(away):
        one = detector()
        for day in range(first, len(days)):
            one.add(days[day])
            out[life, day - first] = one.height
    return out


def adwin_is_there(lives: int) -> bool:
    """Importing river takes longer than a few lives."""
    return lives > FEW and find_spec("river") is not None


def _rate_of(away: np.ndarray, detector: Callable[[], Detector]) -> float:
    alarm = first_alarms(away, detector, LEARN_DAYS)
    return rate(np.arange(LEARN_DAYS, away.shape[1]) == alarm[:, None])


class Knowing:
    """The bound of what these streams hold: the likelihood of one change against none, at every onset.

    It knows each person's own SDs over the whole life, how streams go together within a day and up to two weeks apart,
    what this change does on the first days and later, and which way; it learns the usual alone, as everybody must. Its
    limit is set on the same people as those of others.

    Args:
        calm: Streams (life, day, stream) of people in whom nothing changes; means and SDs are each life's own.
        effect: (day since the onset, stream) In own SDs.
    """

    def __init__(self, calm: np.ndarray, effect: np.ndarray) -> None:
        days, several = calm.shape[1:]
        spread = np.zeros((days, several, several))
        for apart in range(1, days):
            gap = min(apart, APART)
            moved = (calm[:, gap:] - calm[:, :-gap]).reshape(-1, several)
            spread[apart] = moved.T @ moved / len(moved) / 2
        # Contrasts of days hang on half the variance of their differences alone. What is left of it fades, so that the
        # noise of many lags makes no direction without variance.
        fade = np.maximum(1 - np.arange(days) / FADED, 0.0)[:, None, None]
        self.together = fade * (spread[min(APART, days - 1)] - spread)
        self.effect = effect

    def heights(self, lives: np.ndarray, first: int) -> np.ndarray:
        """(life, watched day) The log likelihood ratio, at the best onset."""
        several, out = lives.shape[2], np.zeros((len(lives), lives.shape[1] - first))
        for today in range(first, lives.shape[1]):
            size = today + 1
            cells = self.together[np.abs(np.subtract.outer(np.arange(size), np.arange(size)))]
            whole = cells.transpose(0, 2, 1, 3).reshape(size * several, size * several)
            inverse = np.linalg.inv(whole + _RIDGE * np.eye(len(whole)))
            level = np.tile(np.eye(several), (size, 1))
            free = inverse - inverse @ level @ np.linalg.solve(level.T @ inverse @ level, level.T @ inverse)
            changes = np.zeros((min(AGES, size - AGES // 2), size, several))
            for age, change in enumerate(changes, start=1):
                change[size - age :] = self.effect[:age]
            flat = changes.reshape(len(changes), -1)
            weights = flat @ free
            score = lives[:, :size].reshape(len(lives), -1) @ weights.T
            out[:, today - first] = np.maximum((score - (weights * flat).sum(axis=1) / 2).max(axis=1), 0.0)
        return out


def knowing_alarms(
    raw: Mapping[str, np.ndarray], twins: Mapping[str, np.ndarray], onset: Mapping[str, np.ndarray]
) -> list[Alarms]:
    """The bound for each kind of change, a row of false alarms of its own.

    Args:
        raw: Streams (life, day, stream) of `JOINED` as they are, by kind of life; NaN is taken as the life's mean.
        twins: The same days of the same people where nothing changes, for each kind that changes.
        onset: Of each kind.
    """

    def own(values: np.ndarray, like: np.ndarray) -> np.ndarray:
        mean, spread = np.nanmean(like, axis=1, keepdims=True), np.nanstd(like, axis=1, keepdims=True)
        return np.clip(np.nan_to_num((values - mean) / np.maximum(spread, 1e-9)), -_CLIP, _CLIP)

    calm = {kind: own(raw[kind], raw[kind]) for kind in ("setting", "well")}
    found = []
    for kind, days in onset.items():
        changed = own(raw[kind], twins[kind])
        moved, since = changed - own(twins[kind], twins[kind]), np.arange(raw[kind].shape[1])[None] - days[:, None]
        effect = np.stack([moved[since == day].mean(axis=0) for day in (0, 1)])
        later = moved[since >= 2].mean(axis=0)
        knows = Knowing(calm["setting"], np.concatenate([effect, np.repeat(later[None], AGES, axis=0)]))
        climbed = knows.heights(calm["setting"], LEARN_DAYS)
        limit = limit_for(climbed, max(BUDGET, 2 * DAYS_PER_YEAR / climbed.size))
        alarm = [_first(knows.heights(lives, LEARN_DAYS) > limit) for lives in (calm["well"], changed)]
        found.append(Alarms(f"{KNOWS}: {kind}", "reference", alarm[0], {kind: alarm[1]}))
    return found


def _first(passed: np.ndarray) -> np.ndarray:
    return np.where(passed.any(axis=1), passed.argmax(axis=1) + LEARN_DAYS, np.inf)
