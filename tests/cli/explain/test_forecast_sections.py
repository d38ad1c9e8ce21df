"""`hdt-fm explain` of forecasts and risks: the way by which they were reached, from shards to the page."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from data_pipelines.build import build_shards
from data_pipelines.cohorts.virtual_diabetes import VirtualDiabetes
from hdt_fm.checkpoint import load, save_model
from hdt_fm.cli.main import EXIT_OK, main
from hdt_fm.data.shards import ShardFolder
from hdt_fm.explain.page.record_schema import validate
from hdt_fm.metrics.events import EVENTS
from hdt_fm.schema.manifest import Preprocess
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from tests.cli.twin.tiny_twin import ASKED, KNOWN, STEP_S, saved

PEOPLE = 6
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
QUICK = [
    "explain.windows=2",
    "explain.methods=[occlusion]",
    "explain.sections=[routes,causal]",
    "explain.alternative=null",
    "explain.pictures=false",
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of simulated people, and heads of glucose that have learned nothing and answer otherwise each moment."""
    root = tmp_path_factory.mktemp("ahead")
    rate = ModalityPreparation(sampling_rate_hz=1 / STEP_S, resampling="newest")
    whole = Preparation(window_s=93_600.0, hop_s=21_600.0, min_coverage=0.3, modalities={"glucose": rate})
    cohort = VirtualDiabetes(people=PEOPLE, days=3)
    build_shards(cohort, folder=root / "windows", name="windows", preparation=whole, encoding="f32")
    folder = saved(root / "finetune" / "checkpoint", risk=RISK, resampling="newest", lively=True)
    model = load(folder)
    torch.nn.init.normal_(
        model.heads["risk_glucose"].members[0].network.leave.weight,  # type: ignore[index, union-attr, arg-type]
        std=3.0,
        generator=torch.Generator().manual_seed(0),
    )
    model.heads["risk_glucose"].scale.fill_(50.0)  # type: ignore[operator]
    save_model(model, folder, preprocess=Preprocess(preparation=whole, modalities=model.config.modalities))
    people = [one.subject for one in ShardFolder.open(root / "windows").manifest.subjects]
    (root / "finetune" / "people.json").write_text(json.dumps({"train": [], "validation": [], "test": people}))
    return root


def explained(root: Path, head: str, *words: str) -> tuple[dict, str]:
    """The record and the page."""
    folder = root / "finetune" / "checkpoint"
    where = [f"root={root}", f"shards={root / 'windows'}", f"checkpoint={folder}", f"explain.checkpoint={folder}"]
    assert main(["explain", *where, *QUICK, f"explain.head={head}", *words]) == EXIT_OK
    record = json.loads((root / "explain" / "explanation.json").read_text())
    validate(record)
    return record, (root / "explain" / "explanation.html").read_text()


def test_ways_of_a_forecast_over_people(root: Path) -> None:
    record, page = explained(root, "forecast_glucose", "explain.scope=cohort")
    assert list(record["sections"]) == ["routes", "causal"]
    found = record["sections"]["routes"]
    assert (found["unit"], found["reference"], found["over"]) == ("mg/dL", "window_mean", "people")
    assert found["target"] == record["target"]["name"] == "median glucose in 60 min, mg/dL"
    assert [(one["name"], one["count"]) for one in found["ways"]] == [
        ("encoder", PEOPLE),
        ("recent", PEOPLE),
        ("own days", PEOPLE),
    ]
    assert sum(one["credit"] for one in found["ways"]) == pytest.approx(found["change"], abs=1e-3)
    assert sum(one["share"] for one in found["ways"]) == pytest.approx(1.0, abs=1e-4)
    assert min(one["share"] for one in found["ways"]) > 0
    assert all(one["credit_low"] < one["credit_high"] for one in found["ways"])
    assert "what the frozen encoder makes of each of 2 stretches of 24 h, 24 h apart" in page
    assert "the newest reading, and those of the last 3 h one by one" in page
    assert page.index('id="windows"') < page.index('id="routes"') < page.index('id="causal"')


def test_ways_of_a_risk_are_against_the_reference_of_its_map(root: Path) -> None:
    record, _ = explained(root, "risk_glucose", "explain.scope=window", "explain.reference=zero")
    (window,) = record["windows"]
    found = record["sections"]["routes"]
    assert (found["unit"], found["reference"], found["over"]) == ("log-odds", "zero", "windows")
    assert abs(found["change"]) > 0.01
    assert found["change"] == pytest.approx(window["output"] - window["reference_output"], abs=1e-4)
    assert sum(one["credit"] for one in found["ways"]) == pytest.approx(found["change"], abs=1e-4)
    assert all(one["credit_low"] is None for one in found["ways"])
