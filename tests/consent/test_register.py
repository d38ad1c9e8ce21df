"""The register: the chain by hand, every way to tamper with it found and named, kills, one writer, no raw id."""

import fcntl
import hashlib
import itertools
import json
import os
from datetime import UTC, datetime

import pytest

from hdt_fm.consent.entry import Said
from hdt_fm.consent.register import KEY, Register
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.subject import SubjectKey

SECRET = "a key of 16 bytes and more"
WHO = [SubjectKey.public().pseudonym("made", str(number)) for number in range(4)]


def clock():
    return datetime(2026, 11, 24, 12, 0, 5, tzinfo=UTC)


def given(number, scope="DUO:0000042", **more):
    return Said(kind="given", subject=WHO[number], scope=(scope,), version="1.0", **more)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv(KEY, raising=False)
    register = Register.create(tmp_path / "register", clock=clock)
    register.add([given(0), given(1, "DUO:0000006")])
    register.add([Said(kind="withdrawn", subject=WHO[0])])
    return tmp_path / "register"


def lines(folder):
    return (folder / "register.jsonl").read_bytes().splitlines(keepends=True)


def refused(folder, words):
    with pytest.raises(ConfigError, match=words) as caught:
        Register(folder)
    return str(caught.value)


def test_the_chain_by_hand(folder):
    parent = ""
    for number, line in enumerate(lines(folder)):
        record = json.loads(line)
        assert (record["number"], record["parent"]) == (number, parent)
        parent = hashlib.sha256(line).hexdigest()
    assert json.loads((folder / "register.head").read_text())["digest"] == parent
    entries = Register(folder).entries
    assert [one.kind for one in entries] == ["opened", "given", "given", "withdrawn"]
    assert {one.at for one in entries} == {one.written for one in entries} == {"2026-11-24T12:00:05+00:00"}
    assert Register(folder / "register.jsonl").entries == entries


@pytest.mark.parametrize("number", range(4))
def test_a_changed_line_is_named(folder, number):
    found = lines(folder)
    found[number] = found[number].replace(b'"written":"20', b'"written":"19')
    (folder / "register.jsonl").write_bytes(b"".join(found))
    refused(folder, f"Entry {number} of the register was changed")


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ([1, 2, 3], "register.jsonl"),
        ([0, 2, 3], "expected: entry 1 next"),
        ([0, 2, 1, 3], "expected: entry 1 next"),
        ([0, 1, 2, 2, 3], "expected: entry 3 next"),
        ([0, 1, 2], "Entries are missing at the end of the register"),
    ],
)
def test_dropped_and_swapped_lines_are_found(folder, order, words):
    found = lines(folder)
    (folder / "register.jsonl").write_bytes(b"".join(found[number] for number in order))
    refused(folder, words)


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_half_line_is_passed_over_and_cut_by_the_next_writer(folder, cut):
    whole = (folder / "register.jsonl").read_bytes()
    (folder / "register.jsonl").write_bytes(whole + lines(folder)[3][:cut])
    assert len(Register(folder).entries) == 4
    Register(folder).add([given(2)])
    assert (folder / "register.jsonl").read_bytes().startswith(whole)
    assert [one.number for one in Register(folder).entries] == [0, 1, 2, 3, 4]


def added_in_a_child(folder, at):
    """A child that adds two lines and ends itself before its `at`-th write, sync or rename; its exit status."""
    child = os.fork()
    if child == 0:
        calls = itertools.count(1)

        def counted(real):
            def call(*arguments, **more):
                if next(calls) == at:
                    os._exit(9)
                return real(*arguments, **more)

            return call

        os.write, os.fsync, os.replace = counted(os.write), counted(os.fsync), counted(os.replace)
        Register(folder).add([given(2), given(3)])
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_kill_before_any_call_of_the_system_leaves_a_whole_register(folder):
    ended, grew = [], []
    for at in range(1, 8):
        before = Register(folder).entries
        ended.append(added_in_a_child(folder, at))
        after = Register(folder).entries
        assert after[: len(before)] == before
        grew.append(len(after) - len(before))
    # Two lines, each written and synced; the head, synced and renamed; then none is left to be killed before.
    assert ended == [9, 9, 9, 9, 9, 9, 0]
    assert grew == [0, 1, 1, 2, 2, 2, 2]


def test_one_writer_at_a_time(folder):
    register = Register(folder)
    with (folder / "register.jsonl").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="Another process is changing this folder"):
            register.add([given(2)])
    other = Register(folder)
    register.add([given(2)])
    # What somebody wrote since is built on, never over.
    other.add([given(3)])
    assert [one.subject for one in Register(folder).entries[-2:]] == [WHO[2], WHO[3]]


def test_under_a_key_every_line_is_signed(tmp_path, monkeypatch):
    monkeypatch.setenv(KEY, SECRET)
    folder = tmp_path / "signed"
    Register.create(folder).add([given(0)])
    assert Register(folder).signed
    assert SECRET not in (folder / "register.jsonl").read_text()
    monkeypatch.setenv(KEY, "another key, long enough")
    refused(folder, "signature of a line of the register does not fit")
    monkeypatch.delenv(KEY)
    (tmp_path / "key").write_text(SECRET + "\n")
    monkeypatch.setenv(f"{KEY}_FILE", str(tmp_path / "key"))
    assert len(Register(folder).entries) == 2
    monkeypatch.delenv(f"{KEY}_FILE")
    # A whole chain that somebody forged without the key.
    Register(folder).add([given(1)])
    monkeypatch.setenv(KEY, SECRET)
    assert "register.head" in refused(folder, "is not signed")
    monkeypatch.setenv(KEY, "short")
    refused(folder, "too short")


@pytest.mark.parametrize("raw", ["P07", "s123", "Jane Doe", "s" + "G" * 32])
def test_a_raw_id_is_refused_and_not_shown(folder, raw):
    before = (folder / "register.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="pseudonyms only") as caught:
        Register(folder).add([Said(kind="given", subject=raw, scope=("GRU",), version="1")])
    assert raw not in str(caught.value)
    assert (folder / "register.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"kind": "given", "subject": WHO[0], "scope": ("GRU",)}, "which form"),
        ({"kind": "given", "subject": WHO[0], "version": "1"}, "not told what was agreed to"),
        ({"kind": "given", "version": "1", "scope": ("GRU",)}, "names a person"),
        ({"kind": "given", "subject": WHO[0], "version": "1", "scope": ("GRU",), "valid_to": "1.2.2027"}, "A day"),
        (
            {"kind": "given", "subject": WHO[0], "version": "1", "scope": ("GRU",), "valid_from": "2027-01-01"}
            | {"valid_to": "2026-01-01"},
            "end before it begins",
        ),
        ({"kind": "settled", "published": ("ab" * 32,), "told": "jane@lab.org"}, "without a name"),
        ({"kind": "settled", "published": ("ab",), "told": "users"}, "SHA-256"),
    ],
)
def test_what_an_entry_may_not_say(more, words):
    with pytest.raises(ConfigError, match=words):
        Said(**more)


def test_nothing_is_made_over_something(folder, tmp_path):
    with pytest.raises(ConfigError, match="something here already"):
        Register.create(folder)
    with pytest.raises(ConfigError, match="no register of consent here"):
        Register(tmp_path / "nowhere")


def test_the_digest_names_what_people_agreed_to(folder):
    before = Register(folder).digest
    Register(folder).add([Said(kind="traced", subject=WHO[0], shards=("ab" * 32,))])
    assert Register(folder).digest == before
    Register(folder).add([given(0)])
    assert Register(folder).digest != before
