"""Answers of a checkpoint by the name of a head: each is what the other verbs say of the same people and moments."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data_pipelines.build import build_shards
from data_pipelines.cohorts.virtual_diabetes import VirtualDiabetes
from hdt_fm.checkpoint import Model, build_model
from hdt_fm.cli.explain.ahead import nearest_moments
from hdt_fm.cli.explain.answer import Wanted
from hdt_fm.cli.explain.answers import answers
from hdt_fm.cli.plans import PlanModel, compare
from hdt_fm.cli.series import told
from hdt_fm.cli.series_teaching import given_beside
from hdt_fm.cli.settings import ExplainSettings
from hdt_fm.cli.twin.readings import Readings
from hdt_fm.data.series import series_of
from hdt_fm.data.shards import ShardFolder
from hdt_fm.layers import meal_law
from hdt_fm.metrics.events import EVENTS
from hdt_fm.schema.errors import ConfigError, UnknownNameError
from hdt_fm.schema.manifest import ModelConfig, Part
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.series import ForecastTask
from hdt_fm.schema.treatment import Plan
from hdt_fm.schema.what_if import Support
from hdt_fm.signal.moments import moments_of
from hdt_fm.training.forecasts import ask

RATE, HOUR, PEOPLE = 1 / 300, 3600.0, 3
MINUTES = (60, 120)
TASK = ForecastTask(
    modality="glucose",
    unit="mg/dL",
    step_s=300.0,
    context_s=3 * HOUR,
    horizons_s=tuple(60.0 * one for one in MINUTES),
    every_s=HOUR,
    windows=2,
    apart_s=24 * HOUR,
    treatments=("bolus", "carbs"),
)
# The last hours, the week, the days before and two treatments.
KNOWN = 39 + 12 + 9 + 12
SUPPORT = Support("inside", "bolus", 0.8, 12.0, 1.0, 6.0, 1.0)


def asked() -> dict[str, object]:
    return {**asdict(TASK), "horizons_s": list(TASK.horizons_s), "treatments": list(TASK.treatments)}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of three simulated people and of what they took, and whom an encoder saw."""
    folder = tmp_path_factory.mktemp("answers")
    whole = Preparation(
        window_s=93_600.0,
        hop_s=6 * HOUR,
        min_coverage=0.3,
        modalities={"glucose": ModalityPreparation(sampling_rate_hz=RATE, resampling="newest")},
    )
    hours = Preparation(
        window_s=HOUR,
        hop_s=HOUR,
        min_coverage=0.01,
        modalities={name: ModalityPreparation(sampling_rate_hz=RATE) for name in ("bolus", "carbs")},
    )
    for name, preparation in (("windows", whole), ("given", hours)):
        cohort = VirtualDiabetes(people=PEOPLE, days=5)
        build_shards(cohort, folder=folder / name, name=name, preparation=preparation, encoding="f32")
    people = [one.subject for one in ShardFolder.open(folder / "windows").manifest.subjects]
    (folder / "people.json").write_text(json.dumps({"train": people[:1], "validation": [], "test": people[1:]}))
    return folder


@pytest.fixture(scope="module")
def folder(home: Path) -> ShardFolder:
    return ShardFolder.open(home / "windows")


@pytest.fixture(scope="module")
def model(folder: ShardFolder) -> Model:
    """All heads of glucose; none has learned, and all answer otherwise from moment to moment."""
    reads = {"in_features": 8, "width": 8, "hidden": 8, "members": 1, "asked": asked()}
    levels = [0.1, 0.5, 0.9]
    events = {"events": 2, "described": [asdict(event) for event in EVENTS["glucose"]]}
    config = ModelConfig(
        modalities=folder.header.modalities,
        encoder=Part(name="recurrent", args={"width": 8, "patch_s": HOUR, "points": 4, "ahead_s": 7200.0}),
        projection=Part(name="projection", args={"dim": 4}),
        heads={
            "forecast_glucose": Part(
                name="series_forecast", args={**reads, "known": KNOWN, "horizons": 2, "levels": levels}
            ),
            "risk_glucose": Part(name="event_risk", args={**reads, **events, "known": KNOWN + 14, "horizons": 2}),
            "plans_glucose": Part(
                name="plan_response", args={**reads, "known": KNOWN, "minutes": list(MINUTES), "levels": levels}
            ),
            "probe_unheard": Part(name="probe", args={"in_features": 9, "out_features": 1, "kind": "value"}),
            "forecast_sleep": Part(name="probe", args={"in_features": 9, "out_features": 2}),
            "strange": Part(name="probe", args={"in_features": 9, "out_features": 2}),
        },
        statistics={"glucose": (140.0, 40.0)},
        window_s=93_600.0,
    )
    made = build_model(config, seed=1).eval()
    for name in ("forecast_glucose", "risk_glucose"):
        last = list(made.heads[name].members[0].network.parameters())[-2]  # type: ignore[index, union-attr]
        torch.nn.init.normal_(last, std=0.1, generator=torch.Generator().manual_seed(0))
        made.heads[name].scale.fill_(50.0)  # type: ignore[operator]
    plans = made.heads["plans_glucose"]
    plans.law_by_trait.zero_()[0] = torch.tensor([meal_law.START[name] for name in meal_law.NUMBERS])
    plans.law_spread.copy_(0.02 * torch.eye(len(meal_law.NUMBERS)))
    plans.law_level_sd.fill_(20.0)
    plans.law_effect_sd.fill_(0.3)
    for name, value in {"basal_center": 0.0, "noise": 8.0, "memory": 0.9, "repeats": 1.0, "share": 0.6}.items():
        getattr(plans, f"law_{name}").fill_(value)
    plans.decoder.usual.copy_(torch.tensor([[50.0, 300.0], [1.0, 200.0], [0.1, 1.0]]))
    return made


