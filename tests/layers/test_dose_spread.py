"""How sure numbers are, against refits without each person and closed forms."""

import numpy as np
import pytest

from hdt_fm.layers.dose_fit import Fitted, Start, refine
from hdt_fm.layers.dose_law import DoseLaw, three
from hdt_fm.layers.dose_learn import doses_at
from hdt_fm.layers.dose_spread import over_people, spread_of
from hdt_fm.layers.within_people import WithinPeople, calendar
from hdt_fm.simulation.exposures import exposed_people

WIDE = np.array([-5.0]), np.array([5.0])


@pytest.mark.parametrize("season", ["none", "shared", "own"])
def test_over_people_is_what_regressions_without_each_of_them_say(season):
    """Means and calendar as dummies: what all share is learned without the person too."""
    rng = np.random.default_rng(1)
    person, day = np.repeat(np.arange(9), 40), np.concatenate([np.arange(40.0) * 9 + first for first in range(9)])
    moves, outcome = (
        rng.normal(size=(360, 2)) + np.sin(day / 58)[:, None],
        rng.normal(size=360) + rng.normal(size=9)[person],
    )
    dummies = np.eye(9)[person]
    terms = {"none": dummies[:, :0], "shared": calendar(day)}.get(
        season, np.concatenate([calendar(day) * dummies[:, [one]] for one in range(9)], axis=1)
    )
    design = np.concatenate([moves, dummies, terms], axis=1)

    def fit(rows: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.linalg.lstsq(design[rows], outcome[rows], rcond=1e-12)[0][:2]
        return found

    whole = fit(person >= 0)
    off = np.stack([fit(person != one) - whole for one in range(9)])
    within = WithinPeople(person, day, season=season)
    left = within.left(outcome[:, None])[:, 0]
    moves = within.left(moves)
    found = over_people(within, moves, left - moves @ whole)
    assert found == pytest.approx(8 / 9 * off.T @ off, rel=1e-7)


def test_where_an_effect_is_straight_nothing_is_stretched():
    rng = np.random.default_rng(2)
    person = np.repeat(np.arange(7), 30)
    within = WithinPeople(person, np.zeros(210), season="none")
    moves, outcome = within.left(rng.normal(size=(210, 2))), within.left(rng.normal(size=(210, 1)))[:, 0]
    bottom = np.linalg.lstsq(moves, outcome, rcond=None)[0]
    found = spread_of(
        within,
        lambda bent: (moves, outcome - moves @ np.array([bent[0], bottom[1]])),
        bottom[:1],
        np.zeros(2, dtype=np.bool_),
        WIDE,
    )
    assert found == pytest.approx(over_people(within, moves, outcome - moves @ bottom), rel=1e-9)


@pytest.mark.parametrize("square", [3.0, -3.0])
def test_where_it_is_not_steps_are_those_of_the_true_curvature_and_never_shorter(square):
    """exp(b x) for something else: the second derivative of half the sum of squares is known."""
    rng = np.random.default_rng(3)
    person, x = np.repeat(np.arange(40), 50), rng.uniform(-1, 1, 2000)
    within = WithinPeople(person, np.zeros(2000), season="none")
    outcome = 1 + x + square * x**2 + 0.02 * rng.normal(size=2000)

    def look(bent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        effect = np.exp(bent[0] * x)
        return within.left((x * effect)[:, None]), within.left((outcome - effect)[:, None])[:, 0]

    bottom = np.array([1.0])
    for _ in range(50):
        moves, left = look(bottom)
        bottom = bottom + (moves[:, 0] @ left) / (moves[:, 0] @ moves[:, 0])
    moves, left = look(bottom)
    straight, flat = over_people(within, moves, left), float(moves[:, 0] @ moves[:, 0])
    curve = flat - float(left @ within.left((x**2 * np.exp(bottom[0] * x))[:, None])[:, 0])
    assert (curve < 0.9 * flat) if square > 0 else (curve > 1.1 * flat)
    found = spread_of(within, look, bottom, np.zeros(1, dtype=np.bool_), WIDE)
    assert found[0, 0] == pytest.approx(straight[0, 0] * max(flat / curve, 1.0) ** 2, rel=0.01)


def test_numbers_at_a_limit_have_none_and_a_number_that_does_nothing_breaks_nothing():
    rng = np.random.default_rng(4)
    within = WithinPeople(np.repeat(np.arange(6), 20), np.zeros(120), season="none")
    moves, left = within.left(rng.normal(size=(120, 3))), within.left(rng.normal(size=(120, 1)))[:, 0]
    moves[:, 1] = 0.0
    limits = np.array([-1.0, -1.0]), np.array([1.0, 1.0])
    found = spread_of(within, lambda bent: (moves, left), np.zeros(2), np.array([True, False, False]), limits)
    assert (found[0] == 0).all()
    assert (found[:, 0] == 0).all()
    assert np.isfinite(found).all()
    assert found[2, 2] > 0


@pytest.mark.parametrize("seed", [5, 7])
def test_a_kink_is_seen_from_afar(seed):
    """Each person is left out and all is fitted anew, in cohorts where a straight step says too little."""
    people, days = np.arange(20), 220
    some = exposed_people("single", seed=seed, people=20, days=days)
    rows = np.zeros((20, days), dtype=np.bool_)
    rows[:, 50:] = True
    law, limits = DoseLaw(("pm2_5",), ("hinge",)), (np.zeros(2), np.array([5.0, 60.0]))

    def fitted(keep: np.ndarray, start: Start) -> Fitted:
        part, exposures = rows[keep], some.exposures[keep]
        within = WithinPeople(np.nonzero(part)[0], some.day[keep][part])
        return refine(law, within, some.outcome[keep][part], lambda taus: doses_at(exposures, taus, part), start)

    whole = fitted(people >= 0, Start(np.log([20.0]), np.array([18.0]), *limits))
    near = Start(whole.log_tau, whole.knots, *limits)
    off = np.array([float(fitted(people != one, near).log_tau[0]) for one in people])
    anew = float(np.sqrt(19 / 20 * np.square(off - off.mean()).sum()))
    within, doses = (
        WithinPeople(np.nonzero(rows)[0], some.day[rows]),
        doses_at(some.exposures, three(np.exp(whole.log_tau)), rows),
    )
    columns = within.left(law.columns(doses[1], whole.knots))
    moves = np.concatenate([within.left(law.bends(doses, whole.knots, whole.slopes)), columns], axis=1)
    left = within.left(some.outcome[rows][:, None])[:, 0] - columns @ whole.slopes
    straight = float(np.sqrt(over_people(within, moves, left)[0, 0]))
    assert float(np.sqrt(whole.spread[0, 0])) == pytest.approx(anew, rel=0.13)
    assert straight < 0.83 * anew
