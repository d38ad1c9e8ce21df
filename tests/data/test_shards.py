"""The shard folder contract, from the reader's side."""

import json
import logging
import pickle
import random

import numpy as np
import pytest

from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import CorruptShardError, ShardError, UnknownNameError
from hdt_fm.schema.shard_index import read_index, write_index


def shards(folder):
    return sorted(folder.glob("all/*.tar"))


def edit_manifest(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def read_all(folder, **settings):
    opened = ShardFolder.open(folder, **settings)
    return opened.gather(np.arange(opened.windows))


def test_gather_in_any_order_equals_one_by_one(f32_folder):
    chosen = np.random.default_rng(0).integers(0, f32_folder.windows, 37)
    batch = f32_folder.gather(chosen)
    assert batch.window_id.tolist() == f32_folder.window_ids[chosen].tolist()
    assert batch.present.numpy().tolist() == f32_folder.present[chosen].tolist()
    for place, position in enumerate(chosen):
        single = f32_folder.gather(np.array([position]))
        for name in batch.modalities:
            if single.present[0, batch.modalities.index(name)]:
                assert (batch.signals[name].values[place] == single.signals[name].values[0]).all()
                assert (batch.signals[name].observed[place] == single.signals[name].observed[0]).all()
            else:
                assert name not in single.signals
                assert not batch.signals[name].values[place].any()
                assert not batch.signals[name].observed[place].any()
        assert np.array_equal(batch.labels["stress"][place], single.labels["stress"][0], equal_nan=True)
        assert batch.time_s[place] == single.time_s[0]


def test_a_batch_is_its_own_memory(f32_folder):
    first = f32_folder.gather(np.arange(9))
    for signal in first.signals.values():
        signal.values.add_(1)
    first.present[:] = False
    second = f32_folder.gather(np.arange(9))
    assert second.present.any()
    assert (first.signals["ppg"].values != second.signals["ppg"].values).any()


def test_blocks_and_facts_agree(f32_folder):
    joined = np.concatenate(f32_folder.blocks())
    assert np.array_equal(joined, np.arange(f32_folder.windows))
    assert {len(block) for block in f32_folder.blocks()} >= {16}
    assert f32_folder.windows == f32_folder.manifest.windows
    assert len(set(f32_folder.window_ids.tolist())) == f32_folder.windows
    assert len(f32_folder.gather(np.empty(0, np.int64))) == 0
    for bad in ([-1], [f32_folder.windows]):
        with pytest.raises(ShardError, match="outside the folder"):
            f32_folder.gather(np.array(bad))


def test_every_flipped_payload_byte_is_found_and_named(fresh):
    chance = random.Random(4)
    members = [(tar, record) for tar in shards(fresh) for record in read_index(tar.with_suffix(".idx")).members]
    assert {record["name"] for _, record in members} >= {b"ppg", b"ppg_observed", b"mask", b"sqi", b"wid", b"y_stress"}
    for tar, record in chance.sample(members, 12):
        data = tar.read_bytes()
        raw = bytearray(data)
        raw[int(record["offset"]) + chance.randrange(int(record["length"]))] ^= 1 << chance.randrange(8)
        tar.write_bytes(raw)
        with pytest.raises(CorruptShardError, match="differ from what was written") as caught:
            read_all(fresh)
        assert f"all/{tar.name}: b{record['block']:06d}.{record['name'].decode()}.npy" in str(caught.value)
        assert "copy the shard" in str(caught.value)
        tar.write_bytes(data)
    read_all(fresh)


def test_any_flipped_byte_is_found_by_full_verification(fresh):
    chance = random.Random(5)
    tar = shards(fresh)[1]
    data = tar.read_bytes()
    for _ in range(60):
        raw = bytearray(data)
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        tar.write_bytes(raw)
        with pytest.raises(ShardError, match=f"all/{tar.name}"):
            ShardFolder.open(fresh, verify="full")


def test_off_reads_on_and_touch_checks_only_once(fresh):
    tar = shards(fresh)[0]
    record = next(r for r in read_index(tar.with_suffix(".idx")).members if r["name"] == b"ppg")
    opened = ShardFolder.open(fresh)
    opened.gather(np.arange(opened.windows))
    with tar.open("r+b") as file:
        file.seek(int(record["offset"]) + int(record["header"]) + 3)
        file.write(b"\x55")
    opened.gather(np.arange(opened.windows))
    read_all(fresh, verify="off")
    with pytest.raises(CorruptShardError):
        read_all(fresh)


def test_truncation_and_a_missing_shard_are_found_on_opening(fresh):
    tar = shards(fresh)[2]
    data = tar.read_bytes()
    for length in (0, 1, 511, len(data) // 2, len(data) - 1):
        tar.write_bytes(data[:length])
        for verify in ("touch", "full", "off"):
            with pytest.raises(CorruptShardError, match="cut off") as caught:
                ShardFolder.open(fresh, verify=verify)
            assert f"all/{tar.name}" in str(caught.value)
    tar.unlink()
    with pytest.raises(CorruptShardError, match="missing"):
        ShardFolder.open(fresh)


@pytest.mark.parametrize("state", ["is missing", "belongs to another", "is damaged"])
def test_an_index_that_is_missing_stale_or_damaged_is_made_again(fresh, caplog, state):
    first, second = (tar.with_suffix(".idx") for tar in shards(fresh)[:2])
    good, expected = first.read_bytes(), read_all(fresh)
    if state == "is missing":
        first.unlink()
    else:
        first.write_bytes(second.read_bytes() if state == "belongs to another" else good[:-1] + b"?")
    with caplog.at_level(logging.WARNING):
        batch = read_all(fresh)
    assert f"all/{shards(fresh)[0].name} {state}" in caplog.text
    assert "made again" in caplog.text
    assert first.read_bytes() == good
    assert (batch.signals["acc"].values == expected.signals["acc"].values).all()


def test_a_rebuilt_index_never_blesses_damaged_bytes(fresh):
    tar = shards(fresh)[0]
    raw = bytearray(tar.read_bytes())
    raw[3000] ^= 1
    tar.write_bytes(raw)
    tar.with_suffix(".idx").unlink()
    with pytest.raises(CorruptShardError, match="differ"):
        ShardFolder.open(fresh)
    assert not tar.with_suffix(".idx").exists()


def test_an_index_that_lies_about_a_shape_is_refused(fresh):
    path = shards(fresh)[0].with_suffix(".idx")
    index = read_index(path)
    members = index.members.copy()
    place = np.flatnonzero(members["name"] == b"acc")[0]
    members["shape"][place] = members["shape"][place][[1, 0, 2]]
    write_index(path, type(index)(index.tar_bytes, index.tar_sha256, members))
    with pytest.raises(ShardError, match="another form"):
        ShardFolder.open(fresh)


def test_unfinished_foreign_and_hostile_folders_are_refused(fresh, tmp_path):
    with pytest.raises(ShardError, match="did not finish"):
        ShardFolder.open(tmp_path)
    with pytest.raises(UnknownNameError, match="split 'holdout'"):
        ShardFolder.open(fresh, split="holdout")
    for path in ("../../etc/passwd", "/etc/passwd", "all/../../x-00000.tar", "all/pipe:rm -rf-00000.tar"):
        copy = tmp_path / "copy"
        copy.mkdir(exist_ok=True)
        (copy / "manifest.json").write_bytes((fresh / "manifest.json").read_bytes())
        edit_manifest(copy, lambda manifest, path=path: manifest["splits"]["all"][0].update(path=path))
        with pytest.raises(ShardError, match="cannot be a shard") as caught:
            ShardFolder.open(copy)
        assert path not in str(caught.value)
    (copy / "manifest.json").write_bytes(pickle.dumps({}))
    with pytest.raises(ShardError, match="manifest cannot be read"):
        ShardFolder.open(copy)
    edit_manifest(fresh, lambda manifest: manifest.update(version=2))
    with pytest.raises(ShardError, match="another version"):
        ShardFolder.open(fresh)


def test_a_shard_of_another_folder_is_refused(fresh, tiny, tmp_path):
    tiny.build(tmp_path / "i16")
    other = shards(tmp_path / "i16")[0]
    target = shards(fresh)[0]
    target.write_bytes(other.read_bytes())
    target.with_suffix(".idx").write_bytes(other.with_suffix(".idx").read_bytes())
    with pytest.raises(CorruptShardError, match="cut off or changed"):
        ShardFolder.open(fresh)
    entry = json.loads((tmp_path / "i16" / "manifest.json").read_text())["splits"]["all"][0]
    edit_manifest(fresh, lambda manifest: manifest["splits"]["all"][0].update(entry))
    with pytest.raises(ShardError, match="does not belong"):
        ShardFolder.open(fresh)


def test_a_manifest_that_disagrees_with_its_shards_is_refused(fresh):
    edit_manifest(fresh, lambda manifest: manifest["subjects"].pop())
    with pytest.raises(ShardError, match="subject that the manifest does not have"):
        ShardFolder.open(fresh)
    edit_manifest(fresh, lambda manifest: manifest["splits"]["all"][0].update(windows=3))
    with pytest.raises(ShardError, match="windows that the manifest promises"):
        ShardFolder.open(fresh)


def test_revoked_windows_are_gone_at_once(fresh, f32_folder):
    gone = f32_folder.window_ids[f32_folder.subject_rows == 1].tolist()
    edit_manifest(fresh, lambda manifest: manifest.update(revoked_windows=gone))
    opened = ShardFolder.open(fresh)
    assert opened.windows == f32_folder.windows - len(gone)
    batch = opened.gather(np.arange(opened.windows))
    assert not np.isin(batch.window_id, gone).any()
    keep = np.flatnonzero(f32_folder.subject_rows != 1)
    assert (batch.signals["ppg"].values == f32_folder.gather(keep).signals["ppg"].values).all()
    assert np.array_equal(np.concatenate(opened.blocks()), np.arange(opened.windows))
    assert opened.digest != f32_folder.digest


def test_a_folder_that_cannot_be_written_still_opens_without_index(fresh, monkeypatch, caplog):
    def refuse(path, index):
        raise PermissionError

    shards(fresh)[0].with_suffix(".idx").unlink()
    monkeypatch.setattr("hdt_fm.data.local_tar.write_index", refuse)
    assert len(read_all(fresh)) > 0
    assert "in memory only" in caplog.text
