"""The script's windows and scores by hand, its table, and an option measured on a few subjects."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from hdt_fm.schema.errors import UnknownNameError
from hdt_fm.schema.lives import Lives


@pytest.fixture(scope="module")
def script(repo: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("reproduce_confounding", repo / "scripts/reproduce_confounding.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_window_holds_a_day_and_what_was_taken_after_each_reading(script: ModuleType) -> None:
    length = 500
    bolus, carbs = np.zeros((2, length)), np.zeros((2, length))
    now = 300
    bolus[1, [now, now + 5, now + 6, now - 1]] = 4.0, 1.0, 2.0, 8.0
    carbs[1, now] = 60.0
    lives = Lives(
        person=np.arange(2),
        glucose_mg_dl=100 + np.arange(2 * length, dtype=float).reshape(2, length),
        bolus_units=bolus,
        carbs_g=carbs,
        basal_units_per_hour=np.array([1.0, np.e]),
    )
    past = script.windows(lives, np.array([1]), np.array([now]), 8)
    assert past.level.shape == (1, 57)
    # The moment is number 48; the dose five minutes before it belongs to the half hour before.
    assert float(past.level[0, 48]) == lives.glucose_mg_dl[1, now]
    assert float(past.level[0, 49]) == lives.glucose_mg_dl[1, now + 6]
    assert past.given[0, 47:50].tolist() == [[8.0, 0.0], [5.0, 60.0], [2.0, 0.0]]
    assert float(past.traits[0, 0]) == pytest.approx(1.0)


def test_scores_of_meals_by_hand(script: ModuleType) -> None:
    truth, level = np.zeros((2, 2, 3)), np.zeros((2, 2, 8))
    truth[:, 0, 1] = 10.0
    # Half-hours 4 and 8 are two and four hours; the effects are missed by 3 and by -1 at two hours.
    level[:, 0, 3] = 13.0, 9.0
    level[:, 0, 7] = 2.0
    found = script.meal_scores(truth, ((0, 1),) * 3, {"meals": level})
    assert found["bolus 1 vs 0, 120 min: PEHE"] == pytest.approx(np.sqrt(5.0))
    assert found["bolus 1 vs 0, 120 min: bias"] == pytest.approx(1.0)
    assert found["carbs 1 vs 0.5, 240 min: bias"] == pytest.approx(2.0)
    assert len(found) == 12


def test_the_table_has_means_over_seeds(script: ModuleType) -> None:
    rows = [
        {"world": "w", "seed": seed, "option": option, "effective_share": 0.5, "one step": seed + 1.0}
        for seed in (0, 1)
        for option in ("a", "b")
    ]
    assert "| a (effective share 0.50) | 1.50 |" in script.table(rows, "w")


def test_options_are_measured_on_a_few_subjects(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {name: script.OPTIONS[name] for name in ("law alone", "no law, propensity weights")}
    monkeypatch.setattr(script, "OPTIONS", kept)
    world = script.tumours(4.0, 10, True)
    rows = list(script.measure(world, 0, epochs=1))
    assert [row["option"] for row in rows] == ["law alone", "law alone, played", "no law, propensity weights"]
    assert 0 < rows[2]["effective_share"] < 1
    assert rows[0]["sliding, tau 6"] < rows[2]["sliding, tau 6"]
    # Played, the law says nearly what it says at once: what is drawn averages out.
    asked = world.asked["sliding"]
    torch.manual_seed(0)
    head = script.Outcome(**world.head)
    script.fit_outcome(head, world.train, world.validation, epochs=0)
    some = script.Asked(asked.past, asked.person[:40], asked.time[:40], asked.plan[:40])
    once, played = (script.means(head, some, play=play) for play in (False, True))
    assert once.shape == played.shape == (40, 10, 6)
    assert np.corrcoef(once.ravel(), played.ravel())[0, 1] > 0.99


def test_an_unknown_world_is_told(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["reproduce_confounding.py", "--worlds", "sepsis"])
    with pytest.raises(UnknownNameError, match="sepsis"):
        script.main()
