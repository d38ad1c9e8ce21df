"""`hdt-fm shard verify | index | revoke | compact | seal | unseal FOLDER`, as typed."""

import json

import pytest

from data_pipelines.finished import manifest_of
from hdt_fm.cli.main import main


@pytest.fixture
def folder(made, tmp_path):
    made.write_folder(tmp_path / "folder")
    return tmp_path / "folder"


def told(capsys):
    return json.loads(capsys.readouterr().out)


def test_verify_says_what_is_wrong_and_ends_with_one(folder, capsys):
    assert main(["shard", "verify", str(folder)]) == 0
    assert "the folder is sound" in capsys.readouterr().out
    tar = folder / "train" / "made-00001.tar"
    raw = bytearray(tar.read_bytes())
    raw[4000] ^= 1
    tar.write_bytes(raw)
    assert main(["shard", "verify", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "fault: train/made-00001.tar, block 2, b000002.ppg.npy: its bytes differ from what was written" in out
    assert "the folder is damaged: 2 faults" in out
    assert main(["shard", "verify", str(folder), "--json"]) == 1
    found = told(capsys)
    assert not found["sound"]
    assert {"shard": "train/made-00001.tar", "block": 2, "member": "b000002.ppg.npy"}.items() <= found["faults"][
        1
    ].items()


def test_revoke_then_compact(folder, tmp_path, capsys):
    (tmp_path / "gone.txt").write_text(manifest_of(folder).subjects[3].subject)
    assert main(["shard", "revoke", str(folder), "--subjects", str(tmp_path / "gone.txt"), "--json"]) == 0
    revoked = told(capsys)
    assert revoked["people"] == 1
    assert main(["shard", "compact", str(folder), "--json"]) == 0
    assert told(capsys)["windows_erased"] == revoked["windows"] > 0
    assert main(["shard", "compact", str(folder)]) == 0
    assert "windows erased     0" in capsys.readouterr().out


def test_index_makes_them_again(folder, capsys):
    path = folder / "test" / "made-00000.idx"
    good = path.read_bytes()
    path.unlink()
    assert main(["shard", "index", str(folder), "--json"]) == 0
    assert told(capsys) == {"indexes": 4}
    assert path.read_bytes() == good


@pytest.fixture
def key(monkeypatch):
    """One who may open what is sealed."""
    pyrage = pytest.importorskip("pyrage")
    made = pyrage.x25519.Identity.generate()
    for name, told in (("RECIPIENTS", made.to_public()), ("IDENTITY", made)):
        monkeypatch.delenv(f"HDT_FM_{name}_FILE", raising=False)
        monkeypatch.setenv(f"HDT_FM_{name}", str(told))
    return made


def test_seal_and_unseal(folder, key, tmp_path, capsys):
    assert main(["shard", "seal", str(folder), "--to", str(tmp_path / "sealed"), "--json"]) == 0
    sealed = told(capsys)
    assert (sealed["shards"], sealed["windows"], sealed["recipients"]) == (4, 48, 1)
    assert main(["shard", "verify", str(tmp_path / "sealed")]) == 0
    assert main(["shard", "unseal", str(tmp_path / "sealed"), f"to={tmp_path / 'back'}", "--json"]) == 0
    assert (tmp_path / "back" / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()


def test_without_a_key_it_is_said_what_to_set(folder, key, tmp_path, capsys, monkeypatch):
    assert main(["shard", "seal", str(folder), "--to", str(tmp_path / "sealed")]) == 0
    monkeypatch.delenv("HDT_FM_IDENTITY")
    assert main(["shard", "verify", str(tmp_path / "sealed")]) == 2
    assert "what to do: set HDT_FM_IDENTITY_FILE" in capsys.readouterr().err
    monkeypatch.delenv("HDT_FM_RECIPIENTS")
    assert main(["shard", "seal", str(folder), "--to", str(tmp_path / "more")]) == 2
    assert "set HDT_FM_RECIPIENTS" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["verify", "index", "revoke", "compact", "seal", "unseal"])
def test_each_word_has_help_and_the_verb_names_it(word, capsys):
    assert main(["shard", word, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: hdt-fm shard {word} FOLDER")
    assert main(["shard", "--help"]) == 0
    assert word in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["revoke", "FOLDER"],
        ["revoke", "FOLDER", "--subjects", ""],
        ["verify", "a", "b"],
        ["verify", "a", "--subjects=b"],
        ["seal", "a"],
        ["unseal", "a", "--to", ""],
    ],
)
def test_what_is_typed_wrong_is_told(arguments, capsys):
    assert main(["shard", *arguments]) == 2
    assert "error: " in capsys.readouterr().err


def test_a_folder_that_is_none_is_told(tmp_path, capsys):
    for word in ("verify", "index", "compact"):
        assert main(["shard", word, str(tmp_path)]) == 2
        assert "not a shard folder" in capsys.readouterr().err
