"""Windows in, a forecast out: the same however a record is cut, and the same as all of it at once by the same rule."""

from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from hdt_fm.metrics.conformal import HASTE, online_shift
from hdt_fm.metrics.events import EVENTS
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.series import DAY_S, ForecastTask
from hdt_fm.signal.moments import moments_of
from hdt_fm.signal.own_past import own_past, recent
from hdt_fm.signal.treatments import acting
from hdt_fm.twin.forecast.outlook import OfPeople, outlook
from hdt_fm.twin.state.answer import Answers, forecast
from hdt_fm.twin.state.learned import Learned
from hdt_fm.twin.state.state import Reference, TwinState, needed_s
from hdt_fm.twin.state.stream import Window, absorb
from hdt_fm.twin.state.tracks import Events, Grid, Stretch, Track

TASK = ForecastTask(
    modality="glucose",
    unit="mg/dL",
    step_s=900.0,
    context_s=10_800.0,
    horizons_s=(1800.0, 5400.0),
    every_s=1800.0,
    windows=0,
    apart_s=float(DAY_S),
    treatments=("bolus", "insulin_rate"),
)
PEOPLE = OfPeople(levels=(0.1, 0.5, 0.9), shift=(1.0, 2.0), score_spread=(8.0, 12.0))
WIDTH = 5
# A Wednesday, 00:02 UTC.
BEGIN_S = float(np.datetime64("2026-03-04T00:02:00").astype("datetime64[s]").astype(np.int64))


def features(moments, series, given):
    acts = acting(moments, {name: given.get(name, ()) for name in TASK.treatments})
    known = np.nan_to_num(np.concatenate([recent(moments), own_past(moments, series), acts], axis=1))
    return known / (1 + np.abs(known))


def head(series, given, moments):
    """Of all that a head is told, at each moment by itself: whatever is told otherwise is answered otherwise."""
    known = features(moments, series, given)
    draws = np.random.default_rng(7)
    hidden = np.tanh(known @ draws.normal(size=(known.shape[1], WIDTH)) / 4)
    change = hidden @ draws.normal(size=(WIDTH, 2)) * 8
    point = moments.last[:, None] + change
    return Answers(np.stack([point, point - 12, point + 1, point + 15], axis=-1), hidden)


def new_state(**more):
    events = EVENTS["glucose"]
    needed = needed_s(TASK, 0.0)
    reference = Reference(digest="d", place="p", task=TASK, how="newest", needed_s=needed, kept_s=needed)
    learned = Learned(width=WIDTH, horizons_s=TASK.horizons_s, people=PEOPLE, events=events)
    return TwinState(reference=replace(reference, **more), learned=learned, salt="x")


@pytest.fixture(scope="module")
def record():
    """Twelve days every 5 minutes with gaps, doses, and a pump's rate; the local clock an hour ahead."""
    generator = np.random.default_rng(3)
    times = BEGIN_S + 300.0 * np.arange(12 * 288 - 5)
    noise = np.zeros(len(times))
    for at in range(1, len(times)):
        noise[at] = 0.95 * noise[at - 1] + generator.normal(0, 3)
    values = (140 + 30 * np.sin(times / DAY_S * 2 * np.pi) + noise).astype(np.float32)
    keep = generator.random(len(times)) < 0.97
    keep[1200:1230] = keep[2000:2012] = False
    keep[-1] = True
    doses = np.sort(generator.uniform(times[0], times[-1], 60))
    rates = np.arange(times[0], times[-1], 300.0)
    return Window(
        readings=(Stretch(times[keep], values[keep], 300.0),),
        recorded={"insulin_rate": (Stretch(rates, generator.uniform(0, 2, len(rates)).astype(np.float32), 300.0),)},
        events={"bolus": Events(doses, generator.uniform(1, 6, 60).astype(np.float32))},
        offset_s=3600,
        clock="local",
        source="made up",
    )


def part(record, first_s, last_s):
    """What an export of that span would hold."""

    def inside(one):
        rows = (one.times_s > first_s) & (one.times_s <= last_s)
        return Stretch(one.times_s[rows], one.values[rows], one.step_s)

    bolus = record.events["bolus"]
    rows = (bolus.times_s > first_s) & (bolus.times_s <= last_s)
    return replace(
        record,
        readings=tuple(inside(one) for one in record.readings),
        recorded={name: tuple(inside(one) for one in some) for name, some in record.recorded.items()},
        events={"bolus": Events(bolus.times_s[rows], bolus.amounts[rows])},
    )


def absorbed(record, edges, back_s=0.0, **more):
    state = new_state(**more)
    for first, last in pairwise(edges):
        absorb(state, part(record, first - back_s, last), head)
    return state


