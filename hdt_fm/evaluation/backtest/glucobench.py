"""GlucoBench (Sergazinov et al., ICLR 2024) as its code runs it: its grid, its split, its windows, its own score.

A bridge to published numbers, not a mark of quality. Three of its habits are not ours and are kept here alone: filled
values are scored like readings; its RMSE is the root of a median over windows; its linear model without covariates
reads the person's number (`linear`). The files are the user's: CSV with the columns id, time and gl (mg/dL).
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.linear_model import LinearRegression

from hdt_fm.evaluation.backtest.floors import Fit, Forecasts, Rows, auto_arima_kind
from hdt_fm.evaluation.contenders import Role
from hdt_fm.metrics.error_grid import LEAST_MG_DL
from hdt_fm.schema.errors import ConfigError, ReaderError, RecordingError, ShapeError, UnitError
from hdt_fm.schema.result import Result, Row
from hdt_fm.schema.series import DAY_S, Series
from hdt_fm.signal.moments import Moments

STEP_S = 300.0
HORIZON = 12
EVERY = 6
UNSEEN = 0.1
SEEDS = tuple(range(10, 20))
COLUMNS = ("id", "time", "gl")
# Named for what they are: the first two are what the benchmark prints as RMSE and MAE.
SCORES = ("root median window MSE", "median window MAE", "RMSE over windows", "MAE over windows")
SIDES = ("people seen", "people unseen")


@dataclass(frozen=True)
class Rules:
    """How the benchmark treats one of its sets.

    Attributes:
        file: Name in its folder of raw data.
        people: In the whole set, as its README states.
        longest_gap_min: Gaps up to this are lines; a longer one ends a segment.
        shortest: Readings of a segment; shorter ones are dropped.
        held: Points that go to test, and those before them to validation.
        context: The longest that a model may read; test windows begin after it.
        lags: Of its linear model.
        left_out_people, left_out_rows: Dropped on reading; rows are counted from 0.
    """

    file: str
    people: int
    longest_gap_min: int
    shortest: int
    held: int
    context: int
    lags: int
    left_out_people: tuple[int, ...] = ()
    left_out_rows: tuple[int, ...] = ()


SETS: Mapping[str, Rules] = {
    "Broll": Rules("iglu.csv", 5, 45, 240, 240, 192, 192),
    "Colas": Rules("colas.csv", 208, 45, 192, 72, 144, 12),
    "Dubosson": Rules("dubosson.csv", 9, 30, 240, 144, 192, 12, left_out_people=(9,)),
    # Its settings name one row; its reader drops by number twice, counted anew in between.
    "Hall": Rules("hall.csv", 57, 30, 192, 192, 144, 84, left_out_rows=(57309, 57310)),
    "Weinstock": Rules("weinstock.csv", 200, 45, 240, 240, 192, 84),
}


class Split(NamedTuple):
    """Parts of one split; `test` begins with context that may lie in `validation` or `train`, its targets never."""

    train: list[Series]
    validation: list[Series]
    test: list[Series]
    unseen: list[Series]


@dataclass(frozen=True)
class Entrant:
    """A model of the bridge.

    Attributes:
        back: How many values it reads.
        later: Places that its first window of a series begins after that of others.
    """

    fit: Fit
    role: Role
    back: int
    later: int = 0


def segments_of(path: Path, rules: Rules) -> list[Series]:
    """Segments of everybody, each on its own grid of five minutes from its first reading, by person and in time.

    Times are rounded to the minute. A place between readings holds the line; only those with a reading are `observed`.

    Raises:
        ReaderError: If the file cannot be read or lacks a column.
        RecordingError: If a person has two readings in one minute, or nothing is long enough.
        UnitError: If no reading reaches 40.
    """
    table = _table(path, rules)
    found = []
    for person, (_, own) in enumerate(table.groupby("id", sort=True)):
        minute = own["time"].to_numpy().astype("datetime64[s]").astype(np.int64) // 60
        order = np.argsort(minute, kind="stable")
        minute, value = minute[order], own["gl"].to_numpy(dtype=np.float64)[order]
        ends = np.flatnonzero(np.diff(minute) > rules.longest_gap_min) + 1
        for times, values in zip(np.split(minute, ends), np.split(value, ends), strict=True):
            if len(times) < rules.shortest:
                continue
            if (np.diff(times) == 0).any():
                raise RecordingError(
                    "A person has two readings in one minute",
                    where=path.name,
                    expected="one reading a minute at most",
                    fix="drop repeated rows",
                )
            grid = np.arange(times[0], times[-1] + 1, round(STEP_S / 60))
            line = np.interp(grid, times, values).astype(np.float32)
            found.append(Series(line, np.isin(grid, times), STEP_S, 60.0 * float(times[0]), person, person))
    if not found:
        raise RecordingError(
            "No segment is long enough",
            where=path.name,
            expected=f"{rules.shortest} readings without a gap over {rules.longest_gap_min} minutes",
        )
    return found


def _table(path: Path, rules: Rules) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise ReaderError(
            "A table of readings cannot be read",
            where=path.name,
            expected="CSV with the columns id, time, gl",
            got=type(error).__name__,
            fix="see hdt_fm/evaluation/README.md, 'The bridge to GlucoBench'",
        ) from None
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise ReaderError(
            "A table of readings lacks columns",
            where=path.name,
            expected=", ".join(COLUMNS),
            got=f"without {', '.join(missing)}",
        )
    table = table[list(COLUMNS)].drop(index=list(rules.left_out_rows), errors="ignore")
    table = table[~table["id"].isin(rules.left_out_people)].dropna()
    try:
        times = pd.to_datetime(table["time"]).dt.round("1min")
        table = table.assign(time=times, gl=table["gl"].astype(np.float32))
    except (ValueError, TypeError, AttributeError):
        raise ReaderError(
            "A table of readings holds what is no time or no number",
            where=path.name,
            expected="dates and times in `time`, mg/dL in `gl`",
            fix="write readings beyond the sensor's range as its ends, as the benchmark does (40 and 400)",
        ) from None
    if len(table) and not (table["gl"] >= LEAST_MG_DL).any():
        raise UnitError("Glucose is in another unit", where=path.name, expected="mg/dL", fix="mmol/L times 18.016")
    return table


def split_of(segments: Sequence[Series], rules: Rules, seed: int) -> Split:
    """Its split: a tenth of the people is unseen, of the others the last points are held.

    What is held comes from the last segment, with as much context before as a model may read; where that is too
    short, the whole of it is tested. A person with one short segment is not tested.
    """
    people = np.unique([one.subject for one in segments])
    # The old generator, or its splits would not be theirs.
    drawn = np.random.RandomState(seed).choice(people, math.ceil(len(people) * UNSEEN), replace=False)
    split = Split([], [], [], [one for one in segments if one.subject in drawn])
    for person in np.setdiff1d(people, drawn):
        _hold(split, [one for one in segments if one.subject == person], rules)
    return split


def _hold(split: Split, own: list[Series], rules: Rules) -> None:
    held, context = rules.held, rules.context
    *early, last = own
    split.train.extend(early[:-1])
    before = early[-1:]
    if len(last) >= context + 3 * held:
        split.train.extend([*before, _cut(last, 0, -2 * held)])
        split.validation.append(_cut(last, -2 * held - context, -held))
        split.test.append(_cut(last, -held - context, len(last)))
    elif len(last) >= context + 2 * held:
        # A lone segment of this length is its person's training; beside others it is validation.
        split.train.extend(before or [_cut(last, 0, -held)])
        split.validation.extend([_cut(last, 0, -held)] if before else [])
        split.test.append(_cut(last, -held - context, len(last)))
    elif not before:
        split.train.append(last)
    else:
        split.test.append(last)
        if len(before[0]) >= context + 2 * held:
            split.train.append(_cut(before[0], 0, -held))
            split.validation.append(_cut(before[0], -held - context, len(before[0])))
        else:
            split.train.append(before[0])


def _cut(one: Series, first: int, end: int) -> Series:
    places = range(len(one))[first:end]
    start_s = one.start_s + places.start * one.step_s
    inside = slice(places.start, places.stop)
    return Series(one.values[inside], one.observed[inside], one.step_s, start_s, one.subject, one.group)


def windows_of(series: Sequence[Series], *, back: int, first: int, every: int) -> Moments:
    """Windows of `back` values and the hour after them; the first hour asked begins at place `first` of each series."""
    steps = np.arange(1, HORIZON + 1)
    places = [np.arange(max(first, back), len(one) - HORIZON + 1, every) - 1 for one in series]
    which = np.repeat(np.arange(len(series)), [len(own) for own in places])
    now = np.concatenate([*places, np.empty(0, dtype=np.int64)])
    context, target = np.empty((len(now), back)), np.empty((len(now), HORIZON))
    time_s, subject, group = np.empty(len(now)), np.empty(len(now), np.int64), np.empty(len(now), np.int64)
    for number, one in enumerate(series):
        rows = np.flatnonzero(which == number)
        context[rows] = one.values[now[rows, None] + np.arange(1 - back, 1)]
        target[rows] = one.values[now[rows, None] + steps]
        time_s[rows] = one.start_s + now[rows] * one.step_s
        subject[rows], group[rows] = one.subject, one.group
    return Moments(
        series=which,
        place=now,
        context=context,
        target=target,
        last=context[:, -1].copy(),
        group=group,
        subject=subject,
        clock_s=time_s % DAY_S,
        time_s=time_s,
        step_s=STEP_S,
        every_s=every * STEP_S,
        horizons_s=tuple(float(one) for one in steps * STEP_S),
    )


class Errors(NamedTuple):
    """Of each window: its mean squared error, and its mean absolute error."""

    squared: Float[np.ndarray, " window"]
    absolute: Float[np.ndarray, " window"]


def errors_of(split: Split, rules: Rules, entrant: Entrant) -> tuple[Errors, Errors]:
    """Errors on people seen and unseen. Fitted on every window of the training part; targets asked for are hidden.

    Raises:
        ConfigError: If the model reads more than the benchmark gives.
        ShapeError: If the model gives something else than finite numbers (asked, horizon, 1 or more).
    """
    if entrant.back > rules.context:
        raise ConfigError(
            "A model reads more than the benchmark gives",
            expected=f"{rules.context} values at most",
            got=f"{entrant.back}",
        )
    learn = windows_of(split.train, back=entrant.back, first=0, every=1)
    first = rules.context + entrant.later
    asked = [windows_of(part, back=entrant.back, first=first, every=EVERY) for part in split[2:]]
    truth = np.concatenate([one.target for one in asked])
    hidden = [replace(one, target=np.full_like(one.target, np.nan)) for one in asked]
    series = [*split.train, *split.test, *split.unseen]
    both = _joined([learn, *hidden], [len(split.train), len(split.test)])
    train, rest = np.split(np.arange(len(both)), [len(learn)])
    got = np.asarray(entrant.fit(both, series, train, rest), dtype=np.float64)
    if got.ndim != 3 or got.shape[:2] != truth.shape or not np.isfinite(got).all():
        raise ShapeError("A model's forecasts do not fit", expected=f"finite, {truth.shape}", got=str(got.shape))
    miss = got[..., 0] - truth
    errors = Errors((miss**2).mean(axis=1), np.abs(miss).mean(axis=1))
    seen = len(asked[0])
    return Errors(*(one[:seen] for one in errors)), Errors(*(one[seen:] for one in errors))


def _joined(parts: Sequence[Moments], series_before: Sequence[int]) -> Moments:
    """Windows of several lists of series as if of one list."""
    shift = np.cumsum([0, *series_before])
    moved = [replace(part, series=part.series + shift[place]) for place, part in enumerate(parts)]
    names = ("series", "place", "context", "target", "last", "group", "subject", "clock_s", "time_s")
    joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in moved]) for name in names}
    return replace(moved[0], **joined)


def scores_of(splits: Sequence[Errors]) -> dict[str, float]:
    """The benchmark's two scores, and the usual two. Each is averaged over splits before a root is taken."""
    median = [np.mean([np.median(one) for one in kind]) for kind in zip(*splits, strict=True)]
    mean = [np.mean([np.mean(one) for one in kind]) for kind in zip(*splits, strict=True)]
    found = (math.sqrt(median[0]), median[1], math.sqrt(mean[0]), mean[1])
    return {name: float(value) for name, value in zip(SCORES, found, strict=True)}


