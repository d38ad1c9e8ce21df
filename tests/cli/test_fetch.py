"""`hdt-fm fetch` as a user types it: shown first, asked, done once."""

import io
import json
import sys
import zipfile
from pathlib import Path

import pytest

from data_pipelines.fetch import published
from data_pipelines.fetch.published import SETS, Archive, Published
from hdt_fm.cli import fetch as verb
from hdt_fm.cli.main import EXIT_INTERRUPTED, EXIT_OK, EXIT_USER_ERROR, main


@pytest.fixture
def usb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the archive of a made-up set that stands in the table as `wesad`; nothing asks the network."""
    source = Archive("https://data.invalid/x/WESAD.zip", "wesad.zip")
    entry = Published("A made-up set", "CC BY 4.0", "https://a.invalid", source, "7 GB", "WESAD", "nobody")
    monkeypatch.setitem(published.SETS, "wesad", entry)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    folder = tmp_path / "usb"
    folder.mkdir()
    with zipfile.ZipFile(folder / "WESAD.zip", "w") as archive:
        archive.writestr("WESAD/S2/S2.pkl", "x")
    return folder


def test_without_a_name_it_lists_licence_size_and_reader(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch"]) == EXIT_OK
    out = capsys.readouterr().out
    assert all(f"{name}: " in out and one.licence in out for name, one in SETS.items())
    assert "read by experiment=stress_predict" in out
    assert "size unknown" in out
    assert "size 61005872 bytes" in out
    assert main(["fetch", "--json"]) == EXIT_OK
    rows = json.loads(capsys.readouterr().out)
    assert set(rows) == set(SETS)
    assert rows["bidmc"]["experiment"] == "bidmc"


def test_all_is_shown_before_anything_is_asked(usb: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "wesad"]) == EXIT_USER_ERROR
    captured = capsys.readouterr()
    for part in (
        "A made-up set",
        "https://data.invalid/x/WESAD.zip",
        "https://a.invalid",
        "about 7 GB, as others tell it",
        "no digest on record",
        "CC BY 4.0",
        "data/wesad",
    ):
        assert part in captured.out
    assert "nobody is there to answer" in captured.err
    assert "hdt-fm fetch wesad --yes" in captured.err
    assert not Path("data").exists()


def test_yes_fetches_once_and_says_what_comes_next(usb: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "wesad", "--yes", "--from", str(usb)]) == EXIT_OK
    out = capsys.readouterr().out
    assert "next: hdt-fm shard experiment=wesad source=data/wesad/WESAD" in out
    assert "no digest on record" in out
    assert Path("data/wesad/WESAD/S2/S2.pkl").read_text() == "x"
    # What is there is not asked about again.
    assert main(["fetch", "wesad"]) == EXIT_OK
    assert "already in data/wesad" in capsys.readouterr().out
    assert main(["fetch", "wesad", "--verify"]) == EXIT_OK
    assert "1 files as fetched" in capsys.readouterr().out
    Path("data/wesad/WESAD/S2/S2.pkl").write_text("y")
    assert main(["fetch", "wesad", "--verify"]) == EXIT_USER_ERROR
    assert "1 changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "fetched"), [("y\n", True), ("YES\n", True), ("\n", False), ("n\n", False), ("", False)]
)
def test_somebody_at_a_terminal_is_asked(
    answer: str, fetched: bool, usb: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = io.StringIO(answer)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    assert main(["fetch", "wesad", f"--from={usb}", "--to", "elsewhere/w"]) == EXIT_OK
    assert Path("elsewhere/w/WESAD/S2/S2.pkl").exists() == fetched
    assert ("nothing was fetched" in capsys.readouterr().out) != fetched


def test_json_is_all_that_is_on_standard_output(usb: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "wesad", "--yes", "--json", "--from", str(usb), "--to", "w"]) == EXIT_OK
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert answer["folder"] == "w"
    assert answer["new"]
    assert "A made-up set" in captured.err


def test_a_wrong_digest_is_an_error_with_both(usb: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "wesad", "--yes", "--from", str(usb), "--sha256", "1" * 64]) == EXIT_USER_ERROR
    assert "1" * 64 in capsys.readouterr().err
    assert not Path("data/wesad").exists()


def test_ctrl_c_says_how_to_go_on(
    usb: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(verb, "fetch", stop)
    assert main(["fetch", "wesad", "--yes"]) == EXIT_INTERRUPTED
    assert "run the same command again to go on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["wesadd"], "did you mean 'wesad'?"),
        (["wesad", "ppg_dalia"], "takes one name"),
        (["--yes"], "takes one name"),
        (["wesad", "--too", "x"], "did you mean '--to'?"),
        (["wesad", "too=x"], "did you mean '--to'?"),
        (["wesad", "--to"], "--to needs a value"),
        (["wesad", "--verify"], "nothing to verify"),
        (["wesad", "--yes", "--from", "nowhere"], "no such folder"),
        (["wesad", "--yes", "--from", "ftp://a.org"], "not an address"),
        (["wesad", "--yes", "--sha256", "short"], "no digest"),
    ],
)
def test_a_mistake_is_named(arguments: list[str], expected: str, usb: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", *arguments]) == EXIT_USER_ERROR
    said = capsys.readouterr().err
    assert expected in said
    assert "Traceback" not in said
    assert not list(Path.cwd().rglob("*.part"))


@pytest.mark.parametrize("option", [["--yes"], ["--verify"], ["--from", "x"], ["--sha256", "x"]])
def test_other_verbs_do_not_take_its_options(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", *option]) == EXIT_USER_ERROR
    assert option[0].strip("-") in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "--help"]) == EXIT_OK
    out = capsys.readouterr().out
    assert all(word in out for word in ("--yes", "--to", "--from", "--sha256", "--verify"))
