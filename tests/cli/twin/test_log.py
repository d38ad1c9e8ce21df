"""`hdt-fm twin log | rollback | diff FOLDER`, as typed: a ledger told, a version back in use, two versions compared."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hdt_fm.checkpoint.differences import differences
from hdt_fm.checkpoint.versions import Versions
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.cli.twin import WORDS
from hdt_fm.schema.ledger import Told

SCORE = "RMSE 60 min, mg/dL"


def fill(number, **tensors):
    def write(folder):
        (folder / "state.json").write_text(f'{{"pulse": {60 + number}}}')
        (folder / "same.json").write_text("{}")
        save_file(tensors, folder / "head.safetensors")

    return write


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three versions, the last in use: a bias moves by (3, 4), a weight stays, one tensor comes and one goes."""
    for name in ("LEDGER_KEY", "RECIPIENTS", "IDENTITY"):
        monkeypatch.delenv(f"HDT_FM_{name}", raising=False)
        monkeypatch.delenv(f"HDT_FM_{name}_FILE", raising=False)
    for word in ("log", "rollback", "diff"):
        monkeypatch.setitem(WORDS, word, WORDS.get(word, word))
    monkeypatch.chdir(tmp_path)
    stays, bias = torch.arange(6.0).reshape(2, 3), torch.tensor([0.0, 12.0, 5.0])
    versions = Versions.create(
        tmp_path / "twin", fill(1, weight=stays, bias=bias, gone=torch.ones(4)), Told(note="first")
    )
    moved = bias + torch.tensor([3.0, 0.0, 4.0])
    told = Told(scores={SCORE: 24.5, "worst": math.nan}, facts={"seconds": 1.25}, data=("ab" * 16,))
    versions.append(fill(2, weight=stays, bias=moved.bfloat16(), fresh=torch.ones(2)), told)
    versions.append(fill(3, weight=stays.T.contiguous(), bias=moved.bfloat16()), Told(scores={SCORE: 23.25}))
    return tmp_path / "twin"


def told(capsys, *arguments):
    assert main(["twin", *arguments, "--json"]) == EXIT_OK
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments):
    assert main(["twin", *arguments]) == EXIT_USER_ERROR
    return capsys.readouterr().err


def test_the_ledger_is_told_newest_first(folder, capsys):
    found = told(capsys, "log", str(folder))
    assert (found["in_use"], found["kept"], found["damaged"]) == (3, [1, 2, 3], [])
    assert (found["signed"], found["sealed"], found["folder"]) == (False, False, str(folder))
    assert [entry["number"] for entry in found["entries"]] == [2, 1, 0]
    assert found["entries"][0]["scores"] == {SCORE: 23.25}
    assert [entry["number"] for entry in told(capsys, "log", str(folder), "last=1")["entries"]] == [2]
    assert main(["twin", "log", str(folder)]) == EXIT_OK
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "version 3 is in use; files are kept of 1, 2, 3"
    assert out[1] == "files not sealed, ledger not signed"
    assert out[2].endswith("updated to version 3")
    assert f"      {SCORE}: 23.25" in out
    assert "      worst: none" in out
    assert "      seconds: 1.25" in out
    assert out[-1] == "      first"


def test_what_was_forgotten_is_told(folder, capsys):
    Versions(folder).append(fill(4, bias=torch.ones(3)), Told(note="people withdrew"), forget=True)
    assert main(["twin", "log", str(folder), "last=1"]) == EXIT_OK
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "version 4 is in use; files are kept of 4"
    assert out[2].endswith("updated to version 4; those before it forgotten")
    assert "no longer kept" in refused(capsys, "rollback", str(folder), "to=2")


def test_a_rollback_and_its_undoing(folder, capsys):
    before = Versions(folder).folder_of(1)
    state = (before / "state.json").read_bytes()
    found = told(capsys, "rollback", str(folder), "to=1", "note=sensor was faulty")
    assert (found["from"], found["in_use"], found["entry"]) == (3, 1, 3)
    versions = Versions(folder)
    assert versions.current == before
    assert (versions.current / "state.json").read_bytes() == state
    assert (versions.entries[-1].note, versions.entries[-1].facts) == ("sensor was faulty", {"from version": 3})
    # Without a number: the one that was in use before.
    assert main(["twin", "rollback", str(folder)]) == EXIT_OK
    assert "version 3 is in use, version 1 was" in capsys.readouterr().out
    assert Versions(folder).number == 3


def test_a_damaged_version_in_use_is_told_and_left(folder, capsys):
    (Versions(folder).current / "state.json").write_text("{}")
    assert told(capsys, "log", str(folder))["damaged"] == [3]
    assert main(["twin", "log", str(folder)]) == EXIT_OK
    assert "DAMAGED: files of version 3" in capsys.readouterr().out
    assert "changed: state.json" in refused(capsys, "diff", str(folder))
    assert main(["twin", "rollback", str(folder)]) == EXIT_OK
    assert Versions(folder).number == 2


