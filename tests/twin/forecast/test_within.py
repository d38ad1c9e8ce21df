"""Chances of an event at any reading up to a horizon: what is told now, and how often such chances came true."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hdt_fm.metrics.events import Event
from hdt_fm.schema.errors import ShapeError
from hdt_fm.signal.moments import Moments
from hdt_fm.twin.forecast.outlook import LATELY_S, OfPeople, outlook
from hdt_fm.twin.forecast.page import html
from hdt_fm.twin.forecast.told import chance, lines, record, sentence
from hdt_fm.twin.forecast.within import Within, within

LOW, HIGH = Event("below 70 mg/dL", 70.0, below=True), Event("above 180 mg/dL", 180.0, below=False)
HALF_HOUR = 1800.0


def moments_of(last, horizons_s=(HALF_HOUR,)):
    """Origins every half hour from 1970 on."""
    newest, count = np.asarray(last, dtype=np.float64), len(last)
    time_s, zeros = np.arange(count) * HALF_HOUR, np.zeros(count, dtype=np.int64)
    return Moments(
        series=zeros,
        place=np.arange(count),
        context=np.repeat(newest[:, None], 2, axis=1),
        target=np.full((count, len(horizons_s)), np.nan),
        last=newest,
        group=zeros,
        subject=zeros,
        clock_s=time_s % 86_400.0,
        time_s=time_s,
        step_s=900.0,
        every_s=HALF_HOUR,
        horizons_s=tuple(horizons_s),
    )


def one_event(values):
    """(origin, horizon) -> with one event."""
    return np.asarray(values, dtype=np.float64)[..., None]


def test_by_hand():
    # Of an hour's spans the last two are open, of half an hour's the last one; the third is not known.
    moments = moments_of([100.0] * 5, (HALF_HOUR, 2 * HALF_HOUR))
    risks = one_event([[0.1, 0.2], [0.2, 0.3], [0.3, 0.4], [0.4, 0.5], [0.05, 0.06]])
    happened = one_event([[1, 1], [0, 1], [np.nan, np.nan], [0, 1], [1, 1]])
    near, far = within(moments, risks, happened, (LOW,))
    assert (near.chances, near.moments, near.came) == ((0.05,), (3,), (1,))
    assert near.expected == pytest.approx((0.1 + 0.2 + 0.4,))
    assert (far.chances, far.moments, far.came) == ((0.06,), (2,), (2,))
    assert far.expected == pytest.approx((0.2 + 0.3,))


def test_a_span_that_is_open_says_nothing_though_the_event_was_seen():
    """Counted as soon as it is seen, and never as missed, it would come more often than it does."""
    moments = moments_of([100.0] * 4, (4 * HALF_HOUR,))
    (one,) = within(moments, one_event(np.full((4, 1), 0.5)), one_event(np.ones((4, 1))), (LOW,))
    assert (one.moments, one.expected, one.came) == ((0,), (0.0,), (0,))


def test_what_is_there_now_has_no_chance():
    risks = np.full((2, 1, 2), 0.25)
    moments = moments_of([60.0, 190.0])
    (one,) = within(moments, risks, np.full((2, 1, 2), np.nan), (LOW, HIGH))
    assert one.chances[0] == 0.25
    assert np.isnan(one.chances[1])
    (one,) = within(moments, risks, np.full((2, 1, 2), np.nan), (LOW, HIGH), now=0)
    assert np.isnan(one.chances[0])
    assert one.chances[1] == 0.25


def test_only_the_last_days_are_counted():
    count = 2 * round(LATELY_S / HALF_HOUR)
    early = np.arange(count) < count // 2
    moments, risks = moments_of([100.0] * count), one_event(np.where(early, 0.9, 0.1)[:, None])
    (one,) = within(moments, risks, one_event(early.astype(float)[:, None]), (LOW,))
    # Spans that closed in the week; the last one is open and one of the earlier half closed in it.
    assert one.moments == (count // 2,)
    assert one.came == (1,)
    assert one.expected == (pytest.approx(0.1 * (count // 2 - 1) + 0.9),)


@pytest.mark.parametrize("now", [0, 3, 20, -1])
def test_nothing_later_changes_an_answer(now):
    draws = np.random.default_rng(0)
    moments = moments_of(draws.uniform(50, 200, 40), (HALF_HOUR, 3 * HALF_HOUR))
    risks, happened = draws.random((40, 2, 2)), (draws.random((40, 2, 2)) < 0.4).astype(float)
    found = within(moments, risks, happened, (LOW, HIGH), now=now)
    upto = range(40)[now] + 1
    wild, other = risks.copy(), happened.copy()
    wild[upto:] = 0.77
    for column, horizon_s in enumerate(moments.horizons_s):
        other[moments.time_s + horizon_s > moments.time_s[upto - 1], column] = 1.0
    last = np.where(np.arange(40) < upto, moments.last, 10.0)
    again = within(replace(moments, last=last), wild, other, (LOW, HIGH), now=now)
    np.testing.assert_equal([vars(one) for one in again], [vars(one) for one in found])


def test_what_does_not_go_together_is_refused():
    moments = moments_of([100.0] * 3)
    with pytest.raises(ShapeError, match=r"chances and truths of shape \(3, 1, 2\)"):
        within(moments, np.zeros((3, 1, 1)), np.zeros((3, 1, 1)), (LOW, HIGH))
    with pytest.raises(ShapeError, match="do not go with the moments"):
        within(moments, np.zeros((2, 1, 1)), np.zeros((2, 1, 1)), (LOW,))


@pytest.fixture
def told():
    """(chances within) -> a record of two horizons; without any, one of a checkpoint that has no head of risks."""
    moments = moments_of([100.0] * 4, (HALF_HOUR, 2 * HALF_HOUR))
    said = np.tile(np.array([100.0, 65.0, 96.0, 100.0, 110.0]), (4, 2, 1))
    people = OfPeople((0.1, 0.3, 0.5, 0.9), (0.0, 0.0), (1.0, 1.0))
    found = outlook(moments, said, people, readings_s=1e6, events=(LOW, HIGH))

    def of(*soon):
        shown = (np.array([0.0, 5400.0]), np.array([98.0, 100.0]))
        return record(found, shown, modality="glucose", unit="mg/dL", within=soon)

    return of


def test_chances_until_then_stand_beside_those_of_the_time_itself(told):
    soon = Within((0.0312, float("nan")), (3, 0), (1.26, 0.0), (2, 0))
    late = Within((0.5, float("nan")), (2, 0), (1.0, 0.0), (0, 0))
    found, plain = told(soon, late), told()
    assert [one.pop("within") for one in found["ahead"]] == [
        {"below 70 mg/dL": 0.0312, "above 180 mg/dL": None},
        {"below 70 mg/dL": 0.5, "above 180 mg/dL": None},
    ]
    assert found["ahead"][0]["lately"].pop("within") == {
        "below 70 mg/dL": {"moments": 3, "expected": 1.3, "came": 2},
        "above 180 mg/dL": {"moments": 0, "expected": 0.0, "came": 0},
    }
    found["ahead"][1]["lately"].pop("within")
    assert json.dumps(found) == json.dumps(plain)


def test_words_are_of_any_reading_until_then_or_of_the_time_itself(told):
    soon = Within((0.0312, float("nan")), (3, 0), (1.26, 0.0), (2, 0))
    late = Within((0.5, 0.995), (2, 1), (1.0, 0.3), (0, 1))
    found = told(soon, late)
    assert sentence(found, found["ahead"][0]).endswith(
        "Chance that a reading until then is below 70 mg/dL: 3 %; above 180 mg/dL: it is now."
    )
    assert "below 70 mg/dL: 50 %; above 180 mg/dL: over 99 %." in sentence(found, found["ahead"][1])
    said = lines(found)
    assert (
        "By the chances told in the last 7 days a reading below 70 mg/dL should have followed "
        "1.3 of 3 moments within 30 min (it did 2), 1.0 of 2 moments within 60 min (it did 0)."
    ) in said
    high = "a reading above 180 mg/dL should have followed 0.3 of 1 moments within 60 min (it did 1)."
    assert [one for one in said if high in one]
    plain = told()
    assert "Chance of below 70 mg/dL: 13 %; of above 180 mg/dL: under 1 %." in sentence(plain, plain["ahead"][0])
    assert not [one for one in lines(plain) if "chances told" in one or "until then" in one]
    assert chance(None) == "it is now"


def test_without_a_chance_that_came_due_it_says_so(told):
    none = Within((0.1, 0.1), (0, 0), (0.0, 0.0), (0, 0))
    assert "In the last 7 days no chance of a reading below 70 mg/dL has come due yet." in lines(told(none, none))


def test_the_page_has_one_kind_of_chances(told):
    soon = Within((0.0312, float("nan")), (3, 0), (1.26, 0.0), (2, 0))
    late = Within((0.5, 0.995), (2, 1), (1.0, 0.3), (0, 1))
    page, plain = html(told(soon, late)), html(told())
    assert "Chance below 70 mg/dL until then</th>" in page
    assert '<td class="n">3 %</td><td class="n">it is now</td>' in page
    assert '<td class="n">1.3, 2</td><td class="n">0, 0</td>' in page
    assert "13 %" not in page
    assert "Chance below 70 mg/dL</th>" in plain
    assert "until then" not in plain
    assert '<td class="n">13 %</td>' in plain
