"""The tiny cohort as a module, by fixture: tests folders are not packages."""

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from hdt_fm.data.shards import ShardFolder


@pytest.fixture(scope="session")
def tiny(repo) -> ModuleType:
    spec = importlib.util.spec_from_file_location("tiny_cohort", repo / "tests" / "tiny_cohort.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def f32_folder(tiny, tmp_path_factory) -> ShardFolder:
    """Float32, several shards, blocks of 16."""
    path = tmp_path_factory.mktemp("shards") / "f32"
    tiny.build(path, encoding="f32")
    return ShardFolder.open(path)


@pytest.fixture(scope="session")
def i16_folder(tiny, tmp_path_factory) -> ShardFolder:
    """The same windows as int16."""
    path = tmp_path_factory.mktemp("shards") / "i16"
    tiny.build(path)
    return ShardFolder.open(path)


@pytest.fixture
def fresh(f32_folder, tmp_path) -> Path:
    """A copy of the float32 folder that a test may damage."""
    return Path(shutil.copytree(f32_folder.path, tmp_path / "fresh"))