def same(one, other):
    for mine, theirs in zip(one.outlook.ahead, other.outlook.ahead, strict=True):
        assert mine.point == pytest.approx(theirs.point, abs=1e-6)
        assert mine.quantiles == pytest.approx(theirs.quantiles, abs=1e-6)
        assert mine.shift == pytest.approx(theirs.shift, abs=1e-9)
        assert mine.chances == pytest.approx(theirs.chances, abs=1e-6)
        assert mine.lately.forecasts == theirs.lately.forecasts
        assert mine.lately.held == theirs.lately.held
        assert mine.lately.mean_error == pytest.approx(theirs.lately.mean_error, abs=1e-6)


@pytest.fixture(scope="module")
def whole(record):
    """The forecast of a twin that absorbs all of it at once, by what a step holds."""
    return {how: forecast(absorbed(record, [-np.inf, np.inf], how=how), head) for how in ("newest", "mean")}


@pytest.mark.parametrize(
    ("hours", "days", "back_h"),
    [(2, 5, 0), (0.7, 2, 0), (31, 12, 0), (9, 12, 30)],
    ids=["2 h", "42 min", "31 h", "re-exports that overlap"],
)
def test_however_it_is_cut(record, whole, hours, days, back_h):
    begin_s = record.end_s - days * DAY_S
    edges = [-np.inf, *np.arange(begin_s + 3600 * hours, record.end_s, 3600.0 * hours), np.inf]
    same(forecast(absorbed(record, edges, 3600.0 * back_h), head), whole["newest"])


def test_one_reading_at_a_time(record, whole):
    times = record.readings[0].times_s[-100:]
    edges = [-np.inf, *times.tolist(), np.inf]
    state = new_state(how="mean")
    for first, last in pairwise(edges):
        absorb(state, part(record, first, last), head)
    same(forecast(state, head), whole["mean"])


