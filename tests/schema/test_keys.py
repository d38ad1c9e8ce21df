"""Keys are found where they are told to lie, in order; a keyring is asked only when named, and no key ever shows."""

import logging
import re
import sys
from pathlib import Path

import pytest

from hdt_fm.cli.environment import guarded_environment
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.keys import KEYRING, KEYS, SigningKey, find_key, told_by
from hdt_fm.schema.subject import SubjectKey

keyring = pytest.importorskip("keyring")
SECRET = "a lab's own secret that nobody sees"
LEDGER = "HDT_FM_LEDGER_KEY"


class InMemory(keyring.backend.KeyringBackend):
    """A keyring of the test; `fault` is raised when it is asked."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[tuple[str, str], str] = {}
        self.asked: list[tuple[str, str]] = []
        self.fault: Exception | None = None

    def get_password(self, service: str, username: str) -> str | None:
        self.asked.append((service, username))
        if self.fault is not None:
            raise self.fault
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> InMemory:
    """An empty keyring, named, and no key anywhere else."""
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(KEYRING, "the lab")
    before, own = keyring.get_keyring(), InMemory()
    keyring.set_keyring(own)
    yield own
    keyring.set_keyring(before)


def test_a_variable_stands_above_its_file_and_that_above_the_keyring(ring, monkeypatch, tmp_path) -> None:
    assert find_key(LEDGER) is None
    assert told_by(LEDGER) is None
    keyring.set_password("the lab", LEDGER, f"{SECRET} in the keyring\n")
    assert (told_by(LEDGER), find_key(LEDGER).place) == (f"{SECRET} in the keyring", "keyring")
    (tmp_path / "key").write_text(f"{SECRET} in a file\n")
    monkeypatch.setenv(f"{LEDGER}_FILE", str(tmp_path / "key"))
    ring.asked.clear()
    assert (told_by(LEDGER), find_key(LEDGER).place) == (f"{SECRET} in a file", "file")
    monkeypatch.setenv(LEDGER, f" {SECRET} ")
    assert (told_by(LEDGER), find_key(LEDGER).place) == (SECRET, "environment")
    assert ring.asked == []


@pytest.mark.parametrize("name", [None, "", "  "])
def test_a_keyring_that_is_not_named_is_not_asked(ring, monkeypatch, name) -> None:
    keyring.set_password("the lab", LEDGER, SECRET)
    if name is None:
        monkeypatch.delenv(KEYRING)
    else:
        monkeypatch.setenv(KEYRING, name)
    assert told_by(LEDGER) is None
    assert ring.asked == []


def test_another_service_of_the_keyring_is_not_looked_at(ring) -> None:
    keyring.set_password("another lab", LEDGER, SECRET)
    assert told_by(LEDGER) is None
    assert ring.asked == [("the lab", LEDGER)]


def test_every_key_that_the_source_names_is_found_in_the_keyring(ring, repo: Path) -> None:
    source = "".join(path.read_text() for path in sorted((repo / "hdt_fm").rglob("*.py")))
    named = set(re.findall(r'"(HDT_FM_[A-Z_]+)"', source)) - {KEYRING}
    secrets = {name for name in named if not name.endswith("_FILE") and _refused_in_configs(name)} | {
        "HDT_FM_RECIPIENTS"
    }
    assert secrets == set(KEYS)
    for name in KEYS:
        keyring.set_password("the lab", name, f"{SECRET} of {name}")
        assert told_by(name) == f"{SECRET} of {name}"


def _refused_in_configs(name: str) -> bool:
    from omegaconf import OmegaConf

    try:
        with guarded_environment():
            OmegaConf.to_container(OmegaConf.create({"x": f"${{oc.env:{name},nothing}}"}), resolve=True)
    except ConfigError:
        return True
    return False


def test_the_rooms_find_their_keys_in_the_keyring(ring, tmp_path) -> None:
    from hdt_fm.checkpoint.keys import ledger_key
    from hdt_fm.consent.register import Register
    from hdt_fm.data.ranged_get import Server

    for name in KEYS:
        keyring.set_password("the lab", name, SECRET)
    assert SubjectKey.find() == SubjectKey(SECRET.encode())
    assert ledger_key() == SigningKey(SECRET.encode())
    assert Register.create(tmp_path / "register").signed
    with pytest.raises(ConfigError, match="in the open"):  # credentials were found, and are not sent by http
        Server("http://example.org/x")
    assert {name for _, name in ring.asked} == {
        "HDT_FM_SUBJECT_KEY",
        LEDGER,
        "HDT_FM_CONSENT_KEY",
        "HDT_FM_SHARDS_AUTHORIZATION",
        "HDT_FM_SHARDS_QUERY",
    }


def test_a_sealed_folder_is_made_and_opened_by_keys_of_the_keyring(ring, tmp_path) -> None:
    pyrage = pytest.importorskip("pyrage")
    from hdt_fm.checkpoint.versions import Versions
    from hdt_fm.schema.ledger import Told

    identity = pyrage.x25519.Identity.generate()
    keyring.set_password("the lab", "HDT_FM_RECIPIENTS", str(identity.to_public()))
    keyring.set_password("the lab", "HDT_FM_IDENTITY", str(identity))
    versions = Versions.create(tmp_path / "twin", lambda to: (to / "state.json").write_text("{}") and None, Told())
    assert versions.entries[-1].sealed
    with versions.opened() as files:
        assert (files / "state.json").read_text() == "{}"


FAULTS = {
    "locked": (keyring.errors.KeyringLocked(SECRET), "The keyring is locked"),
    "none": (keyring.errors.NoKeyringError(SECRET), "There is no keyring here"),
    "broken": (keyring.errors.KeyringError(SECRET), "cannot be asked (KeyringError)"),
    "foreign": (RuntimeError(SECRET), "cannot be asked (RuntimeError)"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_keyring_that_does_not_answer_is_an_error_and_not_a_missing_key(ring, caplog, case) -> None:
    ring.fault, words = FAULTS[case]
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigError) as caught:
        SigningKey.of(LEDGER, "the ledger")
    assert words in str(caught.value)
    assert caught.value.fix
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert SECRET not in str(caught.value) + caplog.text
    with pytest.raises(ConfigError, match=re.escape(words)):
        SubjectKey.find()
    assert not (Path.home() / ".config").exists()


def test_without_any_backend_the_error_says_so(ring) -> None:
    keyring.set_keyring(keyring.backends.fail.Keyring())
    with pytest.raises(ConfigError, match="There is no keyring here"):
        told_by(LEDGER)


def test_without_the_extra_the_error_names_it(ring, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigError, match=re.escape("hdt-fm[keyring]")):
        told_by(LEDGER)
    monkeypatch.setenv(LEDGER, SECRET)
    assert told_by(LEDGER) == SECRET


def test_empty_and_unreadable_keys_are_errors(ring, monkeypatch, tmp_path) -> None:
    keyring.set_password("the lab", LEDGER, " ")
    with pytest.raises(ConfigError, match="from the keyring"):
        told_by(LEDGER)
    keyring.set_password("the lab", LEDGER, "short")
    with pytest.raises(ConfigError, match="too short") as caught:
        SigningKey.of(LEDGER, "the ledger")
    assert "got: 5 bytes" in str(caught.value)
    (tmp_path / "key").write_bytes(b"\xff" * 20)
    monkeypatch.setenv(f"{LEDGER}_FILE", str(tmp_path / "key"))
    with pytest.raises(ConfigError, match="other bytes"):
        told_by(LEDGER)
    assert find_key(LEDGER).secret == b"\xff" * 20  # as a subject key it has always been one
    monkeypatch.setenv(f"{LEDGER}_FILE", str(tmp_path))
    with pytest.raises(ConfigError, match="got: IsADirectoryError"):
        told_by(LEDGER)
    monkeypatch.setenv(LEDGER, "")
    with pytest.raises(ConfigError, match="from the environment"):
        told_by(LEDGER)


def test_a_found_key_does_not_show(ring) -> None:
    keyring.set_password("the lab", LEDGER, SECRET)
    found = find_key(LEDGER)
    shown = f"{found!r} {found} {[found]} {SigningKey.of(LEDGER, 'it')} {SubjectKey(SECRET.encode())}"
    assert SECRET not in shown
    assert shown.count("<hidden>") == 5


def test_the_doctor_says_which_keys_are_set_and_from_where(ring, monkeypatch, tmp_path, capsys) -> None:
    keyring.set_password("the lab", "HDT_FM_CONSENT_KEY", SECRET)
    monkeypatch.setenv(LEDGER, SECRET)
    (tmp_path / "key").write_text(SECRET)
    monkeypatch.setenv("HDT_FM_IDENTITY_FILE", str(tmp_path / "key"))
    assert main(["doctor"]) == EXIT_OK
    said = capsys.readouterr().out
    lines = {line[6:26].strip(): line[26:] for line in said.splitlines()}
    assert "from the keyring" in lines["consent key"]
    assert "from the environment" in lines["ledger key"]
    assert "from the file" in lines["identity"]
    assert "not set" in lines["recipients"]
    assert "none yet" in lines["subject key"]
    assert "keyring" not in lines
    assert SECRET not in said
    assert str(tmp_path) not in said


def test_the_doctor_says_once_that_the_keyring_is_locked(ring, monkeypatch, capsys) -> None:
    ring.fault = keyring.errors.KeyringLocked()
    monkeypatch.setenv(LEDGER, SECRET)
    assert main(["doctor"]) == EXIT_USER_ERROR
    said = capsys.readouterr().out
    assert said.count("fail") == said.count("The keyring is locked") == 1
    assert "from the environment (HDT_FM_LEDGER_KEY)" in said
    assert len(ring.asked) == 1


def test_the_doctor_fails_where_a_key_that_is_told_cannot_be_read(ring, monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setenv(f"{LEDGER}_FILE", str(tmp_path / "none"))
    assert main(["doctor"]) == EXIT_USER_ERROR
    assert "fail  ledger key           A key cannot be read" in capsys.readouterr().out