def test_two_versions_side_by_side(folder, capsys):
    found = told(capsys, "diff", str(folder), "from=1", "to=2")
    assert found["scores"] == {SCORE: {"from": None, "to": 24.5}, "worst": {"from": None, "to": None}}
    assert found["files"] == {
        "changed": ["head.safetensors", "state.json"],
        "new": [],
        "gone": [],
        "same": ["same.json"],
    }
    assert found["tensors"] == {
        "head.safetensors": {
            "bias": {"change": 5.0, "before": 13.0, "what": "moved"},
            "fresh": {"change": None, "before": None, "what": "new"},
            "gone": {"change": None, "before": 2.0, "what": "gone"},
        }
    }
    found = told(capsys, "diff", str(folder))
    assert (found["from"], found["to"]) == (2, 3)
    assert found["scores"][SCORE] == {"from": 24.5, "to": 23.25}
    assert found["tensors"]["head.safetensors"]["weight"] == {
        "change": None,
        "before": pytest.approx(math.sqrt(55)),
        "what": "reshaped",
    }
    assert main(["twin", "diff", str(folder), "--from", "1", "--to", "2"]) == EXIT_OK
    out = capsys.readouterr().out
    assert "    bias: moved by 5, norm 13 before" in out
    assert "  changed: state.json" in out
    assert "pulse" not in out
    assert main(["twin", "diff", str(folder)]) == EXIT_OK
    assert f"  {SCORE}: 24.5 -> 23.25  (-1.25)" in capsys.readouterr().out


def test_tensors_move_by_what_numpy_says(tmp_path):
    draws = np.random.default_rng(2)
    one, other = (draws.normal(size=(5, 7)).astype(np.float32) for _ in range(2))
    for name, values in (("one", one), ("other", other)):
        (tmp_path / name / "inner").mkdir(parents=True)
        save_file({"w": torch.from_numpy(values)}, tmp_path / name / "inner" / "a.safetensors")
        (tmp_path / name / f"{name}.txt").write_text("x")
    (tmp_path / "one" / "b.safetensors").write_bytes(b"none")
    (tmp_path / "other" / "b.safetensors").write_bytes(b"of them")
    found = differences(tmp_path / "one", tmp_path / "other")
    assert found.changed == ("b.safetensors", "inner/a.safetensors")
    assert (found.new, found.gone) == (("other.txt",), ("one.txt",))
    assert found.tensors.keys() == {"inner/a.safetensors"}
    moved = found.tensors["inner/a.safetensors"]["w"]
    assert moved.change == pytest.approx(np.linalg.norm(other.astype(float) - one))
    assert moved.before == pytest.approx(np.linalg.norm(one.astype(float)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["log", "twin", "lst=3"], "did you mean 'last'?"),
        (["log", "twin", "last=0"], "last is no count"),
        (["log", "twin", "last=x"], "last is no whole number"),
        (["log", "nowhere"], "There is no folder of versions here"),
        (["rollback", "twin", "to=3"], "is the one in use"),
        (["rollback", "twin", "to=9"], "There is no such version"),
        (["rollback", "twin", "to=1", "note=see /home/ann/x"], "would hold an absolute path"),
        (["diff", "twin", "to=1"], "There is no such version"),
        (["diff", "twin", "from=1", "to=4"], "There is no such version"),
        (["diff", "twin", "twin"], "takes one path"),
    ],
)
def test_a_mistake_is_named_and_nothing_changed(folder, capsys, arguments, words):
    before = (folder / "ledger.jsonl").read_bytes()
    assert words in refused(capsys, *arguments)
    assert (folder / "ledger.jsonl").read_bytes() == before


def test_one_version_has_nothing_before_it(folder, capsys):
    Versions.create(folder.with_name("young"), fill(1, bias=torch.ones(2)), Told())
    assert "There is one version only" in refused(capsys, "rollback", "young")


@pytest.mark.parametrize("word", ["log", "rollback", "diff"])
def test_help(folder, capsys, word):
    for arguments in ([], ["--help"]):
        assert main(["twin", word, *arguments]) == EXIT_OK
        out = capsys.readouterr().out
        assert out.startswith(f"usage: hdt-fm twin {word} FOLDER")
        assert "examples:" in out


def test_a_sealed_and_signed_folder(folder, capsys, monkeypatch):
    pyrage = pytest.importorskip("pyrage")
    key = pyrage.x25519.Identity.generate()
    monkeypatch.setenv("HDT_FM_LEDGER_KEY", "a key of 16 bytes and more")
    monkeypatch.setenv("HDT_FM_RECIPIENTS", str(key.to_public()))
    bias = torch.zeros(4)
    versions = Versions.create(folder.with_name("sealed"), fill(1, bias=bias), Told())
    versions.append(fill(2, bias=bias + 1), Told())
    found = told(capsys, "log", "sealed")
    assert (found["signed"], found["sealed"]) == (True, True)
    assert "no key is set to open them" in refused(capsys, "diff", "sealed")
    monkeypatch.setenv("HDT_FM_IDENTITY", str(key))
    found = told(capsys, "diff", "sealed")
    assert found["files"]["changed"] == ["head.safetensors", "state.json"]
    assert found["tensors"]["head.safetensors"]["bias"] == {"change": 2.0, "before": 0.0, "what": "moved"}
    assert told(capsys, "rollback", "sealed")["in_use"] == 1
