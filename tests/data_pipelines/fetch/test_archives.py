"""Archives to folders: honest ones whole, hostile ones not at all."""

import io
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_pipelines.fetch.archives import Limits, lift_one_folder, safe_place, unpack, unpack_nested
from hdt_fm.schema.errors import FetchError

FILES = {"set/a.txt": b"a" * 3, "set/deep/b.csv": bytes(range(256)) * 7, "c d.txt": b""}


def tarred(files: dict[str, bytes], *, mode: str = "w:gz", more: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for entry in more:
            archive.addfile(entry)
    return out.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz"])
def test_an_honest_archive_comes_out_whole(name: str, tmp_path: Path, make: Any) -> None:
    path = tmp_path / name
    path.write_bytes(make.zipped(FILES) if name == "a.zip" else tarred(FILES, mode="w:gz" if "gz" in name else "w"))
    unpack(path, tmp_path / "out")
    assert contents(tmp_path / "out") == FILES


def test_archives_in_an_archive_are_unpacked_where_they_stand(tmp_path: Path, make: Any) -> None:
    inner = make.zipped({"UCI HAR Dataset/train/x.txt": b"1 2"})
    kept = make.zipped({"BVP.csv": b"1"})
    (tmp_path / "a.zip").write_bytes(
        make.zipped({"UCI HAR Dataset.zip": inner, "sub/UCI HAR Dataset.zip": inner, "S2_E4_Data.zip": kept})
    )
    unpack(tmp_path / "a.zip", tmp_path / "out")
    unpack_nested(tmp_path / "out", ["UCI HAR Dataset.zip"])
    assert contents(tmp_path / "out") == {
        "UCI HAR Dataset/train/x.txt": b"1 2",
        "sub/UCI HAR Dataset/train/x.txt": b"1 2",
        "S2_E4_Data.zip": kept,
    }


def test_one_folder_around_all_is_lifted(tmp_path: Path) -> None:
    (tmp_path / "a" / "set-1234" / "x").mkdir(parents=True)
    assert lift_one_folder(tmp_path / "a") == tmp_path / "a" / "set-1234"
    (tmp_path / "a" / "README").write_text("")
    assert lift_one_folder(tmp_path / "a") == tmp_path / "a"


def linked(name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc")
        archive.writestr(f"{name}/passwd", "x")
    return out.getvalue()


def twice() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.txt", "2")
    return out.getvalue()


def lying(make: Any) -> bytes:
    """A zip whose directory says that its file is shorter than what comes out."""
    data = make.zipped({"a.txt": b"a" * 5000})
    at = data.rindex(b"PK\x01\x02")
    return data[: at + 24] + (100).to_bytes(4, "little") + data[at + 28 :]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def kind(name: str, what: bytes, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = what, link
    return entry


HOSTILE: dict[str, tuple[Callable[[Any], bytes], str]] = {
    "climbs.zip": (lambda make: make.zipped({"../out.txt": b"x"}), "not safe"),
    "climbs_later.zip": (lambda make: make.zipped({"ok.txt": b"x", "a/../../out.txt": b"x"}), "not safe"),
    "climbs_backwards.zip": (lambda make: make.zipped({"..\\out.txt": b"x"}), "not safe"),
    "absolute.zip": (lambda make: make.zipped({"/tmp/out.txt": b"x"}), "not safe"),
    "drive.zip": (lambda make: make.zipped({"C:\\out.txt": b"x"}), "not safe"),
    "link.zip": (lambda make: linked("etc"), "not safe"),
    "twice.zip": (lambda make: twice(), "not safe"),
    "bomb.zip": (lambda make: make.zipped({"a": bytes(40_000_000)}), "far more than it is"),
    "many_bombs.zip": (lambda make: make.zipped({f"a{n}": bytes(3_000_000) for n in range(9)}), "far more than it is"),
    "many.zip": (lambda make: make.zipped({str(n): b"" for n in range(60)}), "too many files"),
    "lying.zip": (lying, "truncated or damaged|far more than it is"),
    "cut.zip": (lambda make: make.zipped(FILES)[:-30], "truncated or damaged"),
    "broken.zip": (lambda make: flipped(make.zipped({"a.txt": bytes(range(256))}), 100), "truncated or damaged"),
    "page.zip": (lambda make: b"<html>please log in</html>", "truncated or damaged"),
    "climbs.tar.gz": (lambda make: tarred({"../out.txt": b"x"}), "not safe"),
    "absolute.tar.gz": (lambda make: tarred({"/tmp/out.txt": b"x"}), "not safe"),
    "link.tar.gz": (lambda make: tarred({}, more=(kind("etc", tarfile.SYMTYPE, "/etc"),)), "not safe"),
    "hard_link.tar.gz": (lambda make: tarred({}, more=(kind("a", tarfile.LNKTYPE, "/etc/passwd"),)), "not safe"),
    "device.tar": (lambda make: tarred({}, mode="w", more=(kind("a", tarfile.CHRTYPE),)), "not safe"),
    "pipe.tar.gz": (lambda make: tarred({}, more=(kind("a", tarfile.FIFOTYPE),)), "not safe"),
    "bomb.tar.gz": (lambda make: tarred({"a": bytes(40_000_000)}), "far more than it is"),
    "many.tar.gz": (lambda make: tarred({str(n): b"" for n in range(60)}), "too many files"),
    "cut.tar.gz": (lambda make: tarred(FILES)[:-60], "truncated or damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_writes_nothing_outside(name: str, tmp_path: Path, make: Any) -> None:
    build, expected = HOSTILE[name]
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / name
    path.write_bytes(build(make))
    with pytest.raises(FetchError, match=expected) as caught:
        unpack(path, tmp_path / "in" / "out", limits=Limits(members=50))
    assert caught.value.fix
    assert not list(tmp_path.rglob("out.txt"))
    assert not any(child.is_symlink() for child in tmp_path.rglob("*"))
    assert sum(child.stat().st_size for child in (tmp_path / "in" / "out").rglob("*")) < 20_000_000
    assert {child.name for child in (tmp_path / "in").iterdir()} == {name, "out"}


def test_what_is_bad_later_in_a_zip_is_seen_before_anything_is_written(tmp_path: Path, make: Any) -> None:
    (tmp_path / "a.zip").write_bytes(HOSTILE["climbs_later.zip"][0](make))
    with pytest.raises(FetchError):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_text_that_shrinks_well_is_no_bomb(tmp_path: Path, make: Any) -> None:
    text = "".join(f"{number / 700:.4f} {number % 7}\n" for number in range(1_500_000)).encode()
    assert len(text) > Limits.free
    (tmp_path / "a.zip").write_bytes(make.zipped({"a.txt": text}))
    unpack(tmp_path / "a.zip", tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").read_bytes() == text


def test_too_little_room(tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zip").write_bytes(make.zipped(FILES))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 8, 1))  # type: ignore[attr-defined]
    with pytest.raises(FetchError, match="disk is full, or would be"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("name", ["", ".", "..", "a/..", "/a", "\\a", "\\\\host\\a", "a:b", "a\x00b", "a\nb"])
def test_places_that_are_none(name: str) -> None:
    with pytest.raises(FetchError):
        safe_place(name, Path("a.zip"))
