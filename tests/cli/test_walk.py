"""The whole path as a user walks it, at the smallest size, and what stands when a station goes wrong."""

import json
import os
import signal
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

import hdt_fm
from hdt_fm.cli import demo, evidence
from hdt_fm.cli.main import EXIT_INTERRUPTED, EXIT_OK, EXIT_USER_ERROR, main

TINY = [
    "experiment=demo",
    "debug=tiny",
    "cohort.subjects=12",
    "cohort.hours=0.5",
    "cohort.missing_modality=0.1",
    "finetune.context=4",
    "split.test=0.4",
]
FORECAST = ["head=forecast", "finetune.label=heart_rate", "head.horizon=3"]


def cli(*arguments: str) -> int:
    return main([arguments[0], *TINY, *arguments[1:]])


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every station once; its folder."""
    root = tmp_path_factory.mktemp("walk") / "run"
    for verb, more in (
        ("shard", []),
        ("pretrain", []),
        ("embed", []),
        ("finetune", []),
        ("finetune", FORECAST),
        ("evaluate", []),
        ("explain", []),
        ("publish", []),
    ):
        assert cli(verb, f"root={root}", *more) == EXIT_OK, verb
    return root


def test_a_signal_in_a_fold_leaves_no_table_of_half_an_encoder(walked: Path, tmp_path: Path, monkeypatch) -> None:
    """Pretraining catches the signal to save its step; what called it must stop too, and go on when run again."""
    real = evidence.train_over

    def stopped(*arguments, progress, **named):
        def report(done, total, note=""):
            if done == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            progress(done, total, note)

        return real(*arguments, progress=report, **named)

    settings = [f"root={tmp_path}", f"shards={walked / 'shard' / 'windows'}", "protocol.people=per_fold"]
    monkeypatch.setattr(evidence, "train_over", stopped)
    assert cli("evaluate", *settings, "training.steps=3") == EXIT_INTERRUPTED
    assert not (tmp_path / "evaluate" / "table.md").exists()
    monkeypatch.setattr(evidence, "train_over", real)
    assert cli("evaluate", *settings, "training.steps=3") == EXIT_OK
    assert (tmp_path / "evaluate" / "table.md").is_file()


def test_a_demo_ends_at_the_station_that_was_stopped(tmp_path: Path, monkeypatch) -> None:
    done = []

    def call(verb, config):
        done.append(verb)
        stopped = "SIGTERM" if verb == "pretrain" else None
        return SimpleNamespace(summary={"stopped by": stopped}, outputs={}, seconds=0.0)

    monkeypatch.setattr(demo, "call", call)
    monkeypatch.setattr(demo, "ending", lambda *_: "")
    assert cli("demo", f"root={tmp_path}") == EXIT_INTERRUPTED
    assert done == ["shard", "pretrain"]


def test_each_station_leaves_its_record(walked: Path) -> None:
    for verb in ("shard", "pretrain", "embed", "finetune", "evaluate", "explain", "publish"):
        record = json.loads((walked / verb / "result.json").read_text())
        assert record["verb"] == verb
        assert record["next"]
        assert (walked / verb / "config.yaml").is_file()
        for path in record["outputs"].values():
            assert (walked / verb / path).exists(), (verb, path)


def test_the_table_has_its_baselines(walked: Path) -> None:
    rows = json.loads((walked / "evaluate" / "rows.json").read_text())
    models = {row["model"] for row in rows if row["what"] == "stress" and row["metric"] == "auroc"}
    assert {
        "dummy",
        "hand features + logistic regression",
        "hand features + gradient boosting",
        "random encoder + logistic regression",
        "trained from scratch",
        "encoder + logistic regression",
        "encoder + k-NN",
    } <= models
    retrieval = {row["model"] for row in rows if row["what"].startswith("retrieval")}
    assert retrieval == {"encoder", "random encoder", "closed-form start", "multiview CCA", "chance"}
    text = (walked / "evaluate" / "table.md").read_text()
    assert "dummy" in text


def test_the_forecast_stands_beside_persistence_and_ridge(walked: Path) -> None:
    rows = json.loads((walked / "finetune" / "forecast_heart_rate" / "rows.json").read_text())
    models = {row["model"] for row in rows}
    assert {"encoder + forecast head", "persistence", "ridge on recent values", "mean of training people"} <= models


def test_the_published_folder_loads_and_reproduces_its_stored_embedding(walked: Path) -> None:
    folder = walked / "publish" / "model"
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "config.json", "preprocess.json", "result.json", "README.md", "SHA256SUMS"} <= names
    model = hdt_fm.load(folder)
    assert sum(weight.numel() for weight in model.parameters()) > 1000


def test_two_heads_share_one_encoder(walked: Path) -> None:
    model = hdt_fm.load(walked / "finetune" / "checkpoint")
    assert set(model.heads) == {"probe_stress", "forecast_heart_rate"}


def test_the_report_is_one_file_that_leads_with_reliability(walked: Path) -> None:
    page = (walked / "explain" / "explanation.html").read_text()
    assert page.index("eliab") < page.index("<svg")
    assert "://" not in page.replace("http://www.w3.org", "")


def test_nothing_of_a_person_is_in_what_leaves_the_run(walked: Path) -> None:
    people = json.loads((walked / "pretrain" / "people.json").read_text())
    pseudonyms = [name for part in people.values() for name in part]
    assert len(pseudonyms) == 12
    published, report = (walked / "publish" / "model").iterdir(), (walked / "explain").iterdir()
    for path in [*published, *report, *walked.glob("*/result.json")]:
        data = path.read_bytes()
        assert not [name for name in pseudonyms if name.encode() in data], path.name


def test_a_station_asked_again_changes_nothing(walked: Path) -> None:
    weights = (walked / "pretrain" / "checkpoint" / "model.safetensors").read_bytes()
    shards = sorted((path.name, path.read_bytes()) for path in (walked / "shard" / "windows").rglob("*.tar"))
    assert cli("shard", f"root={walked}") == EXIT_OK
    assert cli("pretrain", f"root={walked}") == EXIT_OK
    assert (walked / "pretrain" / "checkpoint" / "model.safetensors").read_bytes() == weights
    assert sorted((path.name, path.read_bytes()) for path in (walked / "shard" / "windows").rglob("*.tar")) == shards


@pytest.mark.parametrize("verb", ["shard", "pretrain", "embed", "finetune", "evaluate", "explain", "publish", "demo"])
def test_dry_run_says_what_would_happen_and_writes_nothing(
    verb: str, walked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in walked.rglob("*")}
    assert cli(verb, f"root={walked}", "--dry-run", "--json") == EXIT_OK
    assert json.loads(capsys.readouterr().out)
    assert {path: path.stat().st_mtime_ns for path in walked.rglob("*")} == before


def test_json_is_the_record_and_nothing_else(walked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("embed", f"root={walked}", "--json") == EXIT_OK
    assert json.loads(capsys.readouterr().out)["verb"] == "embed"


def test_a_missing_modality_is_no_error(walked: Path) -> None:
    from hdt_fm.data.shards import ShardFolder

    folder = ShardFolder.open(walked / "shard" / "windows")
    batch = folder.gather(np.arange(6))
    model = hdt_fm.load(walked / "pretrain" / "checkpoint")
    keep = torch.zeros_like(batch.present)
    keep[:, batch.modalities.index("eda")] = True
    with torch.no_grad():
        alone = model.embed(batch.without(keep))
    assert torch.isfinite(alone.values).all()
    assert not alone.present[:, batch.modalities.index("ppg")].any()


def test_a_station_without_its_ground_says_which_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("pretrain", "embed", "finetune", "evaluate", "explain"):
        assert cli(verb, f"root={tmp_path}/none") == EXIT_USER_ERROR
        assert "what to do" in capsys.readouterr().err


def test_an_unusable_device_is_refused(walked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("embed", f"root={walked}", "device=tpu") == EXIT_USER_ERROR
    assert "device=auto" in capsys.readouterr().err


@pytest.mark.slow
def test_pretraining_killed_by_the_system_ends_as_if_it_was_not(walked: Path, warm: ModuleType, tmp_path: Path) -> None:
    """SIGKILL of the real command at a random moment, then the same command again: the same weights, to the bit."""
    long = [*TINY, f"shards={walked}/shard/windows", "training.steps=12", "training.checkpoint_every=3"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main(["pretrain", *long, f"root={whole}"]) == EXIT_OK
    child = warm.Started(["-m", "hdt_fm.cli.main", "pretrain", *long, f"root={cut}"], environment=os.environ)
    deadline = time.monotonic() + 120
    while not list(cut.glob("pretrain/checkpoints/step-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.kill()
    assert list(cut.glob("pretrain/checkpoints/step-*"))
    assert main(["pretrain", *long, f"root={cut}"]) == EXIT_OK
    name = "pretrain/checkpoint/model.safetensors"
    assert (cut / name).read_bytes() == (whole / name).read_bytes()
