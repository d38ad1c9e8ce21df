"""The list of what is installed: whole, in order, without a word of the machine."""

import importlib.metadata
from pathlib import Path

from hdt_fm.report.software import OURS, installed


def test_what_hdt_fm_depends_on_is_listed_with_what_that_depends_on() -> None:
    found = installed()
    names = [one.name for one in found]
    assert names == sorted(set(names))
    assert {OURS, "torch", "numpy", "typing-extensions"} <= set(names)
    assert "pytest" not in names, "extras are not what a model was made with"
    by_name = {one.name: one for one in found}
    assert by_name["numpy"].version == importlib.metadata.version("numpy")
    assert "torch" in by_name[OURS].needs
    assert all(need in by_name for one in found for need in one.needs)
    assert str(Path.home()) not in str(found)
    assert installed() == found


def test_nothing_is_listed_where_nothing_was_installed() -> None:
    assert installed("no-such-distribution-of-ours") == ()
