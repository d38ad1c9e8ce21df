"""A folder of versions: all or nothing, whatever the disk does, and nothing damaged is opened."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import torch

import hdt_fm
from hdt_fm.checkpoint import build_model, model_digest, save_model
from hdt_fm.checkpoint import ledger as book
from hdt_fm.checkpoint.versions import Versions
from hdt_fm.schema.errors import CheckpointError, ConfigError
from hdt_fm.schema.ledger import Told
from hdt_fm.schema.manifest import ModelConfig, Part, Preprocess
from hdt_fm.schema.preparation import ModalityPreparation, Preparation
from hdt_fm.schema.shard import ModalityColumn


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("LEDGER_KEY", "RECIPIENTS", "IDENTITY"):
        monkeypatch.delenv(f"HDT_FM_{name}", raising=False)
        monkeypatch.delenv(f"HDT_FM_{name}_FILE", raising=False)


def fill(number):
    def write(folder):
        (folder / "state.json").write_text(f'{{"of": {number}}}')
        (folder / "memory").mkdir()
        (folder / "memory" / "rows.bin").write_bytes(bytes([number]) * 70_000)

    return write


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def grown(folder, number, **settings):
    versions = Versions.create(folder, fill(1), Told(), **settings)
    for one in range(2, number + 1):
        versions.append(fill(one), Told())
    return versions


@pytest.fixture
def folder(tmp_path):
    grown(tmp_path / "twin", 3)
    return tmp_path / "twin"


def test_versions_come_and_go_back(tmp_path):
    versions = Versions.create(tmp_path / "a" / "twin", fill(1), Told(note="first"))
    first = content(versions.current)
    assert first.keys() == {"state.json", "memory/rows.bin", "SHA256SUMS"}
    entry = versions.append(fill(2), Told())
    assert (entry.number, entry.version, versions.number, versions.kept) == (1, 2, 2, (1, 2))
    assert versions.current.name == "000002"
    assert b'"of": 2' in content(versions.current)["state.json"]
    entry = versions.rollback(1, Told())
    assert (entry.number, entry.kind, entry.version, versions.number) == (2, "rollback", 1, 1)
    assert content(versions.current) == first
    assert versions.append(fill(3), Told()).version == 3
    assert Versions(tmp_path / "a" / "twin").entries == versions.entries
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["twin"]


def test_the_digest_of_a_version_by_hand(folder):
    sums = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}\n"
        for name, data in (("memory/rows.bin", b"\3" * 70_000), ("state.json", b'{"of": 3}'))
    )
    assert (folder / "versions" / "000003" / "SHA256SUMS").read_text() == sums
    assert Versions(folder).entries[-1].content == hashlib.sha256(sums.encode()).hexdigest()
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder / "versions" / "000003", capture_output=True)
    assert done.returncode == 0


def test_old_files_go_and_lines_stay(tmp_path):
    versions = grown(tmp_path / "twin", 6, keep=3)
    assert versions.kept == (4, 5, 6)
    # What was in use last stays, not what has the highest number: 4 is what 7 was made of.
    versions.rollback(4, Told())
    assert versions.kept == (4, 5, 6)
    versions.append(fill(7), Told())
    assert versions.kept == (4, 6, 7)
    versions.rollback(6, Told())
    versions.append(fill(8), Told())
    versions.append(fill(9), Told())
    assert versions.kept == (6, 8, 9)
    assert len(versions.entries) == 11
    assert sorted(path.name for path in (tmp_path / "twin" / "versions").iterdir()) == ["000006", "000008", "000009"]
    for number, words in ((4, "no longer kept"), (10, "no such version"), (0, "no such version")):
        for ask in (versions.folder_of, lambda one: versions.rollback(one, Told()), lambda one: open_(versions, one)):
            with pytest.raises(CheckpointError, match=words) as caught:
                ask(number)
            assert "one of: 6, 8, 9" in str(caught.value)
    with pytest.raises(CheckpointError, match="is the one in use"):
        versions.rollback(9, Told())
    with pytest.raises(ConfigError, match="At least one version"):
        Versions(tmp_path / "twin", keep=0)


def open_(versions, number):
    with versions.opened(number) as files:
        return content(files)


def test_what_must_be_forgotten_is_nowhere(folder):
    versions = Versions(folder)
    entry = versions.append(fill(4), Told(note="people withdrew"), forget=True)
    assert (entry.forgets, versions.kept) == (True, (4,))
    assert [path.name for path in (folder / "versions").iterdir()] == ["000004"]
    assert not any(b"\3" * 100 in data for data in content(folder).values())
    with pytest.raises(CheckpointError, match="no longer kept"):
        versions.rollback(3, Told())
    versions.append(fill(5), Told())
    assert Versions(folder).kept == (4, 5)


def test_what_cannot_be_forgotten_is_told(folder, monkeypatch):
    versions, true = Versions(folder), os.unlink

    def stuck(path, *rest, **named):
        if str(path).endswith("rows.bin"):
            raise PermissionError(errno.EACCES, "made in a test")
        return true(path, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", stuck)
        with pytest.raises(CheckpointError, match="Files of earlier versions cannot be removed") as caught:
            versions.append(fill(4), Told(), forget=True)
    assert "got: made in a test" in str(caught.value)
    # The version counts, and the older ones do not, though their files are there.
    versions = Versions(folder)
    assert (versions.number, versions.kept) == (4, (4,))
    assert (folder / "versions" / "000002").is_dir()
    with pytest.raises(CheckpointError, match="no longer kept"):
        versions.rollback(2, Told())
    versions.clear()
    assert [path.name for path in (folder / "versions").iterdir()] == ["000004"]


def test_a_lower_number_is_kept_from_the_next_change_on(tmp_path):
    grown(tmp_path / "twin", 4, keep=4)
    again = Versions(tmp_path / "twin", keep=1)
    assert again.kept == (1, 2, 3, 4)
    again.rollback(2, Told())
    assert again.kept == (2,)
    again.append(fill(5), Told())
    assert again.kept == (5,)


def test_it_opens_where_it_was_moved_or_copied_to(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "elsewhere").mkdir()
    shutil.move(folder, tmp_path / "elsewhere" / "renamed")
    for place in (tmp_path / "copy", tmp_path / "elsewhere" / "renamed"):
        versions = Versions(place)
        versions.verify()
        assert versions.append(fill(4), Told()).version == 4
    monkeypatch.chdir(tmp_path / "copy")
    assert Versions(Path(".")).rollback(1, Told()).version == 1
    assert not any(str(tmp_path).encode() in data for data in content(tmp_path / "copy").values())


def test_opened_is_the_folder_itself(folder):
    versions = Versions(folder)
    with versions.opened() as files:
        assert files == versions.current == folder / "versions" / "000003"
    with versions.opened(1) as files:
        assert files == versions.folder_of(1)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda place: (place / "memory" / "rows.bin").write_bytes(b"\3" * 69_999 + b"\4"), "changed: memory/rows.bin"),
        (lambda place: (place / "state.json").unlink(), "missing: state.json"),
        (lambda place: (place / "more").write_text(""), "new: more"),
        (lambda place: (place / "state.json").rename(place / "other.json"), "missing: state.json; new: other.json"),
        (lambda place: (place / "SHA256SUMS").unlink() or (place / "state.json").write_text(""), "SHA256SUMS that was"),
        (lambda place: (place / "link").symlink_to("state.json"), "no plain file"),
        (shutil.rmtree, "files of a version are missing"),
    ],
)
def test_damaged_files_are_named_and_an_earlier_version_is_the_way_out(folder, spoil, words):
    spoil(folder / "versions" / "000003")
    with pytest.raises(CheckpointError, match=words) as caught:
        Versions(folder)
    assert "no plain file" in words or "rollback" in str(caught.value)
    versions = Versions(folder, check_files=False)
    with pytest.raises(CheckpointError):
        versions.verify()
    assert versions.rollback(2, Told()).version == 2
    assert Versions(folder).number == 2


def test_a_damaged_earlier_version_is_not_gone_back_to(folder):
    (folder / "versions" / "000002" / "state.json").write_text("{}")
    versions = Versions(folder)
    for ask in (lambda: versions.rollback(2, Told()), versions.verify, lambda: open_(versions, 2)):
        with pytest.raises(CheckpointError, match=r"changed: state\.json"):
            ask()
    assert versions.number == Versions(folder).number == 3
    assert len(versions.entries) == 3


@pytest.mark.parametrize(
    ("make", "got"),
    [
        (lambda path: None, "nothing"),
        (lambda path: path.mkdir(), "an empty folder"),
        (lambda path: path.write_text("x"), "a file"),
        (lambda path: path.mkdir() or (path / "model.safetensors").write_text("x"), "something else"),
    ],
)
def test_what_is_no_folder_of_versions(tmp_path, make, got):
    make(tmp_path / "twin")
    with pytest.raises(CheckpointError, match="no folder of versions") as caught:
        Versions(tmp_path / "twin")
    assert f"got: {got}" in str(caught.value)


def test_creation_takes_an_empty_folder_and_no_other(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    assert Versions.create(tmp_path / "empty", fill(1), Told()).number == 1
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "full", folder):
        before = content(place) if place.is_dir() else place.read_bytes()
        with pytest.raises(CheckpointError, match="something here already"):
            Versions.create(place, fill(1), Told())
        assert (content(place) if place.is_dir() else place.read_bytes()) == before


def test_a_creation_that_fails_leaves_nothing_and_what_a_killed_one_left_goes(tmp_path):
    def fails(place):
        (place / "half").write_text("x")
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        Versions.create(tmp_path / "twin", fails, Told())
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".twin.new" / "versions" / ".new").mkdir(parents=True)
    (tmp_path / ".twin.new" / "ledger.jsonl").write_text("{")
    assert Versions.create(tmp_path / "twin", fill(1), Told()).number == 1
    assert [path.name for path in tmp_path.iterdir()] == ["twin"]


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda place: None, "was given no file"),
        (lambda place: (place / "SHA256SUMS").write_text("x"), "was given no file"),
        (lambda place: (place / "link").symlink_to("/etc/hostname"), "no plain file"),
        (lambda place: os.mkfifo(place / "pipe"), "no plain file"),
        (lambda place: (place / "two\nlines").write_text("x"), "no plain file"),
        (lambda place: (place / os.fsdecode(b"\xff")).write_text("x"), "no plain file"),
    ],
)
def test_a_version_is_plain_files(folder, write, words):
    before = content(folder)
    with pytest.raises(CheckpointError, match=words):
        Versions(folder).append(write, Told())
    assert content(folder) == before


def test_a_writer_that_fails_midway_changes_nothing(folder):
    def full(place):
        fill(4)(place)
        raise OSError(errno.ENOSPC, "No space left on device")

    before, versions = content(folder), Versions(folder)
    with pytest.raises(CheckpointError, match="so nothing was changed") as caught:
        versions.append(full, Told())
    assert "got: No space left on device" in str(caught.value)
    with pytest.raises(ZeroDivisionError):
        versions.append(lambda place: 1 / 0, Told())
    assert content(folder) == before
    assert sorted(path.name for path in (folder / "versions").iterdir()) == ["000001", "000002", "000003"]
    assert versions.append(fill(4), Told()).version == 4


STEPS = ("open", "mkdir", "write", "fsync", "rename", "replace", "ftruncate", "rmdir", "unlink")


class Steps:
    """Sees calls of the system that change a file, and acts at one of them."""

    def __init__(self, monkeypatch, act=lambda: None, at=0):
        self.seen = []
        for name in STEPS:
            monkeypatch.setattr(os, name, self.stepped(name, getattr(os, name), act, at))

    def stepped(self, name, call, act, at):
        def step(*arguments, **named):
            self.seen.append((name, arguments))
            if len(self.seen) == at:
                act()
            return call(*arguments, **named)

        return step


def full():
    raise OSError(errno.ENOSPC, "made in a test")


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("act", [full, interrupt])
def test_a_fault_at_any_step_leaves_the_old_version_or_the_new_one(tmp_path, act):
    grown(tmp_path / "kept", 4, keep=3)
    with pytest.MonkeyPatch.context() as patch:
        steps = Steps(patch)
        shutil.copytree(tmp_path / "kept", tmp_path / "count")
        Versions(tmp_path / "count", keep=3).append(fill(5), Told())
    ends = []
    for at in range(1, len(steps.seen) + 1):
        place = tmp_path / f"{at}"
        shutil.copytree(tmp_path / "kept", place)
        versions = Versions(place, keep=3)
        with pytest.MonkeyPatch.context() as patch:
            Steps(patch, act, at)
            try:
                versions.append(fill(5), Told())
                failed = False
            except (CheckpointError, KeyboardInterrupt):
                failed = True
        now = Versions(place, keep=3)
        now.verify()
        # An interrupt after the line was written does not take it back; an error that is told means nothing changed.
        assert now.number == 4 if failed and act is full else now.number in (4, 5)
        assert (now.number, now.entries) == (versions.number, versions.entries)
        assert b"%d" % now.number in content(now.current)["state.json"]
        ends.append(now.number)
        now.append(fill(now.number + 1), Told())
        names = sorted(path.name for path in (place / "versions").iterdir())
        assert names == [f"{one:06d}" for one in now.kept]
    assert len(ends) > 20
    assert {4, 5} == set(ends)
    assert ends == sorted(ends)


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the name of an open file")
def test_what_reaches_the_disk_before_what(folder, monkeypatch):
    """After a power cut a line without its files would be worse than none: the order of fsync is the whole promise."""
    done = []

    def watched(name):
        true = getattr(os, name)

        def call(what, *rest):
            # Where it lies at that moment; a rename is told by where it leads to.
            path = rest[0] if name in ("rename", "replace") else os.readlink(f"/proc/self/fd/{what}")
            done.append((name, Path(path).relative_to(folder).as_posix()))
            return true(what, *rest)

        return call

    for name in ("fsync", "write", "rename", "replace"):
        monkeypatch.setattr(os, name, watched(name))
    Versions(folder).append(fill(4), Told())
    files = {"state.json", "memory/rows.bin", "SHA256SUMS", "memory", ""}
    assert {(name, path) for name, path in done[:5]} == {("fsync", f"versions/.new/{one}".rstrip("/")) for one in files}
    assert done[5:] == [
        ("rename", "versions/000004"),
        ("fsync", "versions"),
        ("write", "ledger.jsonl"),
        ("fsync", "ledger.jsonl"),
        ("fsync", "ledger.head.new"),
        ("replace", "ledger.head"),
    ]


def test_a_ledger_that_takes_half_a_line_is_as_it_was(folder, monkeypatch):
    before, versions, true = content(folder), Versions(folder), os.write
    monkeypatch.setattr(os, "write", lambda handle, data: true(handle, data[:50]))
    with pytest.raises(CheckpointError, match="nothing was changed"):
        versions.append(fill(4), Told())
    assert content(folder) == before


def test_a_line_that_cannot_be_taken_back_keeps_its_files(folder, monkeypatch):
    """The disk fails after the line was written and again when it is cut: then it counts, and its files must stay."""
    versions, true, lines = Versions(folder), os.write, []

    def bad_disk(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def last_write(handle, data):
        lines.append(true(handle, data))
        monkeypatch.setattr(os, "fsync", bad_disk)
        return lines[-1]

    monkeypatch.setattr(os, "write", last_write)
    monkeypatch.setattr(os, "ftruncate", bad_disk)
    with pytest.raises(CheckpointError, match="cannot be written"):
        versions.append(fill(4), Told())
    monkeypatch.undo()
    assert len(lines) == 1
    now = Versions(folder)
    now.verify()
    assert (now.number, now.kept, now.entries) == (4, (1, 2, 3, 4), versions.entries)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_opens_and_tells_so(folder, monkeypatch, code):
    true = os.open

    def read_only(path, flags, *rest, **named):
        if flags & (os.O_RDWR | os.O_WRONLY):
            raise OSError(code, os.strerror(code))
        return true(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", read_only)
    steps = Steps(monkeypatch)
    versions = Versions(folder)
    versions.verify()
    with versions.opened() as files:
        assert (files / "state.json").is_file()
    assert [name for name, _ in steps.seen if name != "open"] == []
    for change in (lambda: versions.append(fill(4), Told()), lambda: versions.rollback(1, Told())):
        with pytest.raises(CheckpointError, match="cannot be written to") as caught:
            change()
        assert os.strerror(code) in str(caught.value)


def test_an_older_ledger_laid_over_newer_versions_removes_nothing(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "old")
    versions = Versions(folder)
    for number in (4, 5):
        versions.append(fill(number), Told())
    for name in ("ledger.jsonl", "ledger.head"):
        shutil.copy(tmp_path / "old" / name, folder / name)
    before = content(folder)
    for change in (lambda: Versions(folder).append(fill(6), Told()), lambda: Versions(folder).rollback(1, Told())):
        with pytest.raises(CheckpointError, match="that the ledger does not know") as caught:
            change()
        assert "versions/000005" in str(caught.value)
    assert content(folder) == before


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ledger.jsonl", "The ledger cannot be read"),
        ("ledger.head", "The ledger cannot be read"),
        ("versions/000003/state.json", "A file of a version cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(folder, monkeypatch, name, words):
    true = Path.open

    def bad_disk(path, *rest, **named):
        if path == folder / name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return true(path, *rest, **named)

    monkeypatch.setattr(Path, "open", bad_disk)
    with pytest.raises(CheckpointError, match=words) as caught:
        Versions(folder)
    assert os.strerror(errno.EIO) in str(caught.value)


def test_one_writer_at_a_time_and_readers_meanwhile(folder):
    versions, other = Versions(folder), Versions(folder)

    def write(place):
        with pytest.raises(CheckpointError, match="Another process is changing this folder"):
            other.append(fill(9), Told())
        with pytest.raises(CheckpointError, match="Another process is changing this folder"):
            other.rollback(1, Told())
        assert Versions(folder).number == 3
        fill(4)(place)

    assert versions.append(write, Told()).version == 4


def test_the_lock_goes_with_the_process(folder):
    child = os.fork()
    if child == 0:
        with book.writing(folder):
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert Versions(folder).append(fill(4), Told()).version == 4


def test_nobody_builds_on_what_another_has_changed_since(folder):
    versions, other = Versions(folder), Versions(folder)
    other.append(fill(4), Told())
    with pytest.raises(CheckpointError, match="since it was opened"):
        versions.append(fill(9), Told())
    assert versions.number == 4
    # It was read anew by that.
    assert versions.append(fill(5), Told()).version == 5
    with book.writing(folder) as handle:
        assert book.unchanged(handle, book.read(folder, None))


def test_two_creations_at_once(tmp_path):
    def write(place):
        with pytest.raises(CheckpointError, match="Another process is changing"):
            Versions.create(tmp_path / "twin", fill(2), Told())
        fill(1)(place)

    assert b'"of": 1' in content(Versions.create(tmp_path / "twin", write, Told()).current)["state.json"]


def test_the_clock_is_told_in_utc(tmp_path):
    there = datetime(2026, 1, 2, 1, 30, tzinfo=timezone(timedelta(hours=3)))
    versions = Versions.create(tmp_path / "twin", fill(1), Told(), clock=lambda: there)
    assert versions.entries[0].written == "2026-01-01T22:30:00+00:00"
    later = Versions(tmp_path / "twin", clock=lambda: there.astimezone(UTC) + timedelta(days=1))
    assert later.append(fill(2), Told()).written == "2026-01-02T22:30:00+00:00"


def test_a_checkpoint_is_a_version(tmp_path):
    column = ModalityColumn(name="eda", unit="uS", channels=1, sampling_rate_hz=4, samples=16, encoding="f32")
    prepared = Preparation(
        window_s=4.0, hop_s=4.0, modalities={"eda": ModalityPreparation(sampling_rate_hz=4, channels=1)}
    )
    config = ModelConfig(
        modalities=(column,),
        encoder=Part(name="patch_transformer", args={"width": 8, "depth": 1, "heads": 2, "patch_points": 8}),
        projection=Part(name="projection", args={"dim": 3}),
        statistics={"eda": (2.0, 1.5)},
        window_s=4.0,
    )
    preprocess = Preprocess(modalities=(column,), preparation=prepared)
    model = build_model(config)
    digest = model_digest(model)
    versions = Versions.create(tmp_path / "line", lambda place: save_model(model, place, preprocess=preprocess), Told())
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    versions.append(lambda place: save_model(model, place, preprocess=preprocess), Told())
    with versions.opened() as files:
        assert model_digest(hdt_fm.load(files)) == model_digest(model) != digest
    versions.rollback(1, Told())
    assert model_digest(hdt_fm.load(versions.current)) == digest
    assert sorted(path.name for path in (tmp_path / "line" / "versions").iterdir()) == ["000001", "000002"]
