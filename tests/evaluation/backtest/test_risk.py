"""The backtest of risks: scores by hand, floors on people whose truth is known, what is hidden, what is refused."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from hdt_fm.evaluation.backtest import floors, risk_floors
from hdt_fm.evaluation.backtest.probability_calibration import fitted
from hdt_fm.evaluation.backtest.risk import RiskModel, risk_backtest, three_ways
from hdt_fm.evaluation.backtest.risk_floors import Told
from hdt_fm.evaluation.backtest.risk_scores import KINDS, Waited, risk_metrics, says_how_often, threshold
from hdt_fm.metrics.events import Event
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.series import Series
from hdt_fm.signal.moments import moments_of
from hdt_fm.signal.own_past import recent
from hdt_fm.signal.within import happened_within

LOW = Event("low", 100.0, below=True)
HORIZONS = (1800.0, 3600.0)
# Two people. The first two origins wait for one reading, the sixth for one of its own; at the fifth the event is there.
WAITED = Waited(
    happened=np.array([1, 1, 0, 0, np.nan, 1, 0, 0], dtype=np.float64),
    episode=np.array([7, 7, 0, 0, 0, 9, 0, 0]),
    person=np.array([0, 0, 0, 0, 0, 1, 1, 1]),
    every_s=21_600.0,  # four a day: two days were watched, so two false alarms are allowed
)


def said(risks):
    """Equal in all three ways and both seeds."""
    return np.repeat(np.repeat(np.array(risks)[:, None, None], 2, axis=1), len(KINDS), axis=2)


def score(name, risks, waited=WAITED):
    found = next(one for one in risk_metrics(waited) if one.name == name).score(risks)
    return found.over(np.ones((1, 2)))[0]


def test_alarms_are_so_many_that_one_a_day_is_false():
    risk = np.array([0.9, 0.3, 0.8, 0.6, 1.0, 0.5, 0.4, 0.1])
    # False ones fall as .8 .6 .4 .1: two are let through, and what is above .4 is an alarm.
    assert threshold(WAITED, risk) == 0.4
    assert score("recall at 1 false alarm a day", said(risk)) == pytest.approx(2 / 3)
    assert score("episodes caught at 1 false alarm a day", said(risk)) == 1.0
    risk[0] = 0.35
    assert score("recall at 1 false alarm a day", said(risk)) == pytest.approx(1 / 3)
    assert score("episodes caught at 1 false alarm a day", said(risk)) == pytest.approx(1 / 2)
    assert threshold(replace(WAITED, every_s=86_400.0), risk) == -np.inf


def test_seeds_and_kinds_stand_apart():
    risks = said([0.9, 0.3, 0.8, 0.6, 1.0, 0.5, 0.4, 0.1])
    risks[[0, 1, 5], 1, 0] = 0.0
    risks[[0, 1, 5], :, 2] = 0.9
    assert score("recall at 1 false alarm a day", risks) == pytest.approx((2 / 3 + 0) / 2)
    assert score("recall at 1 false alarm a day, online", risks) == 1.0


def test_how_often_is_of_each_person_and_only_where_it_is_asked():
    risks = said([0.8, 0.6, 0.2, 0.0, 0.5, 1.0, 0.3, 0.1])
    first, second = (0.04 + 0.16 + 0.04 + 0) / 4, (0 + 0.09 + 0.01) / 3
    assert score("Brier score, raw", risks) == pytest.approx((first + second) / 2)
    own = (0.2 + 0.4 + 0.2 + 0) / 4, (0 + 0.3 + 0.1) / 3
    assert score("expected calibration error, calibrated", risks) == pytest.approx(np.mean(own))
    assert score("average precision", risks) == pytest.approx(1.0)
    assert [says_how_often(one.name) for one in risk_metrics(WAITED)] == 5 * [False] + 6 * [True]


@pytest.fixture(scope="module")
def people():
    """Mean-reverting glucose around a daily wave; persons differ in spread."""
    found = []
    for person in range(10):
        generator, count = np.random.default_rng(person), 288 * 5
        wave = 140 + 25 * np.sin(2 * np.pi * np.arange(count) / 288 + 0.3)
        noise, spread = np.zeros(count), 4 + person / 2
        for place in range(1, count):
            noise[place] = 0.97 * noise[place - 1] + generator.normal(0, spread)
        values = (wave + noise).astype(np.float32)
        found.append(Series(values, generator.random(count) > 0.03, 300.0, 1_700_006_400.0, person, person))
    return found


@pytest.fixture(scope="module")
def moments(people):
    return moments_of(people, context_s=3 * 3600.0, horizons_s=HORIZONS)


@pytest.fixture(scope="module")
def result(people, moments):
    return risk_backtest(
        "made up",
        people,
        moments,
        {
            "base rate": RiskModel(risk_floors.base_rate(), "baseline"),
            "ridge, at the horizon": RiskModel(risk_floors.at_horizon(floors.ridge()), "baseline"),
            "last value and slope": RiskModel(risk_floors.last_and_slope(), "ours"),
        },
        events=(LOW,),
        headline="last value and slope",
        folds=3,
        seeds=(0,),
        owed=("base rate",),
        draws=100,
    )


def value(result, model, metric, what="low within 60 min"):
    return next(
        row for row in result.rows if (row.model, row.metric) == (model, metric) and row.what.split(":")[0] == what
    )


def test_what_is_fitted_for_the_question_beats_what_is_asked_at_the_horizon(result):
    ours, other = "last value and slope", "ridge, at the horizon"
    for metric in ("recall at 1 false alarm a day", "average precision"):
        assert value(result, ours, metric).value > value(result, "base rate", metric).value
    assert value(result, ours, "Brier score, raw").value < value(result, other, "Brier score, raw").value
    error = "expected calibration error"
    assert value(result, ours, f"{error}, raw").value < value(result, other, f"{error}, raw").value
    # The event comes and goes: at the horizon alone it is too seldom, and a line through log-odds mends some of that.
    mended = value(result, other, f"{error}, calibrated").value
    assert mended < value(result, other, f"{error}, raw").value
    assert "ours_minus_this_low" in value(result, other, "average precision").columns
    assert {row.what for row in result.rows} == {
        f"low within {minutes} min{part}" for minutes in (30, 60) for part in ("", ": how often")
    }
    assert result.protocol["people"] == 10
    assert result.protocol["better"]["Brier score, online"] == "lower"


def test_floors_say_what_is_known_by_hand(people, moments):
    told = Told(moments, happened_within(moments, people, [LOW.of]), people, (LOW,))
    train, asked = np.flatnonzero(moments.group < 8), np.flatnonzero(moments.group >= 8)
    rate = risk_floors.base_rate()(told, train, asked)
    own = [np.nanmean(told.happened[moments.group == one], axis=0) for one in range(8)]
    assert rate.shape == (len(asked), 2, 1)
    assert np.allclose(rate[0], np.mean(own, axis=0))
    assert np.allclose(rate, rate[:1])

    def certain(moments, series, train, asked):
        return np.repeat((moments.last[asked, None] + [0, -2, -1, 0, 1, 2])[:, None], 2, axis=1)

    flat = risk_floors.at_horizon(certain, (0.1, 0.3, 0.5, 0.7, 0.9))(told, train, asked)
    assert (flat[moments.last[asked] > 120] < 1e-3).all()
    assert (flat[moments.last[asked] < 90] > 0.999).all()
    slope = risk_floors.last_and_slope()(told, train, asked)[:, 1, 0]
    # Close above and falling, and far above.
    order = np.argsort(moments.last[asked])
    near = order[moments.last[asked][order] >= 100][:50]
    assert slope[near].mean() > 0.4 > 0.1 > slope[order[-50:]].mean()


def test_an_event_that_nobody_had_is_answered_with_nothing(people, moments):
    never = Event("never", 0.0, below=True)
    told = Told(moments, happened_within(moments, people, [never.of]), people, (never,))
    train = np.flatnonzero(moments.group < 8)
    for fit in (risk_floors.base_rate(), risk_floors.last_and_slope()):
        assert (fit(told, train, np.arange(5)) == 0).all()


@pytest.mark.skipif(find_spec("lightgbm") is None, reason="the extra floors")
def test_trees_read_what_they_are_told(people, moments):
    told = Told(moments, happened_within(moments, people, [LOW.of]), people, (LOW,))
    train, asked = np.flatnonzero(moments.group < 8), np.flatnonzero(moments.group >= 8)
    truth = told.happened[asked, 1, 0]
    known = np.isfinite(truth)
    found = []
    for features in (recent(moments), np.zeros((len(moments), 1))):
        risk = risk_floors.lightgbm_classes(features, trees=40)(told, train, asked)[known, 1, 0]
        found.append(np.mean((risk - truth[known]) ** 2))
    assert found[0] < 0.9 * found[1]


def test_what_comes_to_those_who_are_asked_is_hidden(people, moments):
    seen = []

    def fit(told, train, asked):
        assert np.isnan(told.happened[asked]).all()
        assert np.isnan(told.moments.target[asked]).all()
        assert np.isfinite(told.happened[train]).any()
        seen.append(len(asked))
        return np.full((len(asked), 2, 1), 0.2)

    table = risk_backtest(
        "hidden", people, moments, {"ours": RiskModel(fit, "ours")}, events=(LOW,), headline="ours", owed=(), draws=10
    )
    assert len(seen) == 15
    # Where all risks are equal nothing is above the threshold.
    assert value(table, "ours", "recall at 1 false alarm a day").value == 0
    truth = happened_within(moments, people, [LOW.of])[:, 1, 0]
    own = [np.nanmean((truth[moments.group == one] - 0.2) ** 2) for one in range(10)]
    assert value(table, "ours", "Brier score, raw").value == pytest.approx(np.mean(own))


def test_after_calibration_no_longer_span_has_a_smaller_risk(people, moments):
    """A model that says less of the hour than of its half: raw it stays so, moved it may not."""
    truth = happened_within(moments, people, [LOW.of])
    noise = np.random.default_rng(0).random(len(moments))
    calibration, test = np.flatnonzero(moments.group < 3), np.flatnonzero(moments.group >= 3)
    rows = np.concatenate([calibration, test])
    got = np.stack([0.3 + 0.4 * noise[rows], 0.1 + 0.1 * noise[rows]], axis=1)[..., None]
    found = three_ways(moments, truth, got, calibration, test)
    assert found.shape == (len(test), 2, 1, 3)
    assert np.array_equal(found[..., 0], got[len(calibration) :])
    assert (found[:, 1, :, 1:] >= found[:, 0, :, 1:]).all()
    # Of the first half hour the line is that of the calibration people alone.
    told = np.isfinite(truth[calibration, 0, 0])
    own = calibration[told]
    move = fitted(got[: len(calibration)][told, 0, 0], truth[own, 0, 0] == 1, moments.group[own])
    assert np.allclose(found[:, 0, 0, 1], move(got[len(calibration) :, 0, 0]))
    # A person's own truths move what follows them, and nothing of anybody else.
    other = truth.copy()
    one = np.flatnonzero((moments.group == 3) & np.isfinite(truth[:, 0, 0]))[:20]
    other[one] = 1 - other[one]
    moved = three_ways(moments, other, got, calibration, test)
    assert np.array_equal(moved[..., 1], found[..., 1])
    changed = (moved[..., 2] != found[..., 2]).any(axis=(1, 2))
    assert set(moments.group[test[changed]]) == {3}


def test_what_does_not_fit_is_refused(people, moments):
    def wrong(told, train, asked):
        return np.full((len(asked), 2, 1), 1.2)

    model = {"ours": RiskModel(wrong, "ours")}
    with pytest.raises(ShapeError, match="risks do not fit"):
        risk_backtest("bad", people, moments, model, events=(LOW,), headline="ours")
    with pytest.raises(ConfigError, match="a headline among the models"):
        risk_backtest("bad", people, moments, model, events=(LOW,), headline="theirs")
    with pytest.raises(ConfigError, match="0 events"):
        risk_backtest("bad", people, moments, model, events=(), headline="ours")
