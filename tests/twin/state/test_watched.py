"""A twin's drift watch: a day by hand, the same however a record is cut, and nothing that hangs on it."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from hdt_fm.metrics.conformal import HASTE
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.series import DAY_S, ForecastTask
from hdt_fm.twin.drift.cause import ACTIONS, DIRECTIONS, JOINED, NOBODY, Proposal
from hdt_fm.twin.drift.streams import ACTED, CARBS, INSULIN, LEVEL, OUTSIDE, REST, SIZE, SWING
from hdt_fm.twin.forecast.outlook import OfPeople
from hdt_fm.twin.state.answer import Answers, forecast
from hdt_fm.twin.state.learned import Learned
from hdt_fm.twin.state.state import Reference, TwinState
from hdt_fm.twin.state.stream import Window, absorb, device_digest
from hdt_fm.twin.state.tracks import Events, Grid, Stretch, Track
from hdt_fm.twin.state.watch_told import ACCEPTED, DECLINED, DOES, answer_words, record, words
from hdt_fm.twin.state.watched import Watched, day_of, watch_for

TASK = ForecastTask(
    modality="glucose",
    unit="mg/dL",
    step_s=900.0,
    context_s=10_800.0,
    horizons_s=(1800.0, 3600.0),
    every_s=1800.0,
    windows=0,
    apart_s=float(DAY_S),
    treatments=("bolus", "insulin_rate"),
)
PEOPLE = OfPeople(levels=(0.1, 0.9), shift=(1.0, 2.0), score_spread=(8.0, 12.0))
FIRST = 20_000
BEGIN_S = float(FIRST * DAY_S)
DAYS, LAST_DOSE_DAY = 37, 33


def head(series, given, moments):
    """What stands there will stay."""
    point = np.repeat(moments.last[:, None], 2, axis=1).astype(np.float64)
    return Answers(np.stack([point, point - 12, point + 15], axis=-1), np.ones((len(moments), 1)))


def new_state(watched=True):
    reference = Reference("d", "p", TASK, "newest", 8.0 * DAY_S, 8.0 * DAY_S)
    learned = Learned(width=1, horizons_s=TASK.horizons_s, people=PEOPLE)
    return TwinState(reference, learned, "x", watch=watch_for(TASK) if watched else None)


@pytest.fixture(scope="module")
def life():
    """37 days every 15 minutes, at midnight too, with a gap of four days; four doses a day, none after the 33rd day."""
    draws = np.random.default_rng(5)
    times_s = BEGIN_S + 36_000.0 + 900.0 * np.arange(DAYS * 96 - 41)
    noise = np.zeros(len(times_s))
    for at in range(1, len(times_s)):
        noise[at] = 0.95 * noise[at - 1] + draws.normal(0, 4)
    values = (140 + 30 * np.sin(times_s / DAY_S * 2 * np.pi) + noise).astype(np.float32)
    days = (times_s - BEGIN_S) / DAY_S
    keep = (draws.random(len(times_s)) < 0.97) & ~((days > 12.3) & (days < 16.4))
    doses_s = BEGIN_S + DAY_S * (np.arange(LAST_DOSE_DAY)[:, None] + [0.3, 0.5, 0.6, 1.0]).ravel()
    return Window(
        readings=(Stretch(times_s[keep], values[keep], 900.0),),
        events={"bolus": Events(doses_s, np.full(len(doses_s), 4, dtype=np.float32))},
        source="made up",
    )


def part(life, first_s, last_s):
    (one,), bolus = life.readings, life.events["bolus"]
    rows = (one.times_s > first_s) & (one.times_s <= last_s)
    some = (bolus.times_s > first_s) & (bolus.times_s <= last_s)
    events = {"bolus": Events(bolus.times_s[some], bolus.amounts[some])} if some.any() else {}
    return replace(life, readings=(Stretch(one.times_s[rows], one.values[rows], 900.0),), events=events)


def absorbed(life, edges, *, back_s=0.0, watched=True):
    state = new_state(watched)
    for first_s, last_s in pairwise(edges):
        absorb(state, part(life, first_s - back_s, last_s), head)
    return state


@pytest.fixture(scope="module")
def whole(life):
    return absorbed(life, [-np.inf, np.inf])


def test_records_that_stop_are_proposed_and_nothing_is_done(life, whole):
    found = whole.watch.proposal
    # Days that are watched begin with the first midnight; the first without a dose is told two days later.
    assert whole.watch.first == FIRST + 1
    assert (found.cause, found.about, found.onset, found.day) == ("lost", "bolus", LAST_DOSE_DAY - 1, LAST_DOSE_DAY)
    assert whole.watch.watch.days == DAYS - 1 - 1
    # The days of the gap are unknown; they are days all the same.
    unknown = [row[JOINED.index(LEVEL)] is None for row in whole.watch.state()["watch"]["usual"]["days"]]
    assert 3 <= sum(unknown) <= 5


def test_no_forecast_hangs_on_it(life, whole):
    without = absorbed(life, [-np.inf, np.inf], watched=False)
    one, other = (forecast(state, head) for state in (whole, without))
    assert one.outlook == other.outlook
    mine, theirs = whole.learned.arrays(), without.learned.arrays()
    for name, array in mine.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)
    assert whole.learned.facts() == without.learned.facts()


def around_midnights(life, hours):
    """One reading at a time around each of the last five midnights, which the gap is not among."""
    times_s = life.readings[0].times_s
    near = np.abs((times_s / DAY_S + 0.5) % 1 - 0.5) * 24 < hours
    return times_s[near & (times_s > life.end_s - 5 * DAY_S)].tolist()


@pytest.mark.parametrize("how", ["one reading at a time", "31 h", "exports that overlap", "to the midnight"])
def test_however_it_is_cut(life, whole, how):
    hours = {"31 h": 31.0, "exports that overlap": 50.0, "to the midnight": 24.0}
    if how in hours:
        first_s = BEGIN_S if how == "to the midnight" else BEGIN_S + 40_000.0
        edges = np.arange(first_s, life.end_s, 3600.0 * hours[how]).tolist()
    else:
        edges = around_midnights(life, 1.5)
        assert len(edges) > 40
    state = absorbed(life, [-np.inf, *edges, np.inf], back_s=90_000.0 if "overlap" in how else 0.0)
    assert state.watch.proposal.cause == "lost"
    # To the bit: a day is added up at once, when it is over.
    assert state.watch.state() == whole.watch.state()


def test_it_goes_on_from_its_state_whose_size_does_not_grow(whole):
    text = json.dumps(whole.watch.state(), allow_nan=False)
    assert len(text) < 20_000
    other = watch_for(TASK)
    other.restore(json.loads(text))
    assert other.state() == whole.watch.state()
    assert other.proposal == whole.watch.proposal


def test_a_day_by_hand():
    learned = Learned(width=1, horizons_s=TASK.horizons_s, people=PEOPLE)
    # Answers of each hour from an hour before midnight on; the truth of the first one comes at midnight, a day before.
    learned.time_s = BEGIN_S + 3600.0 * np.arange(-1, 24)
    several = len(learned.time_s)
    learned.told = {name: np.zeros((several, 2)) for name in ("mean", "point", "low", "high", "truth")}
    learned.told["high"][:] = 6.5
    # Doses at hour 8 and at 23:30: answers of hours 8 to 11 come after one, those of the last hour come true tomorrow.
    learned.told["truth"][:, 1] = [90, 4, -2, 4, 2, 2, 2, 3, 3, 7, 8, np.nan, 9, *[0] * 12]
    events = {"bolus": Events(BEGIN_S + 3600.0 * np.array([-1.0, 8.0, 10.0, 24.0]), np.array([9, 5, 0, 1], np.float32))}
    shown = np.where(np.arange(97) % 2, 130, 120).astype(np.float32)
    shown[0] = 300.0
    readings = Track(BEGIN_S + 900.0 * np.arange(97), shown)
    values, counts = day_of(BEGIN_S, readings, learned, events, Grid(900.0), "newest")
    # Hours 0 to 2 follow the dose of an hour before midnight, three are not enough with the three of 8 to 11.
    assert values[ACTED] == pytest.approx((4 - 2 + 4 + 7 + 8 + 9) / 6)
    assert values[REST] == pytest.approx((2 + 2 + 2 + 3 + 3) / (5 + 12))
    assert values[SIZE] == pytest.approx(np.log((34 + 12) / 23))
    assert values[OUTSIDE] == pytest.approx(4 / 23)
    # From the first step after midnight to the midnight at its end: that at its start is of the day before.
    assert values[LEVEL] == pytest.approx((np.log(120) + np.log(130)) / 2)
    # Of hours 8 and 10; the dose an hour before the day and the one at its end are none of it.
    assert values[INSULIN] == pytest.approx(np.log(5 + 1))
    assert np.isnan(values[CARBS])
    assert values[SWING] == pytest.approx(np.log(10))
    assert counts == {"bolus": 2}
    # Two days after the last entry nobody is known to be at rest.
    values, _ = day_of(BEGIN_S, readings, learned, {"bolus": events["bolus"].since(np.inf)}, Grid(900.0), "newest")
    assert np.isnan(values[REST])
    assert np.isnan(values[ACTED])
    assert values[SIZE] == pytest.approx(np.log(46 / 23))


def test_a_day_is_over_with_a_reading_at_its_end():
    one = Watched()
    assert one.over(1e12) is None
    one.begin(10.5 * DAY_S)
    one.begin(3.0 * DAY_S)
    assert one.over(12.0 * DAY_S - 1) is None
    assert one.over(12.0 * DAY_S) == 11.0 * DAY_S
    one.close({LEVEL: 120.0}, {})
    assert one.over(12.5 * DAY_S) is None
    assert one.over(13.0 * DAY_S) == 12.0 * DAY_S


def test_records_are_counted_from_the_first_one_on_and_on_days_with_readings():
    one = Watched(["bolus"])
    one.begin(0.0)
    for level, count, learned in ((120.0, 0, 0), (np.nan, 3, 0), (120.0, 3, 1), (120.0, 0, 2), (np.nan, 0, 2)):
        one.close({LEVEL: level}, {"bolus": count})
        assert one.watch.silence["bolus"].learned == learned


def changed(one, cause, unknown=()):
    effects = np.array(next(direction.effects for direction in DIRECTIONS if direction.cause == cause))
    values = np.random.default_rng(0).normal(size=(90, len(JOINED))) @ np.linalg.cholesky(NOBODY.together).T
    values[45:] += 2 * effects
    for row in values.tolist():
        day = dict(zip(JOINED, row, strict=True)) | dict.fromkeys(unknown, np.nan)
        one.close(day, dict.fromkeys(one.records, 3))


@pytest.mark.parametrize("unknown", [(REST, ACTED), (ACTED,)])
@pytest.mark.parametrize("cause", ["gain", "sensitivity"])
def test_without_doses_and_meals_a_sensor_is_not_told_from_a_body(cause, unknown):
    named, asked = Watched(["bolus"]), Watched(["bolus"])
    changed(named, cause)
    changed(asked, "gain", unknown)
    assert named.proposal.cause == cause
    assert (asked.proposal.cause, asked.proposal.factor) == ("unclear", None)
    assert "a sensor is not told from a body" in "\n".join(words(record(Watched(), dates=True)))


def test_an_answer_closes_it_and_the_usual_is_learned_anew():
    one = Watched(["bolus"])
    changed(one, "gain")
    assert one.answered().cause == "gain"
    assert one.proposal is None
    assert not one.watch.open
    assert record(one, dates=False)["days_learned"] == 0
    with pytest.raises(ConfigError, match="There is no proposal to answer"):
        one.answered()


DEVICES = ("the sensor of A. Person", "another")


def two_devices(life):
    """The same readings from two recordings, of another device from the 31st day on."""
    one, changed_s = life.readings[0], BEGIN_S + 30.6 * DAY_S
    parts = [one.times_s <= changed_s, one.times_s > changed_s]
    readings = tuple(Stretch(one.times_s[rows], one.values[rows], 900.0) for rows in parts)
    return replace(life, readings=readings, devices=DEVICES)


def part_of_two(life, first_s, last_s):
    def inside(one):
        rows = (one.times_s > first_s) & (one.times_s <= last_s)
        return Stretch(one.times_s[rows], one.values[rows], 900.0)

    return replace(life, readings=tuple(inside(one) for one in life.readings))


@pytest.mark.parametrize("hours", [1e9, 31.0])
def test_another_device_is_asked_about_and_its_name_is_kept_nowhere(life, hours, whole):
    both, state = two_devices(life), new_state()
    for first_s, last_s in pairwise([-np.inf, *np.arange(BEGIN_S + 40_000.0, life.end_s, 3600.0 * hours), np.inf]):
        absorb(state, part_of_two(both, first_s, last_s), head)
    found = state.watch.proposal
    # Day 0 began with the midnight after the first reading.
    assert (found.cause, found.onset, found.day, found.about) == ("device", 29, 29, "")
    text = json.dumps(state.watch.state())
    assert not any(name in text for name in DEVICES)
    assert device_digest("x", DEVICES[0]) in text
    # What it is worn with changes no number of a day.
    assert state.watch.state()["watch"]["usual"] == whole.watch.state()["watch"]["usual"]
    assert "names another device" in "\n".join(words(record(state.watch, dates=True)))


@pytest.mark.parametrize("accepted", [True, False])
def test_another_device_is_learned_from_its_first_day_or_is_the_same(life, accepted):
    state = new_state()
    absorb(state, two_devices(life), head)
    days = state.watch.watch.days
    answer = ACCEPTED if accepted else DECLINED
    said = answer_words(state.watch.answered(accepted=accepted), answer)
    assert state.watch.watch.usual.kept == (days - 29 if accepted else days)
    assert "stands" in said[0]
    assert ("learns anew" in said[-1]) == accepted
    state.watch.wears(device_digest("x", DEVICES[0]), life.end_s)
    assert (state.watch.proposal is not None) == accepted


def test_a_new_interval_hurries_and_one_from_a_file_keeps_its_pace():
    new = Learned(width=1, horizons_s=TASK.horizons_s, people=PEOPLE)
    assert [one.haste for one in new.shifts] == [HASTE, HASTE]
    facts = new.facts()
    for one in facts["shifts"]:
        one["haste"] = 0.0
    assert [one.haste for one in Learned.of(facts, new.arrays()).shifts] == [0.0, 0.0]


def test_an_answer_says_what_it_does_not():
    assert set(DOES) == set(ACTIONS)
    proposal = Proposal("gain", 60, 51, factor=1.15)
    assert "no reading is rescaled" in answer_words(proposal, ACCEPTED)[0]
    assert "nothing else is changed" in answer_words(proposal, DECLINED)[0]
    assert all("learns anew" in answer_words(proposal, answer)[1] for answer in (ACCEPTED, DECLINED))
    assert len(answer_words(Proposal("device", 60, 60), DECLINED)) == 1


def test_words_with_and_without_dates(whole):
    text = "\n".join(words(json.loads(json.dumps(record(whole.watch, dates=True), allow_nan=False))))
    onset = np.datetime64(FIRST + LAST_DOSE_DAY, "D")
    for said in (
        "A PROPOSAL WAITS",
        "records of rapid insulin have stopped coming",
        f"since about day {LAST_DOSE_DAY - 1}; day {LAST_DOSE_DAY - 1} is {onset}",
        "Nothing has been changed",
        "set on simulated people",
        "answer=declined",
    ):
        assert said in text
    assert str(onset)[:5] not in "\n".join(words(record(whole.watch, dates=False)))
    young = Watched(["bolus"])
    text = "\n".join(words(record(young, dates=True)))
    assert "nothing has changed that could be told, 0 of 28 days are learned first" in text
    assert "set on simulated people" in text
    for _ in range(30):
        young.close({LEVEL: 120.0}, {})
    assert "nothing has changed that could be told in 30 days" in "\n".join(words(record(young, dates=True)))


def test_another_modality_has_none():
    assert watch_for(replace(TASK, modality="heart_rate")) is None
    assert words(record(None, dates=True)) == [
        "watch: none; drift is watched for in glucose alone: its table of causes is of that"
    ]
    assert watch_for(TASK).records == ("bolus",)
