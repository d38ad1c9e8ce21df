"""Sealed versions: nothing plain on the disk, opened by those they are for, and errors that never show a key."""

import os
import signal
import sys
from pathlib import Path

import pytest

from hdt_fm.checkpoint import sealed
from hdt_fm.checkpoint.versions import Versions
from hdt_fm.schema.errors import CheckpointError, ConfigError
from hdt_fm.schema.ledger import Told

pyrage = pytest.importorskip("pyrage")
SECRET = b"pulse 61 in the night"


@pytest.fixture
def keys(monkeypatch, tmp_path):
    """Two identities; what is written is for both, and the first opens. Plain files go into a folder of the test."""
    for name in ("LEDGER_KEY", "RECIPIENTS", "IDENTITY"):
        monkeypatch.delenv(f"HDT_FM_{name}", raising=False)
        monkeypatch.delenv(f"HDT_FM_{name}_FILE", raising=False)
    (tmp_path / "memory").mkdir()
    monkeypatch.setattr(sealed, "_MEMORY", tmp_path / "memory")
    found = [pyrage.x25519.Identity.generate() for _ in range(3)]
    monkeypatch.setenv("HDT_FM_RECIPIENTS", f"{found[0].to_public()}, {found[1].to_public()}")
    monkeypatch.setenv("HDT_FM_IDENTITY", str(found[0]))
    return found


def fill(number):
    def write(folder):
        (folder / "state.json").write_bytes(SECRET + b" %d" % number)
        (folder / "memory").mkdir()
        (folder / "memory" / "rows.bin").write_bytes(SECRET * 5_000)

    return write


@pytest.fixture
def folder(keys, tmp_path):
    versions = Versions.create(tmp_path / "twin", fill(1), Told())
    versions.append(fill(2), Told(scores={"RMSE, mg/dL": 20.0}))
    return tmp_path / "twin"


def all_bytes(folder):
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


def test_nothing_lies_plain_and_what_was_written_comes_back(folder, tmp_path):
    assert not any(SECRET in data for data in all_bytes(tmp_path))
    names = sorted(path.relative_to(folder).as_posix() for path in (folder / "versions" / "000002").rglob("*.age"))
    assert names == ["versions/000002/memory/rows.bin.age", "versions/000002/state.json.age"]
    versions = Versions(folder)
    assert [entry.sealed for entry in versions.entries] == [True, True]
    for number, expected in ((None, 2), (1, 1)):
        with versions.opened(number) as files:
            assert (files / "state.json").read_bytes() == SECRET + b" %d" % expected
            assert (files / "memory" / "rows.bin").read_bytes() == SECRET * 5_000
            assert files.is_relative_to(tmp_path / "memory")
            assert files.stat().st_mode & 0o077 == 0
        assert not files.exists()
    assert list((tmp_path / "memory").iterdir()) == []


def test_the_files_are_ages_own(folder, keys):
    data = (folder / "versions" / "000002" / "state.json.age").read_bytes()
    assert data.startswith(b"age-encryption.org/v1\n")
    assert [pyrage.decrypt(data, [key]) for key in keys[:2]] == [SECRET + b" 2"] * 2
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(data, [keys[2]])


def test_a_place_without_files_is_told_to_be_opened(folder):
    for ask in (lambda: Versions(folder).current, lambda: Versions(folder).folder_of(1)):
        with pytest.raises(CheckpointError, match=r"read them through `opened\(\)`"):
            ask()


def test_what_needs_no_key_needs_none(folder, monkeypatch):
    before = (folder / "versions" / "000001" / "state.json.age").read_bytes()
    monkeypatch.delenv("HDT_FM_IDENTITY")
    versions = Versions(folder)
    versions.verify()
    versions.rollback(1, Told())
    assert (folder / "versions" / "000001" / "state.json.age").read_bytes() == before
    versions.append(fill(3), Told())
    with pytest.raises(ConfigError, match="no key is set to open them"), versions.opened():
        pass


def test_another_key_or_none_at_all(folder, keys, monkeypatch):
    for told, kind, words in (
        (str(keys[2]), CheckpointError, "got: another key"),
        ("AGE-SECRET-KEY-1XYZ", ConfigError, "no secret key of age"),
        (str(keys[0].to_public()), ConfigError, "no secret key of age"),
    ):
        monkeypatch.setenv("HDT_FM_IDENTITY", told)
        with pytest.raises(kind) as caught, Versions(folder).opened():
            pass
        assert words in str(caught.value)
        assert told not in str(caught.value)
    monkeypatch.setenv("HDT_FM_IDENTITY", str(keys[1]))
    with Versions(folder).opened() as files:
        assert (files / "state.json").read_bytes() == SECRET + b" 2"


