"""The watch itself, night by night: baseline, surprise, score, p-value, CUSUM, state; nothing looks ahead."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from hdt_fm.schema.errors import ShapeError
from hdt_fm.twin.alert.baseline import fit
from hdt_fm.twin.alert.budget import Budget
from hdt_fm.twin.alert.rarity import rarity
from hdt_fm.twin.alert.score import correlation, parts_along, parts_anywhere, total
from hdt_fm.twin.alert.settings import AlertSettings

STATES = ("learning", "quiet", "watch", "alert", "abstained")
LEARNING, QUIET, WATCH, ALERT, ABSTAINED = range(5)
# CUSUM stops at this many thresholds, so that an alert ends soon after what raised it.
_CEILING = 1.5
# Nights of alert from the first on that still teach: most false alerts end by then, and to leave out every high night
# would make the usual look narrower than it is.
_TEACHING_NIGHTS = 4
# Nights ago, of a night that there was not; further apart from any other than what a night can tell of another.
_NEVER = np.array([10_000, 20_000])[:, None, None]
# Of the times that ideal scores pass a threshold, so many are episodes that our counting finds: a night counts at most
# so much, an alert lasts, and one soon after it is the same. Set on simulated people of seeds below 2000.
_EPISODES_A_PASSAGE = 0.8


@dataclass(frozen=True)
class Tonight:
    """Answers for one night of several people.

    Attributes:
        state: Index into `STATES`.
        cusum, threshold: Of the channel that stands nearest to its threshold.
        p: Smallest p-value over the channels; NaN while learning or without data.
        deviation: From the usual, in personal SDs; NaN where that is not known.
        parts: What each indicator adds to the score of its channel, exactly; NaN where that is not known.
        heard: Indicators of the channel that stands nearest to its threshold; none while learning.
        usual, spread: What was usual tonight and the personal SD, in the indicator's unit; NaN while that is not known.
        renewed: The baseline starts anew tonight: 0 no, 1 another device, 2 an alert that did not end.
        learned: Calibration nights so far, of the channel that has most.
        gap: What CUSUM had gathered was dropped, after a long stretch without data.
    """

    state: Int[np.ndarray, " person"]
    cusum: Float[np.ndarray, " person"]
    threshold: Float[np.ndarray, " person"]
    p: Float[np.ndarray, " person"]
    deviation: Float[np.ndarray, "person indicator"]
    parts: Float[np.ndarray, "person indicator"]
    heard: Bool[np.ndarray, "person indicator"]
    usual: Float[np.ndarray, "person indicator"]
    spread: Float[np.ndarray, "person indicator"]
    renewed: Int[np.ndarray, " person"]
    learned: Int[np.ndarray, " person"]
    gap: Bool[np.ndarray, " person"]


class _Compared(NamedTuple):
    """Tonight against the baseline, (person, indicator) each; NaN where that is not known yet."""

    deviation: np.ndarray  # from the usual, in personal SDs
    surprise: np.ndarray  # from what the last two nights led to expect, in SDs of what they leave to chance
    usual: np.ndarray  # on this weekday, in the indicator's unit
    spread: np.ndarray  # the personal SD, in the indicator's unit
    nights: np.ndarray  # that the baseline was learned from


class Watcher:
    """Watches `people` side by side, each against their own past alone.

    One channel for the indicators whose direction is known, one for all others; each has half of the budget when
    there are both.

    Args:
        people: How many; row 0 of every night is always the same person.
        effect: What illness typically adds to each indicator, in its unit; 0 where either way counts.
    """

    def __init__(self, people: int, effect: Float[np.ndarray, " indicator"], settings: AlertSettings) -> None:
        size = len(effect)
        self._settings, self._effect = settings, effect
        self._columns = [at for at in (np.flatnonzero(effect), np.flatnonzero(effect == 0)) if len(at)]
        self._hears = [np.isin(np.arange(size), columns) for columns in self._columns]
        each = float(settings.budget_per_year) / _EPISODES_A_PASSAGE / len(self._columns)
        self._budgets = [Budget(people, per_year=each, slack=float(settings.slack)) for _ in self._columns]
        self._cusum = np.zeros((len(self._columns), people))
        self._over = np.zeros((len(self._columns), people), dtype=np.bool_)
        self._past = np.full((people, settings.memory, size), np.nan)
        self._weekdays = np.zeros((people, settings.memory), dtype=np.int64)
        self._surprise = np.full((people, settings.memory, size), np.nan)
        self._scores = np.full((len(self._columns), people, settings.memory), np.nan)
        # The last two nights that are known of each indicator, the later one first, and how many nights ago they were.
        self._last, self._last_weekday = np.full((2, people, size), np.nan), np.zeros((2, people, size), dtype=np.int64)
        self._back = np.zeros((2, people, size), dtype=np.int64)
        self._filled = 1  # of the rings, those that may hold something
        self._without_data = np.zeros(people, dtype=np.int64)
        self._alert_nights = np.zeros(people, dtype=np.int64)

    def step(
        self,
        values: Float[np.ndarray, "person indicator"],
        weekday: Int[np.ndarray, " person"],
        new_device: Bool[np.ndarray, " person"],
    ) -> Tonight:
        """Answer one night, then learn from it.

        Args:
            values: In each indicator's unit; NaN where it was not measured.
            weekday: Of the night, 0 to 6.
            new_device: Whether another device is worn from this night on.

        Raises:
            ShapeError: If there are more or fewer people or indicators than before.
        """
        if values.shape != self._last.shape[1:]:
            raise ShapeError(
                "A night does not fit the watch",
                where="Watcher.step",
                expected=f"(people, indicators) = {self._last.shape[1:]}",
                got=str(values.shape),
                fix="give every person a row every night, NaN where nothing was measured",
            )
        renewed = np.where(new_device, 1, np.where(self._alert_nights >= self._settings.renew_after, 2, 0))
        self._forget(renewed > 0)
        return self._judge(values, weekday, self._against_usual(values, weekday), renewed)

    def _against_usual(self, values: np.ndarray, weekday: np.ndarray) -> _Compared:
        """Tonight beside the baseline of the nights before."""
        base = fit(self._past[:, -self._filled :], self._weekdays[:, -self._filled :])
        enough = base.count >= self._settings.warm_up
        spread = np.where(enough, base.spread, np.nan)
        days = np.repeat(weekday[:, None], values.shape[1], axis=1)
        away = base.deviation(values, days)
        before = np.stack([base.deviation(*one) for one in zip(self._last, self._last_weekday, strict=True)])
        weight, left = base.told(np.where(np.isfinite(self._last), self._back, _NEVER))
        expected = (weight * np.nan_to_num(before)).sum(axis=0)
        # What is left to chance; that level and spread were learned from so many nights.
        worth = np.maximum(base.count, 4.0)
        chance = spread * np.sqrt(left * (1 + 1 / worth) * (worth - 1) / (worth - 3))
        usual = np.where(np.isfinite(spread), base.usual(days), np.nan)
        return _Compared(away / spread, (away - expected) / chance, usual, spread, base.count)

    def _judge(self, values: np.ndarray, weekday: np.ndarray, compared: _Compared, renewed: np.ndarray) -> Tonight:
        people, settings = len(values), self._settings
        there = np.isfinite(values).any(axis=1)
        gap = there & (self._without_data > settings.longest_gap) & (self._cusum.max(axis=0) > 0)
        self._restart(gap)
        least_p, nearest = np.full(people, np.nan), np.full(people, -1.0)
        shown, edge = np.zeros(people), np.full(people, np.nan)
        scores, learned = [], np.zeros(people, dtype=np.int64)
        parts, heard = np.full(values.shape, np.nan), np.zeros(values.shape, dtype=np.bool_)
        for channel, columns in enumerate(self._columns):
            made_of = self._parts(compared, columns)
            score, parts[:, columns] = total(made_of), made_of
            own = self._scores[channel]
            calibration = np.isfinite(own).sum(axis=1)
            ready = calibration >= settings.calibration_nights
            rare = rarity(score, own)
            seen = ready & np.isfinite(rare.z)
            gain = np.clip(np.nan_to_num(rare.z), -settings.most_a_night, settings.most_a_night) - settings.slack
            threshold = self._budgets[channel].threshold(compared.nights[:, columns].max(axis=1))
            before = self._cusum[channel]
            cusum = np.clip(before + gain, 0, _CEILING * threshold)
            # Below its threshold an alert has ended, and what raised it shall not raise another.
            cusum = np.where(self._over[channel] & (cusum < threshold), 0.0, cusum)
            self._over[channel] = np.where(seen, cusum >= threshold, self._over[channel])
            self._cusum[channel] = np.where(seen, cusum, self._cusum[channel])
            self._budgets[channel].learn(self._cusum[channel], threshold, seen)
            least_p = np.where(seen, np.fmin(least_p, rare.p), least_p)
            share = np.where(ready, self._cusum[channel] / threshold, -1.0)
            closer = share > nearest
            nearest = np.where(closer, share, nearest)
            heard[closer] = self._hears[channel]
            shown, edge = np.where(closer, self._cusum[channel], shown), np.where(closer, threshold, edge)
            learned = np.maximum(learned, calibration)
            scores.append(score)
        state = np.select(
            [~there, learned < settings.calibration_nights, nearest >= 1, nearest >= 0.5],
            [ABSTAINED, LEARNING, ALERT, WATCH],
            QUIET,
        )
        self._learn(values, weekday, compared.surprise, np.array(scores), state)
        return Tonight(
            state=state,
            cusum=shown,
            threshold=edge,
            p=least_p,
            deviation=compared.deviation,
            parts=parts,
            heard=heard,
            usual=compared.usual,
            spread=compared.spread,
            renewed=renewed,
            learned=learned,
            gap=gap,
        )

    def _parts(self, compared: _Compared, columns: np.ndarray) -> np.ndarray:
        """What each of a channel's indicators adds to its score; high is unlike the person."""
        effect, asked = self._effect[columns], compared.surprise[:, columns]
        if not effect.any():
            return parts_anywhere(asked)
        if len(columns) == 1:
            return asked * np.sign(effect)
        before = self._surprise[:, -self._filled :, columns]
        nights = np.isfinite(before).any(axis=2).sum(axis=1).astype(np.float64)
        return parts_along(asked, effect / compared.spread[:, columns], correlation(before), nights)

    def _learn(
        self, values: np.ndarray, weekday: np.ndarray, surprise: np.ndarray, scores: np.ndarray, state: np.ndarray
    ) -> None:
        """Tonight becomes past; from its fifth night on an alert teaches where tomorrow starts, not what is usual."""
        teaches = ~((state == ALERT) & (self._alert_nights >= _TEACHING_NIGHTS))[:, None]
        self._past = _shifted(self._past, np.where(teaches, values, np.nan))
        self._surprise = _shifted(self._surprise, np.where(teaches, surprise, np.nan))
        self._weekdays = _shifted(self._weekdays, weekday)
        for channel, score in enumerate(scores):
            self._scores[channel] = _shifted(self._scores[channel], np.where(teaches[:, 0], score, np.nan))
        self._filled = min(self._filled + 1, self._settings.memory)
        known = np.isfinite(values)
        days = np.repeat(weekday[:, None], values.shape[1], axis=1)
        self._last = np.where(known, np.stack([values, self._last[0]]), self._last)
        self._last_weekday = np.where(known, np.stack([days, self._last_weekday[0]]), self._last_weekday)
        self._back = np.where(known, np.stack([np.zeros_like(days), self._back[0]]), self._back) + 1
        self._without_data = np.where(known.any(axis=1), 0, self._without_data + 1)
        # Nights without data neither end an alert nor make it longer.
        self._alert_nights = np.where(
            state == ALERT, self._alert_nights + 1, np.where(state == ABSTAINED, self._alert_nights, 0)
        )

    def _restart(self, people: np.ndarray) -> None:
        self._cusum[:, people], self._over[:, people] = 0.0, False
        for budget in self._budgets:
            budget.drop(people)

    def _forget(self, people: np.ndarray) -> None:
        """Begin anew for these people; how high their CUSUM climbs by chance is theirs, not the device's, and stays."""
        self._restart(people)
        self._past[people], self._surprise[people], self._last[:, people] = np.nan, np.nan, np.nan
        self._scores[:, people] = np.nan
        self._alert_nights[people] = 0


def _shifted(past: np.ndarray, tonight: np.ndarray) -> np.ndarray:
    return np.concatenate([past[:, 1:], tonight[:, None]], axis=1)
