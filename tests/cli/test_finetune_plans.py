"""`hdt-fm finetune head=plan_response` and `hdt-fm twin what-if`, as typed, on people that nobody is."""

import json
from pathlib import Path

import numpy as np
import pytest

from hdt_fm.checkpoint import load
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.cli.workflow import encoder_digest

GIVEN = "runs/given/shard/windows"
CHECKPOINT = "runs/virtual_diabetes/finetune/checkpoint"
CHOSEN = [
    "experiment=virtual_diabetes",
    "cohort.people=10",
    "cohort.days=6",
    "training.steps=6",
    "training.warmup_steps=1",
    "training.batch_size=32",
    "training.val_every=3",
    "encoder.width=16",
    "finetune.epochs=2",
    "series.windows=3",
    "series.every_s=3600.0",
    "split.test=0.25",
]
PLANS = [*CHOSEN, "head=plan_response", "head.minutes=[60,120,240]"]
PERSON = ["virtual_diabetes", "cohort=virtual_diabetes", "person=9", f"checkpoint={CHECKPOINT}", "at=2100-01-12T12:02"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the head was taught; the encoder beside it was trained before."""
    folder = tmp_path_factory.mktemp("plans")
    with pytest.MonkeyPatch.context() as moved:
        moved.chdir(folder)
        assert main(["shard", *CHOSEN]) == EXIT_OK
        assert main(["shard", *CHOSEN, "preparation=treatments_5min", "name=given"]) == EXIT_OK
        assert main(["pretrain", *CHOSEN]) == EXIT_OK
        assert main(["finetune", *PLANS, f"series.treatments={GIVEN}"]) == EXIT_OK
    return folder


@pytest.fixture
def asked(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(home)

    def ask(*words: str, at: str = PERSON[-1]) -> dict:
        assert main(["twin", "what-if", *PERSON[:-1], at, *words, "--json"]) == EXIT_OK
        return json.loads(capsys.readouterr().out)

    return ask


def test_the_encoder_is_frozen_and_what_is_trained_is_told(home: Path) -> None:
    before, after = (load(home / "runs/virtual_diabetes" / verb / "checkpoint") for verb in ("pretrain", "finetune"))
    assert encoder_digest(before) == encoder_digest(after)
    head = after.heads["plans_glucose"]
    frozen = sum(value.numel() for value in after.encoder.parameters())
    record = json.loads((home / "runs/virtual_diabetes/finetune/result.json").read_text())
    share = 100 * head.trainable / (head.trainable + frozen)
    assert f"{share:.0f} % of {head.trainable + frozen} numbers" in json.dumps(record)
    rows = json.loads((home / "runs/virtual_diabetes/finetune/plans_glucose/rows.json").read_text())
    models = {row["model"] for row in rows}
    assert {"last value", "ridge", "law alone, told what was taken soon"} <= models


def test_a_dose_lowers_a_meal_raises_and_more_does_more(asked) -> None:
    """At noon people of this cohort eat, and dose for it."""
    dose = asked("plan=bolus 3 U; carbs 40 g", "against=bolus 1.5 U; carbs 40 g")
    meal = asked("plan=bolus 3 U; carbs 50 g", "against=bolus 3 U; carbs 30 g")
    for told, sign in ((dose, -1), (meal, 1)):
        effect = {one["min"]: one["effect"] for one in told["ahead"]}
        assert sign * effect[120]["point"] > 0
        assert effect[120]["low"] <= effect[120]["point"] <= effect[120]["high"]
        assert told["own"]["actions"] > 10
        assert {one["name"] for one in told["refuters"]} >= {"placebo treatment", "random common cause"}
    (curve,) = (one for one in dose["curves"] if one["treatment"] == "bolus")
    effects = [one["point"] for one in curve["points"]]
    assert (np.diff(effects) <= 0).all()
    assert effects[0] > 0 > effects[-1]


def test_nothing_that_comes_later_is_read(asked) -> None:
    words = ("plan=bolus 2 U; carbs 40 g", "dates=false")
    early = asked(*words)
    assert early == asked(*words) | {"folder": early["folder"]}
    assert early["newest"]["time"] is None
    assert early["ahead"] != asked(*words, at="at=2100-01-13T12:02")["ahead"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan=bolus 25 U; carbs 10 g"], "Nobody in the records doses so"),
        (["plan=bolus 3 U; carbs 40 g in 180 min"], "Nobody in the records doses so"),
        (["plan=bolus 3 U"], "with the rest as it is, none; those who take it, take"),
        (["plan=bolus 4"], "A plan cannot be read"),
        (["plan=bolus 4 mg"], "unit"),
        (["plan=aspirin 4 mg"], "treatment"),
        (["plan=bolus 4 U in -5 min"], "in the past"),
        (["plan=drug_metformin 500 mg"], "does not fit"),
        (["plan=nothing"], "nothing to compare"),
    ],
)
def test_what_cannot_be_answered_is_said(
    words: list[str],
    said: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(home)
    before = sorted(path.name for path in (home / "runs").rglob("what_if.json"))
    assert main(["twin", "what-if", *PERSON, *words]) == EXIT_USER_ERROR
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in (home / "runs").rglob("what_if.json")) == before


def test_somebody_without_history_is_not_asked(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    assert main(["twin", "what-if", *PERSON[:-1], "at=2100-01-01T04:02", "plan=bolus 2 U"]) == EXIT_USER_ERROR
    assert "what to do" in capsys.readouterr().err


def test_a_head_of_plans_needs_treatments(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    assert main(["finetune", *PLANS]) == EXIT_USER_ERROR
    assert "must be told what was taken" in capsys.readouterr().err
