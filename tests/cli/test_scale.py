"""Settings of scale from the command line: other ways to the same weights."""

from pathlib import Path

import pytest

from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.cli.settings import TrainingSettings

TINY = ["experiment=demo", "debug=tiny", "cohort.subjects=6", "cohort.hours=0.3", "split.test=0.4", "threads=1"]
SCALE = ["training.activation_checkpointing=true", "training.sharded=true"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scale")
    assert main(["shard", *TINY, f"root={root}"]) == EXIT_OK
    return root / "shard" / "windows"


def test_recomputed_and_shared_by_one_process_it_is_the_same_run(shards: Path, tmp_path: Path) -> None:
    weights = {}
    for name, more in (("plain", []), ("scale", SCALE)):
        assert main(["pretrain", *TINY, *more, f"root={tmp_path / name}", f"shards={shards}"]) == EXIT_OK
        weights[name] = (tmp_path / name / "pretrain" / "checkpoint" / "model.safetensors").read_bytes()
    assert weights["plain"] == weights["scale"]


def test_a_dry_run_takes_the_blocks_as_the_run_would(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [f"root={tmp_path / 'run'}", f"shards={shards}"]
    assert main(["pretrain", *TINY, *SCALE, *places, "--dry-run", "--json"]) == EXIT_OK
    capsys.readouterr()
    for verb in ([], ["--dry-run"]):
        assert main(["pretrain", *TINY, "training.compile=true", "encoder.depth=0", *places, *verb]) == EXIT_USER_ERROR
        assert "no blocks" in capsys.readouterr().err


def test_scale_is_off_unless_asked_for() -> None:
    training = compose_config("pretrain", []).section("training", TrainingSettings)
    names = ("activation_checkpointing", "compile", "sharded", "fused")
    assert [getattr(training, name) for name in names] == [False] * 4
