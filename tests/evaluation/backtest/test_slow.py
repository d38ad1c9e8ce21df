"""Models that are asked at some origins: the same for all, shared out among people; and AutoARIMA among them."""

import sys

import numpy as np
import pytest

from hdt_fm.evaluation.backtest import floors
from hdt_fm.evaluation.backtest.run import Model, backtest, sampled_origins
from hdt_fm.evaluation.folds import Fold
from hdt_fm.schema.errors import ConfigError, ShapeError
from hdt_fm.schema.series import Series
from hdt_fm.signal.moments import moments_of

HORIZONS = (1800.0, 3600.0)
NOBODY = np.empty(0, dtype=np.int64)


def waves(lengths, *, step=300.0):
    found = []
    for person, length in enumerate(lengths):
        generator = np.random.default_rng(person)
        noise = np.zeros(length)
        for place in range(1, length):
            noise[place] = 0.95 * noise[place - 1] + generator.normal(0, 4)
        seen = generator.random(length) > 0.03
        found.append(Series((140 + noise).astype(np.float32), seen, step, 1_700_006_400.0, person, person))
    return found


@pytest.fixture(scope="module")
def people():
    return waves([500, 900, 700, 600, 800, 650])


@pytest.fixture(scope="module")
def moments(people):
    return moments_of(people, context_s=3 * 3600.0, horizons_s=HORIZONS)


def everyone(moments):
    return np.ones(len(moments), bool)


def test_origins_are_shared_out_among_people(moments):
    at = sampled_origins(moments, 31, everyone(moments))
    assert len(np.unique(at)) == 31
    assert np.isfinite(moments.target[at]).all()
    assert sorted(np.bincount(moments.group[at])) == [5, 5, 5, 5, 5, 6]
    assert np.array_equal(at, sampled_origins(moments, 31, everyone(moments)))
    everything = sampled_origins(moments, 10**6, everyone(moments))
    assert np.array_equal(everything, np.flatnonzero(np.isfinite(moments.target).all(axis=1)))


def test_one_with_little_gives_what_there_is():
    people = waves([60, 900, 900])
    moments = moments_of(people, context_s=3 * 3600.0, horizons_s=HORIZONS)
    counts = np.bincount(moments.group[sampled_origins(moments, 30, everyone(moments))])
    few = int(np.isfinite(moments.target[moments.group == 0]).all(axis=1).sum())
    assert counts[0] == few < 10
    assert abs(int(counts[1]) - int(counts[2])) <= 1


def table(people, moments, slow, *, folds=3):
    models = {"last value": Model(floors.last_value(), "baseline"), "ridge": Model(floors.ridge(), "ours")}
    return backtest(
        "made up",
        people,
        moments,
        models,
        headline="ridge",
        folds=folds,
        seeds=(0, 1),
        owed=("last value",),
        draws=20,
        slow=slow,
        slow_origins=30,
    )


def test_a_slow_model_stands_with_all_others_at_its_origins(people, moments):
    asked = []

    def fit(moments, series, train, rows):
        asked.append((rows, len(train), np.isfinite(moments.target).sum()))
        return np.repeat(moments.last[rows, None, None], 2, axis=1).repeat(10, axis=2)

    found = table(people, moments, {"slow": Model(fit, "baseline")})
    ((rows, learned, told),) = asked  # once, whatever the seeds and folds
    assert np.array_equal(rows, sampled_origins(moments, 30, everyone(moments)))
    assert learned == told == 0
    what = "in 60 min, at 30 origins"
    assert {row.model for row in found.rows if row.what == what} == {"last value", "ridge", "slow"}
    assert {row.model for row in found.rows if row.what == "in 60 min"} == {"last value", "ridge"}
    miss = moments.target[rows, 1] - moments.last[rows]
    own = [np.sqrt(np.mean(miss[moments.group[rows] == g] ** 2)) for g in range(6)]
    for model in ("slow", "last value"):
        assert found.find(model, "RMSE", what).value == pytest.approx(np.mean(own), rel=1e-6)
    without = table(people, moments, None)
    assert without.rows == tuple(row for row in found.rows if "origins" not in row.what)


