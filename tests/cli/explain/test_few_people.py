"""Moments that few people of a cohort had are not told of, by any part of its report."""

import numpy as np

from hdt_fm.cli.explain.happenings import of_enough_people
from hdt_fm.explain.gate.events import Events


def _events(name: str, holders: int) -> Events:
    places = tuple(np.array([3] if window // 2 < holders else [], dtype=np.int64) for window in range(14))
    return Events(name, "ppg", places, 1.0)


def test_four_people_are_too_few_and_five_are_not() -> None:
    person = np.arange(14) // 2
    kept = of_enough_people([_events("meals", 4), _events("beats", 7), _events("doses", 5)], person)
    assert [one.name for one in kept] == ["beats", "doses"]
