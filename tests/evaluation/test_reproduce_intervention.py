"""The script's cohorts tell nothing of bodies, and its floor that plays the mean person's equations plays them."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hdt_fm.evaluation.what_if import ask
from hdt_fm.simulation.glucose_cohort import WhatIfCohort, what_if_cohort
from hdt_fm.simulation.glucose_people import GlucosePeople


@pytest.fixture(scope="module")
def script(repo: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("reproduce_intervention", repo / "scripts/reproduce_intervention.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def world() -> WhatIfCohort:
    return what_if_cohort(seed=0, train_per_age=1, test_per_age=1, replicates=2, days=3)


def test_what_is_told_is_what_a_sensor_and_a_pump_record(script: ModuleType, world: WhatIfCohort) -> None:
    cohort = script.cohort_of(world, 0)
    assert list(cohort.train.person) == [0, 0, 1, 1, 2, 2]
    assert list(cohort.test.person) == [3, 3, 4, 4, 5, 5]
    assert np.array_equal(cohort.test.glucose_mg_dl, world.test.cgm_mg_dl)
    assert not hasattr(cohort.test, "tissue_mg_dl")
    assert np.array_equal(cohort.truth, world.answers.glucose_mg_dl[:, :, [12, 24, 48]])
    full, half = cohort.asked.contrasts[0]
    assert cohort.asked.dose_units[:, half] == pytest.approx(cohort.asked.dose_units[:, full] / 2)
    full, less = cohort.asked.contrasts[2]
    assert cohort.asked.carbs_g[:, less] == pytest.approx(cohort.asked.carbs_g[:, full] / 2)
    assert np.array_equal(cohort.asked.dose_units[:, less], cohort.asked.dose_units[:, full])


def test_the_twin_of_a_world_of_one_is_nearly_right(script: ModuleType, world: WhatIfCohort) -> None:
    """Told one test person's own numbers, it misses by the sensor's error and by what was on board before 8 h."""
    cohort, person = script.cohort_of(world, 0), 1
    own = world.test_people.people.take(np.array([person]))
    twin = script.Twin()
    twin.of_seed[0] = own
    level = ask(twin.fit(cohort.train, 0), cohort, 0).level
    mine = cohort.test.person[cohort.asked.life] == 3 + person
    full, none = cohort.asked.contrasts[1]
    effect, true = (some[mine, full] - some[mine, none] for some in (level, cohort.truth))
    assert np.sqrt(np.mean(np.square(effect - true))) < 0.1 * np.sqrt(np.mean(np.square(true)))


def test_the_twin_is_the_mean_of_training_people(script: ModuleType, world: WhatIfCohort) -> None:
    cohort = script.cohort_of(world, 0)
    people = world.train_people.people
    twin, alone = script.Twin(), script.Twin()
    twin.of_seed[0] = people
    mean = {name: np.exp(np.log(values).mean(keepdims=True)) for name, values in vars(people).items()}
    alone.of_seed[0] = GlucosePeople(**mean)
    first, second = (ask(one.fit(cohort.train, 0), cohort, 0).level for one in (twin, alone))
    assert first == pytest.approx(second, abs=1e-6)
