"""Effects of plans of doses and meals, as answers that can be explained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from hdt_fm.cli.explain.ahead import nearest_moments
from hdt_fm.cli.explain.answer import Answer, Source, not_measured
from hdt_fm.cli.explain.windows import Asked, windows_asked
from hdt_fm.cli.series_teaching import given_beside
from hdt_fm.cli.twin.what_if import check_plans
from hdt_fm.data.series import series_of
from hdt_fm.explain.targets.plan import BASAL, BASAL_MEAN, BOLUS, CARBS, GLUCOSE, PlanTarget
from hdt_fm.schema.batch import Batch, Signal
from hdt_fm.schema.errors import ConfigError, unknown_name
from hdt_fm.schema.lives import STEP_MINUTES, STEPS_PER_HOUR, Lives
from hdt_fm.schema.series import ForecastTask, Series
from hdt_fm.schema.treatment import Plan
from hdt_fm.schema.what_if import TREATMENTS
from hdt_fm.signal.lives import lives_of
from hdt_fm.signal.moments import moments_of

STEP_S = 60.0 * STEP_MINUTES
# So far back doses are played: what is older has left the body, and glucose has gone back to its level.
HISTORY_STEPS = 3 * 24 * STEPS_PER_HOUR
# A meal and its dose are one stretch, and so is a plan.
SEGMENT_S = 2 * 3600.0


def effect(source: Source) -> Answer:
    """What a plan changes against another at a minute.

    Raises:
        ConfigError: If plans cannot be compared, or it is not known what these people took.
        UnknownNameError: If the head does not answer at that time.
    """
    head: Any = source.model.heads[source.settings.head]
    task, wanted = ForecastTask.of(head.asked), source.wanted
    plans = Plan.spoken(wanted.plan), Plan.spoken(wanted.against)
    check_plans(plans, task)
    minute = round(wanted.horizon_s / 60)
    if minute not in head.minutes:
        raise unknown_name("minute", str(minute), [str(one) for one in head.minutes], where="explain.horizon_s")
    steps = head.minutes[-1] // STEP_MINUTES
    plan, against = (one.on_grid(TREATMENTS, step_s=STEP_S, steps=steps).T for one in plans)
    asked, numbers = _asked(source, task, head.law, plan)
    target = PlanTarget(
        torch.from_numpy(numbers),
        tuple(asked.batch.window_id.tolist()),
        share=float(head.law.learned[1].share),
        minutes=tuple(head.minutes),
        against=torch.from_numpy(against),
    )
    words = f"change of {task.modality} in {minute} min by {plans[0].words} against {plans[1].words}, {task.unit}"
    return Answer(
        function=target,
        target=target.minutes.index(minute),
        words=words,
        unit=task.unit,
        label=None,
        window_s=STEP_S * (HISTORY_STEPS + steps),
        windows=lambda: asked,
        skill=not_measured,
        segment_s=SEGMENT_S,
    )


def _asked(
    source: Source, task: ForecastTask, law: Any, plan: Float[np.ndarray, "treatment step"]
) -> tuple[Asked, Float[np.ndarray, "window number"]]:
    """The moments at which the windows that the settings name end, where it is known what was taken; and the person's
    numbers as the record up to each tells them."""
    asked = windows_asked(source.folder, source.settings, source.pretrained)
    people = set(source.folder.subject_rows[asked.positions].tolist())
    series = [one for one in series_of(source.folder, task.modality) if one.subject in people]
    beside = given_beside(source.folder, source.wanted.treatments)
    given = {name: beside.get(name, []) for name in task.treatments}
    moments = moments_of(
        series, context_s=task.context_s, horizons_s=task.horizons_s, every_s=task.every_s, scored=False
    )
    end_s = source.folder.header.window_s - task.step_s
    rows, positions = nearest_moments(moments, source.folder, asked.positions, end_s)
    before = [_up_to(series, int(moments.series[row]), int(moments.place[row]), given) for row in rows.tolist()]
    known = [at for at, one in enumerate(before) if np.isfinite(one.lives.glucose_mg_dl[-1, one.now])]
    if not known:
        raise ConfigError(
            "It is not known what these people took before any of these moments",
            where="explain.treatments",
            expected="doses and meals of the last 6 h and more",
            fix="name the shards of what was given (preparation=treatments_5min), or other windows",
        )
    kept, at = [before[one] for one in known], moments.rows(rows[known])
    numbers = np.concatenate([law.own(one.lives, np.unique(one.lives.person)).mean for one in kept])
    signals, mean = _signals(kept, plan)
    batch = Batch(
        modalities=tuple(signals),
        signals=signals,
        present=torch.stack([one.observed.any(1) for one in signals.values()], dim=1),
        subject=torch.from_numpy(at.subject.astype(np.int64)),
        time_s=torch.from_numpy(at.time_s - HISTORY_STEPS * STEP_S).double(),
        window_id=torch.arange(len(kept)),
        labels={BASAL_MEAN: torch.from_numpy(mean)},
    )
    return Asked(batch, positions[known], asked.scope), numbers


@dataclass(frozen=True)
class _Before:
    """A person's record up to a moment: the last life's column is now, and nothing taken in it or after."""

    lives: Lives
    now: int

    def row(self, name: str, steps: int, *, upto: int) -> Float[np.ndarray, " step"]:
        """A table's columns around now; NaN where there is nothing of before `upto`."""
        table: np.ndarray = getattr(self.lives, name)[-1]
        index = self.now + np.arange(-HISTORY_STEPS, steps)
        inside = (index >= 0) & (index < upto)
        return np.where(inside, table[index.clip(0, len(table) - 1)], np.nan)


def _up_to(series: Sequence[Series], number: int, place: int, given: Mapping[str, Sequence[Series]]) -> _Before:
    one = series[number]
    earlier = [some for some in series[:number] if some.subject == one.subject]
    cut = replace(one, values=one.values[: place + 1], observed=one.observed[: place + 1])
    lives, now = lives_of([*earlier, cut], given), round(place * one.step_s / STEP_S)
    # What the column of the newest reading holds comes after it.
    for table in (lives.bolus_units, lives.carbs_g):
        table[-1, now:] = 0.0
    return _Before(lives, now)


def _signals(
    before: Sequence[_Before], plan: Float[np.ndarray, "treatment step"]
) -> tuple[dict[str, Signal], Float[np.ndarray, " window"]]:
    """Three days up to each moment and the plan after it; and the mean of each person's basal rate."""
    steps = plan.shape[1]
    reading = np.stack([one.row("glucose_mg_dl", steps, upto=one.now + 1) for one in before])
    signals = {GLUCOSE: _signal(reading)}
    for name, table, own in ((BOLUS, "bolus_units", plan[0]), (CARBS, "carbs_g", plan[1])):
        taken = np.stack([one.row(table, steps, upto=one.now) for one in before])
        taken[:, HISTORY_STEPS:] = own
        signals[name] = _signal(taken)
    change = np.stack([one.row("basal_change_units", steps, upto=one.now) for one in before])
    mean = np.array([one.lives.basal_units_per_hour[-1] for one in before])
    # Of somebody without a pump, or whose pump never changed, no rate is told.
    if np.nan_to_num(change).any():
        signals[BASAL] = _signal(mean[:, None] + STEPS_PER_HOUR * change)
    return signals, mean


def _signal(values: Float[np.ndarray, "window step"]) -> Signal:
    known = np.isfinite(values)
    kept = np.where(known, values, 0.0).astype(np.float32)
    return Signal(torch.from_numpy(kept)[:, None], torch.from_numpy(known), 1 / STEP_S)
