"""Fabricated signals as a module, by fixture: tests folders are not packages."""

import importlib.util
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def signals(repo) -> ModuleType:
    spec = importlib.util.spec_from_file_location("fabricate_signal", repo / "tests" / "signal" / "fabricate_signal.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
