"""Against simglucose, an optional dependency: its people's numbers and its equations, in its own loop."""

import importlib.util
from types import ModuleType

import numpy as np
import pytest

from hdt_fm.simulation.glucose_people import GlucosePeople
from hdt_fm.simulation.glucose_run import simulate


@pytest.fixture(scope="module")
def peer(repo) -> ModuleType:
    spec = importlib.util.spec_from_file_location("glucose_peer", repo / "scripts" / "glucose_peer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.folder() is None:
        pytest.skip("simglucose is not installed: pip install --no-deps simglucose")
    return module


@pytest.mark.slow
def test_a_day_of_all_its_people_is_the_same(peer):
    """Within .1 mg/dL at each minute of 24 h; its solver at a relative tolerance of 1e-9 instead of 1e-6."""
    numbers = peer.numbers(peer.folder())
    assert len(numbers) == 30
    people = GlucosePeople.from_symbols(numbers)
    generator = np.random.default_rng(3)
    meals, doses = np.zeros((30, 1440)), np.zeros((30, 1440))
    for minute, grams in ((420, 50.0), (427, 12.0), (720, 70.0), (1000, 15.0), (1110, 80.0)):
        meals[:, minute] = grams * generator.uniform(0.5, 1.2, 30)
        doses[:, minute - 5] = meals[:, minute] / 15 * generator.uniform(0.3, 1.1, 30) * people.bw / 75
    start = np.array([[float(row[f"x0_{place:2d}"]) for row in numbers] for place in range(1, 14)])
    np.testing.assert_allclose(people.rest(), start, rtol=1e-6, atol=1e-6)
    ours = simulate(people, meals, doses, every_minutes=1).tissue_mg_dl
    module = peer.patient_module(peer.folder())
    gaps = [
        np.abs(ours[row] - peer.glucose(module, one, start[:, row], meals[row], doses[row])).max()
        for row, one in enumerate(numbers)
    ]
    assert max(gaps) < 0.1, np.round(gaps, 3)
    assert np.ptp(ours, axis=1).min() > 30, "somebody hardly moved: the day asks nothing"


def test_its_own_tolerance_and_its_own_row_give_the_same(peer):
    """So that the speed that is quoted beside ours is of the same answer."""
    row = peer.numbers(peer.folder())[12]
    people = GlucosePeople.from_symbols([row])
    meals, doses = np.zeros((1, 60)), np.zeros((1, 60))
    meals[0, 5], doses[0, 5] = 40.0, 3.0
    module = peer.patient_module(peer.folder())
    shipped, tight = (
        peer.glucose(module, row, people.rest()[:, 0], meals[0], doses[0], shipped=way) for way in (True, False)
    )
    np.testing.assert_allclose(shipped, tight, atol=1e-3)
    np.testing.assert_allclose(simulate(people, meals, doses, every_minutes=1).tissue_mg_dl[0], tight, atol=0.1)
