"""The ledger: the chain by hand, every way to tamper with it found and named, signatures, what it must not hold."""

import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest

from hdt_fm.checkpoint.keys import LedgerKey
from hdt_fm.checkpoint.versions import Versions
from hdt_fm.schema.errors import CheckpointError, ConfigError
from hdt_fm.schema.ledger import Entry, Told

KEY, OTHER = "a key of 16 bytes and more", "another key, long enough"


def fill(text):
    def write(folder):
        (folder / "a.txt").write_text(text)

    return write


def clock():
    return datetime(2026, 11, 23, 12, 0, 5, tzinfo=UTC)


def grown(folder):
    """Entries: create 1, update 2, update 3, rollback 2, update 4."""
    versions = Versions.create(folder, fill("one"), Told(note="first"), clock=clock)
    versions.append(fill("two"), Told(data=("ab" * 16,), scores={"RMSE 60 min, mg/dL": 24.5}))
    versions.append(fill("three"), Told(facts={"seconds": 1.5, "accepted": True, "strategy": "replay", "seed": 3}))
    versions.rollback(2, Told())
    versions.append(fill("four"), Told())
    return versions


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("HDT_FM_LEDGER_KEY", raising=False)
    grown(tmp_path / "twin")
    return tmp_path / "twin"


@pytest.fixture
def signed(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HDT_FM_LEDGER_KEY", KEY)
    grown(tmp_path / "signed")
    return tmp_path / "signed"


def lines(folder):
    return (folder / "ledger.jsonl").read_bytes().splitlines(keepends=True)


def put(folder, found):
    (folder / "ledger.jsonl").write_bytes(b"".join(found))


def refused(folder, words, kind=CheckpointError):
    with pytest.raises(kind, match=words) as caught:
        Versions(folder)
    return str(caught.value)


def chained(records):
    """The records as lines of a whole chain, as somebody would forge them; and the head of it."""
    out, parent = [], ""
    for record in records:
        line = json.dumps({**record, "parent": parent}).encode() + b"\n"
        out, parent = [*out, line], hashlib.sha256(line).hexdigest()
    head = {"format": 1, "number": len(out) - 1, "digest": parent, "signature": None}
    return out, json.dumps(head)


def test_the_chain_by_hand(folder):
    records, parent = [json.loads(line) for line in lines(folder)], ""
    for number, (record, line) in enumerate(zip(records, lines(folder), strict=True)):
        assert (record["number"], record["parent"]) == (number, parent)
        parent = hashlib.sha256(line).hexdigest()
    assert json.loads((folder / "ledger.head").read_text()) == {
        "format": 1,
        "number": 4,
        "digest": parent,
        "signature": None,
    }
    told = [(record["kind"], record["version"]) for record in records]
    assert told == [("create", 1), ("update", 2), ("update", 3), ("rollback", 2), ("update", 4)]
    sums = hashlib.sha256(f"{hashlib.sha256(b'two').hexdigest()}  a.txt\n".encode()).hexdigest()
    assert records[1]["content"] == records[3]["content"] == sums
    assert {record["written"] for record in records[:1]} == {"2026-11-23T12:00:05+00:00"}
    assert records[2]["facts"] == {"seconds": 1.5, "accepted": True, "strategy": "replay", "seed": 3}


def test_what_is_read_is_what_was_told(folder):
    entries = Versions(folder).entries
    assert [entry.number for entry in entries] == [0, 1, 2, 3, 4]
    assert entries[1].told == Told(data=("ab" * 16,), scores={"RMSE 60 min, mg/dL": 24.5})
    assert type(entries[2].facts["accepted"]) is bool
    assert type(entries[2].facts["seed"]) is int


@pytest.mark.parametrize("number", range(5))
def test_a_changed_line_is_named(folder, number):
    found = lines(folder)
    found[number] = found[number].replace(b'"written":"20', b'"written":"19')
    put(folder, found)
    refused(folder, f"Entry {number} of the ledger was changed")


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ([1, 2, 3, 4], "dropped or swapped"),
        ([0, 1, 3, 4], "dropped or swapped"),
        ([0, 2, 1, 3, 4], "dropped or swapped"),
        ([0, 1, 1, 2, 3, 4], "dropped or swapped"),
        ([0, 1, 2, 3], "missing at the end"),
        ([0], "missing at the end"),
        ([], "missing at the end"),
    ],
)
def test_dropped_swapped_and_doubled_lines_are_found(folder, order, words):
    found = lines(folder)
    put(folder, [found[number] for number in order])
    told = refused(folder, words)
    assert "copy the whole folder again" in told


