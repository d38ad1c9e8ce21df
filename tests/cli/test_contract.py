"""A checkpoint knows what its training people look like, and `embed` says of shards that look otherwise."""

import json
from pathlib import Path

import pytest

from hdt_fm.checkpoint import load, load_preprocess, model_digest
from hdt_fm.cli import contract
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main

TINY = ["experiment=demo", "debug=tiny", "cohort.subjects=16", "cohort.hours=0.5", "cohort.missing_modality=0.1"]


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("contract") / "run"
    for verb in ("shard", "pretrain"):
        assert main([verb, *TINY, f"root={root}"]) == EXIT_OK
    return root


def test_the_checkpoint_tells_what_is_typical_of_five_people_or_more(walked: Path) -> None:
    usual = load_preprocess(walked / "pretrain" / "checkpoint").typical
    assert {"ppg", "acc"} <= set(usual)
    assert all(one.people >= 5 for one in usual.values())


def test_its_own_people_are_not_doubted_and_others_in_another_unit_are(
    walked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", *TINY, f"root={walked}"]) == EXIT_OK
    assert "unlike training" not in capsys.readouterr().err
    real = contract.look
    spoilt = lambda name, values, *more: real(name, values * (1000 if name == "acc" else 1), *more)
    monkeypatch.setattr(contract, "look", spoilt)
    assert main(["embed", *TINY, f"root={walked}"]) == EXIT_OK
    told = capsys.readouterr().err
    assert "unlike training: of 12 of 12 people, acc is" in told
    record = json.loads((walked / "embed" / "result.json").read_text())
    assert "as large as in training" in record["summary"]["unlike training"]


def test_another_unit_in_the_header_is_refused(
    walked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = contract.check_declared
    other = lambda ours, theirs, **where: real(ours.model_copy(update={"unit": "m/s^2"}), theirs, **where)
    monkeypatch.setattr(contract, "check_declared", other)
    assert main(["embed", *TINY, f"root={walked}"]) == EXIT_USER_ERROR
    assert "of another unit than the model learned from" in capsys.readouterr().err


def test_a_resume_file_is_imported_by_the_experiment_that_made_it(walked: Path, tmp_path: Path) -> None:
    """It does not say which model it is of; the shards and overrides do, down to the last digit."""
    newest = sorted((walked / "pretrain" / "checkpoints").glob("*.ckpt"))[-1]
    assert main(["import", str(newest), "--to", str(tmp_path / "model"), *TINY, f"root={walked}"]) == EXIT_OK
    made, want = (load(place) for place in (tmp_path / "model", walked / "pretrain" / "checkpoint"))
    assert model_digest(made) == model_digest(want)
    assert load_preprocess(tmp_path / "model") == load_preprocess(walked / "pretrain" / "checkpoint")
