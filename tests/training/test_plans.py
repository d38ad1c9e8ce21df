"""Courses after moments of lives: by what was taken, with numbers that did not see what they are judged by."""

import numpy as np
import pytest

from hdt_fm.heads.meal_response import MealResponse
from hdt_fm.schema.lives import Lives
from hdt_fm.training.plans import done_after, done_as_they_came, done_with_the_other_half, in_two
from tests.heads.test_plan_response import MINUTES, lives

LIFE, TIME = np.array([0, 1, 2, 3]), np.array([160, 200, 430, 510])


@pytest.fixture(scope="module")
def law() -> MealResponse:
    found = MealResponse(minutes=MINUTES)
    found.learn(lives(seed=0), lives(seed=1))
    return found


def test_halves_part_readings_and_keep_doses() -> None:
    whole = lives(2)
    gap = whole.glucose_mg_dl.copy()
    gap[1, :400] = np.nan
    halves = in_two(Lives(**{**vars(whole), "glucose_mg_dl": gap}))
    assert halves.middle.tolist() == [300, 500]
    both = np.isfinite(halves.first.glucose_mg_dl) & np.isfinite(halves.second.glucose_mg_dl)
    either = np.isfinite(halves.first.glucose_mg_dl) | np.isfinite(halves.second.glucose_mg_dl)
    assert not both.any()
    assert np.array_equal(either, np.isfinite(gap))
    assert np.array_equal(halves.first.carbs_g, whole.carbs_g)


def test_what_was_taken_soon_moves_a_course_and_nothing_later_does(law: MealResponse) -> None:
    told = lives(seed=2)
    numbers = law.own(told, told.person)
    found = done_after(law, numbers, told, LIFE, TIME)
    soon = [(told.carbs_g[life, time : time + 8] > 0).any() for life, time in zip(LIFE, TIME, strict=True)]
    differ = np.abs(found.course - found.nothing)[:, 0] > 0.5
    assert differ.tolist() == soon
    assert any(soon)
    assert not all(soon)
    assert np.array_equal(found.effect, found.course - found.nothing)
    later = Lives(**{**vars(told), "carbs_g": told.carbs_g.copy()})
    for life, time in zip(LIFE, TIME, strict=True):
        later.carbs_g[life, time + 8 :] = 99.0
    last = np.array([TIME[life == LIFE].max() for life in LIFE]) == TIME
    assert np.array_equal(done_after(law, numbers, later, LIFE, TIME).course[last], found.course[last])


def test_readings_after_a_moment_change_no_course(law: MealResponse) -> None:
    told = lives(seed=2)
    early = in_two(told).middle[LIFE] > TIME
    other = told.glucose_mg_dl.copy()
    for life, time in zip(LIFE, TIME, strict=True):
        other[life, time + 1 :] += 90.0
    moved = Lives(**{**vars(told), "glucose_mg_dl": other})
    first, second = (done_as_they_came(law, one, LIFE, TIME) for one in (told, moved))
    assert np.array_equal(first.course, second.course)
    assert early.any()
    assert not early.all()


def test_the_other_half_gives_the_numbers(law: MealResponse) -> None:
    told = lives(seed=2)
    halves = in_two(told)
    found = done_with_the_other_half(law, halves, LIFE, TIME)
    people = np.unique(told.person)
    late = halves.middle[LIFE] <= TIME
    for taught, rows in ((halves.first, late), (halves.second, ~late)):
        wanted = done_after(law, law.own(taught, people), told, LIFE[rows], TIME[rows])
        assert found.course[rows] == pytest.approx(wanted.course, abs=1e-9)
        assert found.nothing[rows] == pytest.approx(wanted.nothing, abs=1e-9)
