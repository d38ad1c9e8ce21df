"""Every fault of a folder is found and named; flips and cuts are drawn at random."""

import json
import random
import shutil

import pytest

from data_pipelines.finished import make_indexes, manifest_of
from data_pipelines.pack import write_shard
from data_pipelines.verify import verify_folder
from hdt_fm.data.shard_file import ShardFile
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import CorruptShardError, HdtError, LeakError, ShardError
from hdt_fm.schema.shard_index import name_of, read_index, write_index

CODECS = ("none", "b2", "pco")


@pytest.fixture(scope="module")
def folders(made, tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    for codec in CODECS:
        made.write_folder(root / codec, codec)
    return root


@pytest.fixture
def fresh(folders, tmp_path):
    return shutil.copytree(folders / "none", tmp_path / "fresh")


def faults(folder):
    return [(fault.shard, fault.block, fault.member, fault.problem) for fault in verify_folder(folder).faults]


def edit(folder, change):
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("codec", CODECS)
def test_a_sound_folder_is_sound_and_counted(folders, codec):
    found = verify_folder(folders / codec)
    assert found.faults == []
    assert (found.shards, found.windows) == (4, 48)
    members = [read_index(path).members for path in (folders / codec).glob("*/*.idx")]
    assert found.members == sum(map(len, members))
    assert found.bytes == sum(path.stat().st_size for path in (folders / codec).glob("*/*.tar"))


def places(folder):
    """(tar, its bytes, records) of every shard."""
    tars = sorted(folder.glob("*/*.tar"))
    return [(tar, tar.read_bytes(), read_index(tar.with_suffix(".idx")).members) for tar in tars]


def read_all(folder, manifest, tar, verify="touch"):
    """Open one shard as a folder does, and read all of it."""
    entry = next(
        one for part in manifest.splits.values() for one in part if one.path.endswith("/".join(tar.parts[-2:]))
    )
    shard = ShardFile(folder, entry, manifest.header, verify)
    for member in range(len(shard.members)):
        shard.array(member)


@pytest.mark.parametrize("codec", CODECS)
def test_every_flipped_payload_bit_is_found_by_touch_and_by_full(folders, tmp_path, codec):
    """T9: 102 flips for each codec, 306 in all; each is found by both, and named by touch."""
    folder = shutil.copytree(folders / codec, tmp_path / "a")
    chance, tars, manifest = random.Random(codec), places(folder), manifest_of(folder)
    for _ in range(102):
        tar, data, members = chance.choice(tars)
        record = members[chance.randrange(len(members))]
        place = int(record["offset"]) + chance.randrange(int(record["length"]))
        with tar.open("r+b") as file:
            file.seek(place)
            file.write(bytes([data[place] ^ 1 << chance.randrange(8)]))
        with pytest.raises(CorruptShardError, match="differ from what was written") as caught:
            read_all(folder, manifest, tar)
        assert f"{tar.parent.name}/{tar.name}: {name_of(record)}" in str(caught.value)
        with pytest.raises(CorruptShardError, match="sha256"):
            read_all(folder, manifest, tar, "full")
        with tar.open("r+b") as file:
            file.seek(place)
            file.write(data[place : place + 1])
    assert verify_folder(folder).sound


@pytest.mark.parametrize("codec", CODECS)
def test_every_cut_and_every_flip_anywhere_is_found(folders, tmp_path, codec):
    folder = shutil.copytree(folders / codec, tmp_path / "a")
    chance, tars, manifest = random.Random(codec), places(folder), manifest_of(folder)
    for turn in range(40):
        tar, data, _ = chance.choice(tars)
        raw = bytearray(data)
        place = chance.randrange(len(raw))
        raw[place] ^= 1 << chance.randrange(8)
        tar.write_bytes(data[:place] if turn % 2 else raw)
        for verify in ("touch", "full", "off") if turn % 2 else ("full",):
            with pytest.raises(CorruptShardError):
                read_all(folder, manifest, tar, verify)
        tar.write_bytes(data)


@pytest.mark.parametrize("codec", CODECS)
def test_verify_names_shard_block_and_member_of_each_flip(folders, tmp_path, codec):
    folder = shutil.copytree(folders / codec, tmp_path / "a")
    chance, expected = random.Random(codec), set()
    for tar, data, members in places(folder):
        raw = bytearray(data)
        for number in chance.sample(range(len(members)), 4):
            record = members[number]
            raw[int(record["offset"]) + chance.randrange(int(record["length"]))] ^= 1 << chance.randrange(8)
            expected.add((f"{tar.parent.name}/{tar.name}", int(record["block"]), name_of(record)))
        tar.write_bytes(raw)
    found = faults(folder)
    assert {fault[:3] for fault in found if fault[2]} == expected
    assert len([1 for fault in found if fault[3].startswith("sha256")]) == 4


def test_tar_headers_filling_and_ends_are_looked_at(fresh):
    tar, data, members = places(fresh)[0]
    shard, record = f"{tar.parent.name}/{tar.name}", members[3]
    start, stop = int(record["offset"]), int(record["offset"] + record["length"])
    for place, words in (
        (start - 512, "tar header is damaged"),
        (start - 512 + 124, "tar header is damaged"),
        (stop if stop % 512 else None, "filling behind it"),
        (len(data) - 1, "no proper end"),
        (700, "header"),
    ):
        if place is None:
            continue
        raw = bytearray(data)
        raw[place] ^= 4
        tar.write_bytes(raw)
        found = faults(fresh)
        assert any(words in problem and where == shard for where, _, _, problem in found), (words, found)
        if start - 512 <= place < stop + 512:
            assert any(member == name_of(record) for _, _, member, _ in found)
        tar.write_bytes(data)
    tar.write_bytes(data[:stop])
    assert any(member == name_of(members[4]) and "cut off" in problem for _, _, member, problem in faults(fresh))
    tar.write_bytes(b"")
    assert faults(fresh)
    tar.unlink()
    assert (shard, None, "", "is missing") in faults(fresh)


def test_indexes_that_are_missing_damaged_foreign_or_lie_are_faults_and_are_made_again(fresh):
    first, second = sorted(fresh.glob("train/*.idx"))[:2]
    good = {path: path.read_bytes() for path in fresh.glob("*/*.idx")}
    index = read_index(first)
    members = index.members.copy()
    members["xxh3"][2] ^= 1
    for state in ("has no index", "is of another shard", "is damaged", "does not fit its tar"):
        if state == "has no index":
            first.unlink()
        elif state == "does not fit its tar":
            write_index(first, type(index)(index.tar_bytes, index.tar_sha256, members))
        else:
            first.write_bytes(good[second] if "another" in state else good[first][:-9] + b"123456789")
        found = faults(fresh)
        assert len(found) == 1
        assert state in found[0][3]
        assert make_indexes(fresh) == 4
        assert {path: path.read_bytes() for path in fresh.glob("*/*.idx")} == good
    tar = fresh / "train" / "made-00000.tar"
    raw = bytearray(tar.read_bytes())
    raw[5000] ^= 1
    tar.write_bytes(raw)
    with pytest.raises(CorruptShardError, match=r"train/made-00000\.tar"):
        make_indexes(fresh)
    assert {path: path.read_bytes() for path in fresh.glob("*/*.idx")} == good


def test_packed_bytes_that_do_not_unpack_are_found_behind_a_right_checksum(made, folders, tmp_path, monkeypatch):
    folder = shutil.copytree(folders / "pco", tmp_path / "a")
    tar = folder / "test" / "made-00000.tar"
    monkeypatch.setattr("data_pipelines.pack.encode", lambda array, codec: b"pco!nothing")
    ((_, blocks),) = made.shards("test")
    packed = write_shard(tar, made.header("pco"), blocks)
    edit(folder, lambda manifest: manifest["splits"]["test"][0].update(bytes=packed.bytes, sha256=packed.sha256))
    found = faults(folder)
    assert ("test/made-00000.tar", 0, "b000000.ppg.npy.pco") in {fault[:3] for fault in found}
    assert all("does not become the array" in fault[3] for fault in found)


def test_people_and_windows_are_looked_at(made, fresh):
    edit(fresh, lambda manifest: manifest["subjects"][0].update(windows=1))
    assert "counts other windows" in faults(fresh)[0][3]
    edit(fresh, lambda manifest: manifest["splits"].update(test=manifest["splits"]["train"][:1]))
    edit(fresh, lambda manifest: manifest["splits"].update(train=manifest["splits"]["train"][1:]))
    problems = "\n".join(fault[3] for fault in faults(fresh))
    assert "(row 3) who is not of this split" in problems
    assert "shares a group" in problems
    assert "does not name it" in problems
    for split in ("all", "test"):
        with pytest.raises(LeakError, match="in another split"):
            ShardFolder.open(fresh, split=split)


def test_a_table_that_puts_a_person_in_two_splits_is_refused_on_opening(fresh):
    edit(fresh, lambda manifest: manifest["subjects"][8].update(group=manifest["subjects"][0]["group"]))
    for door in (ShardFolder.open, verify_folder):
        with pytest.raises(LeakError, match="group is in two splits"):
            door(fresh)
    edit(fresh, lambda manifest: manifest["subjects"][8].update(split="validation", group="s1"))
    with pytest.raises(LeakError, match="not there"):
        ShardFolder.open(fresh)


def test_windows_with_the_same_id_are_found(made, fresh):
    ((_, blocks),) = made.shards("test")
    blocks[1][1]["wid"] = blocks[0][1]["wid"]
    packed = write_shard(fresh / "test" / "made-00000.tar", made.header(), blocks)
    edit(fresh, lambda manifest: manifest["splits"]["test"][0].update(bytes=packed.bytes, sha256=packed.sha256))
    assert "the same id" in faults(fresh)[0][3]


def test_a_folder_that_is_none_is_told(tmp_path):
    with pytest.raises(ShardError, match="not a shard folder"):
        verify_folder(tmp_path)
    with pytest.raises(HdtError):
        make_indexes(tmp_path / "nothing")
