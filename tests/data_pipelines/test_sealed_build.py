"""Sealed builds: nothing of a person lies in the open, opened they are the plain build, and they are gone on with."""

import os
import tarfile

import numpy as np
import pytest

from data_pipelines import build as building
from data_pipelines import packing
from data_pipelines.engine.settings import EngineSettings
from data_pipelines.finished import finished, manifest_of
from data_pipelines.sealing import rewrite
from data_pipelines.verify import verify_folder
from data_pipelines.work_place import KEY_NAME
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import ConfigError, CorruptShardError, ShardError

pyrage = pytest.importorskip("pyrage")
RAW = (b"rawid", b"rawgroup")


@pytest.fixture
def keys(monkeypatch):
    """Three identities; what is written is for the first, who also opens."""
    for name in ("RECIPIENTS", "IDENTITY"):
        monkeypatch.delenv(f"HDT_FM_{name}_FILE", raising=False)
    found = [pyrage.x25519.Identity.generate() for _ in range(3)]
    monkeypatch.setenv("HDT_FM_RECIPIENTS", str(found[0].to_public()))
    monkeypatch.setenv("HDT_FM_IDENTITY", str(found[0]))
    return found


@pytest.fixture(scope="module")
def plain(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "shards"
    tiny.build(folder)
    return folder


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def telling(manifest):
    """Words and values that would say something of a person, or of what they have."""
    words = [row.subject for row in manifest.subjects] + [row.group for row in manifest.subjects]
    words += [label.name for label in manifest.header.labels]
    words += [one for label in manifest.header.labels for one in label.classes]
    # Four letters and fewer are somewhere by chance.
    return [word.encode() for word in words if len(word) > 4] + [*RAW, b"made in a test", b"CC0-1.0"]


def values_of(folder):
    """Stretches of stored arrays long enough that they are nowhere by chance."""
    opened = ShardFolder.open(folder)
    found = [opened.t0_ns[:3].tobytes(), opened.window_ids[:4].tobytes()]
    for shard, names in opened._blocks:
        found += [shard.array(place).tobytes()[:64] for name, place in names.items() if name not in ("mask", "sqi")]
    return [one for one in found if len(set(one)) > 8]


def test_opened_it_is_the_plain_build_to_the_byte_and_has_its_digest(tiny, plain, keys, tmp_path):
    manifest = tiny.build(tmp_path / "a", sealed=True)
    assert manifest == manifest_of(plain)
    assert ShardFolder.open(tmp_path / "a").digest == ShardFolder.open(plain).digest
    found = verify_folder(tmp_path / "a")
    assert (found.sound, found.windows) == (True, manifest.windows)
    rewrite(tmp_path / "a", tmp_path / "back", way="unseal")
    assert content(tmp_path / "back") == content(plain)


def test_nothing_in_it_tells_of_a_person(tiny, plain, keys, tmp_path):
    manifest = tiny.build(tmp_path / "a", sealed=True)
    words, values = telling(manifest), values_of(plain)
    assert len(words) > 20
    assert len(values) > 50
    data = content(tmp_path / "a")
    plain_data = b"".join(content(plain).values())
    assert sum(word in plain_data for word in words) > 15
    assert all(value in plain_data for value in values)
    for name, found in data.items():
        assert not [word for word in words if word in found], name
        assert not [value for value in values if value in found], name
    assert sorted(name for name in data if not name.startswith("all/")) == ["manifest.json.age", "seals.json.age"]
    with tarfile.open(tmp_path / "a" / "all" / "tiny-00000.tar") as tar:
        assert {name.rsplit(".", 1)[1] for name in tar.getnames()} == {"age"}
        assert "b000000.y_1.npy.age" in tar.getnames()
        # Outside of hdt_fm: tar and age are all it takes.
        member = tar.extractfile("b000000.ppg.npy.age").read()
    assert pyrage.decrypt(member, [keys[0]]).startswith(b"\x93NUMPY")


def test_what_is_cut_on_the_way_lies_sealed_too(tiny, plain, keys, tmp_path, monkeypatch):
    """As an attacker would find the disk when the power went before packing, and before publishing."""
    words, values = telling(manifest_of(plain)), values_of(plain)
    values = [value for value in values if len(value) == 64]
    seen = []

    def look(*arguments, **settings):
        files = content(tmp_path / "a")
        assert any(name.endswith("rows.tar") for name in files)
        for name, found in files.items():
            assert not [word for word in words if word in found], name
            assert not [value for value in values if value in found], name
        seen.append(len(files))

    pack, publish = packing.pack_one, building.publish
    monkeypatch.setattr(packing, "pack_one", lambda *given: look() or pack(*given))
    monkeypatch.setattr(building, "publish", lambda *given, **more: look() or publish(*given, **more))
    tiny.build(tmp_path / "a", sealed=True)
    assert len(seen) > 2
    assert not (tmp_path / "a" / ".work").exists()


@pytest.mark.parametrize("when", ["cut", "pack"])
def test_an_interrupted_one_goes_on_with_the_key(tiny, plain, keys, tmp_path, monkeypatch, when):
    def stop(done, total, what):
        if what == when and done > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.build(tmp_path / "a", sealed=True, progress=stop)
    assert (tmp_path / "a" / ".work" / KEY_NAME).is_file()
    if when == "pack":
        monkeypatch.setattr("data_pipelines.work.cut", None)
    tiny.build(tmp_path / "a", sealed=True)
    assert ShardFolder.open(tmp_path / "a", verify="full").digest == ShardFolder.open(plain).digest
    assert verify_folder(tmp_path / "a").sound


def test_without_the_key_it_begins_again_and_nothing_of_before_is_left(tiny, keys, tmp_path, monkeypatch):
    def stop(done, total, what):
        if what == "pack":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.build(tmp_path / "a", progress=stop)
    left = list((tmp_path / "a" / ".work").glob("*.tar"))
    assert left
    monkeypatch.delenv("HDT_FM_IDENTITY")
    with pytest.raises(KeyboardInterrupt):
        tiny.build(tmp_path / "a", sealed=True, progress=stop)
    # Of the plain one that was interrupted before.
    assert not [path for path in left if path.exists()]
    tiny.build(tmp_path / "a", sealed=True)
    monkeypatch.setenv("HDT_FM_IDENTITY", str(keys[0]))
    assert verify_folder(tmp_path / "a").sound


def test_what_was_published_halfway_is_taken_back(tiny, plain, keys, tmp_path, monkeypatch):
    def stop(path, data, **settings):
        if path.name == "manifest.json.age":
            raise KeyboardInterrupt
        return write(path, data, **settings)

    from data_pipelines import finished as module

    write = module.write_durably
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_durably", stop)
        with pytest.raises(KeyboardInterrupt):
            tiny.build(tmp_path / "a", sealed=True)
    assert (tmp_path / "a" / "seals.json.age").is_file()
    with pytest.raises(ShardError, match="did not finish"):
        ShardFolder.open(tmp_path / "a")
    tiny.build(tmp_path / "a", sealed=True)
    assert ShardFolder.open(tmp_path / "a", verify="full").digest == ShardFolder.open(plain).digest


def test_an_engine_that_leaves_the_machine_needs_the_key_there(tiny, keys, tmp_path, monkeypatch):
    monkeypatch.delenv("HDT_FM_IDENTITY")
    monkeypatch.setattr(EngineSettings, "require", lambda self: None)
    with pytest.raises(ConfigError, match="no key is set to open"):
        tiny.build(tmp_path / "a", sealed=True, engine=EngineSettings(name="slurm", cluster="local"))
    assert not (tmp_path / "a").exists()


def test_other_recipients_when_it_goes_on_get_all_of_it(tiny, keys, tmp_path, monkeypatch):
    def stop(done, total, what):
        if what == "pack" and done > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.build(tmp_path / "a", sealed=True, progress=stop)
    monkeypatch.setenv("HDT_FM_RECIPIENTS", str(keys[1].to_public()))
    tiny.build(tmp_path / "a", sealed=True)
    with pytest.raises(ShardError, match="another key"):
        ShardFolder.open(tmp_path / "a")
    monkeypatch.setenv("HDT_FM_IDENTITY", str(keys[1]))
    assert verify_folder(tmp_path / "a").sound


def test_tasks_that_leave_the_machine_take_no_key_along(tiny, plain, keys, tmp_path, monkeypatch):
    monkeypatch.setattr(EngineSettings, "leaves_machine", property(lambda self: True))
    pack, seen = packing.pack_one, []

    def looked(work, *given):
        seen.append((work.secret, bool(work.public)))
        return pack(work, *given)

    monkeypatch.setattr(packing, "pack_one", looked)
    tiny.build(tmp_path / "a", sealed=True)
    assert set(seen) == {("", True)}
    assert ShardFolder.open(tmp_path / "a", verify="full").digest == ShardFolder.open(plain).digest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("share", [0.15, 0.5, 0.8, 0.97])
def test_killed_anywhere_it_is_gone_on_with(tiny, plain, keys, tmp_path, operations, share):
    killed, _ = tiny.build_in_child(tmp_path / "a", kill_at=int(share * operations), sealed=True)
    assert killed
    tiny.build(tmp_path / "a", sealed=True)
    assert ShardFolder.open(tmp_path / "a", verify="full").digest == ShardFolder.open(plain).digest
    assert verify_folder(tmp_path / "a").sound
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["all", "manifest.json.age", "seals.json.age"]


@pytest.fixture(scope="module")
def operations(tiny, tmp_path_factory):
    """How many times a sealed build touches the disk."""
    made = pyrage.x25519.Identity.generate()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HDT_FM_RECIPIENTS", str(made.to_public()))
        patch.setenv("HDT_FM_IDENTITY", str(made))
        killed, count = tiny.build_in_child(tmp_path_factory.mktemp("whole") / "a", kill_at=0, sealed=True)
    assert not killed
    return count


def test_the_key_of_a_build_shows_nowhere(keys, tmp_path):
    from data_pipelines.work_place import begin

    place = begin(tmp_path, [str(keys[0].to_public())], owner="owner", travels=True)
    assert place.secret.startswith("AGE-SECRET-KEY")
    assert place.secret not in repr(place)
    assert place.secret.encode() not in (tmp_path / KEY_NAME).read_bytes()
    stays = begin(tmp_path, [str(keys[0].to_public())], owner="owner", travels=False)
    assert (stays.secret, stays.public) == ("", place.public)
    stays.write(tmp_path / "x.age", b"rest")
    assert place.read(tmp_path / "x.age") == stays.read(tmp_path / "x.age") == b"rest"


def test_without_recipients_nothing_is_begun(tiny, keys, tmp_path, monkeypatch):
    monkeypatch.delenv("HDT_FM_RECIPIENTS")
    with pytest.raises(ConfigError, match="would lie plain") as caught:
        tiny.build(tmp_path / "a", sealed=True)
    assert "set HDT_FM_RECIPIENTS" in str(caught.value)
    assert not (tmp_path / "a").exists()


def test_a_finished_one_is_known_again_and_a_plain_one_is_not_taken_for_it(tiny, plain, keys, tmp_path, monkeypatch):
    tiny.build(tmp_path / "a", sealed=True)
    before = content(tmp_path / "a")
    tiny.build(tmp_path / "a", sealed=True)
    assert content(tmp_path / "a") == before
    with pytest.raises(ShardError, match="another data set"):
        tiny.build(tmp_path / "a", sealed=True, seed=4)
    with pytest.raises(ShardError, match=r"lies sealed(?s:.*)shard unseal"):
        tiny.build(tmp_path / "a")
    with pytest.raises(ShardError, match=r"lies plain(?s:.*)shard seal"):
        tiny.build(plain, sealed=True)
    monkeypatch.delenv("HDT_FM_IDENTITY")
    with pytest.raises(ConfigError, match="no key is set to open"):
        tiny.build(tmp_path / "a", sealed=True)


def test_what_was_lost_is_told_under_seal(tiny, keys, tmp_path):
    many = tiny.TinyCohort(people=4, visits_each=60, seconds=12, bad=(1,))
    tiny.build(tmp_path / "a", many, sealed=True, encoding="f32")
    file = tmp_path / "a" / "quarantine.json.age"
    rows = pyrage.decrypt(file.read_bytes(), [keys[0]])
    assert b'"subject"' in rows
    assert b'"subject"' not in file.read_bytes()
    assert not (tmp_path / "a" / "quarantine.json").exists()
    rewrite(tmp_path / "a", tmp_path / "back", way="unseal")
    assert (tmp_path / "back" / "quarantine.json").read_bytes() == rows


def test_tasks_of_other_processes_find_the_key(tiny, keys, tmp_path):
    tiny.build(tmp_path / "a", sealed=True, engine=EngineSettings(workers=2))
    assert verify_folder(tmp_path / "a").sound


def test_a_shard_packed_twice_at_once_is_of_one_process(tiny, plain, keys, tmp_path, monkeypatch):
    """The engine may begin a task twice: the second end must speak of the bytes that lie there."""
    pack = packing.pack_one
    monkeypatch.setattr(packing, "pack_one", lambda *given: pack(*given) and pack(*given))
    write, made = packing.write_shard, []

    def twice(path, *given, **more):
        made.append(path)
        if len(made) == 1:
            # Somebody else has it done while we are at it.
            pack(*arguments)
        return write(path, *given, **more)

    arguments = ()

    def remembered(*given):
        nonlocal arguments
        arguments = given
        return pack(*given)

    monkeypatch.setattr(packing, "pack_one", remembered)
    monkeypatch.setattr(packing, "write_shard", twice)
    tiny.build(tmp_path / "a", sealed=True)
    assert len(made) == len(set(made)) == 1 + sum(map(len, manifest_of(plain).splits.values()))
    assert verify_folder(tmp_path / "a").sound


def test_a_sealed_shard_that_the_seals_do_not_know(tiny, keys, tmp_path):
    from data_pipelines.finished import put_seals

    tiny.build(tmp_path / "a", sealed=True)
    whole = finished(tmp_path / "a")
    seals = dict(list(whole.sealed.seals.shards.items())[1:])
    put_seals(tmp_path / "a", seals, to=[str(keys[0].to_public())])
    with pytest.raises(CorruptShardError, match="not among its seals"):
        ShardFolder.open(tmp_path / "a")
    os.unlink(tmp_path / "a" / "seals.json.age")
    with pytest.raises(CorruptShardError, match="has lost its seals"):
        ShardFolder.open(tmp_path / "a")


def test_several_rows_of_a_long_visit_are_sealed_together(tiny, plain, keys, tmp_path, monkeypatch):
    monkeypatch.setattr("data_pipelines.work_place.MOST_PIECES", 7)
    tiny.build(tmp_path / "a", sealed=True)
    order = np.arange(ShardFolder.open(plain).windows)
    one, other = ShardFolder.open(plain).gather(order), ShardFolder.open(tmp_path / "a").gather(order)
    assert all((one.signals[name].values == other.signals[name].values).all() for name in one.signals)
