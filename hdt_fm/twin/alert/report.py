"""One person's nights -> what each night was, and alerts that say what deviates and what their score is made of."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from hdt_fm.twin.alert.episodes import Alert, Said, alerts_of, deviations_of
from hdt_fm.twin.alert.score import total
from hdt_fm.twin.alert.settings import AlertSettings
from hdt_fm.twin.alert.watcher import ABSTAINED, ALERT, LEARNING, STATES, WATCH, Tonight, Watcher
from hdt_fm.twin.nights.indicators import effects_of
from hdt_fm.twin.nights.night import DAY, Nights, weekdays

_RENEWED = {
    1: "another device: the baseline is learned anew",
    2: "an alert that lasted for weeks: taken for the new usual, which is learned anew",
}


@dataclass(frozen=True)
class AlertReport:
    """Every night from the first date to the last.

    Attributes:
        state: "learning", "quiet", "watch" (half-way to an alert), "alert" or "abstained" (no data).
        reason: Of each night's state; "" for quiet nights.
        cusum, threshold: Evidence gathered, and what raises an alert.
        p_value: Of the night among the person's own; NaN while learning or without data.
        deviation: From the usual in personal SDs, per indicator.
        parts: What each indicator adds to the score of its channel, exactly; NaN where it says nothing.
        heard: Indicators of the channel that stood nearest to its threshold; none while learning.
        either_way: Indicators of the channel that hears squares; the others speak for the way that illness goes.
        usual, spread: What was usual in each night and the personal SD, in the indicator's unit; NaN while not known.
        learned: Calibration nights that lay behind.
        alerts: Episodes.
        usable_from: First night that could have been an alert; None if none could.
        renewed: Nights on which the baseline began anew.
    """

    dates: np.ndarray
    names: tuple[str, ...]
    state: tuple[str, ...]
    reason: tuple[str, ...]
    cusum: Float[np.ndarray, " night"]
    threshold: Float[np.ndarray, " night"]
    p_value: Float[np.ndarray, " night"]
    deviation: Float[np.ndarray, "night indicator"]
    parts: Float[np.ndarray, "night indicator"]
    heard: Bool[np.ndarray, "night indicator"]
    either_way: Bool[np.ndarray, " indicator"]
    usual: Float[np.ndarray, "night indicator"]
    spread: Float[np.ndarray, "night indicator"]
    learned: Int[np.ndarray, " night"]
    alerts: tuple[Alert, ...]
    usable_from: np.datetime64 | None
    renewed: tuple[np.datetime64, ...]
    settings: AlertSettings

    def nights_of(self, state: str) -> int:
        """How many nights were so."""
        return self.state.count(state)

    @property
    def score(self) -> Float[np.ndarray, " night"]:
        """Of the channel that stood nearest to its threshold: the sum of its parts; NaN where it judged nothing."""
        return total(np.where(self.heard, self.parts, np.nan))

    @property
    def nights_missing(self) -> int:
        """How many more nights with data until one can be judged, if all indicators are there; 0 if the last could."""
        last = next((one for one in reversed(self.state) if one != STATES[ABSTAINED]), STATES[LEARNING])
        if last != STATES[LEARNING]:
            return 0
        since = self.renewed[-1] if self.renewed else self.dates[0]
        own = sum(one != STATES[ABSTAINED] for one in self.state[int((since - self.dates[0]) // DAY) :])
        needed = self.settings.warm_up + self.settings.calibration_nights + 1
        return max(1, needed - own, self.settings.calibration_nights - int(self.learned[-1]))


def watch(
    nights: Nights, settings: AlertSettings | None = None, *, effects: Mapping[str, float] | None = None
) -> AlertReport:
    """Judge each night by the nights before it.

    A night's answer rests on it and on earlier nights only: nights that come later change no state, number or reason;
    they can make the last alert longer.

    Args:
        effects: What illness typically adds to an indicator, in its unit, where the table of `indicators` does not fit;
            0 lets either way count.

    Raises:
        ConfigError: If an effect is given for an unknown indicator.
    """
    settings = settings or AlertSettings()
    every = nights.on_calendar()
    effect = effects_of(every.names, effects)
    watcher = Watcher(1, effect, settings)
    days, changes = weekdays(every.dates), every.changes()
    answers = [
        watcher.step(every.values[at : at + 1], days[at : at + 1], changes[at : at + 1]) for at in range(len(days))
    ]
    state = np.array([one.state[0] for one in answers])
    said = Said(
        cusum=np.array([one.cusum[0] for one in answers]),
        deviation=np.array([one.deviation[0] for one in answers]),
        parts=np.array([one.parts[0] for one in answers]),
        heard=np.array([one.heard[0] for one in answers]),
        either_way=effect == 0,
    )
    usable = np.flatnonzero((state != LEARNING) & (state != ABSTAINED))
    return AlertReport(
        dates=every.dates,
        names=every.names,
        state=tuple(STATES[one] for one in state),
        reason=tuple(_reason(one, every.names, settings) for one in answers),
        threshold=np.array([one.threshold[0] for one in answers]),
        p_value=np.array([one.p[0] for one in answers]),
        usual=np.array([one.usual[0] for one in answers]),
        spread=np.array([one.spread[0] for one in answers]),
        learned=np.array([one.learned[0] for one in answers]),
        alerts=tuple(alerts_of(every.dates, every.names, state, said)),
        usable_from=every.dates[usable[0]] if len(usable) else None,
        renewed=tuple(every.dates[at] for at, one in enumerate(answers) if one.renewed[0]),
        settings=settings,
        **said._asdict(),
    )


def _reason(one: Tonight, names: tuple[str, ...], settings: AlertSettings) -> str:
    state = int(one.state[0])
    parts = [_RENEWED[int(one.renewed[0])]] if one.renewed[0] else []
    if one.gap[0]:
        parts.append(f"more than {settings.longest_gap} nights without data: what had gathered was dropped")
    if state == ABSTAINED:
        parts.append("no data")
    elif state == LEARNING:
        parts.append(f"{one.learned[0]} of {settings.calibration_nights} calibration nights")
    elif state in (WATCH, ALERT):
        found = deviations_of(names, one.deviation[0])
        parts.append(
            f"tonight {found[0].indicator} {found[0].personal_sds:+.1f} personal SD" if found else "no surprise"
        )
    return "; ".join(parts)
