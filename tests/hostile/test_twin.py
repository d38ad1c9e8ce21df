"""Folders of versions and the state in them, as somebody might hand over a twin; and tables that leave one."""

import csv
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.consent import read_consent
from hdt_fm.checkpoint.versions import Versions
from hdt_fm.cli.twin.export import _csv
from hdt_fm.schema.cells import plain_cell
from hdt_fm.schema.errors import CheckpointError, ConfigError, HdtError
from hdt_fm.schema.ledger import Told
from hdt_fm.twin.state.state import ARRAYS_NAME, FACTS_NAME, load_state

SURFACE = "twin folder"


@pytest.fixture
def twin(room: Path) -> Path:
    def write(place: Path) -> None:
        (place / FACTS_NAME).write_text('{"format": 1}')
        (place / ARRAYS_NAME).write_bytes(b"x" * 64)

    Versions.create(room / "twin", write, Told(note="first"))
    return room / "twin"


def _ledger(change: Callable[[dict], object]) -> Callable[[Path, object], None]:
    def edit(folder: Path, payload: object) -> None:
        line = json.loads((folder / "ledger.jsonl").read_text().splitlines()[0])
        change(line)
        (folder / "ledger.jsonl").write_text(json.dumps(line) + "\n")

    return edit


def _first(folder: Path) -> Path:
    return folder / "versions" / "000001"


def _link(folder: Path, payload: object) -> None:
    (_first(folder) / ARRAYS_NAME).unlink()
    (_first(folder) / ARRAYS_NAME).symlink_to("/etc/passwd")


SPOILT: dict[str, tuple[Callable[[Path, object], object], str]] = {
    "a pickle in place of the ledger": (
        lambda folder, payload: (folder / "ledger.jsonl").write_bytes(pickle.dumps(payload)),
        "ledger",
    ),
    "a pickle in place of the arrays": (
        lambda folder, payload: (_first(folder) / ARRAYS_NAME).write_bytes(pickle.dumps(payload)),
        "not those that were written",
    ),
    "a file of a version that is a link to /etc/passwd": (_link, "no plain file"),
    "a file more, by the name ../../evil": (
        lambda folder, payload: (_first(folder) / "..\\..\\evil").write_text("x"),
        "no plain file",
    ),
    "a ledger that names version 10^9": (_ledger(lambda line: line.update(version=10**9)), "ledger"),
    "a ledger with a `_target_`": (_ledger(lambda line: line.update(_target_="os.system")), "ledger"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_folder_of_versions_is_refused(case: str, twin: Path, payload: object) -> None:
    change, words = SPOILT[case]
    change(twin, payload)
    with pytest.raises(CheckpointError, match=words):
        Versions(twin)


STATES: dict[str, tuple[Callable[[object], bytes], Callable[[object], bytes], str]] = {
    "a state that is a pickle": (pickle.dumps, lambda _: b"", "no twin's state here"),
    "a state nested 100,000 deep": (lambda _: b"[" * 100_000, lambda _: b"", "no twin's state here"),
    "a state of a later version": (lambda _: b'{"format": 99}', lambda _: b"", "a later hdt_fm"),
    "arrays of a state that are a pickle": (lambda _: b'{"format": 1}', pickle.dumps, "state cannot be read"),
}


@pytest.mark.parametrize("case", STATES)
def test_a_state_is_refused(case: str, room: Path, payload: object) -> None:
    facts, arrays, words = STATES[case]
    (room / FACTS_NAME).write_bytes(facts(payload))
    (room / ARRAYS_NAME).write_bytes(arrays(payload))
    with pytest.raises(CheckpointError, match=words):
        load_state(room)


FORMULAE = ("=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://evil","x")')


@pytest.mark.parametrize("text", FORMULAE)
def test_what_leaves_as_a_table_is_no_formula(text: str) -> None:
    written = _csv(("time", text), [("2026-03-05", text), (1.5, -2.5)]).decode()
    rows = list(csv.reader(io.StringIO(written, newline="")))
    shown = "'" + text.replace("\t", " ").replace("\r", " ")
    assert [*rows[0], *rows[1]] == ["time", shown, "2026-03-05", shown]
    # Numbers below zero are numbers.
    assert rows[2] == ["1.5", "-2.5"]
    assert plain_cell(np.float64(-1)) == -1


CONSENTS = {
    "a consent table that is a pickle": (lambda payload: pickle.dumps(payload), "cannot be read"),
    "a consent table with a formula for an answer": (
        lambda payload: b"subject,consent\ns1,=TRUE()\n",
        "cannot be read",
    ),
}


@pytest.mark.parametrize("case", CONSENTS)
def test_a_consent_table_is_refused(case: str, room: Path, payload: object) -> None:
    make, words = CONSENTS[case]
    (room / "consent.csv").write_bytes(make(payload))
    with pytest.raises(ConfigError, match=words):
        read_consent(room / "consent.csv")


GOT = {
    **{case: ("CheckpointError", words) for case, (_, words) in SPOILT.items()},
    **{case: ("CheckpointError", words) for case, (_, _, words) in STATES.items()},
    f"cells {', '.join(repr(text[:6]) for text in FORMULAE)} in an export": (
        "(none)",
        "written with a quote before it",
    ),
    **{case: ("ConfigError", words) for case, (_, words) in CONSENTS.items()},
}


def test_every_error_is_one_for_users() -> None:
    assert issubclass(CheckpointError, HdtError)