def test_a_slow_model_is_asked_of_none_but_the_tested(people, moments):
    def fit(moments, series, train, rows):
        assert set(moments.group[rows]) == {1, 4}
        return np.repeat(moments.last[rows, None, None], 2, axis=1).repeat(10, axis=2)

    test = np.isin(moments.group, [1, 4])
    fold = Fold(np.flatnonzero(~test), np.flatnonzero(test), len(moments), frozenset({1, 4}))
    found = table(people, moments, {"slow": Model(fit, "baseline")}, folds=[fold])
    assert found.find("slow", "RMSE", "in 30 min, at 30 origins").n == 2


def test_a_slow_model_that_would_learn_from_others_is_refused(people, moments):
    def fit(moments, series, train, rows):
        return moments.target[rows][..., None].repeat(10, axis=2)

    with pytest.raises(ShapeError, match="finite"):
        table(people, moments, {"slow": Model(fit, "baseline")})


def test_without_statsforecast_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsforecast.models", None)
    with pytest.raises(ConfigError, match="extra arima"):
        floors.auto_arima()


class TestAutoARIMA:
    """Needs the extra arima."""

    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("statsforecast", reason="needs the extra arima")

    def test_an_autoregression_goes_back_to_its_mean(self):
        generator = np.random.default_rng(0)
        values = np.full(400, 150.0)
        for place in range(1, 400):
            values[place] = 150 + 0.8 * (values[place - 1] - 150) + generator.normal(0, 5)
        (one,) = people = [Series(values.astype(np.float32), np.ones(400, bool), 300.0, 0.0, 0, 0)]
        moments = moments_of(people, context_s=3 * 3600.0, horizons_s=HORIZONS)
        rows = np.arange(20, len(moments))
        said = floors.auto_arima((0.1, 0.5, 0.9))(moments, people, NOBODY, rows)
        assert said.shape == (len(rows), 2, 4)
        known = one.values[moments.place[rows]]
        back = 150 + 0.8**12 * (known - 150)
        assert np.sqrt(np.mean((said[:, 1, 0] - back) ** 2)) < np.sqrt(np.mean((known - back) ** 2))
        assert np.allclose(said[..., 2], said[..., 0])
        assert np.allclose(said[..., 3] - said[..., 0], said[..., 0] - said[..., 1])
        # In the long run errors spread by 5 / sqrt(1 - 0.8^2).
        width = (said[:, 1, 3] - said[:, 1, 1]).mean() / 2.563
        assert width == pytest.approx(8.33, rel=0.35)

    def test_nothing_later_and_nobody_else_is_seen(self, people, moments):
        early = np.flatnonzero((moments.group == 2) & (moments.place < 300))[:6]
        moved = [
            Series(np.where(np.arange(len(one)) > 300, one.values + 1000, one.values), one.observed, 300.0, *rest)
            for one in people
            for rest in [(one.start_s, one.subject, one.group)]
        ]
        fit = floors.auto_arima()
        later = moments_of(moved, context_s=3 * 3600.0, horizons_s=HORIZONS)
        assert np.array_equal(fit(moments, people, NOBODY, early), fit(later, moved, NOBODY, early))

    def test_where_no_model_is_the_last_value_stands(self):
        values = np.full(200, 120.0, dtype=np.float32)
        values[150:153] = [90.0, 100.0, 80.0]
        seen = np.ones(200, bool)
        seen[120:150] = False  # longer than a line: three values are all that is known at 152
        people = [Series(values, seen, 300.0, 0.0, 0, 0)]
        moments = moments_of(people, context_s=3600.0, horizons_s=HORIZONS, every_s=300.0, least_known=0.1)
        fit = floors.auto_arima((0.1, 0.5, 0.9))
        still = fit(moments, people, NOBODY, np.flatnonzero(moments.place < 120))
        assert (still == 120.0).all()
        said = fit(moments, people, NOBODY, np.flatnonzero(moments.place == 152))[0]
        assert said[:, 0].tolist() == [80.0, 80.0]
        step = np.sqrt((10.0**2 + 20.0**2) / 2)
        assert said[:, 3] - 80 == pytest.approx(1.2816 * step * np.sqrt([6, 12]), rel=1e-3)
