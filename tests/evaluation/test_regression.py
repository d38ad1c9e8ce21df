"""Values of windows: closed forms, constants by hand, and a rate that the embedding holds."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.evaluation.folds import grouped_folds
from hdt_fm.evaluation.rates import Estimate
from hdt_fm.evaluation.regression import HEADLINE, REQUIRED, regression
from hdt_fm.schema.errors import ShapeError


def run(table, make_table, **settings):
    rng = np.random.default_rng(9)
    given = {
        "table": table,
        "label": "rate",
        "hand": (rng.normal(size=(len(table), 4)), ("a", "b", "c", "d")),
        "folds": grouped_folds(table.group, 3, seed=0),
        "extra_tables": {"random encoder": make_table(seed=77)},
        "predictions": {"trained from scratch": np.full(len(table), 15.0)},
        "draws": 200,
    }
    return regression(**(given | settings))


def test_a_rate_in_the_embedding_is_found(make_table):
    result = run(make_table(), make_table)
    mean = result.find("dummy (mean)", "mae")
    assert result.find(HEADLINE, "mae").value < 0.25 < 1.3 < mean.value
    assert result.find("encoder + gradient boosting", "mae").value < 1.0
    assert result.find("hand features + ridge", "mae").value == pytest.approx(mean.value, abs=0.15)
    assert mean.columns["ours_minus_this_high"] < 0
    assert mean.unit == "breaths/min"
    assert mean.n == 9


def test_dummies_equal_hand_numbers(make_table):
    """Mean over people of a person's own error from the training people's constant."""
    table = make_table()
    folds = grouped_folds(table.group, 3, seed=0)
    result = run(table, make_table, folds=folds)
    rate = table.labels["rate"].astype(float)
    for name, statistic in (("mean", np.mean), ("median", np.median)):
        guess = np.zeros(len(rate))
        for fold in folds:
            guess[fold.test] = statistic(rate[fold.train])
        errors = [np.abs(guess - rate)[table.subject == one].mean() for one in range(9)]
        squares = [np.sqrt(((guess - rate) ** 2)[table.subject == one].mean()) for one in range(9)]
        assert result.find(f"dummy ({name})", "mae").value == pytest.approx(np.mean(errors))
        assert result.find(f"dummy ({name})", "rmse").value == pytest.approx(np.mean(squares))


def test_people_count_alike_however_long_they_were_recorded(make_table):
    """One person has a single scored window, far off: the score is the mean over people, not over windows."""
    table = make_table()
    rate = np.full(len(table), 10.0, dtype=np.float32)
    rate[table.subject == 0] = np.nan
    rate[0] = 19.0
    labels = {"rate": rate}
    result = run(
        replace(table, labels=labels), make_table, predictions={"trained from scratch": np.full(len(table), 10.0)}
    )
    assert result.find("trained from scratch", "mae").value == pytest.approx(9.0 / 9)


def test_a_closed_form_estimate_stands_beside_with_its_gaps_stated(make_table):
    table = make_table()
    rate = table.labels["rate"].astype(float)
    estimate = rate + 0.5
    estimate[::2] = np.nan
    row = run(table, make_table, estimates=[Estimate("spectral peak", "baseline", estimate)]).find(
        "spectral peak", "mae"
    )
    assert row.role == "baseline"
    assert row.columns["share_without_answer"] == pytest.approx(0.5)
    exact = run(table, make_table, estimates=[Estimate("spectral peak", "baseline", rate + 0.5)]).find(
        "spectral peak", "mae"
    )
    assert exact.value == pytest.approx(0.5, abs=1e-6)
    assert exact.columns["share_without_answer"] == 0


def test_owed_baselines_are_all_there(make_table):
    result = run(make_table(), make_table)
    for metric in ("mae", "rmse"):
        assert {row.model for row in result.rows if row.metric == metric and row.role == "baseline"} == set(REQUIRED)
    assert result.protocol["better"] == {"mae": "lower", "rmse": "lower"}


def test_estimates_of_other_windows_are_refused(make_table):
    with pytest.raises(ShapeError, match="'spectral peak' do not fit"):
        run(make_table(), make_table, estimates=[Estimate("spectral peak", "baseline", np.zeros(3))])
