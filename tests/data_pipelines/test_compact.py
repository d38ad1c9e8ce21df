"""Compacted, a folder holds no byte of the people who left; killed anywhere, it is whole and goes on."""

import json
import os
import shutil
import signal
import sys

import numpy as np
import pytest

from data_pipelines.compact import NOTE_NAME, compact
from data_pipelines.finished import manifest_of
from data_pipelines.revoke import revoke
from data_pipelines.verify import verify_folder
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import CorruptShardError, ShardError
from hdt_fm.schema.shard_index import read_index

LEFT = (1, 4, 8)


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("folders") / "whole"
    made.write_folder(path)
    return path


@pytest.fixture(scope="module")
def revoked(whole, tmp_path_factory):
    path = shutil.copytree(whole, tmp_path_factory.mktemp("folders") / "revoked")
    take_out(path, *LEFT)
    return path


@pytest.fixture
def fresh(revoked, tmp_path):
    return shutil.copytree(revoked, tmp_path / "fresh")


def take_out(folder, *rows):
    lines = [manifest_of(folder).subjects[row].subject for row in rows]
    path = folder.parent / "gone.txt"
    path.write_text("\n".join(lines))
    return revoke(folder, path)


def windows(folder):
    """Everything of each window that can be read, by id."""
    opened = ShardFolder.open(folder, verify="full")
    batch = opened.gather(np.arange(opened.windows))
    return {
        int(wid): (
            int(batch.subject[row]),
            float(batch.time_s[row]),
            float(batch.labels["stress"][row]),
            tuple(batch.present[row].tolist()),
            *(signal.values[row].numpy().tobytes() for signal in batch.signals.values()),
            *(signal.observed[row].numpy().tobytes() for signal in batch.signals.values()),
        )
        for row, wid in enumerate(batch.window_id)
    }


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("codec", ["none", "b2", "pco"])
def test_nothing_of_the_people_is_left_and_nothing_else_is_lost(made, tmp_path, codec):
    folder = tmp_path / "a"
    before = made.write_folder(folder, codec)
    take_out(folder, *LEFT)
    kept, names = windows(folder), [before.subjects[row] for row in LEFT]
    gone = set(manifest_of(folder).revoked_windows)
    done = compact(folder)
    assert windows(folder) == kept
    assert (done.windows_erased, done.people_erased, done.data_version) == (len(gone), 3, 2)
    assert done.bytes_after < done.bytes_before
    found = verify_folder(folder)
    assert found.sound
    assert found.windows == len(kept)
    after = manifest_of(folder)
    assert after.revoked_windows == ()
    assert after.counts.windows_revoked == len(gone)
    assert after.counts.windows_kept == after.windows == len(kept)
    text = (folder / "manifest.json").read_text()
    for person in names:
        assert person.subject not in text
        assert person.group not in text
    assert all(after.subjects[row].covariates == {} for row in LEFT)
    if codec == "none":
        everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        for wid in gone:
            for name, values in made.window(wid).items():
                assert values.tobytes() not in everything, name
        assert made.window(next(iter(kept)))["acc"].tobytes() in everything


def test_names_and_bytes_are_the_same_again_and_others_stay(whole, tmp_path):
    one, two = (shutil.copytree(whole, tmp_path / name) for name in "ab")
    for folder in (one, two):
        take_out(folder, 8)
        compact(folder)
    assert files(one) == files(two)
    before = files(whole)
    assert {name: data for name, data in files(one).items() if name.startswith("train")} == {
        name: data for name, data in before.items() if name.startswith("train")
    }
    assert sorted(path.name for path in (one / "test").iterdir()) == ["made-d2-00000.idx", "made-d2-00000.tar"]
    take_out(one, 9)
    assert compact(one).data_version == 3
    assert sorted(path.name for path in (one / "test").iterdir()) == ["made-d3-00000.idx", "made-d3-00000.tar"]
    data = files(one)
    assert compact(one).windows_erased == 0
    assert files(one) == data


