"""Tiny copies of public benchmarks through the command line, each with its own configs; one of them all the way."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hdt_fm.cli.main import EXIT_OK, main
from hdt_fm.data.shards import ShardFolder

TINY = ["debug=tiny", "encoder.slots=4", "training.batch_size=12", "split.test=0.5"]


@pytest.fixture(scope="module")
def public(repo: Path) -> ModuleType:
    path = repo / "tests" / "data_pipelines" / "fabricate_public.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sharded(experiment: str, source: Path, root: Path) -> ShardFolder:
    assert main(["shard", f"experiment={experiment}", f"source={source}", f"root={root}"]) == EXIT_OK
    return ShardFolder.open(root / "shard" / "windows")


def counted(folder: ShardFolder, label: str) -> dict[str, int]:
    """Windows of each class."""
    classes = next(column.classes for column in folder.header.labels if column.name == label)
    values = folder.labels[label]
    return {name: int((values == number).sum()) for number, name in enumerate(classes)}


@pytest.mark.slow
def test_ppg_dalia_from_files_to_heart_rate(
    public: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 5):
        public.ppg_dalia(tmp_path / "files", number)
    root = tmp_path / "run"
    folder = sharded("ppg_dalia", tmp_path / "files", root)
    assert folder.windows == 4 * 17
    assert sorted(folder.labels["heart_rate"].tolist()) == sorted(
        70 + n + k / 4 for n in range(1, 5) for k in range(17)
    )
    chosen = ["experiment=ppg_dalia", f"source={tmp_path / 'files'}", f"root={root}", *TINY]
    assert main(["pretrain", *chosen]) == EXIT_OK
    assert main(["evaluate", *chosen, "protocol.people=held_out"]) == EXIT_OK
    rows = json.loads((root / "evaluate" / "rows.json").read_text())
    alone = [row for row in rows if row["metric"] == "mae" and "last 5 min" not in row["what"]]
    found = {row["model"]: row["value"] for row in alone}
    own = "encoder's own rhythm, no label"
    assert {"dummy (mean)", "spectral peak", own, "trained from scratch", "encoder + ridge"} <= set(found)
    assert not any("followed" in model for model in found)
    after = {row["model"]: row["value"] for row in rows if row["metric"] == "mae" and row not in alone}
    assert {own, f"{own}, followed", "spectral peak, followed", f"random {own}, followed"} <= set(after)
    # The fabricated pulse is 75 a minute all the time, and so is its closed-form estimate; the labels are others.
    tested = set(json.loads((root / "pretrain" / "people.json").read_text())["test"])
    rows_of = [row for row, person in enumerate(folder.manifest.subjects) if person.subject in tested]
    rates = folder.labels["heart_rate"][np.isin(folder.subject_rows, rows_of)]
    # A checkpoint is asked what it looks for before the hours of the baselines.
    capsys.readouterr()
    asked = ["protocol.people=held_out", "protocol.estimate.rhythm=pulse_"]
    assert main(["evaluate", *chosen, *asked]) != EXIT_OK
    assert "Unknown rhythm 'pulse_'" in capsys.readouterr().err
    for told in (found["spectral peak"], found[own], after["spectral peak, followed"], after[f"{own}, followed"]):
        assert told == pytest.approx(np.abs(75 - rates).mean(), abs=0.3)


@pytest.mark.parametrize(("rhythm", "hint"), [("pulse_", "did you mean 'pulse'"), ("snore", "one of: pulse")])
def test_a_rhythm_that_the_encoder_does_not_look_for_is_refused_before_training(
    public: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], rhythm: str, hint: str
) -> None:
    for number in range(1, 5):
        public.ppg_dalia(tmp_path / "files", number)
    root = tmp_path / "run"
    sharded("ppg_dalia", tmp_path / "files", root)
    chosen = ["experiment=ppg_dalia", f"source={tmp_path / 'files'}", f"root={root}", *TINY]
    assert main(["evaluate", *chosen, f"protocol.estimate.rhythm={rhythm}"]) != EXIT_OK
    said = capsys.readouterr().err
    assert f"Unknown rhythm {rhythm!r}" in said
    assert hint in said
    assert not (root / "evaluate" / "folds").exists()


def test_wesad_windows_lie_in_one_condition(public: ModuleType, tmp_path: Path) -> None:
    for number in (2, 3):
        public.wesad(tmp_path / "files", number)
    folder = sharded("wesad", tmp_path / "files", tmp_path / "run")
    assert folder.windows == 2 * 15
    # Of the windows every half minute, those that begin on a whole minute lie in one condition.
    assert counted(folder, "stress") == {"no_stress": 2 * 3, "stress": 2 * 2}
    assert counted(folder, "affect") == {"baseline": 2 * 2, "stress": 2 * 2, "amusement": 2 * 1}
    assert counted(folder, "condition")["meditation"] == 2


def test_uci_har_gives_the_published_windows_and_split(public: ModuleType, tmp_path: Path) -> None:
    public.uci_har(tmp_path / "files")
    folder = sharded("uci_har", tmp_path / "files", tmp_path / "run")
    assert folder.windows == 5 * 10
    assert folder.manifest.counts.windows_kept == 50
    found = counted(folder, "activity")
    assert (found["walking"], found["sitting"], sum(found.values())) == (5 * 7, 5 * 3, 50)
    split = [row.covariates["published_split"] for row in folder.manifest.subjects]
    assert sorted(split) == ["test"] * 2 + ["train"] * 3


@pytest.mark.slow
def test_uci_har_is_evaluated_by_its_published_split(public: ModuleType, tmp_path: Path) -> None:
    public.uci_har(tmp_path / "files", own=0.1)
    root = tmp_path / "run"
    folder = sharded("uci_har", tmp_path / "files", root)
    chosen = ["experiment=uci_har", f"source={tmp_path / 'files'}", f"root={root}", *TINY]
    assert main(["evaluate", *chosen, "protocol.folds=published"]) == EXIT_OK
    rows = json.loads((root / "evaluate" / "rows.json").read_text())
    told = [row for row in rows if row["metric"] == "accuracy" and row["model"] == "encoder + logistic regression"]
    stated = [row.covariates["published_split"] for row in folder.manifest.subjects]
    assert [row["n"] for row in told] == [stated.count("test")]
    assert len(list((root / "evaluate" / "folds").iterdir())) == 1


def test_pamap2_has_wrist_chest_and_ankle(public: ModuleType, tmp_path: Path) -> None:
    for number in (101, 102):
        public.pamap2(tmp_path / "files", number)
    folder = sharded("pamap2", tmp_path / "files", tmp_path / "run")
    assert folder.windows == 2 * 11
    assert [column.name for column in folder.header.modalities][::2] == ["acc", "acc_chest", "acc_ankle"]
    # Walking from 20 to 40 s; a window half of it counts, and of a tie the lower class.
    assert counted(folder, "shared_activity")["walking"] == 2 * 5
    assert counted(folder, "protocol_activity")["rope_jumping"] == 2 * 3


def test_sleep_edf_windows_are_the_scored_ones(public: ModuleType, tmp_path: Path) -> None:
    for person, night in ((0, 1), (0, 2), (1, 1)):
        public.sleep_edf(tmp_path / "files", person, night)
    folder = sharded("sleep_edf", tmp_path / "files", tmp_path / "run")
    assert len(folder.manifest.subjects) == 2
    assert folder.windows == 3 * 160
    per_night = {"wake": 60 + 60, "n1": 4, "n2": 16, "n3": 4 + 3, "rem": 12}
    assert counted(folder, "stage") == {name: 3 * count for name, count in per_night.items()}
