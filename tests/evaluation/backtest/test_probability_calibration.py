"""Risks moved by people apart: where odds are known, where a model boasts, and where nothing is told."""

import numpy as np
import pytest

from hdt_fm.evaluation.backtest.probability_calibration import LEAST, calibrated_risks, fitted, online
from hdt_fm.metrics.classification import ece
from hdt_fm.metrics.events import Event, risk_of
from hdt_fm.signal.moments import Moments

LOW = Event("low", 100.0, below=True)
LEVELS = (0.1, 0.5, 0.9)


def logit(p):
    return np.log(p / (1 - p))


def drawn(generator, count, *, slope, start):
    """True risks, and what a model says that should be moved by `slope` and `start` in log-odds."""
    true = 1 / (1 + np.exp(-generator.normal(-1.5, 1.2, count)))
    said = 1 / (1 + np.exp(-(logit(true) - start) / slope))
    return said, generator.random(count) < true, true


def test_a_model_that_boasts_is_told_how_often():
    generator = np.random.default_rng(0)
    person = np.repeat(np.arange(20), 1000)
    said, happened, _ = drawn(generator, 20_000, slope=0.5, start=-1.0)
    move = fitted(said, happened, person)
    others, came, true = drawn(generator, 20_000, slope=0.5, start=-1.0)
    moved = move(others)
    assert ece(others, came, bins=10) > 0.1
    assert ece(moved, came, bins=10) < 0.02
    assert ((moved - came) ** 2).mean() < ((others - came) ** 2).mean()
    assert np.abs(moved - true).mean() < 0.03


def test_a_model_that_is_right_stays_as_it_is():
    generator = np.random.default_rng(1)
    said, happened, _ = drawn(generator, 20_000, slope=1.0, start=0.0)
    move = fitted(said, happened, np.repeat(np.arange(20), 1000))
    grid = np.linspace(0.01, 0.9, 30)
    assert np.abs(move(grid) - grid).max() < 0.03


def test_each_person_weighs_the_same():
    """Nineteen short people for whom all is right, and a long one to whom nothing ever happens."""
    generator = np.random.default_rng(2)
    said, happened, _ = drawn(generator, 19 * 100 + 10_000, slope=1.0, start=0.0)
    person = np.append(np.repeat(np.arange(19), 100), np.full(10_000, 19))
    move = fitted(said, happened & (person < 19), person)
    assert 0.2 < move(np.array([0.3]))[0] < 0.32


def test_nothing_is_moved_where_nobody_is_apart_or_risks_run_against_events():
    said, asked = np.linspace(0.01, 0.9, 50), np.array([0.0, 0.2, 1.0])
    nobody = fitted(np.empty(0), np.empty(0, bool), np.empty(0, int))
    assert np.array_equal(nobody(asked), asked)
    against = fitted(said, said < 0.3, np.zeros(50, int), trusted=0.01)
    assert np.array_equal(against(asked), asked)


def test_few_people_move_risks_less_than_many():
    """Two people for whom nothing ever happens, then forty: with as many trusted as told, risks are halved or so."""
    said = np.tile(np.linspace(0.02, 0.4, 50), 40)
    person = np.repeat(np.arange(40), 50)
    moved = [
        fitted(said[: 50 * count], np.zeros(50 * count, bool), person[: 50 * count])(np.array([0.2]))[0]
        for count in (2, 40)
    ]
    assert 0.07 < moved[0] < 0.13
    assert moved[1] < 0.02
    trusted = fitted(said, np.zeros(2000, bool), person, trusted=1e4)(np.array([0.2]))[0]
    assert trusted == pytest.approx(0.2, abs=1e-2)


def test_order_is_kept_and_ends_are_held():
    generator = np.random.default_rng(3)
    said, happened, _ = drawn(generator, 2000, slope=0.6, start=-0.5)
    moved = fitted(said, happened, np.repeat(np.arange(4), 500))(np.array([0.0, LEAST, 0.01, 0.5, 0.9, 1.0]))
    assert (np.diff(moved) >= 0).all()
    assert moved[0] == moved[1] > 0
    assert moved[-1] < 1


def test_only_origins_without_the_event_teach_and_test_targets_do_not():
    generator = np.random.default_rng(4)
    count = 600
    last = generator.normal(130, 30, count)
    target = last + generator.normal(0, 25, count)
    group = np.repeat([0, 1, 2], 200)
    said = np.stack([last, last - 20, last, last + 20], axis=1)[:, None]

    def moved(target):
        moments = Moments(
            series=group,
            place=np.arange(count),
            context=last[:, None],
            target=target[:, None],
            last=last,
            group=group,
            subject=group,
            clock_s=np.zeros(count),
            time_s=np.arange(count) * 1800.0,
            step_s=300.0,
            every_s=1800.0,
            horizons_s=(1800.0,),
        )
        return calibrated_risks(moments, said, np.arange(400), np.arange(400, 600), LEVELS, (LOW,))

    found = moved(target)
    assert found.shape == (200, 1, 2)
    assert np.abs(found[:, 0, 0] - risk_of(said[400:, 0, 1:], LEVELS, LOW)).max() > 0.02
    other = target.copy()
    other[400:] = 300.0
    other[:400][last[:400] < 100] = 300.0
    again = moved(other)
    assert np.array_equal(again[..., 0], found[..., 0])
    assert not np.allclose(again[..., 1], found[..., 1])
    other[:400][last[:400] >= 100] += 30.0
    assert not np.allclose(moved(other)[..., 0], found[..., 0])


def test_online_knows_a_truth_when_it_has_come_and_learns_nothing_of_the_unknown():
    time_s = np.arange(6) * 1800.0
    came = np.array([1.0, np.nan, 0.0, 1.0, 1.0, 1.0])
    found = online(time_s, np.full(6, 0.5), came, horizon_s=3600.0)
    first = 0.05 * (1 - 0.5)
    assert found[:2].tolist() == [0.5, 0.5]
    assert logit(found[2]) == pytest.approx(first)
    assert found[3] == found[2]
    assert logit(found[4]) == pytest.approx(first + 0.05 * (0 - found[2]))
    assert logit(found[5]) == pytest.approx(logit(found[4]) + 0.05 * (1 - found[3]))


def test_online_finds_a_person_who_is_not_like_the_others():
    generator = np.random.default_rng(5)
    said, happened, true = drawn(generator, 3000, slope=1.0, start=1.5)
    time_s = np.arange(3000) * 1800.0
    found = online(time_s, said, happened.astype(float), horizon_s=3600.0)
    late = slice(1000, None)
    assert ece(found[late], happened[late], bins=10) < 0.5 * ece(said[late], happened[late], bins=10)
    assert ((found - true)[late] ** 2).mean() < 0.5 * ((said - true)[late] ** 2).mean()
    # Readings yet to come change nothing that was said.
    other = happened.astype(float)
    other[1500:] = 1 - other[1500:]
    assert np.array_equal(online(time_s, said, other, horizon_s=3600.0)[:1502], found[:1502])