def linear(*, persons_number: bool) -> Fit:
    """Least squares of the hour ahead on the values read, of all training windows.

    Args:
        persons_number: Its linear model without covariates is fitted with the person's number as a further input (a
            static covariate of its series). With it the published row comes out to 0.001.
    """

    def fit(moments: Moments, series: Sequence[Series], train: Rows, asked: Rows) -> Forecasts:
        given = moments.context
        if persons_number:
            given = np.concatenate([given, moments.subject[:, None].astype(np.float64)], axis=1)
        return LinearRegression().fit(given[train], moments.target[train]).predict(given[asked])[..., None]

    return fit


def arima() -> Fit:
    """AutoARIMA chosen and fitted once a tested series, on the values that it begins with, then carried along.

    Its windows begin one step later than those of others (`later=EVERY`): so does the benchmark's loop.

    Raises:
        ConfigError: If statsforecast is not installed.
    """
    kind = auto_arima_kind()

    def fit(moments: Moments, series: Sequence[Series], train: Rows, asked: Rows) -> Forecasts:
        known = moments.context[train]
        low, high = known.min(), known.max()
        given = (moments.context - low) / (high - low)
        out = np.empty((len(asked), HORIZON, 1))
        for number in np.unique(moments.series[asked]):
            rows = np.flatnonzero(moments.series[asked] == number)
            begins = (series[number].values[: moments.context.shape[1]].astype(np.float64) - low) / (high - low)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a search that stopped early
                model = kind(max_p=10, max_q=10, start_p=0, start_q=0, allowdrift=True, allowmean=True).fit(begins)
            for row in rows:
                out[row, :, 0] = model.forward(given[asked[row]], h=HORIZON)["mean"] * (high - low) + low
        return out

    return fit