@pytest.fixture
def answer(model: Model, folder: ShardFolder, home: Path):
    """(head, what is wanted, settings) -> the answer; of the second person unless said otherwise."""

    def of(head: str, wanted: Wanted | None = None, *, treated: bool = True, **settings: object):
        whom = None if settings.get("scope") == "cohort" else 1
        told = {"head": head, "scope": "person", "subject": whom, "window": None, "people": "unseen", "windows": 4}
        made = ExplainSettings.model_construct(**{**told, **settings})
        given = replace(wanted or Wanted(), treatments=str(home / "given") if treated else None)
        return answers(model, folder, made, given, pretrained=home / "checkpoint")

    return of


def test_a_forecast_of_windows_of_a_person(answer, model: Model, folder: ShardFolder, home: Path) -> None:
    found = answer("forecast_glucose", Wanted(horizon_s=7200.0, quantile=0.9))
    assert (found.words, found.unit) == ("90 % quantile of glucose in 120 min, mg/dL", "mg/dL")
    shown = found.windows()
    series = [one for one in series_of(folder, "glucose") if one.subject == 1]
    given = given_beside(folder, str(home / "given"))
    moments, inputs = told(model, series, TASK, given=given)
    want = ask(model.heads["forecast_glucose"], inputs)[:, 1, 3]
    # A window begins at its first sample; its last one is the moment.
    now_s = shown.batch.time_s.numpy() + found.window_s - 300.0
    rows = [int(np.flatnonzero(moments.time_s == at).item()) for at in now_s]
    with torch.no_grad():
        got = found.function(shown.batch)[:, found.target].numpy()
    np.testing.assert_allclose(got, want[rows], atol=1e-4)
    assert np.ptp(got) > 1
    # Each is the moment at which what is read of its window ends.
    ends = folder.t0_ns[shown.positions] / 1e9 + 93_600 - 7200
    assert np.abs(now_s - ends).max() <= TASK.every_s
    assert shown.batch.modalities == ("glucose", "bolus", "carbs")
    assert found.window_s == shown.batch.signals["glucose"].values.shape[2] * 300.0


def test_skill_is_of_people_whom_the_encoder_never_saw(answer) -> None:
    change, risk = answer("forecast_glucose").skill(), answer("risk_glucose").skill()
    assert (change.metric, change.people, change.chance) == ("correlation", 2, 0.0)
    assert (risk.metric, risk.chance) == ("AUROC", 0.5)


def test_a_risk_and_its_event(answer, monkeypatch: pytest.MonkeyPatch) -> None:
    found = answer("risk_glucose", Wanted(event="above 180 mg/dL"), scope="cohort", windows=2)
    with pytest.raises(ConfigError, match=r"(?s)so few people.*explain.people.*at least 5 people.*got: 2"):
        found.windows()
    monkeypatch.setattr("hdt_fm.cli.explain.windows.MINIMUM_CELL", 2)
    assert found.words == "log-odds of glucose above 180 mg/dL within 60 min"
    shown = found.windows()
    assert sorted(set(shown.batch.subject.tolist())) == [1, 2]
    with torch.no_grad():
        assert found.function(shown.batch).shape == (len(shown), 4)
    assert answer("risk_glucose").words == "log-odds of glucose below 70 mg/dL within 60 min"


