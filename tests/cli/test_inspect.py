"""`hdt-fm inspect` as typed: one recording, a folder, a plan that is kept, nothing that names a person."""

import json

import pytest

from data_pipelines.build_plan import read_plan
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def session(fabricate, here):
    return fabricate.e4_zip(here / "in" / "P01_secret.zip")


def test_a_recording_gives_a_table_and_a_plan(session, here, capsys):
    assert main(["inspect", str(session)]) == EXIT_OK
    out = capsys.readouterr().out
    assert "format: empatica_e4; clock: UTC, or local time taken as UTC" in out
    row = next(line for line in out.splitlines() if line.startswith("acc "))
    assert "g (of 1/64 g)" in row
    assert " 32 " in row
    assert "secret" not in out.replace(str(session), "")
    plan = read_plan(here / "plan.yaml")
    assert plan.reader == "empatica_e4"
    assert set(plan.preparation.modalities) == {"acc", "ppg", "eda", "temp"}


def test_an_edited_plan_stays_and_a_named_one_is_refused_before_reading(session, here, capsys):
    (here / "plan.yaml").write_text("mine")
    assert main(["inspect", str(session)]) == EXIT_OK
    assert "left as it is" in capsys.readouterr().out
    assert main(["inspect", "no/such/file", "plan=plan.yaml"]) == EXIT_USER_ERROR
    assert "a plan already" in capsys.readouterr().err
    assert (here / "plan.yaml").read_text() == "mine"


def test_a_folder_is_surveyed_and_a_broken_file_counted(fabricate, here, capsys):
    for number in range(3):
        fabricate.e4_zip(here / "in" / f"P0{number}.zip", fabricate.e4_files(seed=number))
    (here / "in" / "P09.zip").write_bytes(b"PK broken")
    assert main(["inspect", str(here / "in"), "plan=null", "--json"]) == EXIT_OK
    found = json.loads(capsys.readouterr().out)
    assert (found["people"], found["visits"]) == (3, 3)
    assert sum(count for _, count in found["refused"]) == 1
    assert found["plan"]["preparation"]["window_s"] < 60  # 20 s of each
    assert not (here / "plan.yaml").exists()
    assert main(["inspect", str(here / "in")]) == EXIT_OK
    captured = capsys.readouterr()
    assert "formats: empatica_e4 (3)" in captured.out
    assert "1 visit(s) refused" in captured.out
    assert "P0" not in captured.out + captured.err


@pytest.mark.parametrize("words", [["a", "b"], ["a", "typo=1"]])
def test_wrong_words_speak(words, capsys):
    assert main(["inspect", *words]) == EXIT_USER_ERROR
    assert "takes one path" in capsys.readouterr().err


def test_help(capsys):
    assert main(["inspect", "--help"]) == EXIT_OK
    assert "plan=null" in capsys.readouterr().out


def test_a_build_follows_the_plan_and_says_so(fabricate, here, capsys):
    for number in range(3):
        fabricate.e4_zip(here / "in" / f"P0{number}.zip", fabricate.e4_files(seed=number))
    assert main(["inspect", str(here / "in")]) == EXIT_OK
    path = here / "plan.yaml"
    path.write_text(path.read_text().replace("min_coverage: 0.8", "min_coverage: 0.5"))
    words = [
        "cohort=folder",
        f"source={here / 'in'}",
        "plan=plan.yaml",
        "cohort.subject_key=public",
        f"root={here / 'run'}",
    ]
    assert main(["shard", *words, "--dry-run"]) == EXIT_OK
    assert main(["shard", *words]) == EXIT_OK
    manifest = json.loads((here / "run" / "shard" / "windows" / "manifest.json").read_text())
    plan = read_plan(path)
    assert manifest["preparation"] == plan.preparation.model_dump(mode="json")
    assert manifest["preparation"]["min_coverage"] == 0.5
    assert manifest["plan_digest"] == plan.digest
    assert main(["shard", *words[:2], "plan=none.yaml"]) == EXIT_USER_ERROR
    assert "plan cannot be read" in capsys.readouterr().err
