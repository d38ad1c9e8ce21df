"""Which windows teach an encoder that is moved: by remedy, and with what they held of each class."""

from types import SimpleNamespace

import numpy as np
import pytest

from hdt_fm.audit.fairness.remedies import Worst
from hdt_fm.cli.audit.fairness_tuning import Weighing, _Drawn

RARE = 5


@pytest.fixture
def drawing():
    """Fifty people of ten windows, five of whom are in a rare cell; nothing but what drawing needs."""

    def made(remedy: str | None) -> tuple[_Drawn, np.ndarray]:
        group = np.repeat(np.arange(50), 10)
        drawn = _Drawn.__new__(_Drawn)
        contest = SimpleNamespace(is_class=True, target=SimpleNamespace(values=(np.arange(500) % 4 == 0).astype(float)))
        vars(drawn).update(
            contest=contest,
            rows=np.arange(500),
            size=400,
            generator=np.random.default_rng(0),
            weighing=Weighing(remedy, {}, 2) if remedy else None,
            count=2,
            cell=(group < RARE).astype(np.int64),
            worst=Worst.begin(2),
            held=np.zeros(2),
            _losses=lambda: np.array([1.0, 3.0]),
        )
        return drawn, group

    return made


def rare_share(drawn: _Drawn, group: np.ndarray, steps: range) -> float:
    return float(np.mean([(group[drawn.chosen(step)] < RARE).mean() for step in steps]))


def test_without_a_remedy_windows_are_drawn_as_they_come(drawing) -> None:
    drawn, group = drawing(None)
    assert rare_share(drawn, group, range(20)) == pytest.approx(0.1, abs=0.02)
    assert drawn.prior == pytest.approx([0.75, 0.25], abs=0.03)


def test_cells_that_weigh_alike_are_drawn_alike(drawing) -> None:
    drawn, group = drawing("inverse_frequency")
    assert rare_share(drawn, group, range(20)) == pytest.approx(0.5, abs=0.03)


def test_the_worse_cell_is_drawn_more_and_more(drawing) -> None:
    drawn, group = drawing("group_dro")
    first = rare_share(drawn, group, range(10))
    assert first == pytest.approx(0.5, abs=0.05)
    rare_share(drawn, group, range(10, 100))
    assert rare_share(drawn, group, range(100, 110)) > 0.65
