"""Dose recovery by hand numbers; floors against other writings of them; who looks ahead is refused."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hdt_fm.evaluation.evolve.dose import (
    BIAS,
    BURN_IN,
    INSIDE,
    NUMBERS,
    OFF,
    OWED,
    R2,
    DoseCohort,
    DoseModel,
    Followed,
    Learned,
    Told,
    asked,
    numbers_table,
    recover,
    shares_table,
    squares_of,
)
from hdt_fm.evaluation.evolve.dose_floors import (
    bank,
    cross_basis,
    floors,
    leaky_lines,
    newest,
    oracle,
    window_mean,
)
from hdt_fm.layers.accumulators import leaky
from hdt_fm.report.tables import markdown
from hdt_fm.schema.errors import ConfigError, LeakError, ShapeError
from hdt_fm.simulation.exposures import exposed_people

DAYS = 190


@pytest.fixture(scope="module")
def script(repo: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("evolve_dose", repo / "scripts/evolve_dose.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cohort() -> DoseCohort:
    some = exposed_people("single", seed=0, people=16, days=DAYS)
    train, test = some.take(slice(0, 11)), some.take(slice(11, 16))
    told = [Followed(part.exposures, part.outcome, part.day) for part in (train, test)]
    return DoseCohort(what="single", seed=0, train=told[0], test=told[1], train_effect=train.effect, effect=test.effect)


def always(effect: np.ndarray) -> DoseModel:
    return DoseModel(lambda train: Told(lambda exposures, day: effect, 3), "ours")


def test_the_score_by_hand():
    true = np.zeros((2, BURN_IN + 4))
    true[0, BURN_IN:], true[1, BURN_IN:] = [1, 2, 3, 4], [0, 0, 2, 2]
    said = np.full_like(true, 77.0)
    said[0, BURN_IN:], said[1, BURN_IN:] = [11, 12, 13, 14], [0, np.nan, np.nan, 2]
    # Within themselves: the first is right but for the level; the second says -1 and 1 on two days of -1, -1, 1, 1.
    assert squares_of(said, true) == pytest.approx(np.array([[0, 5], [2, 4]]))


def test_true_effects_score_one_and_nothing_scores_none(cohort):
    models = {"right": always(cohort.effect), "silent": always(np.full_like(cohort.effect, np.nan))}
    found = recover("doses", [cohort], models, headline="right", owed=())
    assert found.find("right", R2).value == pytest.approx(1.0)
    assert found.find("silent", R2).value == pytest.approx(0.0)
    assert found.find("right", NUMBERS).value == 3


def test_squares_are_summed_over_people_and_seeds(cohort):
    rng = np.random.default_rng(0)
    said = cohort.effect + rng.normal(size=cohort.effect.shape)
    found = recover("doses", [cohort, cohort], {"one": always(said)}, headline="one", owed=()).find("one", R2)
    both = [values[:, BURN_IN:] - values[:, BURN_IN:].mean(axis=1, keepdims=True) for values in (said, cohort.effect)]
    assert found.value == pytest.approx(1 - np.square(both[0] - both[1]).sum() / np.square(both[1]).sum())
    assert found.low < found.value < found.high
    assert found.n == 10
    assert found.columns["lowest_seed"] == pytest.approx(found.value)


def test_who_looks_ahead_is_refused(cohort):
    """The centred week of a smoother that is found in many notebooks."""

    def centred(exposures: np.ndarray, day: np.ndarray) -> np.ndarray:
        padded = np.pad(exposures[:, 0], ((0, 0), (3, 3)), mode="edge")
        return np.lib.stride_tricks.sliding_window_view(padded, 7, axis=1).mean(axis=2)

    with pytest.raises(LeakError, match="looks ahead"):
        asked(cohort, DoseModel(lambda train: Told(centred, 1), "baseline"))
    with pytest.raises(LeakError, match="looks ahead"):
        asked(
            cohort, DoseModel(lambda train: Told(lambda some, day: some[:, 0] - np.nanmean(some[:, 0]), 1), "baseline")
        )


def test_what_cannot_be_scored_is_refused(cohort):
    with pytest.raises(ConfigError, match="headline among"):
        recover("doses", [cohort], {"one": always(cohort.effect)}, headline="two")
    with pytest.raises(ShapeError, match="do not fit"):
        asked(cohort, always(cohort.effect[:, :5]))
    parts = {"what": "single", "seed": 0, "train": cohort.train, "test": cohort.test}
    with pytest.raises(ShapeError, match="not of these people"):
        DoseCohort(**parts, train_effect=cohort.train_effect, effect=cohort.effect[:2])
    short = [
        Followed(*(values[..., :BURN_IN] for values in vars(some).values())) for some in (cohort.train, cohort.test)
    ]
    with pytest.raises(ConfigError, match="No day can be scored"):
        DoseCohort(
            what="single",
            seed=0,
            train=short[0],
            test=short[1],
            train_effect=cohort.train_effect[:, :BURN_IN],
            effect=cohort.effect[:, :BURN_IN],
        )


def test_features_of_floors_by_hand():
    values = np.array([[np.nan, 2.0, np.nan, 8.0, 5.0]])
    assert newest(values)[0, :, 0] == pytest.approx([np.nan, 2, 2, 8, 5], nan_ok=True)
    assert window_mean(values, 3)[0, :, 0] == pytest.approx([np.nan, 2, 2, 5, 6.5], nan_ok=True)


def test_the_floors_bank_is_that_of_the_layers_and_a_tenfold_sum():
    import torch

    rng = np.random.default_rng(0)
    values = np.where(rng.random((3, 50)) < 0.3, np.nan, rng.normal(size=(3, 50)))
    held, _ = leaky(torch.from_numpy(values), torch.ones(3, 50), torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]))
    assert bank(values) == pytest.approx(held.dose.numpy(), nan_ok=True, abs=1e-9)


def test_the_cross_basis_can_be_any_lag_of_the_exposure(cohort):
    """A line in the value under a lag curve that its splines hold is in the span of the features."""
    exposures = cohort.train.exposures
    table = cross_basis(exposures)(exposures)[:, BURN_IN:].reshape(-1, 24)
    log_lag = np.log1p(np.arange(90))
    weights = 1 - (log_lag / log_lag[-1]) ** 2
    line = np.stack([np.convolve(row, weights)[:DAYS] for row in exposures[:, 0]])[:, BURN_IN:].ravel()
    design = np.concatenate([table, np.ones((len(table), 1))], axis=1)
    left = line - design @ np.linalg.lstsq(design, line, rcond=None)[0]
    assert np.abs(left).max() < 1e-6 * np.abs(line).max()


def test_floors_recover_what_they_can_tell(cohort):
    found = recover("doses", [cohort], {**floors(), "told": oracle()}, headline="30-day mean", owed=())
    values = {model: found.find(model, R2).value for model in (*floors(), "told")}
    assert values["told"] > 0.95
    assert values["same day"] < values["7-day mean"] < values["30-day mean"]
    assert tuple(floors()) == OWED
    assert len(floors(together=True)) == len(OWED) + 2
    assert found.find("cross-basis", NUMBERS).value == 24


def test_a_grid_finds_the_time_constant_of_a_line():
    rng = np.random.default_rng(0)
    exposures = rng.normal(size=(8, 2, 300))
    outcome = bank(exposures[:, 0])[..., 4] - 0.5 * bank(exposures[:, 1])[..., 2]
    day = np.tile(np.arange(300.0), (8, 1))
    assert leaky_lines(Followed(exposures, outcome, day)) == pytest.approx([16, 4], rel=0.25)


def test_numbers_by_hand():
    nan = float("nan")
    found = {
        "x": {
            "ours": [Learned(11.0, 9.0, 12.0, 10.0), Learned(8.0, 7.0, 9.0, 10.0), Learned(10.0, nan, nan, 10.0)],
            "grid": [Learned(15.0, nan, nan, 10.0), Learned(15.0, nan, nan, 10.0)],
        }
    }
    table = numbers_table("numbers", found, {"ours": "ours", "grid": "baseline"})
    assert table.find("ours", OFF).value == pytest.approx(10)
    assert table.find("ours", BIAS).value == pytest.approx(-10 / 3)
    assert table.find("ours", INSIDE).value == pytest.approx(50)
    assert table.find("ours", INSIDE).n == 2
    assert table.find("ours", INSIDE).columns["mean_width_%"] == pytest.approx(25)
    assert table.find("grid", BIAS).value == pytest.approx(50)
    assert table.find("as should be", INSIDE).value == 95
    with pytest.raises(KeyError):
        table.find("grid", INSIDE)


def test_shares_by_hand():
    said = {"x": {"ours": np.array([True, False, True, True])}}
    row = shares_table("decoy", "said", said, {"ours": "ours"}).find("ours", "said")
    assert (row.value, row.n, row.unit) == (75.0, 4, "%")
    assert 25 <= row.low < row.value < row.high <= 100


def test_the_scripts_head_is_beaten_by_no_floor_of_an_eighth_more_numbers(script, cohort):
    """On few people already; the whole table is made by the script."""
    models = {name: one for name, one in script.models("single").items() if name in (*OWED, script.OURS)}
    found = recover("doses", [cohort], models, headline=script.OURS)
    assert found.find(script.OURS, NUMBERS).value * 8 <= found.find("cross-basis", NUMBERS).value
    assert found.find(script.OURS, R2).value > 0.8
    assert "ours minus each baseline" in markdown(found)


def test_the_scripts_cohorts_share_nobody_and_tell_no_truth(script):
    made = script.cohort_of("missing", 0, 20)
    assert (len(made.train.outcome), len(made.test.outcome)) == (14, 6)
    assert not hasattr(made.test, "effect")
    whole = exposed_people("missing", seed=0, people=20)
    assert np.array_equal(made.effect, whole.effect[14:])
    assert np.array_equal(made.test.exposures, whole.exposures[14:], equal_nan=True)
