import numpy as np
import pytest

from hdt_fm.evaluation.evolve.stream import JOINT, Asked, Learner, Streamed, matrix_rows, stream_rows, streamed
from hdt_fm.schema.errors import ConfigError, ShapeError

TRUTH = {"a": Asked(np.zeros(4), np.array([0, 0, 1, 1])), "b": Asked(np.zeros(2), np.array([5, 6]))}
ROLES = {JOINT: "reference", "forgets": "ours"}


class Forgets:
    """Is right by 1 on what it learned last, and off by 3 on all else; 10 before it learned anything."""

    bytes = 2_000_000

    def __init__(self):
        self.learned = []

    def learn(self, domain):
        self.learned.append(domain)

    def ask(self, domain):
        off = 10.0 if not self.learned else 1.0 if self.learned[-1] == domain else 3.0
        return np.full(len(TRUTH[domain].truth), off)


class KnowsAll(Forgets):
    bytes = 0

    def ask(self, domain):
        return np.full(len(TRUTH[domain].truth), 2.0 if self.learned else 10.0)


def runs():
    orders = (("a", "b"), ("b", "a"))
    return {
        JOINT: [streamed(KnowsAll(), TRUTH, order, at_once=True) for order in orders],
        "forgets": [streamed(Forgets(), TRUTH, order) for order in orders],
    }


def value(rows, model, metric):
    return next(row for row in rows if (row.model, row.metric) == (model, metric))


def test_the_errors_after_each_domain_are_those_of_hand():
    assert isinstance(Forgets(), Learner)
    found = streamed(Forgets(), TRUTH, ("a", "b"))
    assert found.error["a"].tolist() == [[10, 10], [1, 1], [3, 3]]
    assert found.error["b"].tolist() == [[10, 10], [3, 3], [1, 1]]
    assert found.person["b"].tolist() == [5, 6]


def test_average_forgetting_and_transfer_are_those_of_hand():
    rows = stream_rows("what", runs(), ROLES, unit="mg/dL", draws=50)
    # After the last domain each is 3 in one order and 1 in the other.
    assert value(rows, "forgets", "average RMSE").value == pytest.approx(2.0)
    assert value(rows, "forgets", "average over joint").value == pytest.approx(0.0)
    # Each is forgotten by 2, in the order in which it is not the last.
    assert value(rows, "forgets", "forgetting").value == pytest.approx(2.0)
    assert value(rows, "forgets", "worst person of an earlier domain").value == pytest.approx(2.0)
    # Before it is learned it is 3, where nothing known is 10.
    assert value(rows, "forgets", "forward transfer").value == pytest.approx(-7.0)
    assert value(rows, "forgets", "memory").value == pytest.approx(2.0)
    assert value(rows, "forgets", "forgetting").n == 4
    assert not any(row.metric == "forward transfer" for row in rows if row.model == JOINT)
    assert value(rows, JOINT, "forgetting").value == 0


def test_domains_weigh_alike_and_people_within_them():
    truth = {"a": Asked(np.zeros(3), np.array([0, 0, 1])), "b": Asked(np.zeros(1), np.array([0]))}
    error = {"a": np.array([[9.0, 9.0], [1.0, 3.0]]), "b": np.array([[9.0], [8.0]])}
    person = {name: np.unique(one.person) for name, one in truth.items()}
    run = Streamed(("a", "b"), {k: np.concatenate([v, v[-1:]]) for k, v in error.items()}, person, 0, 0.0)
    rows = stream_rows("what", {JOINT: [run]}, {JOINT: "reference"}, unit="", draws=10)
    assert value(rows, JOINT, "average RMSE").value == pytest.approx((2.0 + 8.0) / 2)


def test_the_matrix_holds_each_stage():
    rows = matrix_rows("what", runs(), ROLES, unit="mg/dL")
    mine = {(row.what, row.metric): row.value for row in rows if row.model == "forgets"}
    assert mine["what: a -> b", "after a: b"] == 3
    assert mine["what: a -> b", "after b: b"] == 1
    assert mine["what: b -> a", "after b: a"] == 3
    assert len(mine) == 8


def test_runs_that_cannot_be_compared_are_refused():
    some = runs()
    with pytest.raises(ConfigError, match="same orders"):
        stream_rows("what", {JOINT: some[JOINT], "forgets": some["forgets"][:1]}, ROLES, unit="")
    with pytest.raises(ConfigError, match="cannot be compared"):
        stream_rows("what", {"forgets": some["forgets"]}, ROLES, unit="")
    with pytest.raises(ConfigError, match="each domain once"):
        streamed(Forgets(), TRUTH, ("a", "a"))


def test_answers_that_do_not_fit_are_refused():
    class Wrong(Forgets):
        def ask(self, domain):
            return np.full(len(TRUTH[domain].truth), np.nan)

    with pytest.raises(ShapeError, match="do not fit"):
        streamed(Wrong(), TRUTH, ("a", "b"))