def test_an_effect_is_the_one_that_what_if_tells(answer, model: Model, folder: ShardFolder, home: Path) -> None:
    plan, against = "bolus 0.5 U; carbs 60 g in 10 min", "carbs 40 g"
    found = answer("plans_glucose", Wanted(plan=plan, against=against, horizon_s=7200.0), windows=3)
    assert found.words == "change of glucose in 120 min by bolus 0.5 U; carbs 60 g in 10 min against carbs 40 g, mg/dL"
    shown = found.windows()
    (one,) = (one for one in series_of(folder, "glucose") if one.subject == 1)
    place = round((float(shown.batch.time_s[-1]) + 3 * 86_400 - one.start_s) / 300)
    cut = replace(one, values=one.values[: place + 1], observed=one.observed[: place + 1])
    given = {
        name: tuple(one for one in some if one.subject == 1)
        for name, some in given_beside(folder, str(home / "given")).items()
    }
    readings = Readings((cut,), np.zeros(1), np.zeros(1), 0.0, "local", "made up", given, ())
    with pytest.MonkeyPatch.context() as patch:
        # Whether people dose so, and how far to trust it, is no part of an effect, and takes seconds.
        patch.setattr("hdt_fm.cli.plans._support", lambda *_: SUPPORT)
        patch.setattr(PlanModel, "habits", property(lambda self: None))
        patch.setattr("hdt_fm.cli.plans.evidence_of", lambda *_: None)
        patch.setattr("hdt_fm.cli.plans.refute", lambda *_, seed: ())
        patch.setattr("hdt_fm.cli.plans.own_share", lambda _: SimpleNamespace(actions=0, share=0.0, low=0.0, high=0.0))
        patch.setattr("hdt_fm.cli.plans.sensitivity_of", lambda _: SimpleNamespace(to_zero=0.0))
        told = compare(
            PlanModel(model, model.heads["plans_glucose"], TASK), readings, Plan.spoken(plan), Plan.spoken(against)
        )
    with torch.no_grad():
        got = found.function(shown.batch)[-1].numpy()
    # A what-if cuts levels to what a sensor shows; here none is.
    assert told.level.min() > 39
    assert told.level.max() < 400
    assert abs(told.effect).min() > 1
    np.testing.assert_allclose(got, told.effect, atol=1e-3)
    assert found.skill() is None


def test_likeness_to_a_window_that_is_named(answer, model: Model, folder: ShardFolder) -> None:
    found = answer("similarity", Wanted(similar="glucose", to_subject=2, to_window=3))
    shown = found.windows()
    own = np.flatnonzero(folder.subject_rows == 2)
    other = folder.gather(own[np.argsort(folder.t0_ns[own])][[3]])
    with torch.no_grad():
        here, there = (model.project(model.embed(one)).values[:, 0] for one in (shown.batch, other))
        torch.testing.assert_close(found.function(shown.batch)[:, found.target], (here * there).sum(-1))
    same = answer("similarity", Wanted(to_subject=1, to_window=0), scope="window")
    with pytest.raises(ConfigError, match="compared with itself"):
        same.windows()


def test_names_that_cannot_be_explained(answer) -> None:
    with pytest.raises(UnknownNameError, match="similarity"):
        answer("forecast_glucos")
    with pytest.raises(ConfigError, match="probe_NAME, forecast_NAME, risk_NAME, plans_NAME or similarity"):
        answer("strange")
    with pytest.raises(UnknownNameError, match=r"explain\.horizon_s"):
        answer("forecast_glucose", Wanted(horizon_s=1800.0))
    with pytest.raises(UnknownNameError, match=r"explain\.horizon_s"):
        answer("plans_glucose", Wanted(horizon_s=1800.0))
    assert answer("probe_unheard").skill() is None


def test_what_cannot_be_asked_of_these_people(answer, folder: ShardFolder) -> None:
    with pytest.raises(ConfigError, match="forecast of a label"):
        answer("forecast_sleep")
    with pytest.raises(ConfigError, match="not known what these people took"):
        answer("plans_glucose", treated=False)
    moments = moments_of(series_of(folder, "glucose"), context_s=3 * HOUR, horizons_s=TASK.horizons_s)
    positions = np.flatnonzero(folder.subject_rows == 1)[:3]
    with pytest.raises(ConfigError, match="ends at a moment"):
        nearest_moments(moments, folder, positions, 30 * 86_400.0)
    rows, kept = nearest_moments(moments, folder, np.repeat(positions, 2), 86_400.0)
    assert len(rows) == len(kept) == len(set(rows.tolist())) == 3


def test_a_head_that_is_told_of_doses_is_asked_without_them_too(answer) -> None:
    found = answer("forecast_glucose", treated=False)
    shown = found.windows()
    assert shown.batch.present[:, 1:].any().item() is False
    with torch.no_grad():
        assert found.function(shown.batch).isfinite().all()
