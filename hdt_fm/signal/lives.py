"""Series of glucose and of what was given -> lives: readings, doses and meals on one grid of 5 minutes.

A sample of an amount is the sum of the step that ends with it; a column of a life begins with its reading, and then its
dose and its meal come. So a sample goes into the column that ends with it: one step up from the reading of its own
time, since it was taken before that reading. Whatever stands in columns before a reading was taken by then.

`bolus` and `carbs` are the doses and meals. `long_acting` and `intermediate` only say how much basal insulin a body
needs. What `premixed` and `insulin_iv` do is no bolus and no basal: readings after them are hidden.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from hdt_fm.schema.errors import ConfigError, unknown_name
from hdt_fm.schema.lives import STEP_MINUTES, STEPS_PER_HOUR, Lives
from hdt_fm.schema.series import DAY_S, Series

STEP_S = 60.0 * STEP_MINUTES
# Until so long after it is known again what was given, something unknown may be on board.
UNKNOWN_STEPS = 6 * STEPS_PER_HOUR
# So long other insulin than a life can hold may act.
OTHER_STEPS = {"premixed": 24 * STEPS_PER_HOUR, "insulin_iv": 6 * STEPS_PER_HOUR}
TAKEN, LASTING = ("bolus", "carbs"), ("long_acting", "intermediate")
# Of somebody of whom nothing else is known; nothing is learned from them.
NOBODYS_BASAL = 1.0
# Absorbs the rounding of times, in steps.
_ROUNDING = 1e-3


def lives_of(series: Sequence[Series], given: Mapping[str, Sequence[Series]]) -> Lives:
    """One life for each series of glucose, in their order; column k begins k steps after the series does.

    Shorter lives end in NaN and without doses. Where it is not known what was taken there are no doses, and the
    readings that follow are NaN until 6 h after it is known again; so are the first 6 h of each life, since what was
    taken before it is not in it. Persons are the series' groups.

    Basal insulin is the mean of `insulin_rate` where it was known; else `long_acting` and `intermediate` a day, over 24
    h; else as much as is injected otherwise, since half of all insulin is usual. Where none of these is known all
    readings are NaN, and the number says nothing. It is a trait of the whole life, and alone knows of what comes later:
    what a pump gives in a step beyond it (`basal_change_units`) is counted from it, 0 where its rate is not known.

    Args:
        series: Glucose, every 5 minutes or a multiple; between readings is NaN.
        given: Series of each treatment on the same calendars, `bolus` and `carbs` among them; amounts in steps of 5
            minutes. Somebody without series of these is not known to have taken nothing.

    Raises:
        ConfigError: If steps are others, `bolus` or `carbs` is not there, or no series is.
        UnknownNameError: If a treatment has no place in a life.
    """
    _check(series, given)
    size = max((len(one) - 1) * round(one.step_s / STEP_S) + 1 for one in series)
    tables = {name: np.zeros((len(series), size)) for name in ("glucose", "basal_change", *TAKEN)}
    basal = np.full(len(series), NOBODYS_BASAL)
    for row, one in enumerate(series):
        theirs = {name: [some for some in found if some.subject == one.subject] for name, found in given.items()}
        taken = {name: _columns(one, theirs[name], size) for name in TAKEN}
        need = _basal(one, theirs)
        hidden = _for_a_while(~(taken["bolus"][1] & taken["carbs"][1]), UNKNOWN_STEPS)
        hidden[:UNKNOWN_STEPS] = True
        for name, steps in OTHER_STEPS.items():
            hidden |= _for_a_while(_columns(one, theirs.get(name, []), size)[0] > 0, steps)
        for name in TAKEN:
            tables[name][row] = taken[name][0]
        tables["glucose"][row] = np.where(hidden | (need is None), np.nan, _readings(one, size))
        basal[row] = NOBODYS_BASAL if need is None else need
        tables["basal_change"][row] = _basal_change(one, theirs.get("insulin_rate", []), size)
    return Lives(
        person=np.array([one.group for one in series], dtype=np.int64),
        glucose_mg_dl=tables["glucose"],
        bolus_units=tables["bolus"],
        carbs_g=tables["carbs"],
        basal_units_per_hour=basal,
        basal_change_units=tables["basal_change"],
    )


def whole_days(one: Series, days: int) -> list[Series]:
    """A series in parts of so many days, each beginning at the person's own midnight (within a step); in order of time.

    Many short lives are played faster than one long one, and their columns say what time of day it is. The first and
    the last part may be short of readings; before the first reading nothing was observed.
    """
    early = round((one.start_s + one.utc_offset_s) % DAY_S / one.step_s)
    values = np.concatenate([np.zeros(early, dtype=np.float32), one.values])
    observed = np.concatenate([np.zeros(early, dtype=np.bool_), one.observed])
    size, start_s = round(days * DAY_S / one.step_s), one.start_s - early * one.step_s
    return [
        replace(
            one,
            values=values[first : first + size],
            observed=observed[first : first + size],
            start_s=start_s + first * one.step_s,
        )
        for first in range(0, len(values), size)
    ]


def _check(series: Sequence[Series], given: Mapping[str, Sequence[Series]]) -> None:
    known = (*TAKEN, "insulin_rate", *LASTING, *OTHER_STEPS)
    for name in given:
        if name not in known:
            raise unknown_name("treatment of lives", name, known, where="lives_of")
    missing = [name for name in TAKEN if name not in given]
    if missing or not series:
        raise ConfigError(
            "Lives cannot be made",
            where="lives_of",
            expected="series of glucose, and what was given of bolus and carbs",
            got=f"{len(series)} series of glucose; without {', '.join(missing) or 'nothing'}",
            fix="shard the cohort with preparation=treatments_5min; a cohort that counts no carbohydrates has no lives",
        )
    coarse = {one.step_s for one in series if abs(one.step_s / STEP_S - max(1, round(one.step_s / STEP_S))) > _ROUNDING}
    amounts = {one.step_s for name in given if name != "insulin_rate" for one in given[name]}
    if coarse or any(abs(step - STEP_S) > _ROUNDING * STEP_S for step in amounts):
        raise ConfigError(
            "Steps do not fit those of lives",
            where="lives_of",
            expected=f"amounts every {STEP_S:g} s, glucose every {STEP_S:g} s or a multiple",
            got=f"amounts every {sorted(amounts)} s; glucose also every {sorted(coarse)} s",
            fix="shard again with preparation=treatments_5min and glucose_5min or glucose_15min",
        )


def _readings(one: Series, size: int) -> Float[np.ndarray, " time"]:
    out = np.full(size, np.nan)
    stride = round(one.step_s / STEP_S)
    out[: (len(one) - 1) * stride + 1 : stride] = np.where(one.observed, one.values, np.nan)
    return out


def _columns(
    one: Series, taken: Sequence[Series], size: int
) -> tuple[Float[np.ndarray, " time"], Bool[np.ndarray, " time"]]:
    """Amounts in columns of the life, and where they are known; not after its last reading."""
    amounts, known = np.zeros(size), np.zeros(size, dtype=np.bool_)
    end = (len(one) - 1) * round(one.step_s / STEP_S) + 1
    for some in taken:
        # The column that has ended when the sample is taken, or ends next where the grids do not meet.
        first = int(np.ceil((some.start_s - one.start_s) / STEP_S - _ROUNDING)) - 1
        inside = slice(max(0, -first), max(0, min(len(some), end - first)))
        seen = some.observed[inside]
        columns = np.flatnonzero(seen) + max(first, 0)
        amounts[columns] += some.values[inside][seen]
        known[columns] = True
    return amounts, known


def _for_a_while(since: Bool[np.ndarray, " time"], steps: int) -> Bool[np.ndarray, " time"]:
    """At so many columns after each; not at itself, whose reading comes first."""
    time = np.arange(len(since))
    newest = np.maximum.accumulate(np.where(since, time, -steps - 1))
    out: np.ndarray = time - np.append(-steps - 1, newest[:-1]) <= steps
    return out


def _basal(one: Series, theirs: Mapping[str, Sequence[Series]]) -> float | None:
    """U/h; None where nothing tells."""
    ways = (
        _mean_known(one, theirs.get("insulin_rate", [])),
        STEPS_PER_HOUR * sum(_mean_known(one, theirs.get(name, [])) for name in LASTING),
        STEPS_PER_HOUR * _mean_known(one, theirs["bolus"]),
    )
    return next((units for units in ways if units > 0), None)


def _basal_change(one: Series, rates: Sequence[Series], size: int) -> Float[np.ndarray, " time"]:
    """What a pump gives in each step beyond its mean rate; nothing where the rate is not known."""
    rate, known = _columns(one, rates, size)
    out: np.ndarray = np.where(known, (rate - _mean_known(one, rates)) / STEPS_PER_HOUR, 0.0)
    return out


def _mean_known(one: Series, some: Sequence[Series]) -> float:
    """Of the samples that are known while a life lasts; 0 where none is."""
    known = np.concatenate([_within(one, each) for each in some] or [np.zeros(0)])
    return float(known.mean()) if known.size else 0.0


def _within(one: Series, some: Series) -> Float[np.ndarray, " time"]:
    """What is known of another series while a life lasts."""
    time = some.start_s + some.step_s * np.arange(len(some))
    inside = (time > one.start_s) & (time <= one.start_s + len(one) * one.step_s)
    return some.values[inside & some.observed].astype(np.float64)
