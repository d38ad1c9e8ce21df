"""Detectors against hand numbers, a closed form and river's own."""

import json
import sys

import numpy as np
import pytest

from hdt_fm.schema.errors import ConfigError
from hdt_fm.twin.alert.cusum import nights_between
from hdt_fm.twin.drift.detectors import ADWIN_KEEPS, Adwin, Cusum, Detector, PageHinkley


def test_a_cusum_by_hand():
    one = Cusum(limit=2.0, slack=0.5)
    assert [one.add(value) for value in (1.0, 0.0, -3.0, -1.0, np.nan)] == [False, False, True, True, True]
    assert (one.up, one.down) == (0.0, 3.0)  # 2.5 after the third, 0.5 more; nothing taught it the fifth
    assert (one.height, one.sign, one.days) == (3.0, -1, 2)
    one.clear()
    assert (one.height, one.days) == (0.0, 0)


def test_a_cusum_passes_its_limit_as_often_as_the_closed_form_says():
    draw = np.random.default_rng(0)
    waits = []
    for _ in range(300):
        one, days = Cusum(limit=3.0, slack=0.5), 1
        while not one.add(float(draw.normal())):
            days += 1
        waits.append(days)
    # Either side passes as if it were alone: together twice as often.
    assert np.mean(waits) == pytest.approx(nights_between(3.0, 0.5) / 2, rel=0.15)


def test_page_hinkley_by_hand():
    one = PageHinkley(limit=1.5, delta=0.25, least=1, keep=1.0)
    assert not one.add(0.0)  # mean 0: sums -.25 and .25
    assert not one.add(2.0)  # mean 1: up -.25 + 1 - .25 = .5, its lowest -.25
    assert one.height == pytest.approx(0.75)
    assert one.add(4.0)  # mean 2: up .5 + 2 - .25 = 2.25
    assert one.height == pytest.approx(2.5)
    assert one.days == 2


@pytest.mark.parametrize("seed", range(6))
def test_page_hinkley_alarms_where_rivers_does(seed):
    drift = pytest.importorskip("river.drift")
    draw = np.random.default_rng(seed)
    values = np.concatenate([draw.normal(size=60), draw.normal(size=60) + (-1) ** seed])
    ours, theirs = PageHinkley(limit=12.0, delta=0.1), drift.PageHinkley(threshold=12.0, delta=0.1)
    found: list[int | None] = [None, None]
    for place, value in enumerate(values.tolist()):
        theirs.update(value)
        for which, alarmed in enumerate((ours.add(value), theirs.drift_detected)):
            found[which] = place if alarmed and found[which] is None else found[which]
        if None not in found:
            break
    assert found[0] is not None
    assert found[0] == found[1]


def test_adwin_is_rivers_and_can_be_written_down():
    drift = pytest.importorskip("river.drift")
    draw = np.random.default_rng(1)
    values = np.concatenate([draw.normal(size=150), draw.normal(size=150) + 2]).tolist()
    ours, theirs = Adwin(), drift.ADWIN()
    alarms = []
    for place, value in enumerate(values):
        theirs.update(value)
        assert ours.add(value) == theirs.drift_detected
        alarms += [place] if ours.height > ours.limit else []
        if place == 170:
            kept = json.loads(json.dumps(ours.state()))
            ours = Adwin()
            ours.restore(kept)
    assert alarms
    assert 150 < alarms[0] < 200


def test_what_adwin_keeps_does_not_grow():
    pytest.importorskip("river.drift")
    one = Adwin(every=1)
    for value in np.random.default_rng(2).normal(size=3 * ADWIN_KEEPS).tolist():
        one.add(value)
        assert len(one.values) <= ADWIN_KEEPS
    assert one.days <= ADWIN_KEEPS


def test_without_river_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "river", None)
    monkeypatch.setitem(sys.modules, "river.drift", None)
    with pytest.raises(ConfigError, match="pip install river"):
        Adwin()


@pytest.mark.parametrize("made", [lambda: Cusum(limit=9.0), lambda: PageHinkley(limit=9.0)])
def test_a_detector_goes_on_from_its_state(made):
    values = np.random.default_rng(3).normal(0.4, 1, size=80).tolist()
    whole, halved = made(), made()
    assert isinstance(whole, Detector)
    halved.restore(json.loads(json.dumps(halved.state())))  # one that has heard nothing
    for place, value in enumerate(values):
        whole.add(value)
        halved.add(value)
        if place == 40:
            kept = json.loads(json.dumps(halved.state()))
            halved = made()
            halved.restore(kept)
    assert (halved.height, halved.days, halved.state()) == (whole.height, whole.days, whole.state())
