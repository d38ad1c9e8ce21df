"""Readings that a head has no answer for, refused with what to do."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hdt_fm.schema.errors import RecordingError
from hdt_fm.schema.preparation import ModalityPreparation
from hdt_fm.schema.recording import Recording
from hdt_fm.schema.series import DAY_S, ForecastTask, Series
from hdt_fm.signal.moments import MAX_AGE_S, context_at, known_until

LEAST_KNOWN = 0.5
HABITS_S = 3.0 * DAY_S
# In the order of `cli.series.habits`.
HABITS = ("mean", "spread", "share of readings")


def check_step(one: Recording, task: ForecastTask) -> None:
    """Readings further apart than the head's grid tell it less than it learned with.

    Raises:
        RecordingError: If they are.
    """
    step_s = 1 / one.sampling_rate_hz
    if step_s > 1.01 * task.step_s:
        raise RecordingError(
            "The readings are further apart than the head was taught with",
            expected=f"a reading every {task.step_s / 60:g} min or more often",
            got=f"one every {step_s / 60:g} min",
            fix="take a checkpoint that was taught with readings so far apart",
        )


def check_unfiltered(step_s: float, task: ForecastTask, preparation: ModalityPreparation) -> None:
    """A filter on the way to another step looks ahead, which nothing can do to readings as they come.

    Args:
        step_s: Of the readings; 0 where there are none yet.

    Raises:
        RecordingError: If the head's windows went through one, and these readings would.
    """
    if step_s and preparation.resampling == "filter" and abs(step_s - task.step_s) > 0.01 * task.step_s:
        raise RecordingError(
            "The checkpoint's windows were resampled by a filter that looks ahead, which no stream can do",
            where="preparation.resampling",
            expected=f"a reading every {task.step_s / 60:g} min, or a checkpoint with resampling newest or mean",
            got=f"one every {step_s / 60:g} min",
            fix="shard, pretrain and finetune with preparation=glucose_5min or glucose_15min",
        )


def check_age(age_s: float) -> None:
    """A forecast starts at the newest reading, which must not be long ago.

    Raises:
        RecordingError: If it is.
    """
    if age_s > MAX_AGE_S:
        raise RecordingError(
            "The newest reading is too old to forecast from",
            where="at",
            expected=f"a reading in the {MAX_AGE_S / 60:g} min before",
            got=f"one that is {age_s / 60:.0f} min old" if age_s < DAY_S else "one that is more than a day old",
            fix="choose a moment with a reading before it, or export anew",
        )


def check_known(one: Series, task: ForecastTask) -> None:
    """Half of the last hours must be known, once short gaps are lines.

    Args:
        one: On the head's grid, up to the newest reading.

    Raises:
        RecordingError: If less is.
    """
    back = round(task.context_s / one.step_s)
    line, newest = known_until(one)
    known = np.isfinite(context_at(line, newest, np.array([len(one) - 1]), back)).mean()
    if len(one) < back or known < LEAST_KNOWN:
        raise RecordingError(
            f"Too little is known of the last {task.context_s / 3600:g} h",
            expected=f"{task.context_s / 3600:g} h of recording, {100 * LEAST_KNOWN:.0f} % of it with readings",
            got=f"readings of {100 * known:.0f} % of it",
            fix="choose a moment later after the gap, or wait for more readings",
        )


def check_habits(one: Series, usual: Sequence[Sequence[float]], task: ForecastTask) -> None:
    """The last days must not be unlike those of all training people, by half of their range and more.

    Args:
        one: On the head's grid, up to the newest reading.
        usual: Least and most of training people, for each of `HABITS`; mean and spread in the unit of the task.

    Raises:
        RecordingError: If they are.
    """
    from hdt_fm.cli.series import habits

    last = round(HABITS_S / one.step_s)
    found = habits([replace(one, values=one.values[-last:], observed=one.observed[-last:])])
    problems, wanted = [], []
    for name, value, (low, high) in zip(HABITS, found.tolist(), usual, strict=True):
        room, unit = (high - low) / 2, "" if name == HABITS[-1] else f" {task.unit}"
        # Nobody has too many readings.
        above = value > high + room and name != HABITS[-1]
        if value < low - room or above:
            problems.append(f"{name} {'above' if above else 'below'} it")
            wanted.append(f"{name} {low - room:.3g} to {high + room:.3g}{unit}")
    if problems:
        raise RecordingError(
            f"The readings of the last {HABITS_S / DAY_S:g} days are unlike those of the people that the head learned "
            "from",
            expected=", ".join(wanted),
            got=", ".join(problems),
            fix="look at the unit (1 mmol/L is 18 mg/dL) and at gaps; for other people, finetune a head on people like "
            "this one",
        )
