"""The script's settings compose, and its controls say what they are made to say."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.settings import AuditSettings, ProtocolSettings


@pytest.fixture(scope="module")
def script(repo: Path) -> ModuleType:
    path = repo / "scripts" / "reproduce_fairness.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = before
    return module


def test_real_parts_are_experiments(script: ModuleType) -> None:
    for experiment in script.PARTS[1:3]:
        words = ["audit.what=fairness", f"experiment={experiment}", *script.REAL, *script.QUICK]
        config = compose_config("audit", words)
        assert config.section("audit", AuditSettings).what == "fairness"
        assert config.section("protocol", ProtocolSettings).people == "per_fold"


def test_controls_tell_planted_gaps_from_none(script: ModuleType, capsys) -> None:
    rows = {(row["planted"], row["people"]): row for row in script.controls(8)}
    assert len(rows) == 15
    assert rows["no gap", 60]["before"] <= 0.25
    assert rows["a gap that falls with the error", 60]["before"] > 0.9
    assert rows["a gap that fine-tuning widens", 60]["wider"] > 0.9
    assert "| no gap | 12 |" in capsys.readouterr().out
