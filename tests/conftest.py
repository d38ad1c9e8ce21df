"""Fixtures that more than one room needs."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPO = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Keep bytecode beside pytest's own cache where the environment says to write none, as containers do.

    Without it each worker, fork server and Python that a test starts compiles torch again: seven seconds of processor.
    """
    if sys.dont_write_bytecode:
        folder = REPO / ".pytest_cache" / "bytecode"
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(folder)
        sys.dont_write_bytecode = False


@pytest.fixture(scope="session")
def repo() -> Path:
    """Root of the checkout."""
    return REPO


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings; a test that asks for it is skipped where there is none."""
    folder = Path(os.environ.get("HDT_FM_REAL_DATA", REPO.parent / "shared" / "data"))
    if not (folder / "MANIFEST.sha256").is_file():
        pytest.skip("no real recordings: set HDT_FM_REAL_DATA to a folder with stress_predict and bidmc")
    return folder.resolve()


@pytest.fixture(scope="session")
def warm() -> ModuleType:
    """Starts processes that need not import torch and Lightning again."""
    path = REPO / "tests" / "warm.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fabricate() -> ModuleType:
    """Makers of tiny vendor files, as a module: tests folders are not packages."""
    path = REPO / "tests" / "data_pipelines" / "fabricate.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def made() -> ModuleType:
    """Maker of small shard folders, without a build."""
    path = REPO / "tests" / "fabricate_shards.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
