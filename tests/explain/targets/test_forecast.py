"""A forecast as one function of readings: bit for bit what the head is asked elsewhere, and what a twin is told."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hdt_fm.checkpoint import Model, load
from hdt_fm.cli.explain.moments import batch_of, telling_of
from hdt_fm.cli.main import EXIT_OK, main
from hdt_fm.cli.series import corrections, told, with_own_events
from hdt_fm.explain.attribution import attribute
from hdt_fm.explain.targets.forecast import SeriesTarget, column_of, series_target
from hdt_fm.explain.targets.routes import by_route, shapley
from hdt_fm.metrics.events import EVENTS
from hdt_fm.schema.batch import Batch
from hdt_fm.schema.errors import ExplainError, UnknownNameError
from hdt_fm.schema.series import ForecastTask, Series
from hdt_fm.signal.moments import Moments
from hdt_fm.training.forecasts import ask
from hdt_fm.training.members import answers
from tests.cli.twin.tiny_twin import ASKED, BEGIN, COUNT, KNOWN, STEP_S, saved, table, wave

GIVEN = {**ASKED, "treatments": ["bolus"]}
RISK = {
    "known": KNOWN + 2 * 7,
    "in_features": 8,
    "horizons": 2,
    "events": 2,
    "width": 8,
    "hidden": 8,
    "members": 1,
    "asked": ASKED,
    "described": [asdict(event) for event in EVENTS["glucose"]],
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "checkpoint"
    return saved(folder, risk=RISK, resampling="newest", lively=True)


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Model:
    return load(checkpoint).eval()


def person() -> Series:
    """Six days; some readings are missing, and one stretch of them for long."""
    draws = np.random.default_rng(3)
    observed = draws.random(COUNT) > 0.1
    observed[200:215] = False
    observed[-1] = True
    return Series(wave().astype(np.float32), observed, STEP_S, float(BEGIN), subject=0, group=0)


@pytest.fixture(scope="module")
def task(model: Model) -> ForecastTask:
    return ForecastTask.of(model.heads["forecast_glucose"].asked)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def target(model: Model, task: ForecastTask) -> SeriesTarget:
    return series_target(model, "forecast_glucose", telling_of(model, task))


def few(model: Model, task: ForecastTask, count: int = 5) -> tuple[Moments, np.ndarray, object]:
    moments, inputs = told(model, [person()], task)
    return moments, np.linspace(0, len(moments) - 1, count).astype(int), inputs


def test_it_says_what_the_head_says(model: Model, task: ForecastTask, target: SeriesTarget) -> None:
    moments, rows, inputs = few(model, task, 40)
    head = model.heads["forecast_glucose"]
    batch = batch_of(target.telling, moments.rows(rows), [person()], {})
    want = ask(head, inputs)[rows].reshape(len(rows), -1)  # type: ignore[arg-type]
    with torch.no_grad():
        got = target(batch).numpy()
    assert np.ptp(want[:, 0]) > 20
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert [name for name, _ in target.named_children()] == ["encoder", "head"]


def test_a_head_that_is_told_of_doses(tmp_path: Path) -> None:
    folder = saved(tmp_path / "one", {"forecast_glucose": GIVEN}, lively=True)
    config = json.loads((folder / "config.json").read_text())
    assert config["heads"]["forecast_glucose"]["args"]["known"] == KNOWN
    model = load(folder).eval()
    task = ForecastTask.of(GIVEN)
    target = series_target(model, "forecast_glucose", telling_of(model, task))
    moments, _ = told(model, [person()], task)
    batch = batch_of(target.telling, moments.rows(np.array([5])), [person()], {})
    assert batch.present.tolist() == [[True, False]]
    with pytest.raises(ExplainError, match=f"expected: {KNOWN} features"):
        target(batch)


def test_it_says_what_a_twin_is_told_but_for_the_persons_own_correction(
    checkpoint: Path, model: Model, task: ForecastTask, target: SeriesTarget, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hdt_fm.twin.forecast.page.fan_picture", lambda told: b"")
    values = np.round(wave(), 1)
    path = table(tmp_path / "in", values=values)
    assert main(["twin", "forecast", str(path), f"checkpoint={checkpoint}", "--json"]) == EXIT_OK
    found = json.loads(capsys.readouterr().out)
    everything = np.ones(COUNT, dtype=bool)
    one = Series(values.astype(np.float32), everything, STEP_S, BEGIN + 3600.0, subject=0, group=0)
    moments, inputs = told(model, [one], task, now=True)
    head = model.heads["forecast_glucose"]
    added = corrections(head, moments, inputs, ask(head, inputs))[-1]
    batch = batch_of(target.telling, moments.rows(np.array([len(moments) - 1])), [one], {})
    column = [column_of(head, target.telling, horizon, None)[0] for horizon in task.horizons_s]
    with torch.no_grad():
        said = target(batch)[0, column].double().numpy() + added
    assert [one["point"] for one in found["ahead"]] == pytest.approx(said.tolist(), abs=0.051)


def test_risks_are_the_calibrated_ones(model: Model, task: ForecastTask) -> None:
    moments, rows, inputs = few(model, task)
    head = model.heads["risk_glucose"]
    own = with_own_events(inputs, moments, [person()], EVENTS["glucose"])  # type: ignore[arg-type]
    want = answers(lambda some: head.calibrated(head(some)), own)[rows].reshape(len(rows), -1)
    target = series_target(model, "risk_glucose", telling_of(model, task), own_events=14)
    batch = batch_of(target.telling, moments.rows(rows), [person()], {}, events=True)
    with torch.no_grad():
        torch.testing.assert_close(target(batch), want)
    assert column_of(head, target.telling, 3600.0, "above 180 mg/dL") == (
        3,
        "log-odds of glucose above 180 mg/dL within 60 min",
        "log-odds",
    )
    with pytest.raises(UnknownNameError, match="below 70 mg/dL"):
        column_of(head, target.telling, 3600.0, "asleep")


def test_credit_adds_up_and_later_readings_have_more(model: Model, task: ForecastTask, target: SeriesTarget) -> None:
    moments, rows, _ = few(model, task, 3)
    batch = batch_of(target.telling, moments.rows(rows), [person()], {})
    column, words, _ = column_of(target.head, target.telling, 3600.0, 0.5)
    assert words == "median glucose in 60 min, mg/dL"
    found = attribute(target, batch, target=column, methods=("integrated_gradients",), steps=48, segments=14)
    change = np.abs(found.output - found.reference_output)
    assert change.max() > 5
    delta = found.find("integrated_gradients").delta
    assert delta is not None
    assert delta.max() <= 0.01 * change.max()
    credit = np.abs(found.by_segment("integrated_gradients")["glucose"]).sum(axis=(0, 1))
    assert credit.argmax() == 13


def test_horizons_and_levels_that_a_head_does_not_have(target: SeriesTarget) -> None:
    assert column_of(target.head, target.telling, 1800.0, None)[0] == 0
    assert column_of(target.head, target.telling, 1800.0, 0.9)[1] == "90 % quantile of glucose in 30 min, mg/dL"
    with pytest.raises(UnknownNameError, match="30, 60"):
        column_of(target.head, target.telling, 5400.0, None)
    with pytest.raises(UnknownNameError, match="quantile"):
        column_of(target.head, target.telling, 1800.0, 0.55)


def test_ways_add_up_and_are_exact(model: Model, task: ForecastTask, target: SeriesTarget) -> None:
    moments, rows, _ = few(model, task, 3)
    batch = batch_of(target.telling, moments.rows(rows), [person()], {})
    signal = batch.signals["glucose"]
    flat = replace(batch, signals={"glucose": replace(signal, values=torch.full_like(signal.values, 140.0))})
    found = by_route(target, batch, flat, column=0)
    assert list(found.credit) == ["encoder", "recent", "own days"]
    np.testing.assert_allclose(sum(found.credit.values()), found.change, atol=1e-9)
    with torch.no_grad():
        want = (target(batch) - target(flat))[:, 0].numpy()
    np.testing.assert_allclose(found.change, want, atol=1e-4)
    same = by_route(target, batch, batch, column=0)
    assert all(np.abs(credit).max() == 0 for credit in same.credit.values())


def test_shapley_values_of_a_game_by_hand() -> None:
    # Worth of (left, right): nothing 0, left 1, right 3, both 10. Orders: left first 1, then 7; right first 3, then 7.
    worth = {(False, False): 0.0, (True, False): 1.0, (False, True): 3.0, (True, True): 10.0}
    game = {coalition: np.array([value]) for coalition, value in worth.items()}
    assert [shapley(game, player).item() for player in (0, 1)] == [4.0, 6.0]


def test_names_that_a_model_does_not_have(model: Model, task: ForecastTask) -> None:
    telling = telling_of(model, task)
    with pytest.raises(UnknownNameError, match="forecast_glucose"):
        series_target(model, "forecast_glucos", telling)
    with pytest.raises(UnknownNameError, match="modality"):
        series_target(model, "forecast_glucose", replace(telling, task=replace(task, modality="heart_rate")))


def test_somebody_of_whom_nothing_was_read_gets_an_answer(
    model: Model, task: ForecastTask, target: SeriesTarget
) -> None:
    moments, rows, _ = few(model, task, 2)
    batch: Batch = batch_of(target.telling, moments.rows(rows), [person()], {})
    with torch.no_grad():
        said = target(batch.without(torch.zeros_like(batch.present)))
    assert said.isfinite().all()