def bridge(
    name: str,
    segments: Sequence[Series],
    rules: Rules,
    entrants: Mapping[str, Entrant],
    *,
    published: Mapping[str, Sequence[float]],
    owed: Sequence[str],
    seeds: Sequence[int] = SEEDS,
) -> Result:
    """Published rows of a set, and ours by the same rules.

    Args:
        published: Model -> `SCORES` of people seen, then of people unseen.

    Raises:
        ConfigError: If a side has no window in some split.
    """
    splits = [split_of(segments, rules, seed) for seed in seeds]
    for split in splits:
        sizes = [len(windows_of(part, back=1, first=rules.context, every=EVERY)) for part in split[2:]]
        if not split.train or min(sizes) < 1:
            raise ConfigError(
                "A split leaves nothing to learn from or to ask",
                expected=f"two people or more with over {rules.context + 2 * rules.held} points each",
                got=f"{len(split.train)} segments to learn from, {sizes} windows of people seen and unseen",
            )
    rows = [
        _row(side, f"{model}, published", score, value, rules.people, "reference")
        for model, values in published.items()
        for (side, score), value in zip([(s, m) for s in SIDES for m in SCORES], values, strict=True)
    ]
    for model, entrant in entrants.items():
        pairs = [errors_of(split, rules, entrant) for split in splits]
        for place, side in enumerate(SIDES):
            people = len({one.subject for split in splits for one in split[2 + place]})
            for score, value in scores_of([pair[place] for pair in pairs]).items():
                rows.append(_row(side, model, score, value, people, entrant.role))
    protocol = {
        "task": "GlucoBench's protocol",
        "people": len({one.subject for one in segments}),
        "people_published": rules.people,
        "segments": len(segments),
        "seeds": list(seeds),
        "horizon_s": HORIZON * STEP_S,
        "better": dict.fromkeys(SCORES, "lower"),
    }
    rows.sort(key=lambda row: SIDES.index(row.what))
    return Result(name=name, protocol=protocol, rows=tuple(rows), required_baselines=tuple(owed))


def _row(side: str, model: str, score: str, value: float, people: int, role: Role) -> Row:
    return Row(what=side, model=model, metric=score, value=value, unit="mg/dL", n=people, role=role)
