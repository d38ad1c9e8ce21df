"""What all reports share: a screen for private traces, and files that appear together or not at all."""

import json

import pytest

from hdt_fm.schema.errors import RecordingError
from hdt_fm.twin.page import number, plain, screened, write_together


def test_a_record_is_screened_and_read_back():
    record = {"night": "2026-03-05", "value": 1.5, "none": None}
    assert json.loads(plain("alert.json", record, dates=True)) == record
    with pytest.raises(RecordingError, match="a calendar date") as caught:
        plain("alert.json", record, dates=False)
    assert "2026" not in str(caught.value)
    assert caught.value.where == "alert.json"
    assert "rename" in caught.value.fix
    with pytest.raises(ValueError, match="not JSON compliant"):
        plain("alert.json", {"value": float("nan")}, dates=True)


def test_a_date_passes_where_dates_may_be_told():
    assert screened("2026-03-05", "alert.json", dates=True) == "2026-03-05"
    with pytest.raises(RecordingError, match="an absolute path"):
        screened("read from /home/someone/nights.csv", "alert.json", dates=True)


def test_an_unknown_number_is_an_empty_cell():
    assert [number(one) for one in (None, 2.0, 0.125)] == ["", "2", "0.125"]


def test_files_of_others_stay(tmp_path):
    folder = tmp_path / "deep" / "out"
    write_together(folder, {"a.txt": b"1", "b.txt": b"2"})
    (folder / "own.txt").write_text("mine")
    write_together(folder, {"a.txt": b"3"})
    assert {one.name: one.read_text() for one in folder.iterdir()} == {"a.txt": "3", "b.txt": "2", "own.txt": "mine"}
    assert [one.name for one in folder.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("broken", ["os.rename", "pathlib.Path.write_bytes", "os.replace"])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, monkeypatch, broken):
    folder = tmp_path / "out"
    if broken == "os.replace":
        write_together(folder, {"a.txt": b"old"})

    def stop(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(broken, stop)
    with pytest.raises(KeyboardInterrupt):
        write_together(folder, {"a.txt": b"new"})
    monkeypatch.undo()
    assert [one.name for one in tmp_path.iterdir()] == (["out"] if broken == "os.replace" else [])
    if broken == "os.replace":
        assert (folder / "a.txt").read_text() == "old"
