"""Scores of risks and zones over people, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.evaluation.backtest.scores import EXTRA, RISKS, Asked, metrics_of
from hdt_fm.metrics.events import Event

LOW = Event("low", 70.0, below=True)
LEVELS = (0.1, 0.5, 0.9)
ASKED = Asked(
    truth=np.array([60.0, 100.0, 50.0, 100.0, 300.0, 65.0]),
    now=np.array([90.0, 90.0, 60.0, 90.0, 200.0, 60.0]),
    person=np.array([0, 0, 0, 1, 1, 2]),
    scale=np.ones((6, 2)),
    levels=LEVELS,
    every_s=1800.0,
    unit="mg/dL",
    events=(LOW,),
)


def forecast(points, risks):
    """Both seeds alike; quantiles far above, so that the raw risk is next to nothing."""
    given = np.zeros((6, 1 + 3 + EXTRA + RISKS))
    given[:, 0] = points
    given[:, 1:4] = [300.0, 301.0, 302.0]
    given[:, -2] = risks
    given[:, -1] = 0.5
    return np.repeat(given[:, None], 2, axis=1)


def score(name, given, asked=ASKED):
    metric = next(one for one in metrics_of(asked) if one.name == name)
    found = metric.score(given)
    return found.over(np.ones((1, 3)))[0], found.people


def test_risks_count_where_the_event_is_not_yet_and_people_weigh_the_same():
    given = forecast([100.0] * 6, [0.8, 0.4, 0.0, 0.1, 0.3, 0.0])
    value, people = score("low: Brier score, calibrated", given)
    assert people == 2  # the third is low already
    assert value == pytest.approx(((0.04 + 0.16) / 2 + (0.01 + 0.09) / 2) / 2)
    value, people = score("low: expected calibration error, calibrated", given)
    assert people == 2
    assert value == pytest.approx(((0.2 + 0.4) / 2 + (0.1 + 0.3) / 2) / 2)
    assert score("low: Brier score, raw", given)[0] == pytest.approx(0.25, abs=1e-6)
    assert score("low: Brier score, online", given)[0] == pytest.approx(0.25)


def test_seeds_are_averaged():
    given = forecast([100.0] * 6, [0.0] * 6)
    given[:, 1, -2] = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    # Of the first person one of two is missed by one seed; the second has no event.
    assert score("low: Brier score, calibrated", given)[0] == pytest.approx((0.5 + 0.0) / 2 / 2)


def test_zones_are_shares_of_each_person():
    given = forecast([65.0, 115.0, 120.0, 300.0, 290.0, 66.0], [0.0] * 6)
    assert score("Clarke zone A", given)[0] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert score("Clarke zones A and B", given)[0] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    given[4, :, 0] = 200.0
    assert score("Clarke zone A", given)[0] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert score("Clarke zones A and B", given)[0] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)


def test_zones_are_of_mg_dl_alone_and_plain_scores_need_no_more_than_levels():
    assert not any("Clarke" in one.name for one in metrics_of(replace(ASKED, unit="mmol/L")))
    plain = metrics_of(ASKED, plain=True)
    assert {one.name for one in plain} < {one.name for one in metrics_of(ASKED)}
    assert not any(word in one.name for one in plain for word in ("worst", "online", "low:"))
    for one in plain:
        assert np.isfinite(one.score(forecast([100.0] * 6, [0.0] * 6)[..., :4]).over(np.ones((1, 3)))).all(), one.name