def test_where_the_first_wrong_line_stands(folder):
    found = lines(folder)
    put(folder, [found[number] for number in (0, 2, 1, 3, 4)])
    told = refused(folder, "swapped")
    assert "expected: entry 1 next" in told
    assert "got: entry 2" in told


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"no json\n", "cannot be read"),
        (b"[1]\n", "cannot be read"),
        (b'{"format":"one"}\n', "cannot be read"),
        (b'{"number":1}\n', "does not fit its contract"),
        (b'{"format":2,"number":1}\n', "by a later hdt_fm"),
    ],
)
def test_a_line_that_is_none_is_named(folder, raw, words):
    found = lines(folder)
    found[1] = raw
    put(folder, found)
    told = refused(folder, words)
    assert "ledger.jsonl, line 2" in told
    assert ("pip install -U hdt-fm" in told) == ("later" in words)


def test_a_head_of_a_later_format_or_none(folder):
    (folder / "ledger.head").write_text('{"format": 7, "number": 4}')
    refused(folder, "by a later hdt_fm")
    (folder / "ledger.head").unlink()
    refused(folder, r"no ledger\.head")


TAILS = {"half": b'{"format":1,"number":5', "zeros": b"\0" * 512, "zeros and an end": b"\0" * 40 + b"}\n"}


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_what_a_kill_or_a_power_cut_left_of_a_line_is_passed_over_and_cut(folder, tail):
    before = b"".join(lines(folder))
    put(folder, [before, tail])
    versions = Versions(folder)
    assert versions.number == 4
    assert (folder / "ledger.jsonl").read_bytes() == before + tail
    versions.append(fill("five"), Told())
    found = lines(folder)
    assert b"".join(found[:5]) == before
    assert [json.loads(line)["number"] for line in found] == [0, 1, 2, 3, 4, 5]
    Versions(folder).verify()


def test_a_line_without_a_newer_head_counts(folder):
    """A kill between the two: the head names the line before."""
    head = (folder / "ledger.head").read_bytes()
    Versions(folder).append(fill("five"), Told())
    (folder / "ledger.head").write_bytes(head)
    assert Versions(folder).number == 5


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (1, {"version": 3}),
        (2, {"kind": "create"}),
        (0, {"kind": "update"}),
        (3, {"version": 9}),
        (3, {"content": "0" * 64}),
        (3, {"sealed": True}),
    ],
)
def test_a_story_that_cannot_be_is_refused_though_its_chain_is_whole(folder, number, change):
    records = [json.loads(line) for line in lines(folder)]
    records[number] |= change
    found, head = chained(records)
    put(folder, found)
    (folder / "ledger.head").write_text(head)
    refused(folder, f"Entry {number} of the ledger does not follow")


def test_a_forged_chain_is_whole_without_a_key_and_found_with_one(signed, monkeypatch):
    records = [json.loads(line) for line in lines(signed)]
    records[1]["scores"]["RMSE 60 min, mg/dL"] = 1.0
    found, head = chained(records)
    put(signed, found)
    (signed / "ledger.head").write_text(head)
    refused(signed, "head|is not signed")
    monkeypatch.delenv("HDT_FM_LEDGER_KEY")
    # Nobody without the key can know; this is what the key is for.
    assert Versions(signed).entries[1].scores == {"RMSE 60 min, mg/dL": 1.0}


