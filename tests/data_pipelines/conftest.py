"""The tiny cohort as a module, by fixture: tests folders are not packages."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def tiny(repo) -> ModuleType:
    return _module(repo / "tests" / "tiny_cohort.py")


@pytest.fixture(scope="session")
def public(repo) -> ModuleType:
    """Makers of tiny public benchmarks."""
    return _module(repo / "tests" / "data_pipelines" / "fabricate_public.py")


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
