"""age: sizes known before opening, bounds, and errors that never show a key."""

import os
import pickle

import pytest

from hdt_fm.schema import age
from hdt_fm.schema.age import Identity, new_identity, public_of, recipients, seal
from hdt_fm.schema.errors import CheckpointError, ConfigError, CorruptShardError, ShardError

pyrage = pytest.importorskip("pyrage")
CHUNK = 64 << 10


@pytest.fixture
def key(monkeypatch):
    """A secret key and its public one; nothing in the environment."""
    for name in (age.RECIPIENTS, age.IDENTITY):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    return new_identity()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 200_001])
@pytest.mark.parametrize("people", [1, 7])
def test_size_and_content(key, size, people):
    data, to = os.urandom(size), [key[1], *(new_identity()[1] for _ in range(people - 1))]
    sealed = seal(data, to)
    identity = Identity(key[0])
    assert identity.size(memoryview(sealed), where="x") == size
    assert identity.open(sealed, most=size, where="x") == data
    assert identity.first_bytes(memoryview(sealed), 100, where="x") == data[:100]
    assert pyrage.decrypt(sealed, [pyrage.x25519.Identity.from_str(key[0])]) == data
    assert age.LEAST_ADDED <= len(sealed) - size <= age.MOST_ADDED + (size >> 11)


def test_what_says_to_be_too_much_is_not_opened(key, monkeypatch):
    sealed = seal(bytes(1000), [key[1]])
    monkeypatch.setattr(pyrage, "decrypt_io", lambda *what: pytest.fail("it was opened"))
    with pytest.raises(CorruptShardError, match="holds more than it may"):
        Identity(key[0], damaged=CorruptShardError).open(sealed, most=999, where="x")


def test_damage_is_not_taken_for_another_key(key):
    sealed = seal(b"pulse 61 " * 20_000, [key[1]])
    identity = Identity(key[0], wrong=CheckpointError, damaged=CorruptShardError)
    first = sealed.index(b"-> X25519 ") + 10
    for bad in (sealed[:-1] + b"\0", sealed[:-70_000], sealed[:CHUNK], b"", b"pulse", sealed[:400]):
        with pytest.raises(CorruptShardError):
            identity.open(bad, most=1 << 20, where="x")
    for place in (first + 3, len(sealed) // 2, sealed.index(b"\n--- ") + 8):
        bad = bytearray(sealed)
        bad[place] = ord("A") if bad[place] != ord("A") else ord("B")
        with pytest.raises((CorruptShardError, CheckpointError)):
            identity.open(bytes(bad), most=1 << 20, where="x")
    with pytest.raises(CheckpointError, match="got: another key"):
        Identity(new_identity()[0], wrong=CheckpointError).open(sealed, most=1 << 20, where="x")
    moved = sealed + sealed[-CHUNK:]
    with pytest.raises(CorruptShardError):
        identity.open(moved, most=1 << 20, where="x")


def test_a_header_without_end_is_refused_before_anything_is_tried(key, monkeypatch):
    sealed = seal(b"x" * 1000, [key[1]])
    first = sealed.index(b"\n") + 1
    bad = sealed[:first] + (b"-> X25519 " + b"A" * 43 + b"\n" + b"A" * 43 + b"\n") * 1000 + sealed[first:]
    monkeypatch.setattr(pyrage, "decrypt_io", lambda *what: pytest.fail("it was tried"))
    with pytest.raises(ShardError, match="no age file"):
        Identity(key[0]).open(bad, most=1 << 20, where="x")


def test_the_key_shows_nowhere(key, monkeypatch):
    identity = Identity(key[0])
    identity.require()
    assert key[0] not in repr(identity)
    assert key[0].encode() not in pickle.dumps(identity)
    again = pickle.loads(pickle.dumps(Identity(key[0], wrong=CheckpointError, damaged=CheckpointError)))
    with pytest.raises(ConfigError, match="no key is set"):
        again.require()
    monkeypatch.setenv(age.IDENTITY, key[0])
    assert again.open(seal(b"rest", [key[1]]), most=9, where="x") == b"rest"
    with pytest.raises(CheckpointError):
        again.open(b"", most=9, where="x")


def test_recipients(key, monkeypatch):
    assert recipients(needed=False) == ()
    with pytest.raises(ConfigError, match=r"nobody is set who could open it(?s:.*)set HDT_FM_RECIPIENTS"):
        recipients(needed=True)
    other = new_identity()
    monkeypatch.setenv(age.RECIPIENTS, f"# two\n{key[1]},\n  {other[1]}")
    assert recipients(needed=True) == (key[1], other[1])
    assert public_of(other[0]) == other[1]
    monkeypatch.setenv(age.RECIPIENTS, " ".join([key[1]] * 201))
    with pytest.raises(ConfigError, match="more recipients than"):
        recipients(needed=True)
    monkeypatch.setenv(age.RECIPIENTS, other[0])
    with pytest.raises(ConfigError, match="no public key") as caught:
        recipients(needed=True)
    assert other[0] not in str(caught.value)
