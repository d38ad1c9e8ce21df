"""Sealed bundles: what goes in comes out, for those it is for alone; hostile, cut and changed ones leave nothing."""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from hdt_fm.report.bundle import open_bundle, seal_folder
from hdt_fm.report.bundle_tar import MOST_FILES, Unpacking, packed
from hdt_fm.schema.age import Identity, new_identity, seal
from hdt_fm.schema.errors import ConfigError, PublishError

pytest.importorskip("pyrage")
MINE, OTHER, THIRD = (new_identity() for _ in range(3))


def me(secret: str = MINE[0]) -> Identity:
    return Identity(secret, wrong=PublishError, damaged=PublishError)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of sizes around what tar and age cut at, one of them below a folder."""
    made = tmp_path / "model"
    (made / "part").mkdir(parents=True)
    for number, size in enumerate((0, 1, 511, 512, 513, 65_535, 65_536, 200_001)):
        (made / f"file_{number}.bin").write_bytes(bytes((number + k) % 251 for k in range(size)))
    (made / "part" / "README.md").write_text("# two\n")
    return made


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def nothing_but(tmp_path: Path, *names: str) -> bool:
    return sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_what_was_sealed_comes_back_for_each_recipient(folder: Path, tmp_path: Path) -> None:
    assert seal_folder(folder, tmp_path / "out" / "m.tar.age", [MINE[1], OTHER[1]]) == 9
    for number, (secret, _) in enumerate((MINE, OTHER)):
        assert open_bundle(tmp_path / "out" / "m.tar.age", tmp_path / f"back{number}", me(secret)) == 9
        assert content(tmp_path / f"back{number}") == content(folder)
        assert not any(os.access(path, os.X_OK) for path in (tmp_path / f"back{number}").rglob("*.bin"))
    sealed = (tmp_path / "out" / "m.tar.age").read_bytes()
    assert not [name for name in content(folder) if name.encode() in sealed]
    assert nothing_but(tmp_path / "out", "m.tar.age")


def test_the_tar_is_the_same_whenever_and_by_whomever_it_is_made(folder: Path, tmp_path: Path) -> None:
    names = sorted(content(folder))
    first = b"".join(packed(folder, names))
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    assert b"".join(packed(folder, names)) == first
    with tarfile.open(fileobj=io.BytesIO(first)) as tar:  # as anyone's tar reads it
        assert [(member.name, member.mtime, member.uid, member.mode) for member in tar] == [
            (name, 0, 0, 0o644) for name in names
        ]
        assert {one.name: tar.extractfile(one).read() for one in tar} == content(folder)


def test_bytes_may_come_in_any_pieces(folder: Path, tmp_path: Path) -> None:
    tar = b"".join(packed(folder, sorted(content(folder))))
    for size in (1, 7, 512, 8192, len(tar)):
        into = Unpacking(tmp_path / str(size), where="x")
        (tmp_path / str(size)).mkdir()
        step = max(size, 100) if size == 1 else size  # a byte at a time would take a second for nothing
        for start in range(0, len(tar), step):
            into.write(tar[start : start + step])
        into.finish()
        assert content(tmp_path / str(size)) == content(folder)


def test_another_key_and_no_key(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = tmp_path / "m.tar.age"
    seal_folder(folder, sealed, [MINE[1]])
    with pytest.raises(PublishError, match="got: another key") as caught:
        open_bundle(sealed, tmp_path / "back", me(THIRD[0]))
    assert THIRD[0] not in str(caught.value)
    for name in ("HDT_FM_IDENTITY", "HDT_FM_IDENTITY_FILE", "HDT_FM_KEYRING"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="HDT_FM_IDENTITY"):
        open_bundle(sealed, tmp_path / "back", Identity())
    assert nothing_but(tmp_path, "model", "m.tar.age")


def test_changed_cut_and_foreign_files_leave_nothing(folder: Path, tmp_path: Path) -> None:
    sealed = tmp_path / "m.tar.age"
    seal_folder(folder, sealed, [MINE[1]])
    whole = sealed.read_bytes()
    cases = {
        "first": whole[:300] + bytes([whole[300] ^ 1]) + whole[301:],
        "last": whole[:-1] + bytes([whole[-1] ^ 1]),
        "cut": whole[: len(whole) // 2],
        "cut by one": whole[:-1],
        "longer": whole + b"x",
        "header": whole[:60],
        "empty": b"",
        "plain": b"".join(packed(folder, ["file_1.bin"])),
        "endless header": b"age-encryption.org/v1\n" + b"-> X25519 abc\n" * 10_000,
    }
    for name, data in cases.items():
        sealed.write_bytes(data)
        with pytest.raises(PublishError, match=r"changed or cut off|no sealed file"):
            open_bundle(sealed, tmp_path / "back", me())
        assert nothing_but(tmp_path, "model", "m.tar.age"), name


def member(name: str, data: bytes = b"x", **change: object) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in change.items():
        setattr(info, key, value)
    form = tarfile.PAX_FORMAT if len(name) > 100 else tarfile.USTAR_FORMAT
    return info.tobuf(format=form) + data + bytes(-len(data) % 512)


END = bytes(1024)
HOSTILE = {
    "leads above": member("../../evil") + END,
    "leads above within": member("a/../../evil") + END,
    "absolute": member("/tmp/evil") + END,
    "a drive": member("C:evil") + END,
    "backslashes": member("..\\evil") + END,
    "hidden": member(".bashrc") + END,
    "a symbolic link": member("a", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd") + END,
    "a hard link": member("a", b"", type=tarfile.LNKTYPE, linkname="b") + END,
    "a link's name in a file": member("a", linkname="/etc/passwd") + END,
    "a device": member("a", b"", type=tarfile.CHRTYPE) + END,
    "a folder": member("a", b"", type=tarfile.DIRTYPE) + END,
    "a pipe": member("a", b"", type=tarfile.FIFOTYPE) + END,
    "a sparse file": member("a", type=tarfile.GNUTYPE_SPARSE) + END,
    "an extension": member("a", type=tarfile.XHDTYPE) + END,
    "a name by an extension": member("n" * 200) + END,
    "twice": member("a") + member("a") + END,
    "twice but for case": member("part/A") + member("PART/a") + END,
    "a file and a folder": member("a") + member("a/b") + END,
    "a folder and a file": member("a/b") + member("a") + END,
    "too many": b"".join(member(f"f{k}", b"") for k in range(MOST_FILES + 1)) + END,
    "too large": member("a", b"x" * 5000) + END,
    "larger than it is": member("a", b"", size=10**9) + END,
    "a damaged header": b"\1" + member("a")[1:] + END,
    "a size in another form": (lambda head: head[:124] + b"\x80" + head[125:])(member("a")) + END,
    "no end": member("a"),
    "half an end": member("a") + bytes(512),
    "something after its end": member("a") + END + member("b"),
    "something in a gap": member("a", b"x")[:-1] + b"y" + END,
    "a compressed tar": b"\x1f\x8b" + bytes(2000),
    "nothing at all": b"",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_bundle_makes_no_file_anywhere(tmp_path: Path, case: str) -> None:
    (tmp_path / "in").mkdir()
    sealed = tmp_path / "in" / "m.tar.age"
    sealed.write_bytes(seal(HOSTILE[case], [MINE[1]]))
    with pytest.raises(PublishError, match="A bundle holds what it may not") as caught:
        open_bundle(sealed, tmp_path / "in" / "back", me(), most=4096)
    assert "evil" not in str(caught.value)
    assert nothing_but(tmp_path / "in", "m.tar.age")
    assert nothing_but(tmp_path, "in")


def test_a_target_that_is_there_stays_as_it_is(folder: Path, tmp_path: Path) -> None:
    sealed = tmp_path / "m.tar.age"
    seal_folder(folder, sealed, [MINE[1]])
    before = sealed.read_bytes()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for target in (sealed, folder, tmp_path / "dangling"):
        with pytest.raises(PublishError, match="something at this place"):
            seal_folder(folder, target, [MINE[1]])
        with pytest.raises(PublishError, match="something at this place"):
            open_bundle(sealed, target, me())
    assert sealed.read_bytes() == before
    with pytest.raises(PublishError, match="into itself"):
        seal_folder(folder, folder / "m.tar.age", [MINE[1]])
    assert len(content(folder)) == 9


def test_links_and_strange_names_are_not_sealed(folder: Path, tmp_path: Path) -> None:
    for name in (".hidden", "two words", "n" * 101, "ä"):
        (folder / name).write_bytes(b"x")
        with pytest.raises(PublishError, match="1 of other names"):
            seal_folder(folder, tmp_path / "m.tar.age", [MINE[1]])
        (folder / name).unlink()
    (folder / "link").symlink_to("file_1.bin")
    with pytest.raises(PublishError, match="holds a link"):
        seal_folder(folder, tmp_path / "m.tar.age", [MINE[1]])
    assert nothing_but(tmp_path, "model")


def test_a_full_disk_is_said_and_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = tmp_path / "m.tar.age"
    seal_folder(folder, sealed, [MINE[1]])

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Unpacking, "_fill", full)
    with pytest.raises(PublishError, match="No space left"):
        open_bundle(sealed, tmp_path / "back", me())
    monkeypatch.setattr("hdt_fm.report.bundle.os.fsync", full)
    with pytest.raises(PublishError, match="No space left"):
        seal_folder(folder, tmp_path / "other.tar.age", [MINE[1]])
    assert nothing_but(tmp_path, "model", "m.tar.age")


def test_a_file_that_changes_meanwhile_is_not_sealed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fstat

    def shorter(handle: int) -> os.stat_result:
        found = real(handle)
        return os.stat_result((*found[:6], found.st_size + 1, *found[7:10]))

    monkeypatch.setattr("hdt_fm.report.bundle_tar.os.fstat", shorter)
    with pytest.raises(PublishError, match="changed while it was sealed"):
        seal_folder(folder, tmp_path / "m.tar.age", [MINE[1]])
    assert nothing_but(tmp_path, "model")


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with (tmp_path / "model" / "weights.bin").open("wb") as file:
        file.truncate(150_000_000)
    code = f"""
import resource
from pathlib import Path
from hdt_fm.report.bundle import open_bundle, seal_folder
from hdt_fm.schema.age import Identity
here = Path({str(tmp_path)!r})
import pyrage, numpy
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
seal_folder(here / "model", here / "m.tar.age", [{MINE[1]!r}])
open_bundle(here / "m.tar.age", here / "back", Identity({MINE[0]!r}))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 30_000  # kilobytes
    assert (tmp_path / "back" / "weights.bin").stat().st_size == 150_000_000
