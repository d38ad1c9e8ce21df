"""A twin as a folder, made once, and words typed to it; a file that needs its own of a name has its own."""

import json
import shutil
from functools import partial

import pytest

from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from tests.cli.twin.tiny_twin import saved, table


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("model") / "checkpoint", resampling="newest", lively=True)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """`table` in a folder of the current one, which is empty."""
    monkeypatch.chdir(tmp_path)
    # A picture takes a third of the time.
    monkeypatch.setattr("hdt_fm.twin.forecast.page.fan_picture", lambda told: b"")
    return partial(table, tmp_path / "in")


@pytest.fixture
def run(capsys):
    """Words -> what was printed as JSON; it must succeed."""

    def typed(*words):
        assert main(["twin", *map(str, words), "--json"]) == EXIT_OK
        return json.loads(capsys.readouterr().out)

    return typed


@pytest.fixture
def refused(capsys):
    """Words -> the error's words."""

    def typed(*words):
        assert main(["twin", *map(str, words)]) == EXIT_USER_ERROR
        return capsys.readouterr().err

    return typed


@pytest.fixture(scope="module")
def first(checkpoint, tmp_path_factory):
    """A twin of the first four days; made once, since most tests only look at it."""
    folder = tmp_path_factory.mktemp("twin")
    words = ["create", str(table(folder / "in", 0, 400)), f"checkpoint={checkpoint}", "--to", str(folder / "my")]
    assert main(["twin", *words]) == EXIT_OK
    return folder / "my"


@pytest.fixture
def made(first, write, tmp_path):
    """The same in the current folder."""
    shutil.copytree(first, tmp_path / "my")
    write(0, 400)
    return tmp_path / "my"
