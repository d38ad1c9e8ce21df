"""The script's law on simulated lives that come as series, where the truth is known; and real ones where they are."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hdt_fm.evaluation.what_if_real import RealModel, hear
from hdt_fm.evaluation.what_if_real_floors import last_value
from hdt_fm.evaluation.what_if_windows import readings_at, windows_at, windows_of
from hdt_fm.schema.lives import Lives
from hdt_fm.schema.series import Series
from hdt_fm.signal.lives import lives_of
from hdt_fm.simulation.glucose_cohort import WhatIfCohort, what_if_cohort
from hdt_fm.simulation.glucose_life import History

STEP, START = 300.0, 1_000_000 * 300.0


@pytest.fixture(scope="module")
def script(repo: Path) -> ModuleType:
    folder = repo / "scripts"
    sys.path.insert(0, str(folder))  # it imports its neighbour
    try:
        spec = importlib.util.spec_from_file_location("reproduce_what_if_real", folder / "reproduce_what_if_real.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module


def as_lives(history: History, first: int) -> Lives:
    """As they would be read from shards: glucose, and what was given in the step that ends with each sample."""
    order = {code: place + first for place, code in enumerate(dict.fromkeys(history.codes))}

    def series(table: np.ndarray, late_s: float) -> list[Series]:
        return [
            Series(row.astype(np.float32), np.ones(len(row), dtype=bool), STEP, START + late_s, life, order[code])
            for life, (row, code) in enumerate(zip(table, history.codes, strict=True))
        ]

    given = {"bolus": series(history.bolus_units, STEP), "carbs": series(history.carbs_g, STEP)}
    given["insulin_rate"] = series(np.repeat(history.basal_units_per_hour[:, :1], 200, axis=1), STEP)
    return lives_of(series(history.cgm_mg_dl, 0.0), given)


@pytest.fixture(scope="module")
def world() -> WhatIfCohort:
    return what_if_cohort(seed=0, train_per_age=2, test_per_age=1, replicates=2, days=4)


@pytest.fixture(scope="module")
def train(world: WhatIfCohort) -> Lives:
    return as_lives(world.train, 0)


@pytest.fixture(scope="module")
def test(world: WhatIfCohort) -> Lives:
    return as_lives(world.test, 6)


@pytest.fixture(scope="module")
def law(script: ModuleType, train: Lives):
    return script.Law(train, 0)


@pytest.mark.slow
def test_effects_of_simulated_doses_are_near_the_truth(law, world: WhatIfCohort, test: Lives, script: ModuleType):
    answers = world.answers
    plan = answers.plans.index
    windows = windows_at(test, answers.run, answers.reading, script.MINUTES)
    taught = test
    said = {}
    for dose in ((1.0, 1.0), (0.0, 1.0)):
        units, grams = np.zeros_like(windows.units), np.zeros_like(windows.grams)
        units[:, 0], grams[:, 0] = answers.dose_units[:, plan(*dose)], answers.carbs_g[:, plan(*dose)]
        said[dose] = law.tell(test, taught, windows.told(units, grams))
    true = answers.glucose_mg_dl[:, plan(1.0, 1.0)] - answers.glucose_mg_dl[:, plan(0.0, 1.0)]
    true, effect = true[:, list(windows.steps)], said[1.0, 1.0] - said[0.0, 1.0]
    off, size = (np.sqrt(np.mean(np.square(some), axis=0)) for some in (effect - true, true))
    assert (off[1:] < 0.6 * size[1:]).all()
    assert effect.mean(axis=0)[1:] == pytest.approx(true.mean(axis=0)[1:], rel=0.4)


@pytest.mark.slow
def test_told_what_was_taken_it_knows_more_of_simulated_lives_than_told_nothing(law, test: Lives, script: ModuleType):
    windows = windows_of(test, script.MINUTES)
    came = readings_at(test, windows.life[:, None], windows.time[:, None] + np.array(windows.steps))

    def missed(tell) -> np.ndarray:
        return np.sqrt(np.nanmean(np.square(tell(test, test, windows) - came), axis=0))

    told, nothing, flat = missed(law.tell), missed(script.untold(law.tell)), missed(last_value(test, 0))
    assert (told < 0.8 * nothing).all()
    assert (told < 0.8 * flat).all()


@pytest.mark.slow
def test_alone_and_untold_do_not_hear_of_what_is_taken_later(law, test: Lives, script: ModuleType):
    windows = windows_of(test, script.MINUTES)
    later = windows.units.copy()
    later[:, 20] += 5.0
    told = windows.told(later, windows.grams)
    for tell in (script.alone(law.tell), script.untold(law.tell)):
        assert np.array_equal(tell(test, test, told), tell(test, test, windows))
    assert not np.array_equal(law.tell(test, test, told), law.tell(test, test, windows))
    # The dose is taken at 100 minutes: an hour after the moment nothing of it is there.
    assert np.array_equal(law.tell(test, test, told)[:, 0], law.tell(test, test, windows)[:, 0])
    first = windows.units.copy()
    first[:, 0] += 5.0
    told = windows.told(first, windows.grams)
    assert not np.array_equal(script.alone(law.tell)(test, test, told), law.tell(test, test, windows))


@pytest.mark.slow
def test_what_regressions_read_adds_up_to_the_course(law, test: Lives, script: ModuleType):
    windows = windows_of(test, script.MINUTES)
    reading = readings_at(test, windows.life, windows.time)[:, None]
    whole = reading + law.beside(test, test, windows).sum(axis=2)
    assert whole.clip(39, 400) == pytest.approx(law.tell(test, test, windows))
    doses, meals = law.beside(test, test, windows)[..., 1:].transpose(2, 0, 1)
    assert (doses <= 1e-6).all()
    assert (meals >= -1e-6).all()


def test_the_law_is_learned_once_for_all_models_of_a_fold(script: ModuleType, train: Lives, test: Lives, monkeypatch):
    made = []

    class Named:
        def __init__(self, lives: Lives, seed: int) -> None:
            made.append(lives)
            self.train = lives

    monkeypatch.setattr(script, "Law", Named)
    one = script.OneLaw()
    assert one(train, 0) is one(train, 0)
    assert one(test, 0) is not one(train, 0)
    assert [some is train for some in made] == [True, False, True]


def test_lives_in_which_little_can_be_asked_are_left_out(script: ModuleType, test: Lives):
    quiet = test.bolus_units.copy()
    quiet[0] = 0.0
    none = replace(test, bolus_units=quiet, carbs_g=np.where(np.arange(len(test))[:, None] == 0, 0.0, test.carbs_g))
    found = script.lives_with_windows(none)
    assert test.person.tolist() == [6, 6, 7, 7, 8, 8]
    assert found.person.tolist() == [7, 7, 8, 8]


@pytest.mark.slow
def test_real_lives(script: ModuleType, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HDT_FM_REAL_DATA", str(real_data))
    lives = script.real_lives("azt1d", quick=True)
    assert len(np.unique(lives.person)) >= 4
    # From two to five at night people eat little: columns say what time of day it is.
    by_step = lives.carbs_g[:, : 14 * 288].reshape(-1, 288).mean(axis=0)
    assert by_step[24:60].mean() < 0.5 * by_step.mean()
    law = script.OneLaw()
    models = {
        "last value": RealModel(last_value, "baseline", takes_plan=False),
        "law": RealModel(lambda train, seed: law(train, seed).tell, "ours"),
    }
    heard = hear(lives, models, script.MINUTES, folds=2, seed=0)
    off = {name: np.square(level["told"] - heard.came) for name, level in heard.level.items()}
    assert np.nanmean(off["law"][:, 1:]) < np.nanmean(off["last value"][:, 1:])
    assert np.nanmean((heard.level["law"]["more insulin"] - heard.level["law"]["told"])[:, -1]) < 0
