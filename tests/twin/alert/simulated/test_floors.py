"""Floors against nights worked out by hand, and against the published numbers."""

import numpy as np
import pytest

from hdt_fm.twin.alert.simulated.floors import START, night_signal, self_scaled_ewma
from hdt_fm.twin.alert.simulated.people import PLAIN, simulate
from hdt_fm.twin.alert.simulated.scoring import episodes, false_rate, lead_nights


def nights(*last):
    return np.array([[60.0] * (START + 2) + list(last)])


@pytest.mark.parametrize(
    ("last", "meant", "literal"),
    [
        ((64, 64), [0, 2], [0, 2]),
        ((63, 63), [0, 1], [0, 1]),
        ((63, 64, 64), [0, 1, 2], [0, 1, 2]),
        ((64, 60, 64), [0, 0, 0], [0, 0, 0]),
        ((63.9, 63.9), [0, 1], [0, 1]),
        ((64, np.nan, 64), [0, 0, 0], [0, 2, 2]),
        ((64, np.nan, np.nan, 64), [0, 0, 0, 0], [0, 0, 0, 0]),
    ],
)
def test_night_signal_by_hand(last, meant, literal):
    bpm = nights(*last)
    assert night_signal(bpm)[0, START + 2 :].tolist() == meant
    assert night_signal(bpm, literal=True)[0, START + 2 :].tolist() == literal
    assert not night_signal(bpm)[0, : START + 2].any()


def test_cutting_to_whole_numbers_moves_the_limit():
    """64.0 over a usual 60.9 is 3.1 bpm; cut to whole numbers it is 4."""
    bpm = np.array([[60.9] * (START + 2) + [64.0, 64.0]])
    assert night_signal(bpm)[0, -1] == 1
    assert night_signal(bpm, literal=True)[0, -1] == 2


def test_ewma_by_hand():
    """Past of 58, 60, 62, 60: median 60, SD 1.414. At 64 the step is 2.828 SD, the mean at a share of .5 half of it."""
    past = [58.0, 60.0, 62.0, 60.0] * (START // 4)
    bpm = np.array([[*past, 64.0, 64.0, np.nan, 64.0]])
    first = 0.5 * 4 / np.sqrt(2)
    second = 0.5 * first + 0.5 * 4 / np.std([*past, 64.0])
    for limit, said in ((first - 1e-6, [True, True, False, True]), (first + 1e-6, [False, True, False, True])):
        assert self_scaled_ewma(bpm, share=0.5, limit=limit)[0, START:].tolist() == said
    assert self_scaled_ewma(bpm, share=0.5, limit=second - 1e-6)[0, START + 1]
    assert not self_scaled_ewma(bpm, share=0.5, limit=second + 1e-6)[0, START + 1]


def test_ewma_does_not_know_the_unit():
    bpm = 60 + np.random.default_rng(0).normal(size=(5, 200))
    np.testing.assert_array_equal(self_scaled_ewma(bpm), self_scaled_ewma(7 * bpm + 3))


@pytest.mark.parametrize(("sd", "false", "found"), [(1.2, 0.10, 0.94), (2.0, 2.67, 0.85), (3.5, 13.5, 0.76)])
def test_the_literal_rule_meets_its_published_numbers(sd, false, found):
    """Within the error of 400 people, and of a published protocol that does not say all."""
    cohort = simulate(400, 400, sd_bpm=sd, world=PLAIN, generator=np.random.default_rng(6), onset=300, others=False)
    alert = night_signal(cohort.values[:, :, 0], literal=True) == 2
    counts = cohort.well() & (np.arange(400) >= START)
    assert false_rate(episodes(alert, counts), counts.sum(axis=1)) == pytest.approx(false, rel=0.15, abs=0.08)
    assert np.isfinite(lead_nights(alert, cohort.onset)).mean() == pytest.approx(found, abs=0.06)
