"""Sealed folders that are changed: revoke and compact work on them as on plain ones, killed anywhere too."""

import shutil

import numpy as np
import pytest

from data_pipelines import compact as compacting
from data_pipelines.compact import compact
from data_pipelines.finished import finished, manifest_of, open_tar
from data_pipelines.revoke import revoke
from data_pipelines.sealing import rewrite
from data_pipelines.verify import verify_folder
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import ConfigError, ShardError
from hdt_fm.schema.shard_manifest import entries_of

pyrage = pytest.importorskip("pyrage")


@pytest.fixture(scope="module")
def keys():
    return [pyrage.x25519.Identity.generate() for _ in range(2)]


@pytest.fixture(autouse=True)
def told(keys, monkeypatch):
    for name in ("RECIPIENTS", "IDENTITY"):
        monkeypatch.delenv(f"HDT_FM_{name}_FILE", raising=False)
    monkeypatch.setenv("HDT_FM_RECIPIENTS", str(keys[0].to_public()))
    monkeypatch.setenv("HDT_FM_IDENTITY", str(keys[0]))


@pytest.fixture(scope="module")
def whole(made, keys, tmp_path_factory):
    folder = tmp_path_factory.mktemp("folders") / "plain"
    made.write_folder(folder, "b2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HDT_FM_RECIPIENTS", str(keys[0].to_public()))
        rewrite(folder, folder.with_name("sealed"))
    return folder


@pytest.fixture
def pair(whole, tmp_path):
    """A plain and a sealed copy."""
    return [shutil.copytree(whole.with_name(name), tmp_path / name) for name in ("plain", "sealed")]


def gone(folder, tmp_path, *rows):
    names = [manifest_of(folder).subjects[row].subject for row in rows]
    (tmp_path / "gone.txt").write_text("\n".join(names))
    return tmp_path / "gone.txt"


def test_revoked_and_erased_as_in_a_plain_one(pair, tmp_path):
    told = gone(pair[0], tmp_path, 1, 8)
    assert revoke(pair[0], told) == revoke(pair[1], told)
    plain, sealed = map(ShardFolder.open, pair)
    assert plain.digest == sealed.digest
    assert (plain.window_ids == sealed.window_ids).all()
    one, other = map(compact, pair)
    assert (one.windows_erased, one.people_erased) == (other.windows_erased, other.people_erased)
    plain, sealed = map(ShardFolder.open, pair)
    # The manifest speaks of the plain tars, which these would make.
    assert plain.digest == sealed.digest
    assert verify_folder(pair[1]).sound
    assert not any(np.isin(sealed.subject_rows, [1, 8]))
    whole = finished(pair[1])
    assert sorted(whole.sealed.seals.shards) == sorted(entry.path for entry in entries_of(whole.manifest))
    assert {path.suffix for path in pair[1].rglob("*") if path.is_file()} == {".tar", ".idx", ".age"}
    rewrite(pair[1], tmp_path / "back", way="unseal")
    for path in pair[0].rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "back" / path.relative_to(pair[0])).read_bytes()


@pytest.mark.parametrize("step", range(6))
def test_compact_stopped_anywhere_leaves_a_folder_that_opens(pair, tmp_path, monkeypatch, step):
    revoke(pair[1], gone(pair[0], tmp_path, 1))
    expected, done = ShardFolder.open(pair[1]).window_ids, []
    real = {name: getattr(compacting, name) for name in ("write_shard", "put_seals", "write_manifest", "_clear")}

    def stops(name):
        def call(*given, **more):
            if len(done) == step:
                raise KeyboardInterrupt
            done.append(name)
            return real[name](*given, **more)

        return call

    with monkeypatch.context() as patch:
        for name in real:
            patch.setattr(compacting, name, stops(name))
        with pytest.raises(KeyboardInterrupt):
            compact(pair[1])
    opened = ShardFolder.open(pair[1])
    assert sorted(opened.window_ids) == sorted(expected)
    opened.gather(np.arange(opened.windows))
    compact(pair[1])
    assert sorted(ShardFolder.open(pair[1]).window_ids) == sorted(expected)
    assert verify_folder(pair[1]).sound


@pytest.mark.parametrize("missing", ["RECIPIENTS", "IDENTITY"])
def test_both_keys_are_needed_to_change_one(pair, tmp_path, monkeypatch, missing):
    told = gone(pair[0], tmp_path, 1)
    revoke(pair[1], told)
    before = {path: path.read_bytes() for path in pair[1].rglob("*") if path.is_file()}
    monkeypatch.delenv(f"HDT_FM_{missing}")
    for change in (lambda: revoke(pair[1], told), lambda: compact(pair[1])):
        with pytest.raises(ConfigError, match=f"HDT_FM_{missing}"):
            change()
    assert {path: path.read_bytes() for path in pair[1].rglob("*") if path.is_file()} == before


def test_a_plain_folder_stays_plain_whoever_is_set(pair, tmp_path):
    revoke(pair[0], gone(pair[0], tmp_path, 1))
    compact(pair[0])
    assert not list(pair[0].rglob("*.age"))


def test_one_tar_with_the_manifest_alone(pair):
    manifest = manifest_of(pair[1])
    tar = open_tar(pair[1], manifest, entries_of(manifest)[0])
    assert tar.array(tar.blocks[1], "y_stress").tolist() == [0, 1, 0, 1, 0, 1]


def test_an_interrupted_compact_is_not_copied(pair, tmp_path):
    (pair[1] / "compact.json").write_text("{}")
    with pytest.raises(ShardError, match="shard compact"):
        rewrite(pair[1], tmp_path / "x")
