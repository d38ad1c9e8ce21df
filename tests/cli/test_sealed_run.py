"""A run on sealed shards, as typed: the same weights and numbers as on plain ones, and none of it without a key."""

import json
from pathlib import Path

import pytest

from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main

pyrage = pytest.importorskip("pyrage")
TINY = [
    "experiment=demo",
    "debug=tiny",
    "cohort.subjects=12",
    "cohort.hours=0.5",
    "split.test=0.4",
    "training.steps=4",
    "training.checkpoint_every=2",
]


def cli(verb: str, *more: str) -> int:
    return main([verb, *TINY, *more])


def provenance(folder: Path) -> dict[str, str]:
    return json.loads((folder / "result.json").read_text())["provenance"]


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> object:
    made = pyrage.x25519.Identity.generate()
    for name, told in (("RECIPIENTS", made.to_public()), ("IDENTITY", made)):
        monkeypatch.delenv(f"HDT_FM_{name}_FILE", raising=False)
        monkeypatch.setenv(f"HDT_FM_{name}", str(told))
    return made


def test_a_run_goes_over_sealed_shards_as_over_plain_ones(key, tmp_path, monkeypatch, capsys) -> None:
    plain, sealed = tmp_path / "plain", tmp_path / "sealed"
    assert cli("shard", f"root={plain}") == EXIT_OK
    assert cli("shard", f"root={sealed}", "shard.sealed=true") == EXIT_OK
    names = {path.name for path in (sealed / "shard" / "windows").iterdir()}
    assert names == {"all", "manifest.json.age", "seals.json.age"}
    for root in (plain, sealed):
        assert cli("pretrain", f"root={root}") == EXIT_OK
        assert cli("embed", f"root={root}") == EXIT_OK
    for verb in ("pretrain", "embed"):
        one, other = (provenance(root / verb) for root in (plain, sealed))
        # The file of settings names its own folder.
        assert one | {"config_file": ""} == other | {"config_file": ""}, verb
        assert one["shards"]
    tables = [(root / "embed" / "table" / "embeddings.safetensors").read_bytes() for root in (plain, sealed)]
    assert tables[0] == tables[1]
    there = f"shards={sealed / 'shard' / 'windows'}"
    monkeypatch.delenv("HDT_FM_IDENTITY")
    capsys.readouterr()
    assert cli("pretrain", f"root={tmp_path / 'none'}", there) == EXIT_USER_ERROR
    told = capsys.readouterr().err
    assert "no key is set to open them" in told
    assert "HDT_FM_IDENTITY_FILE" in told


def test_nobody_to_seal_for(key, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.delenv("HDT_FM_RECIPIENTS")
    for more in ([], ["--dry-run"]):
        assert cli("shard", f"root={tmp_path / 'a'}", "shard.sealed=true", *more) == EXIT_USER_ERROR
        assert "set HDT_FM_RECIPIENTS" in capsys.readouterr().err
    assert not (tmp_path / "a" / "shard" / "windows").exists()
