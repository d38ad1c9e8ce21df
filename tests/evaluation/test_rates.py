"""Rates that are read and not fitted: evidence added up by hand, and where such rows stand in a table."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.evaluation.folds import grouped_folds
from hdt_fm.evaluation.rates import FADE_S, Estimate, followed, read_and_followed
from hdt_fm.evaluation.regression import regression
from hdt_fm.schema.errors import ShapeError

TIME_S = np.array([0.0, 30.0, 60.0, 90.0, 0.0, 30.0])
WHO = np.array([0, 0, 0, 0, 1, 1])


def test_evidence_of_a_person_adds_up_and_fades():
    evidence = np.array([[1.0, 0], [0, 1], [2, 0], [0, 4], [8, 8], [1, 0]])
    fade = np.exp(-30 / FADE_S)
    expected = [
        [1, 0],
        [fade, 1],
        [fade**2 + 2, fade],
        [fade**3 + 2 * fade, fade**2 + 4],
        [8, 8],
        [8 * fade + 1, 8 * fade],
    ]
    assert followed(evidence, WHO, TIME_S) == pytest.approx(np.array(expected))
    # The order of the rows is nobody's business.
    mixed = np.array([5, 2, 0, 4, 3, 1])
    assert followed(evidence[mixed], WHO[mixed], TIME_S[mixed]) == pytest.approx(np.array(expected)[mixed])


def test_only_what_came_before_and_not_too_long_ago_counts():
    evidence = np.ones((6, 1))
    added = followed(evidence, WHO, TIME_S, minutes=1.0, fade_s=1e9)
    # Windows that start within the last minute; the one exactly a minute before is out.
    assert added[:, 0] == pytest.approx([1, 2, 2, 2, 1, 2])
    later = evidence.copy()
    later[3] = 100.0
    assert followed(later, WHO, TIME_S, fade_s=1e9)[:3] == pytest.approx(np.array([[1.0], [2], [3]]))


def test_a_window_that_says_nothing_is_answered_by_those_before_it():
    evidence = np.ones((6, 2))
    evidence[[0, 2]] = np.nan
    added = followed(evidence, WHO, TIME_S, fade_s=1e9)
    assert np.isnan(added[0]).all()
    assert added[1:4, 0] == pytest.approx([1, 1, 2])


def test_faint_evidence_for_one_rate_becomes_an_answer():
    """Each window barely tells the true rate from a hundred others; together they do."""
    rng = np.random.default_rng(0)
    evidence = rng.normal(size=(200, 20))
    evidence[:, 7] += 1.0
    alone = (evidence.argmax(1) == 7).mean()
    together = followed(evidence, np.zeros(200, int), np.arange(200) * 10.0).argmax(1) == 7
    assert alone < 0.3 < 0.9 < together[30:].mean()


def run(table, make_table, estimates, **settings):
    rng = np.random.default_rng(9)
    return regression(
        table=table,
        label="rate",
        hand=(rng.normal(size=(len(table), 2)), ("a", "b")),
        folds=grouped_folds(table.group, 3, seed=0),
        extra_tables={"random encoder": make_table(seed=77)},
        predictions={"trained from scratch": np.full(len(table), 15.0)},
        estimates=estimates,
        draws=50,
        **settings,
    )


def test_what_knows_minutes_stands_where_minutes_are_known(make_table):
    table = make_table()
    rate = table.labels["rate"].astype(float)
    evidence = -np.abs(rate[:, None] - np.arange(5, 26))
    pair = read_and_followed("read", "ours", evidence, lambda one: one.argmax(1) + 5.0, table)
    result = run(table, make_table, pair, personal=("nothing", "recent"))
    where = {(row.model, "last 5 min" in row.what) for row in result.rows if row.model.startswith("read")}
    assert where == {("read", False), ("read", True), ("read, followed", True)}
    (alone,) = [row for row in result.rows if row.model == "read" and row.metric == "mae" and "last" not in row.what]
    assert alone.role == "ours"
    assert alone.value == pytest.approx(0.25, abs=0.05)  # what rounding a rate to one a minute costs
    beside = [row for row in result.rows if "last" in row.what and row.metric == "mae"]
    own = {row.model: row.columns["own_data"] for row in beside if row.model.startswith("read")}
    assert own == {"read": "nothing", "read, followed": "recent"}


def test_estimates_that_fit_no_table_are_refused(make_table):
    table = make_table()
    with pytest.raises(ShapeError, match="'read' do not fit"):
        run(table, make_table, [Estimate("read", "ours", np.zeros(3))])


def test_a_table_without_the_label_of_a_person_still_reads_everyone(make_table):
    table = make_table()
    rate = table.labels["rate"].copy()
    rate[table.subject == 2] = np.nan
    estimate = Estimate("read", "baseline", np.nan_to_num(rate.astype(float), nan=1e6))
    row = run(replace(table, labels={"rate": rate}), make_table, [estimate]).find("read", "mae")
    assert row.value == pytest.approx(0, abs=1e-6)
    assert row.n == 8
