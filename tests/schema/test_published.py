"""Models that come with hdt_fm, by name."""

from pathlib import Path

import pytest

from hdt_fm.report.documents import readme
from hdt_fm.schema import manifest, published
from hdt_fm.schema.errors import CheckpointError


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A room with one model, and a folder that is none."""
    for name in ("hdt-fm-small", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "hdt-fm-small" / "config.json").write_text("{}")
    monkeypatch.setattr(published, "_rooms", lambda: iter([tmp_path]))
    return tmp_path


def test_names_are_those_of_the_doors():
    assert published.CONFIG_NAME == manifest.CONFIG_NAME
    assert published.CARD_NAME == readme.NAME


def test_a_name_is_a_folder_with_a_config(room):
    assert published.published() == {"hdt-fm-small": room / "hdt-fm-small"}
    assert published.find_model("hdt-fm-small") == room / "hdt-fm-small"


def test_a_path_stays_a_path(room, tmp_path, monkeypatch):
    for given in ("runs/hdt-fm-small", Path("/nowhere/hdt-fm-small"), "./hdt-fm-small"):
        assert published.find_model(given) == Path(given)
    # What lies here goes before what has the same name there.
    here = tmp_path / "here"
    (here / "hdt-fm-small").mkdir(parents=True)
    monkeypatch.chdir(here)
    assert published.find_model("hdt-fm-small") == Path("hdt-fm-small")


def test_an_unknown_name_says_what_there_is(room, monkeypatch):
    with pytest.raises(CheckpointError) as error:
        published.find_model("hdt-fm-smal")
    assert "hdt-fm-small" in str(error.value)
    monkeypatch.setattr(published, "_rooms", lambda: iter(()))
    with pytest.raises(CheckpointError, match="no such folder") as error:
        published.find_model("anything")
    assert "give the path" in str(error.value)


def test_the_room_of_this_repository_is_found():
    assert Path(published.__file__).parents[2] / "model_cards" in set(published._rooms())
