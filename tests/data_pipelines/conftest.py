"""The tiny cohort as a module, by fixture: tests folders are not packages."""

import importlib.util
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def tiny(repo) -> ModuleType:
    spec = importlib.util.spec_from_file_location("tiny_cohort", repo / "tests" / "tiny_cohort.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fabricate(repo) -> ModuleType:
    """Makers of tiny vendor files."""
    spec = importlib.util.spec_from_file_location("fabricate", repo / "tests" / "data_pipelines" / "fabricate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
