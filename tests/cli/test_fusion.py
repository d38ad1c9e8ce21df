"""The path with one embedding a window, at the smallest size; and choices that do not go together."""

import json
from pathlib import Path

import numpy as np
import pytest

import hdt_fm
from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.data.embeddings import fuser, load_table
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.manifest import Part

TINY = [
    "experiment=demo",
    "debug=tiny",
    "cohort.subjects=12",
    "cohort.hours=0.5",
    "cohort.missing_modality=0.1",
    "split.test=0.4",
    "protocol.personal=[nothing]",
    "protocol.only=[ppg,acc,eda]",
]
FUSED = ["fusion=attention", "loss=leave_one_out", "loss.others=fused"]


def cli(*arguments: str) -> int:
    return main([arguments[0], *TINY, *arguments[1:]])


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every station once; its folder."""
    root = tmp_path_factory.mktemp("walk") / "run"
    for verb in ("shard", "pretrain", "embed", "evaluate"):
        assert cli(verb, f"root={root}", *FUSED) == EXIT_OK, verb
    return root


def test_the_checkpoint_fuses_and_its_fusion_has_learned(walked: Path) -> None:
    model = hdt_fm.load(walked / "pretrain" / "checkpoint")
    assert model.config.fusion == Part(name="attention")
    assert model.fusion.add.weight.any()
    assert set(model.fusion.read) == set(model.modalities)


def test_the_table_has_the_fused_column_of_that_model(walked: Path) -> None:
    table, model = load_table(walked / "embed" / "table"), hdt_fm.load(walked / "pretrain" / "checkpoint")
    assert table.fused.shape == (len(table), table.embeddings.shape[2])
    assert "fused" not in table.modalities
    assert np.isfinite(table.fused).all()
    again = fuser(model, model.modalities)(table.modalities, table.embeddings, table.present)
    np.testing.assert_allclose(again, table.fused, atol=1e-6)
    assert json.loads((walked / "embed" / "result.json").read_text())["summary"]["beside"] == "fused"


def test_evaluate_shows_it_beside_the_mean_and_the_modalities_side_by_side(walked: Path) -> None:
    rows = json.loads((walked / "evaluate" / "rows.json").read_text())
    probes = {row["model"] for row in rows if row["what"] == "stress" and row["metric"] == "auroc"}
    kinds = ("encoder", "encoder, fused", "encoder, mean of modalities", "random encoder")
    assert {f"{kind} + logistic regression" for kind in kinds} <= probes
    retrieval = {row["model"] for row in rows if row["what"].startswith("retrieval")}
    assert retrieval == {"encoder", "random encoder", "closed-form start", "multiview CCA", "chance"}


def test_a_dry_run_fuses_too(walked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards = f"shards={walked / 'shard' / 'windows'}"
    assert cli("pretrain", "--dry-run", f"root={tmp_path}/run", shards, *FUSED) == EXIT_OK
    assert "loss of the first batches" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["fusion=attention"], "Nothing would teach the fusion"),
        (["loss=leave_one_out", "loss.others=fused"], "does not fuse them"),
        (["fusion=attention", "fusion.headz=2"], "did you mean 'heads'?"),
        (["fusion.depth=2"], "settings of a fusion, but no fusion"),
    ],
)
def test_what_does_not_go_together_is_told_before_a_step(
    walked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], words: str
) -> None:
    shards = f"shards={walked / 'shard' / 'windows'}"
    assert cli("pretrain", "--dry-run", f"root={tmp_path}/run", shards, *overrides) == EXIT_USER_ERROR
    assert words in capsys.readouterr().err


def test_none_is_the_default_and_no_part() -> None:
    assert compose_config("pretrain", []).part_or_none("fusion") is None
    assert compose_config("pretrain", ["fusion=attention", "fusion.depth=2"]).part_or_none("fusion") == Part(
        name="attention", args={"depth": 2}
    )
    with pytest.raises(ConfigError, match="no fusion"):
        compose_config("pretrain", ["fusion.depth=2"]).part_or_none("fusion")
