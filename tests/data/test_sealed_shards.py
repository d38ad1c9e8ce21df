"""Sealed folders: read as plain ones are, by those with a key; what is wrong with one is told and never read over."""

import itertools
import multiprocessing
import os
import pickle
import shutil
import tarfile

import numpy as np
import pytest
import webdataset

from data_pipelines.finished import make_indexes, manifest_of
from data_pipelines.sealing import rewrite
from data_pipelines.verify import verify_folder
from hdt_fm.data.loading import Loading
from hdt_fm.data.shards import ShardFolder
from hdt_fm.data.stock import decode, one_by_one
from hdt_fm.data.stream import WindowStream
from hdt_fm.schema import age
from hdt_fm.schema.errors import ConfigError, CorruptShardError, ShardError
from hdt_fm.schema.shard_index import is_sealed, read_index, write_index

pyrage = pytest.importorskip("pyrage")
CODECS = ("none", "b2")


@pytest.fixture(scope="module")
def keys():
    return [pyrage.x25519.Identity.generate() for _ in range(3)]


@pytest.fixture(autouse=True)
def told(keys, monkeypatch):
    """What is sealed is for the first two; the first opens."""
    for name in ("RECIPIENTS", "IDENTITY"):
        monkeypatch.delenv(f"HDT_FM_{name}_FILE", raising=False)
    monkeypatch.setenv("HDT_FM_RECIPIENTS", f"{keys[0].to_public()} {keys[1].to_public()}")
    monkeypatch.setenv("HDT_FM_IDENTITY", str(keys[0]))


