"""Pseudonyms: keyed, stable, and with no way back into a message."""

import hashlib
import hmac
import stat
from pathlib import Path

import pytest

from hdt_fm.schema.errors import ConfigError
from hdt_fm.schema.subject import KEY_FILE_VARIABLE, KEY_VARIABLE, SubjectKey, is_pseudonym


def test_the_pseudonym_is_the_keyed_hash() -> None:
    key = SubjectKey(b"0123456789abcdef")
    expected = hmac.new(b"0123456789abcdef", b"cohort\x1fP01", hashlib.sha256).hexdigest()[:32]
    assert key.pseudonym("cohort", "P01") == f"s{expected}"
    assert is_pseudonym(key.pseudonym("cohort", "P01"))
    assert not is_pseudonym("P01")


def test_studies_keys_and_people_do_not_meet() -> None:
    names = {
        SubjectKey(secret).pseudonym(study, raw)
        for secret in (b"0123456789abcdef", b"fedcba9876543210")
        for study in ("a", "ab")
        for raw in ("b1", "1", "")
    }
    assert len(names) == 12


def test_the_secret_does_not_show() -> None:
    assert "0123" not in repr(SubjectKey(b"0123456789abcdef"))


def test_the_key_is_found_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.delenv(KEY_FILE_VARIABLE, raising=False)
    made = SubjectKey.find()
    path = tmp_path / ".config" / "hdt_fm" / "subject.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SubjectKey.find() == made
    file = tmp_path / "own.key"
    file.write_text("a file with a secret of its own\n")
    monkeypatch.setenv(KEY_FILE_VARIABLE, str(file))
    assert SubjectKey.find().secret == b"a file with a secret of its own"
    monkeypatch.setenv(KEY_VARIABLE, "from the environment")
    assert SubjectKey.find().secret == b"from the environment"
    assert SubjectKey.find(str(file)).secret == b"a file with a secret of its own"
    assert SubjectKey.find("public") == SubjectKey.public()


def test_a_short_or_missing_key_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "short")
    with pytest.raises(ConfigError, match="too short") as caught:
        SubjectKey.find()
    assert "short" not in str(caught.value).replace("too short", "")
    with pytest.raises(ConfigError, match="cannot be read"):
        SubjectKey.find(str(tmp_path / "none.key"))


def test_one_person_of_two_studies_has_nothing_in_common(tmp_path: Path) -> None:
    key = SubjectKey(b"0123456789abcdef")
    names = [key.pseudonym(study, "P01") for study in ("ward a", "ward b")]
    names += [key.reference(kind, study, "P01") for kind in ("group", "file") for study in ("ward a", "ward b")]
    assert len(set(names)) == 6
    assert all(is_pseudonym(name) for name in names)
    # Nor can a study be named so that its people look like another's files.
    assert key.pseudonym("file", "ward a\x1fP01") not in names
    for study in ("a\x1fb", "\x1efile", "a\nb", "a\x00", "date shift"):
        with pytest.raises(ConfigError, match="cannot have this name"):
            key.pseudonym(study, "P01")
        with pytest.raises(ConfigError, match="cannot have this name"):
            key.reference("file", study, "P01")


def test_pseudonyms_of_published_sets_stay() -> None:
    # Folds of every published table, and the people whom a published model saw, hang on these.
    assert SubjectKey.public().pseudonym("stress_predict", "S01") == "s979028e47223911eb81b1d76e9666e37"
