"""The backtest on people whose truth is known: what wins, what is covered, and what is refused."""

import numpy as np
import pytest

from hdt_fm.evaluation.backtest import floors
from hdt_fm.evaluation.backtest.run import Model, backtest
from hdt_fm.metrics.events import Event
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.series import Series
from hdt_fm.signal.moments import moments_of
from hdt_fm.signal.own_past import own_past

LOW = Event("low", 100.0, below=True)
HORIZONS = (1800.0, 3600.0)


@pytest.fixture(scope="module")
def people():
    """Mean-reverting glucose around a daily wave; persons differ in spread."""
    found = []
    for person in range(10):
        generator, count = np.random.default_rng(person), 288 * 6
        wave = 140 + 25 * np.sin(2 * np.pi * np.arange(count) / 288 + 0.3)
        noise, spread = np.zeros(count), 4 + person
        for place in range(1, count):
            noise[place] = 0.95 * noise[place - 1] + generator.normal(0, spread)
        values = (wave + noise).astype(np.float32)
        found.append(Series(values, generator.random(count) > 0.03, 300.0, 1_700_006_400.0, person, person))
    return found


@pytest.fixture(scope="module")
def moments(people):
    return moments_of(people, context_s=3 * 3600.0, horizons_s=HORIZONS)


def plain():
    return {
        "last value": Model(floors.last_value(), "baseline"),
        "damped trend": Model(floors.damped_trend(), "baseline"),
        "seasonal naive, a day": Model(floors.seasonal_naive(), "baseline"),
        "ridge": Model(floors.ridge(), "ours"),
    }


@pytest.fixture(scope="module")
def result(people, moments):
    return backtest(
        "made up",
        people,
        moments,
        plain(),
        headline="ridge",
        seeds=(0, 1),
        events=(LOW,),
        owed=("last value", "damped trend", "seasonal naive, a day"),
        draws=200,
    )


def value(result, model, metric, what="in 60 min"):
    return next(
        row for row in result.rows if (row.model, row.metric) == (model, metric) and row.what.split(":")[0] == what
    )


def test_what_reverts_to_a_mean_is_best_forecast_by_ridge(result):
    for metric in ("RMSE", "MAE", "MASE", "WQL", "CRPS"):
        ours = value(result, "ridge", metric)
        assert ours.value < value(result, "last value", metric).value
        assert value(result, "last value", metric).columns["ours_minus_this_high"] < 0
    assert value(result, "ridge", "RMSE", "in 30 min").value < value(result, "ridge", "RMSE").value


def test_scores_are_those_by_hand(people, moments):
    """One model that always says 150: every score follows from the readings alone."""

    def fit(moments, series, train, asked):
        return np.full((len(asked), 2, 10), 150.0)

    table = backtest(
        "said", people, moments, {"150": Model(fit, "ours")}, headline="150", seeds=(0,), owed=(), draws=50
    )
    truth = moments.target[:, 1]
    known = np.isfinite(truth)
    own = [np.sqrt(np.mean((truth[known & (moments.group == g)] - 150) ** 2)) for g in range(10)]
    assert value(table, "150", "RMSE").value == pytest.approx(np.mean(own))
    assert value(table, "150", "WQL").value == pytest.approx(
        np.abs(truth[known] - 150).sum() / np.abs(truth[known]).sum()
    )


def test_online_intervals_hold_for_the_widest_person_too(result):
    """Spreads of people differ by three: one shift for all cannot fit them, one that follows each can."""
    for model in ("ridge", "last value"):
        raw = value(result, model, "coverage of 80 %, raw, worst person").value
        online = value(result, model, "coverage of 80 %, online, worst person").value
        assert online > raw + 0.03
        assert value(result, model, "coverage of 80 %, online").value == pytest.approx(0.8, abs=0.03)


def test_no_floor_sees_what_comes_later(people, moments):
    """Readings after some day are moved by 1000: forecasts made before stay as they are."""
    cut = 288 * 4
    moved = [
        Series(np.where(np.arange(len(one)) > cut, one.values + 1000, one.values), *vars_of(one)) for one in people
    ]
    later = moments_of(moved, context_s=3 * 3600.0, horizons_s=HORIZONS)
    assert np.array_equal(later.place, moments.place)
    early = np.flatnonzero((moments.place <= cut) & (moments.group >= 8))
    train = np.flatnonzero((moments.place <= cut - 12) & (moments.group < 8))
    for name, model in plain().items():
        before = model.fit(moments, people, train, early)
        after = model.fit(later, moved, train, early)
        assert np.allclose(before, after), name


def vars_of(one):
    return one.observed, one.step_s, one.start_s, one.subject, one.group


def test_targets_of_the_asked_are_hidden(people, moments):
    def cheat(moments, series, train, asked):
        return np.repeat(moments.target[asked][..., None], 10, axis=2)

    with pytest.raises(ShapeError, match="finite"):
        backtest("cheat", people, moments, {"c": Model(cheat, "ours")}, headline="c", seeds=(0,), owed=())


def test_a_headline_or_levels_that_do_not_fit_are_refused(people, moments):
    with pytest.raises(ConfigError, match="headline"):
        backtest("x", people, moments, plain(), headline="nobody")
    with pytest.raises(ConfigError, match="levels"):
        backtest("x", people, moments, plain(), headline="ridge", levels=(0.25, 0.75))


def test_trees_learn_more_than_ridge_where_the_way_back_is_bent(people, moments):
    pytest.importorskip("lightgbm", reason="needs the extra floors")
    fit = floors.lightgbm_quantiles(trees=30)
    train, asked = np.flatnonzero(moments.group < 8), np.flatnonzero(moments.group >= 8)
    said = fit(moments, people, train, asked)
    assert said.shape == (len(asked), 2, 10)
    assert (np.diff(said[..., 1:], axis=-1) >= 0).all()
    known = np.isfinite(moments.target[asked, 1])
    miss = said[known, 1, 0] - moments.target[asked, 1][known]
    assert np.abs(miss).mean() < np.abs(moments.last[asked] - moments.target[asked, 1])[known].mean()


def test_the_own_past_is_by_hand_and_knows_nothing_later(people, moments):
    found = own_past(moments, people)
    row = int(np.flatnonzero((moments.subject == 4) & (moments.place > 288 * 3))[0])
    one, place, last = people[4], moments.place[row], moments.last[row]
    day = slice(place + 1 - 288, place + 1)
    values = one.values[day][one.observed[day]].astype(np.float64)
    # Spans of 3, 6, 12 and 24 hours come first, a mean and a spread each.
    assert found[row, 6] == pytest.approx(values.mean() - last, abs=1e-3)
    assert found[row, 7] == pytest.approx(values.std(), abs=1e-3)
    if one.observed[place - 288]:
        assert found[row, 12] == pytest.approx(one.values[place - 288] - last, abs=1e-3)
    moved = [
        Series(np.where(np.arange(len(one)) > 900, one.values + 1000, one.values), *vars_of(one)) for one in people
    ]
    later = own_past(moments_of(moved, context_s=3 * 3600.0, horizons_s=HORIZONS), moved)
    early = moments.place <= 900
    assert early.any()
    assert np.array_equal(found[early], later[early], equal_nan=True)
