"""Revoked people are skipped at once, and nobody else is."""

import multiprocessing
import shutil

import numpy as np
import pytest

from data_pipelines.finished import changing, manifest_of
from data_pipelines.revoke import revoke
from data_pipelines.verify import verify_folder
from hdt_fm.data.sampling import ShardOrder
from hdt_fm.data.shards import ShardFolder
from hdt_fm.data.stream import WindowStream
from hdt_fm.schema.errors import CheckpointError, ConfigError, CorruptShardError, ShardError


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("folders") / "whole"
    made.write_folder(path, "b2")
    return path


@pytest.fixture
def fresh(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "fresh")


def names(folder, *rows):
    return [manifest_of(folder).subjects[row].subject for row in rows]


def listed(tmp_path, lines):
    (tmp_path / "gone.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "gone.txt"


def test_no_window_of_a_revoked_person_in_a_full_epoch(fresh, tmp_path, made):
    before = ShardFolder.open(fresh, split="train")
    mine = set(before.window_ids[np.isin(before.subject_rows, [1, 4])].tolist())
    other = made.KEY.pseudonym("made", "somebody else")
    done = revoke(fresh, listed(tmp_path, [*names(fresh, 1, 4), other]))
    assert (done.people, done.not_here, done.windows) == (2, 1, len(mine))
    after = ShardFolder.open(fresh, split="train")
    assert set(after.window_ids.tolist()) == set(before.window_ids.tolist()) - mine
    stream = WindowStream(after, np.arange(after.windows), batch_size=5, seed=0, batches=len(mine) + 20)
    seen = {int(wid) for batch in stream for wid in batch.window_id}
    assert seen == set(after.window_ids.tolist())
    assert isinstance(stream.order, ShardOrder)
    assert verify_folder(fresh).sound
    assert verify_folder(fresh).revoked_windows == len(mine)


def test_a_stream_from_before_is_refused(fresh, tmp_path):
    before = ShardFolder.open(fresh, split="train")
    state = WindowStream(before, np.arange(5), batch_size=5, seed=0).state_dict()
    revoke(fresh, listed(tmp_path, names(fresh, 1)))
    after = ShardFolder.open(fresh, split="train")
    with pytest.raises(CheckpointError):
        WindowStream(after, np.arange(5), batch_size=5, seed=0).load_state_dict(state)


def test_again_changes_nothing_and_more_add_up(fresh, tmp_path):
    first = revoke(fresh, listed(tmp_path, names(fresh, 0)))
    data = (fresh / "manifest.json").read_bytes()
    again = revoke(fresh, listed(tmp_path, names(fresh, 0)))
    assert (again.windows, again.revoked_windows) == (0, first.windows)
    assert (fresh / "manifest.json").read_bytes() == data
    more = revoke(fresh, listed(tmp_path, names(fresh, 8)))
    assert more.revoked_windows == first.windows + more.windows
    assert list(manifest_of(fresh).revoked_windows) == sorted(set(manifest_of(fresh).revoked_windows))


def test_lists_as_people_write_them(fresh, tmp_path):
    one, two = names(fresh, 2, 9)
    expected = revoke(shutil.copytree(fresh, tmp_path / "copy"), listed(tmp_path, [one, two]))
    for lines in ([f"\ufeff{one}", "", f"  {two} ", ""], ["date,Subject,why", f"x,{one},", f"y,{two},moved"]):
        copy = shutil.copytree(fresh, tmp_path / f"copy{len(lines)}")
        assert revoke(copy, listed(tmp_path, lines)) == expected


@pytest.mark.parametrize("lines", [["Jane Doe"], ["s123"], ["subject", "17"], [""], ["subject"]])
def test_lists_of_anything_else_change_nothing_and_are_not_repeated(fresh, tmp_path, lines):
    data = (fresh / "manifest.json").read_bytes()
    with pytest.raises(ConfigError, match="list of people") as caught:
        revoke(fresh, listed(tmp_path, [*names(fresh, 0)[: "subject" not in lines and len(lines[0]) > 0], *lines]))
    assert "Jane" not in str(caught.value)
    assert (fresh / "manifest.json").read_bytes() == data
    with pytest.raises(ConfigError, match="cannot be read"):
        revoke(fresh, tmp_path / "no such file")


def test_a_damaged_shard_stops_it_before_the_manifest(fresh, tmp_path):
    tar = fresh / "train" / "made-00002.tar"
    data = (fresh / "manifest.json").read_bytes()
    tar.write_bytes(tar.read_bytes()[:-512])
    with pytest.raises(CorruptShardError):
        revoke(fresh, listed(tmp_path, names(fresh, 0)))
    assert (fresh / "manifest.json").read_bytes() == data
    with pytest.raises(ShardError, match="not a shard folder"):
        revoke(tmp_path, listed(tmp_path, ["s" + "0" * 32]))


def _try(folder, path, queue):
    try:
        queue.put(revoke(folder, path).windows)
    except ShardError as error:
        queue.put(error.problem)


def test_two_do_not_change_a_folder_at_a_time(fresh, tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with changing(fresh):
        other = context.Process(target=_try, args=(fresh, listed(tmp_path, names(fresh, 0)), queue))
        other.start()
        assert "Another process" in queue.get(timeout=20)
        other.join()
    assert sorted(path.name for path in fresh.iterdir()) == ["manifest.json", "test", "train"]
    assert revoke(fresh, listed(tmp_path, names(fresh, 0))).windows