def test_a_sealed_folder_takes_nothing_plain(folder, monkeypatch, tmp_path):
    monkeypatch.delenv("HDT_FM_RECIPIENTS")
    with pytest.raises(ConfigError, match="would lie plain from now on"):
        Versions(folder).append(fill(3), Told())
    assert Versions(folder).number == 2
    assert not any(SECRET in data for data in all_bytes(tmp_path))


def test_a_recipient_that_is_none(folder, keys, monkeypatch):
    for told in ("age1nothing", str(keys[0])):
        monkeypatch.setenv("HDT_FM_RECIPIENTS", told)
        with pytest.raises(ConfigError, match="no public key of age") as caught:
            Versions(folder).append(fill(3), Told())
        assert told not in str(caught.value)


def test_keys_in_files_as_age_keygen_writes_them(keys, monkeypatch, tmp_path):
    monkeypatch.delenv("HDT_FM_RECIPIENTS")
    monkeypatch.delenv("HDT_FM_IDENTITY")
    (tmp_path / "key.txt").write_text(f"# created: 2026-11-23\n# public key: {keys[2].to_public()}\n{keys[2]}\n")
    (tmp_path / "for.txt").write_text(f"# ann, bob\n{keys[1].to_public()}\n{keys[2].to_public()}\n")
    monkeypatch.setenv("HDT_FM_RECIPIENTS_FILE", str(tmp_path / "for.txt"))
    monkeypatch.setenv("HDT_FM_IDENTITY_FILE", str(tmp_path / "key.txt"))
    versions = Versions.create(tmp_path / "twin", fill(1), Told())
    with versions.opened() as files:
        assert (files / "state.json").read_bytes() == SECRET + b" 1"


def test_a_folder_is_sealed_from_when_recipients_are_set(keys, monkeypatch, tmp_path):
    told = os.environ["HDT_FM_RECIPIENTS"]
    monkeypatch.delenv("HDT_FM_RECIPIENTS")
    versions = Versions.create(tmp_path / "twin", fill(1), Told())
    assert versions.current.is_dir()
    monkeypatch.setenv("HDT_FM_RECIPIENTS", told)
    versions.append(fill(2), Told())
    assert [entry.sealed for entry in versions.entries] == [False, True]
    with versions.opened() as files, versions.opened(1) as plain:
        assert (files / "state.json").read_bytes() == SECRET + b" 2"
        assert plain == versions.folder_of(1)


def test_a_changed_sealed_file_is_damage_and_no_wrong_key(folder):
    path = folder / "versions" / "000001" / "state.json.age"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match=r"changed: state\.json\.age"), Versions(folder).opened(1):
        pass


def test_a_write_that_fails_leaves_nothing_plain(folder, tmp_path):
    def fails(place):
        fill(3)(place)
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match="nothing was changed"):
        Versions(folder).append(fails, Told())
    assert not any(SECRET in data for data in all_bytes(tmp_path))
    assert Versions(folder).number == 2


@pytest.mark.skipif(sys.platform != "linux", reason="forks a process that holds threads")
def test_plain_files_of_a_killed_process_go_and_those_of_a_living_one_stay(folder, tmp_path):
    versions = Versions(folder)
    child = os.fork()
    if child == 0:
        with versions.opened():
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (left,) = (tmp_path / "memory").iterdir()
    assert any(SECRET in data for data in all_bytes(left))
    with versions.opened() as files:
        assert [*(tmp_path / "memory").iterdir()] == [files]
        with versions.opened(1) as more:
            assert sorted((tmp_path / "memory").iterdir()) == sorted([files, more])
        assert files.is_dir()
    assert [*(tmp_path / "memory").iterdir()] == []


def test_without_pyrage_it_is_said_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyrage", None)
    for ask in (lambda: Versions(folder).append(fill(3), Told()), lambda: Versions(folder).opened().__enter__()):
        with pytest.raises(ConfigError, match="pip install pyrage"):
            ask()
    monkeypatch.delenv("HDT_FM_RECIPIENTS")
    # Plain folders need none.
    assert Versions.create(Path(folder).with_name("plain"), fill(1), Told()).current.is_dir()