def test_the_signature_by_hand(signed):
    for line in [*lines(signed), (signed / "ledger.head").read_bytes()]:
        record = json.loads(line)
        given = record.pop("signature")
        message = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
        assert given == hmac.new(KEY.encode(), message, hashlib.sha256).hexdigest()


def test_a_line_signed_anew_in_the_middle_of_the_chain_needs_the_key(signed):
    found = lines(signed)
    record = json.loads(found[2])
    record["note"] = "other"
    record["signature"] = LedgerKey(OTHER.encode()).sign(record)
    put(signed, [*found[:2], json.dumps(record).encode() + b"\n", *found[3:]])
    refused(signed, "signature of a line of the ledger does not fit")


def test_another_key_or_none(signed, folder, monkeypatch):
    told = refused(folder, "not signed")
    assert "unset HDT_FM_LEDGER_KEY" in told
    monkeypatch.setenv("HDT_FM_LEDGER_KEY", OTHER)
    told = refused(signed, "does not fit")
    assert OTHER not in told
    monkeypatch.delenv("HDT_FM_LEDGER_KEY")
    versions = Versions(signed)
    before = (signed / "ledger.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="an unsigned line would break it"):
        versions.append(fill("five"), Told())
    assert (signed / "ledger.jsonl").read_bytes() == before


def test_a_key_in_a_file(signed, tmp_path, monkeypatch):
    monkeypatch.delenv("HDT_FM_LEDGER_KEY")
    (tmp_path / "key").write_text(f"{KEY}\n")
    monkeypatch.setenv("HDT_FM_LEDGER_KEY_FILE", str(tmp_path / "key"))
    Versions(signed).append(fill("five"), Told())
    monkeypatch.setenv("HDT_FM_LEDGER_KEY", KEY)
    assert Versions(signed).number == 5
    monkeypatch.delenv("HDT_FM_LEDGER_KEY")
    monkeypatch.setenv("HDT_FM_LEDGER_KEY_FILE", str(tmp_path / "none"))
    refused(signed, "A key cannot be read", ConfigError)


def test_a_key_that_is_none_and_one_that_does_not_show(folder, monkeypatch):
    monkeypatch.setenv("HDT_FM_LEDGER_KEY", "short")
    told = refused(folder, "too short", ConfigError)
    assert "short\n" not in told.replace("too short\n", "")
    monkeypatch.setenv("HDT_FM_LEDGER_KEY", " ")
    refused(folder, "is empty", ConfigError)
    assert KEY not in repr(LedgerKey(KEY.encode()))


@pytest.mark.parametrize(
    "given",
    [
        {"note": "of s0123456789abcdef0123456789abcdef"},
        {"note": "from /data/people/one"},
        {"facts": {"who": "ann@example.org"}},
        {"scores": {"/home/ann/x, mg/dL": 1.0}},
    ],
)
def test_an_entry_tells_nobody(given):
    with pytest.raises(ConfigError, match="would hold") as caught:
        Told(**given)
    assert "ann" not in str(caught.value)


def test_data_are_digests():
    assert Told(data=("sha256:" + "0" * 64, "f" * 32)).data[1] == "f" * 32
    with pytest.raises(ConfigError, match="something else than a digest") as caught:
        Told(data=("person 7", "f" * 32))
    assert "1 of 2" in str(caught.value)
    assert "person 7" not in str(caught.value)


def test_a_score_that_is_none_comes_back(tmp_path):
    Versions.create(tmp_path / "twin", fill("one"), Told(scores={"RMSE, mg/dL": float("nan")}))
    (score,) = Versions(tmp_path / "twin").entries[0].scores.values()
    assert score != score
    assert Entry.model_validate_json(Versions(tmp_path / "twin").entries[0].model_dump_json()).version == 1