def test_a_modality_that_nobody_has_any_more_is_left_out_as_the_contract_says(made, tmp_path):
    folder = tmp_path / "a"
    made.write_folder(folder)
    opened = ShardFolder.open(folder, split="test")
    with_temp = set(opened.window_ids[opened.present[:, 2]].tolist())
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["revoked_windows"] = sorted(with_temp | {wid for wid in opened.window_ids.tolist() if wid % 3 == 0})
    (folder / "manifest.json").write_text(json.dumps(manifest))
    kept = windows(folder)
    compact(folder)
    assert windows(folder) == kept
    names = {record["name"] for record in read_index(folder / "test" / "made-d2-00000.idx").members}
    assert b"temp" not in names
    assert b"ppg_observed" not in names
    assert b"ppg" in names


def test_a_split_of_which_nobody_is_left_is_empty(fresh):
    take_out(fresh, 7, 9)
    compact(fresh)
    assert manifest_of(fresh).splits["test"] == ()
    assert not list((fresh / "test").iterdir())
    assert ShardFolder.open(fresh, split="test").windows == 0
    assert verify_folder(fresh).sound


def killed(folder, kill_at):
    """Compact in a process that kills itself before its `kill_at`-th file operation; how many, if it lived."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        seen = 0

        def watch(event, arguments):
            nonlocal seen
            if event in ("open", "os.rename", "os.remove", "mmap.__new__"):
                seen += 1
                if seen == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        compact(folder)
        os.write(writer, str(seen).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        count = pipe.read()
    status = os.waitpid(child, 0)[1]
    return None if os.WIFSIGNALED(status) else int(count)


def test_killed_anywhere_the_folder_is_valid_and_goes_on_to_the_same_bytes(revoked, tmp_path):
    unbroken = shutil.copytree(revoked, tmp_path / "unbroken")
    operations, expected = killed(unbroken, 0), files(unbroken)
    kept = sorted(ShardFolder.open(revoked).window_ids.tolist())
    assert operations > 60
    late = operations * 2 // 3
    for kill_at in (*range(1, late, 12), *range(late, operations + 1, 4), operations):
        folder = shutil.copytree(revoked, tmp_path / "a")
        assert killed(folder, kill_at) is None
        assert sorted(ShardFolder.open(folder).window_ids.tolist()) == kept
        if kill_at % 4 == 0:
            killed(folder, kill_at // 2 + 1)
        compact(folder)
        assert files(folder) == expected
        shutil.rmtree(folder)


def test_more_people_revoked_after_a_kill_are_out_too(revoked, tmp_path):
    for kill_at in (40, 75):
        folder = shutil.copytree(revoked, tmp_path / f"a{kill_at}")
        assert killed(folder, kill_at) is None
        take_out(folder, 2)
        kept = windows(folder)
        compact(folder)
        assert windows(folder) == kept
        assert verify_folder(folder).sound
        assert not (folder / NOTE_NAME).exists()


def test_a_file_that_lies_where_a_new_shard_goes_is_not_taken_for_it(made, fresh):
    kept = windows(fresh)
    for split in ("train", "test"):
        (fresh / split / "made-d2-00000.tar").write_bytes(b"from a copy of long ago")
    compact(fresh)
    assert windows(fresh) == kept


def test_damage_stops_it_before_anything_is_replaced(fresh):
    tar = fresh / "train" / "made-00001.tar"
    raw = bytearray(tar.read_bytes())
    raw[3000:3400] = bytes(400)
    tar.write_bytes(raw)
    data = (fresh / "manifest.json").read_bytes()
    with pytest.raises(CorruptShardError, match=r"made-00001\.tar"):
        compact(fresh)
    assert (fresh / "manifest.json").read_bytes() == data
    assert "interrupted" in "".join(fault.problem for fault in verify_folder(fresh).faults)


def test_a_note_that_names_other_files_deletes_nothing(made, fresh):
    victim = fresh.parent / "precious.tar"
    victim.write_bytes(b"x")
    (fresh / NOTE_NAME).write_text('{"manifest": "0", "made": ["../precious.tar"], "gone": []}')
    with pytest.raises(ShardError, match="note of an interrupted"):
        compact(fresh)
    assert victim.exists()
