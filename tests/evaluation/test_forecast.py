"""Origins by hand, persistence in closed form, and a head that cannot see what it is asked."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.evaluation.folds import grouped_folds
from hdt_fm.evaluation.forecast import LEVELS, LINEAR, MEAN, OURS, PERSISTENCE, forecast
from hdt_fm.evaluation.origins import first_step, forecast_origins
from hdt_fm.schema.errors import ConfigError, ShapeError


def labelled(table, values):
    return replace(table, labels={"rate": np.asarray(values, dtype=np.float32)})


def constant_head(value):
    return lambda origins, train, test: np.full((len(test), origins.target.shape[1], len(LEVELS)), value)


def run(table, fit, *, context=3, horizon=2, **settings):
    folds = grouped_folds(table.group, 3, seed=0)
    return forecast(table, "rate", context=context, horizon=horizon, folds=folds, fit=fit, draws=100, **settings)


def test_origins_by_hand(make_table):
    """Two people of 6 windows; person 0 lacks the window at 120 s, person 1's last label is unknown."""
    table = labelled(make_table(people=2, windows=6), np.arange(12.0))
    rate = table.labels["rate"].copy()
    rate[11] = np.nan
    keep = np.arange(12) != 2
    fields = ("embeddings", "projections", "present", "subject", "group", "time_s", "window_id")
    table = replace(table, labels={"rate": rate[keep]}, **{name: getattr(table, name)[keep] for name in fields})
    origins = forecast_origins(table, "rate", context=2, horizon=2)
    assert origins.recent.tolist() == [[0.0, 1.0], [3.0, 4.0], [6.0, 7.0], [7.0, 8.0], [8.0, 9.0]]
    assert np.array_equal(
        origins.target, [[np.nan, 3.0], [5.0, np.nan], [8.0, 9.0], [9.0, 10.0], [10.0, np.nan]], equal_nan=True
    )
    assert origins.group.tolist() == [100, 100, 101, 101, 101]
    assert origins.ahead_s.tolist() == [60.0, 120.0]


def test_origins_do_not_depend_on_the_order_of_rows(make_table):
    table = labelled(make_table(people=3, windows=8), np.arange(24.0))
    order = np.random.default_rng(0).permutation(24)
    fields = ("embeddings", "projections", "present", "subject", "group", "time_s", "window_id")
    mixed = replace(
        table, labels={"rate": table.labels["rate"][order]}, **{name: getattr(table, name)[order] for name in fields}
    )
    plain, other = (forecast_origins(one, "rate", context=3, horizon=2) for one in (table, mixed))
    key = np.argsort(other.recent[:, 0])
    assert np.array_equal(plain.recent, other.recent[key])
    assert np.array_equal(plain.target, other.target[key], equal_nan=True)


def test_overlapping_windows_are_not_asked_for_what_was_seen(make_table):
    """60-s windows every 20 s: the first target starts three hops later, when the context has ended."""
    table = labelled(make_table(people=2, windows=9, hop_s=20.0), np.arange(18.0))
    assert first_step(table) == 3
    origins = forecast_origins(table, "rate", context=2, horizon=2)
    assert origins.recent[0].tolist() == [0.0, 1.0]
    assert origins.target[0].tolist() == [4.0, 5.0]
    assert origins.ahead_s.tolist() == [60.0, 80.0]


def test_persistence_in_closed_form(make_table):
    """A ramp of one a window: persistence is wrong by the number of steps, for every person."""
    table = labelled(make_table(), np.tile(np.arange(22.0), 9))
    result = run(table, constant_head(10.0))
    for step, what in enumerate(("rate in 60 s", "rate in 120 s"), start=1):
        for metric in ("mae", "rmse"):
            assert result.find(PERSISTENCE, metric, what).value == pytest.approx(step)
        assert result.find(LINEAR, "mae", what).value < 0.3
        assert result.find(PERSISTENCE, "coverage", what).value == 1.0


def test_persistence_takes_the_last_known_value(make_table):
    rate = np.tile(np.arange(22.0), 9)
    rate[::3] = np.nan
    result = run(labelled(make_table(), rate), constant_head(10.0), horizon=1)
    # Windows 3k are unknown, so targets are 3k+1 (last known 3k-1: two off) and 3k+2 (one off).
    targets = np.arange(3, 22)
    known = targets[targets % 3 > 0]
    want = np.where(known % 3 == 1, 2.0, 1.0).mean()
    assert result.find(PERSISTENCE, "mae").value == pytest.approx(want)


def test_the_mean_and_its_intervals_on_noise(make_table):
    rng = np.random.default_rng(0)
    table = labelled(make_table(people=12, windows=40), rng.normal(50.0, 2.0, 480))
    result = run(table, constant_head(50.0), horizon=1)
    assert result.find(MEAN, "rmse").value == pytest.approx(2.0, abs=0.15)
    assert result.find(MEAN, "coverage").value == pytest.approx(0.8, abs=0.05)
    assert result.find(PERSISTENCE, "rmse").value == pytest.approx(2.0 * np.sqrt(2), abs=0.25)
    assert result.find(OURS, "coverage").value == 0.0
    # All quantiles at 50: twice the mean pinball is the mean absolute error, over the mean absolute target.
    recent = forecast_origins(table, "rate", 3, 1).target
    want = np.abs(recent - 50).mean() / np.abs(recent).mean()
    assert result.find(OURS, "wql").value == pytest.approx(want)


def test_a_head_never_sees_test_targets(make_table):
    """An oracle that returns the targets it is given fails, since those of test people are blinded."""
    table = labelled(make_table(), np.random.default_rng(0).normal(size=9 * 22))
    seen = []

    def spy(origins, train, test):
        seen.append((np.isnan(origins.target[test]).all(), np.isfinite(origins.target[train]).any()))
        assert not set(origins.group[train]) & set(origins.group[test])
        return np.zeros((len(test), 2, len(LEVELS)))

    run(table, spy)
    assert seen == [(True, True)] * 3
    with pytest.raises(ShapeError, match="quantiles do not fit"):
        run(table, lambda o, train, test: np.repeat(o.target[test][:, :, None], len(LEVELS), axis=2))


def test_crossing_quantiles_are_sorted(make_table):
    table = labelled(make_table(), np.random.default_rng(0).normal(size=9 * 22))

    def crossed(origins, train, test):
        return np.tile(np.array([3.0, 1.0, 0.0, -1.0, -3.0]), (len(test), 2, 1))

    assert run(table, crossed).find(OURS, "coverage").value > 0.95


def test_refusals(make_table):
    table = make_table()
    with pytest.raises(ConfigError, match="40 windows without gap"):
        run(table, constant_head(1.0), context=40)
    with pytest.raises(ConfigError, match="no label 'rat'"):
        forecast_origins(table, "rat", 2, 1)
    with pytest.raises(ShapeError, match="quantile levels"):
        run(table, constant_head(1.0), levels=(0.1, 0.9))
    with pytest.raises(ShapeError, match="quantile levels"):
        run(table, constant_head(1.0), levels=(0.9, 0.5, 0.1))
