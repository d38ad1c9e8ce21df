"""The script's variants are settings that exist, and its command line keeps overrides and options apart."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hdt_fm.cli.compose import compose_config
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.preparation import Preparation


@pytest.fixture(scope="module")
def script(repo: Path) -> ModuleType:
    folder = repo / "scripts"
    sys.path.insert(0, str(folder))  # it imports its neighbour
    try:
        spec = importlib.util.spec_from_file_location("reproduce_ablations", folder / "reproduce_ablations.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module


@pytest.mark.parametrize("experiment", ["sp_sw_har", "stress_predict"])
def test_every_variant_composes_and_changes_something(script: ModuleType, experiment: str) -> None:
    base = [f"experiment={experiment}"]
    plain = compose_config("evaluate", base).yaml()
    for name, variant in script.VARIANTS[experiment].items():
        form = [f"experiment={variant.form}"] if variant.form else base
        config = compose_config("evaluate", [*form, *variant.overrides])
        assert config.yaml() != plain or variant.beside, name
        config.section("preparation", Preparation)


def test_overrides_may_follow_what_is_asked_for(script: ModuleType) -> None:
    options = script.read_options(["experiment=stress_predict", "--only", "base", "--only", "EDA", "name=stress_30s"])
    assert options.only == ["base", "EDA"]
    assert options.overrides == ["experiment=stress_predict", "name=stress_30s"]


def test_settings_below_a_modality_may_be_new_but_not_misspelt() -> None:
    chosen = ["experiment=stress_predict", "preparation.modalities.eda.highpass_hz=0.05"]
    assert compose_config("shard", chosen).section("preparation", Preparation).modalities["eda"].highpass_hz == 0.05
    wrong = compose_config("shard", ["experiment=stress_predict", "preparation.modalities.eda.higpass_hz=0.05"])
    with pytest.raises(ConfigError, match="higpass_hz"):
        wrong.section("preparation", Preparation)
