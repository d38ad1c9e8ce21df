"""The script's head answers risks by the same protocol as the floors, and its mean of two models is one in log-odds."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hdt_fm.evaluation.backtest.risk_floors import Told
from hdt_fm.schema.series import Series
from hdt_fm.signal.moments import moments_of
from hdt_fm.signal.own_past import recent
from hdt_fm.signal.within import happened_within


@pytest.fixture(scope="module")
def script(repo: Path) -> ModuleType:
    folder = repo / "scripts"
    sys.path.insert(0, str(folder))  # it imports its neighbour
    try:
        spec = importlib.util.spec_from_file_location("reproduce_glucose_risk", folder / "reproduce_glucose_risk.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module


@pytest.fixture(scope="module")
def told(script: ModuleType) -> Told:
    people = []
    for person in range(6):
        generator = np.random.default_rng(person)
        values = (130 + np.cumsum(generator.normal(0, 12, 700)) * 0.5).clip(45, 300).astype(np.float32)
        people.append(Series(values, np.ones(700, bool), 300.0, 1_700_006_400.0, person, person))
    moments = moments_of(people, context_s=3600.0, horizons_s=(1800.0, 3600.0, 7200.0))
    happened = happened_within(moments, people, [event.of for event in script.EVENTS_ASKED])
    return Told(moments, happened, people, script.EVENTS_ASKED)


def test_the_head_reads_truths_of_training_people_alone(script: ModuleType, told: Told) -> None:
    train, asked = np.flatnonzero(told.moments.group < 5), np.flatnonzero(told.moments.group == 5)
    head = script.RiskHead(recent(told.moments), None, 1)
    risks = head(told, train, asked)
    assert risks.shape == (len(asked), 3, 2)
    assert ((risks > 0) & (risks < 1)).all()
    assert (np.diff(risks, axis=1) >= 0).all()
    # The last person's future is another one: what is told of before, and so every risk, stays.
    other = told.happened.copy()
    other[asked] = 1 - other[asked]
    last = told.series[5]
    later = Series(last.values[::-1].copy(), last.observed, 300.0, last.start_s, 5, 5)
    changed = Told(told.moments, other, [*told.series[:5], later], told.events)
    assert np.array_equal(head(changed, train, asked), risks)


def test_what_only_teaches_stands_on_both_sides_of_what_is_asked(script: ModuleType) -> None:
    asked = {(event.threshold, event.below) for event in script.EVENTS_ASKED}
    assert asked == {(70.0, True), (180.0, False)}
    assert not asked & {(event.threshold, event.below) for event in script.TEACHING}
    low = sorted(event.threshold for event in script.TEACHING if event.below)
    high = sorted(event.threshold for event in script.TEACHING if not event.below)
    assert low[0] < 70 < low[1]
    assert high[0] < 180 < high[-1]


def test_the_mean_is_of_log_odds(script: ModuleType, told: Told) -> None:
    some = np.arange(4)

    def always(risk):
        return script.KeptRisks(lambda told, train, asked: np.full((len(asked), 3, 2), risk))

    first, second = always(0.5), always(0.9)
    assert (first(told, some, some) == 0.5).all()
    second(told, some, some)
    mean = script.averaged(first, second)(told, some, some)
    assert mean == pytest.approx(np.full((4, 3, 2), 0.75))  # odds 1 and 9: their geometric mean is 3
    with pytest.raises(AssertionError, match="not asked just before"):
        script.averaged(first, always(0.1))(told, some, some)
