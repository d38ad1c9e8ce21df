"""Whoever is refused is told what to do: every error that the twin raises."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from hdt_fm.schema import errors

REPO = Path(__file__).resolve().parents[2]
KNOWN = {name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, errors.HdtError)}


def raised(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KNOWN:
            yield node


@pytest.mark.parametrize(("room", "at_least"), [("hdt_fm/twin", 25), ("hdt_fm/cli/twin", 20)])
def test_every_error_says_what_to_do(room, at_least):
    found = [(path, one) for path in sorted((REPO / room).rglob("*.py")) for one in raised(ast.parse(path.read_text()))]
    assert len(found) >= at_least
    silent = [f"{path.name}:{one.lineno}" for path, one in found if "fix" not in {word.arg for word in one.keywords}]
    assert not silent


def test_an_error_that_only_complains_is_seen():
    (one,) = raised(ast.parse('def f():\n    raise ReaderError("The table is damaged", where="line 3")'))
    assert "fix" not in {word.arg for word in one.keywords}