@pytest.fixture(scope="module")
def folders(made, keys, tmp_path_factory):
    """Plain and sealed, by codec."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HDT_FM_RECIPIENTS", f"{keys[0].to_public()} {keys[1].to_public()}")
        patch.setenv("HDT_FM_IDENTITY", str(keys[0]))
        for codec in CODECS:
            plain = tmp_path_factory.mktemp("folders") / codec
            made.write_folder(plain, codec)
            rewrite(plain, plain.with_name(f"{codec}-sealed"))
            found[codec] = (plain, plain.with_name(f"{codec}-sealed"))
    return found


@pytest.fixture
def fresh(folders, tmp_path):
    return shutil.copytree(folders["none"][1], tmp_path / "fresh")


def same(one, other):
    assert (one.window_id == other.window_id).all()
    assert (one.present == other.present).all()
    assert (one.time_s == other.time_s).all()
    assert one.labels.keys() == other.labels.keys() == {"stress"}
    assert all((one.labels[name] == other.labels[name]).all() for name in one.labels)
    assert one.signals.keys() == other.signals.keys()
    for name in one.signals:
        assert (one.signals[name].values == other.signals[name].values).all()
        assert (one.signals[name].observed == other.signals[name].observed).all()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("verify", ["touch", "full", "off"])
def test_a_sealed_folder_gives_the_very_batches_of_the_plain_one(folders, codec, verify):
    plain, sealed = (ShardFolder.open(path, verify=verify) for path in folders[codec])
    assert sealed.digest == plain.digest
    order = np.random.default_rng(0).permutation(plain.windows)
    same(plain.gather(order), sealed.gather(order))
    coded = [folder.gather_coded(order[:9]).codes["acc"].codes for folder in (plain, sealed)]
    assert (coded[0] == coded[1]).all()


@pytest.mark.parametrize("loading", [Loading(threads=2), Loading(workers=2)])
def test_streams_of_both_go_on_from_each_other(folders, loading):
    plain, sealed = (ShardFolder.open(path, split="train") for path in folders["none"])
    ours = WindowStream(sealed, np.arange(sealed.windows), batch_size=8, seed=3, batches=11, loading=loading)
    theirs = WindowStream(plain, np.arange(plain.windows), batch_size=8, seed=3, batches=11)
    for one, other in itertools.zip_longest(ours, theirs):
        same(one, other)
    state = WindowStream(plain, np.arange(plain.windows), batch_size=8, seed=3).state_dict()
    ours.load_state_dict(state)


def test_what_is_opened_stays_within_the_bound_and_is_opened_once(folders, monkeypatch):
    opened, real = [], age.Identity.open_array

    def counted(self, data, *, where):
        opened.append(where)
        return real(self, data, where=where)

    monkeypatch.setattr(age.Identity, "open_array", counted)
    folder = ShardFolder.open(folders["none"][1], split="train")
    chance = np.random.default_rng(0)
    for _ in range(4):
        folder.gather(chance.permutation(folder.windows))
    members = [where for where in opened if ".npy" in where]
    assert len(members) == len(set(members))
    held = folder._shards[0]._held
    assert 0 < held.bytes <= held.limit_bytes
    small = ShardFolder.open(folders["none"][1], split="train")
    for shard in small._shards:
        shard._held.limit_bytes = 2000
    order = chance.permutation(small.windows)
    same(small.gather(order), folder.gather(order))
    assert small._shards[0]._held.bytes <= 2000 + 4096


def test_the_bound_is_told_by_the_environment(folders, monkeypatch):
    monkeypatch.setenv("HDT_FM_SHARDS_MEMORY_GB", "0.25")
    assert ShardFolder.open(folders["none"][1])._shards[0]._held.limit_bytes == 250_000_000
    for told in ("much", "-1", "nan"):
        monkeypatch.setenv("HDT_FM_SHARDS_MEMORY_GB", told)
        with pytest.raises(ConfigError, match="HDT_FM_SHARDS_MEMORY_GB"):
            ShardFolder.open(folders["none"][1])


def test_drawing_by_people_out_of_what_does_not_fit_is_told(folders, caplog):
    folder = ShardFolder.open(folders["none"][1], split="train")
    everyone = np.arange(folder.windows)
    WindowStream(folder, everyone, batch_size=4, seed=0, people_per_pool=2)
    assert not caplog.records
    folder._shards[0]._held.limit_bytes = 2000
    WindowStream(folder, everyone, batch_size=4, seed=0)
    assert not caplog.records
    WindowStream(folder, everyone, batch_size=4, seed=0, people_per_pool=2)
    assert "HDT_FM_SHARDS_MEMORY_GB" in caplog.text
    plain = ShardFolder.open(folders["none"][0], split="train")
    plain._shards[0]._held.limit_bytes = 2000
    caplog.clear()
    WindowStream(plain, everyone, batch_size=4, seed=0, people_per_pool=2)
    assert not caplog.records


def _windows(folder, queue):
    queue.put(int(folder.gather(np.arange(3)).window_id.sum()))


def test_no_pickle_holds_the_key_and_a_new_process_finds_it(folders, keys):
    folder = ShardFolder.open(folders["none"][1])
    folder.gather(np.arange(3))
    data = pickle.dumps(folder)
    assert str(keys[0]).encode() not in data
    assert str(keys[0]) not in repr(vars(folder))
    queue = multiprocessing.get_context("spawn").Queue()
    process = multiprocessing.get_context("spawn").Process(target=_windows, args=(folder, queue))
    process.start()
    assert queue.get(timeout=120) == int(folder.gather(np.arange(3)).window_id.sum())
    process.join()


def test_no_key_and_another_key(folders, keys, monkeypatch):
    for told, kind, words in (
        (str(keys[2]), ShardError, r"got: another key(?s:.*)set HDT_FM_IDENTITY"),
        ("AGE-SECRET-KEY-1XYZ", ConfigError, "no secret key of age"),
        (None, ConfigError, r"no key is set to open them(?s:.*)HDT_FM_IDENTITY_FILE"),
    ):
        if told is None:
            monkeypatch.delenv("HDT_FM_IDENTITY")
        else:
            monkeypatch.setenv("HDT_FM_IDENTITY", told)
        for ask in (ShardFolder.open, manifest_of, verify_folder, make_indexes):
            with pytest.raises(kind, match=words) as caught:
                ask(folders["none"][1])
            assert told is None or told not in str(caught.value)
    monkeypatch.setenv("HDT_FM_IDENTITY", str(keys[1]))
    assert ShardFolder.open(folders["none"][1]).windows == 48


def test_without_pyrage_it_is_said_what_to_install(folders, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyrage", None)
    with pytest.raises(ConfigError, match=r"pip install pyrage(?s:.*)sealed"):
        ShardFolder.open(folders["none"][1])
    assert ShardFolder.open(folders["none"][0]).windows == 48


def test_a_recipient_that_came_later_and_one_that_is_gone(folders, keys, tmp_path, monkeypatch):
    """Rotation: the new folder is for the new ones alone, and is the same folder."""
    monkeypatch.setenv("HDT_FM_RECIPIENTS", str(keys[2].to_public()))
    told = rewrite(folders["none"][1], tmp_path / "again")
    assert told.recipients == 1
    with pytest.raises(ShardError, match="another key"):
        ShardFolder.open(tmp_path / "again")
    monkeypatch.setenv("HDT_FM_IDENTITY", str(keys[2]))
    assert ShardFolder.open(tmp_path / "again").digest == told.digest == ShardFolder.open(folders["none"][0]).digest
    assert verify_folder(tmp_path / "again").sound


@pytest.mark.parametrize("codec", CODECS)
def test_unsealed_it_is_what_it_was(folders, codec, tmp_path):
    plain, sealed = folders[codec]
    rewrite(sealed, tmp_path / "back", way="unseal")
    before = {path.relative_to(plain): path.read_bytes() for path in plain.rglob("*") if path.is_file()}
    after = {
        path.relative_to(tmp_path / "back"): path.read_bytes()
        for path in (tmp_path / "back").rglob("*")
        if path.is_file()
    }
    assert before == after


def test_what_cannot_be_sealed(folders, tmp_path, monkeypatch, fresh):
    with pytest.raises(ConfigError, match="at the new place"):
        rewrite(folders["none"][0], fresh)
    with pytest.raises(ShardError, match="lies plain already"):
        rewrite(folders["none"][0], tmp_path / "x", way="unseal")
    damaged = shutil.copytree(folders["none"][0], tmp_path / "damaged")
    tar = damaged / "train" / "made-00000.tar"
    raw = bytearray(tar.read_bytes())
    raw[4000] ^= 1
    tar.write_bytes(raw)
    with pytest.raises(CorruptShardError):
        rewrite(damaged, tmp_path / "x")
    monkeypatch.delenv("HDT_FM_RECIPIENTS")
    with pytest.raises(ConfigError, match="nobody is set who could open it"):
        rewrite(folders["none"][0], tmp_path / "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged", "fresh"]


def test_an_index_is_made_again_with_the_key_and_is_the_same(fresh):
    paths = sorted(fresh.rglob("*.idx"))
    before = [path.read_bytes() for path in paths]
    assert all(is_sealed(record) for path in paths for record in read_index(path).members)
    for path in paths:
        path.unlink()
    assert ShardFolder.open(fresh).windows == 48
    assert [path.read_bytes() for path in paths] == before
    paths[0].unlink()
    make_indexes(fresh)
    assert [path.read_bytes() for path in paths] == before


def test_an_index_that_points_elsewhere_is_not_believed(fresh, caplog):
    """Two members of one shape changed places in the index: each opens, and is not the one that was asked for."""
    path = sorted(fresh.rglob("*.idx"))[0]
    index = read_index(path)
    members = index.members.copy()
    one, other = [place for place, record in enumerate(members) if record["name"] == b"wid"][:2]
    for field in ("offset", "length", "xxh3"):
        members[field][[one, other]] = members[field][[other, one]]
    expected = ShardFolder.open(fresh).window_ids
    write_index(path, type(index)(index.tar_bytes, index.tar_sha256, members))
    assert (ShardFolder.open(fresh).window_ids == expected).all()
    assert "made again" in caplog.text


def test_stock_webdataset_opens_it(folders, made, monkeypatch):
    path = folders["b2"][1] / "train" / "made-00000.tar"
    blocks = webdataset.WebDataset([str(path)], shardshuffle=False).map(decode)
    windows = list(blocks.compose(one_by_one))
    assert [int(window["wid"]) for window in windows] == list(range(12))
    assert np.array_equal(windows[4]["acc"], made.window(4)["acc"])
    monkeypatch.delenv("HDT_FM_IDENTITY")
    with pytest.raises(ConfigError, match="no key is set"):
        list(webdataset.WebDataset([str(path)], shardshuffle=False).map(decode))


def test_tar_and_age_are_all_it_takes(folders, keys):
    plain, sealed = folders["none"]
    with tarfile.open(sealed / "test" / "made-00000.tar") as tar:
        taken = {info.name: tar.extractfile(info).read() for info in tar.getmembers()}
    with tarfile.open(plain / "test" / "made-00000.tar") as tar:
        for info in tar.getmembers():
            name = info.name.replace("y_stress", "y_0") + ".age"
            assert pyrage.decrypt(taken[name], [keys[1]]) == tar.extractfile(info).read()
    assert (
        pyrage.decrypt((sealed / "manifest.json.age").read_bytes(), [keys[0]]) == (plain / "manifest.json").read_bytes()
    )


def test_a_damaged_sealed_folder_is_told_by_shard_and_member(fresh):
    tar = fresh / "train" / "made-00001.tar"
    record = next(r for r in read_index(tar.with_suffix(".idx")).members if r["name"] == b"ppg")
    raw = bytearray(tar.read_bytes())
    raw[int(record["offset"]) + 400] ^= 1
    tar.write_bytes(raw)
    found = verify_folder(fresh)
    assert [(fault.shard, fault.member) for fault in found.faults][-1] == (
        "train/made-00001.tar",
        "b000002.ppg.npy.age",
    )
    folder = ShardFolder.open(fresh, split="train")
    with pytest.raises(CorruptShardError, match=r"b000002\.ppg\.npy\.age"):
        folder.gather(np.arange(folder.windows))
    off = ShardFolder.open(fresh, split="train", verify="off")
    with pytest.raises(CorruptShardError, match="changed or cut off"):
        off.gather(np.arange(off.windows))
    os.unlink(fresh / "manifest.json.age")
    with pytest.raises(ShardError, match="not a shard folder"):
        ShardFolder.open(fresh)
