"""The table in the README is the one that the tests make."""

import importlib.util
from pathlib import Path

import pytest


def test_the_table_is_of_these_tests(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = repo / "scripts" / "list_hostile.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr("sys.argv", ["list_hostile.py", "--check"])
    assert module.main() == 0, "python scripts/list_hostile.py --write"
    assert len(list(module.rows())) >= 25
    assert len({surface for surface, _, _ in module.rows()}) >= 9