def at_once(record, how):
    """The rule by other means: a ridge a day, `online_shift`, `outlook` over half hours and the newest reading."""
    (one,), newest_s, until_s = record.readings, record.end_s, record.end_s
    track = Track(one.times_s, one.values)
    settings = {"context_s": TASK.context_s, "horizons_s": TASK.horizons_s, "every_s": TASK.every_s, "scored": False}

    def told(phase_s, to_newest):
        grid = Grid(TASK.step_s, phase_s, offset_s=float(record.offset_s))
        series = grid.series(track, how=how)
        given = {"bolus": Grid(300.0, phase_s).given(record.events["bolus"], until_s=until_s)}
        rate = record.recorded["insulin_rate"][0]
        given["insulin_rate"] = Grid(300.0, phase_s).series(Track(rate.times_s, rate.values), apart_s=np.inf)
        moments = moments_of(series, **settings, to_newest=to_newest)
        return moments, head(series, given, moments)

    (clock, said), (now, last) = told(0.0, False), told(newest_s, True)
    upto = clock.time_s <= newest_s
    clock, said = clock.rows(np.flatnonzero(upto)), Answers(said.answer[upto], said.hidden[upto])
    now, last = now.rows(np.array([-1])), Answers(last.answer[-1:], last.hidden[-1:])
    time_s, missed = np.append(clock.time_s, newest_s), clock.target - said.answer[..., 0]
    answer, hidden = (np.concatenate([getattr(x, name) for x in (said, last)]) for name in ("answer", "hidden"))
    rows = np.concatenate([hidden, np.ones((len(hidden), 1))], axis=1) / np.sqrt(WIDTH + 1)
    added = np.zeros((len(time_s), len(TASK.horizons_s)))
    for day in np.unique(time_s // DAY_S):
        today = time_s // DAY_S == day
        for column, horizon in enumerate(TASK.horizons_s):
            come = (clock.time_s + horizon <= day * DAY_S) & np.isfinite(missed[:, column])
            if come.any():
                ridge = Ridge(alpha=10.0, fit_intercept=False).fit(rows[:-1][come], missed[come, column])
                added[today, column] = ridge.predict(rows[today])
    arrays = [one.name for one in fields(clock) if isinstance(getattr(clock, one.name), np.ndarray)]
    both = {name: np.concatenate([getattr(x, name) for x in (clock, now)]) for name in arrays}
    return replace(clock, **{**both, "time_s": time_s}), answer + added[..., None], added


@pytest.mark.parametrize("how", ["newest", "mean"])
def test_all_at_once_by_the_same_rule(record, whole, how):
    whole = whole[how]
    moments, said, added = at_once(record, how)
    np.testing.assert_allclose(whole.corrected.added, added[-1], atol=1e-6)
    assert np.abs(added[-1]).max() > 0.5
    for column, horizon in enumerate(TASK.horizons_s):
        ends = np.sort(said[:, column, 1:], axis=1)
        truth = np.where(moments.time_s + horizon <= moments.time_s[-1], moments.target[:, column], np.nan)
        shift = online_shift(
            moments.time_s,
            ends[:, 0],
            ends[:, -1],
            truth,
            horizon_s=horizon,
            start=PEOPLE.shift[column],
            spread=PEOPLE.score_spread[column],
            coverage=0.8,
            haste=HASTE,
        )
        assert whole.outlook.ahead[column].shift == pytest.approx(shift[-1], abs=1e-9)
    # `outlook` counts its horizons from the newest reading, so truths up to there; the rest of it is the same rule.
    found = outlook(moments, said, PEOPLE, readings_s=1e9, events=EVENTS["glucose"], plausible=(20.0, 600.0))
    for mine, theirs in zip(whole.outlook.ahead, found.ahead, strict=True):
        assert mine.point == pytest.approx(theirs.point, abs=1e-6)
        assert mine.quantiles == pytest.approx(theirs.quantiles, abs=1e-6)
        assert mine.chances == pytest.approx(theirs.chances, abs=1e-6)
        assert mine.lately.forecasts == theirs.lately.forecasts > 250
        assert mine.lately.held == pytest.approx(theirs.lately.held)
        assert mine.lately.came == theirs.lately.came


def test_nothing_grows(record):
    from hdt_fm.twin.state.state import bytes_kept

    state, sizes = new_state(), []
    for turn in range(3):
        moved = 12 * DAY_S * turn
        shifted = replace(
            record,
            readings=tuple(replace(one, times_s=one.times_s + moved) for one in record.readings),
            recorded={},
            events={"bolus": replace(record.events["bolus"], times_s=record.events["bolus"].times_s + moved)},
        )
        absorb(state, shifted, head)
        sizes.append(bytes_kept(state))
    assert max(sizes) < 1.02 * min(sizes)
    assert state.readings.times_s[0] >= state.newest_s - state.reference.kept_s
    assert (state.learned.layer.seen > 3 * 450).all()
    assert len(state.learned.hidden) <= 4


def test_what_is_known_late_or_old_changes_nothing(record, whole):
    state = absorbed(record, [-np.inf, np.inf])
    again = absorb(state, record, head)
    assert again.readings.new == again.treatments.new == again.forecasts == 0
    assert again.readings.known + again.readings.before == len(record.readings[0].times_s)
    (one,) = record.readings
    missing = one.times_s[0] + 300.0 * np.setdiff1d(
        np.arange(round((one.times_s[-1] - one.times_s[0]) / 300)), np.rint((one.times_s - one.times_s[0]) / 300)
    )
    late = replace(
        record, readings=(Stretch(missing, np.full(len(missing), 90, np.float32), 300.0),), recorded={}, events={}
    )
    counts = absorb(state, late, head).readings
    assert counts.new == counts.known == 0
    assert counts.late > 10
    assert counts.before > 10
    same(forecast(state, head), whole["newest"])


def test_a_dose_that_is_logged_late_is_told_from_then_on(record):
    bolus = record.events["bolus"]
    state = absorbed(replace(record, events={"bolus": bolus.since(record.end_s - 1.5 * DAY_S)}), [-np.inf, np.inf])
    before, sums = forecast(state, head), state.learned.layer.squares.copy()
    late = Events(np.array([record.end_s - 1800.0]), np.array([5.0], dtype=np.float32))
    counts = absorb(state, replace(record, readings=(), recorded={}, events={"bolus": late}), head)
    assert counts.treatments.new == 1
    assert forecast(state, head).outlook.ahead[0].point != before.outlook.ahead[0].point
    np.testing.assert_array_equal(state.learned.layer.squares, sums)


def test_nothing_later_is_told(record):
    edge = record.end_s - 0.5 * DAY_S
    early = forecast(absorbed(record, [-np.inf, edge]), head)
    wild = replace(
        record,
        readings=tuple(replace(one, values=np.where(one.times_s > edge, 400, one.values)) for one in record.readings),
    )
    state = new_state()
    absorb(state, part(wild, -np.inf, edge), head)
    same(forecast(state, head), early)
    absorb(state, part(wild, edge, np.inf), head)
    assert forecast(state, head).outlook.ahead[0].point > early.outlook.ahead[0].point + 100


def test_too_little_to_answer(record):
    state = absorbed(record, [-np.inf, BEGIN_S + 5000.0])
    assert state.learned.layer.seen.tolist() == [0, 0]
    with pytest.raises(ConfigError, match="Too little is known"):
        forecast(state, head)


def test_scores_of_what_came(record):
    state = new_state()
    first = absorb(state, part(record, -np.inf, record.end_s - 7200.0), head)
    assert first.came["truths"] > 400
    found = absorb(state, part(record, record.end_s - 7200.0, np.inf), head)
    rows = state.learned.told["truth"]
    came_s = state.learned.time_s[:, None] + np.array(TASK.horizons_s)
    inside = (came_s > record.end_s - 7200.0) & np.isfinite(rows)
    assert found.came["truths"] == inside.sum() == 8
    assert found.came["mean error as told"] == pytest.approx(np.abs(state.learned.told["point"] - rows)[inside].mean())
    assert absorb(state, record, head).came == {"truths": 0.0}
