"""A whole set: from its publisher, a mirror or a folder, into a folder that says where it came from."""

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from data_pipelines.fetch import UNKNOWN, fetch, transfer
from data_pipelines.fetch.kept import MANIFEST, verify
from data_pipelines.fetch.published import SETS, Archive, Listing, Published
from hdt_fm.schema.errors import FetchError

INNER = {"Set/train/x.txt": b"1 2 3", "Set/README": b"words"}


@pytest.fixture
def outer(make: Any) -> bytes:
    return make.zipped({"Set.zip": make.zipped(INNER), "names.txt": b"n"})


def entry(source: Archive | Listing) -> Published:
    return Published("A set", "CC BY 4.0", "https://a.org", source, None, "", "made up for a test")


@pytest.fixture
def archive(site: Any, outer: bytes) -> Published:
    return entry(Archive(site.put("/ds/a+set.zip", outer), "a_set.zip", nested=("Set.zip",)))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_archive_becomes_a_folder_with_a_manifest(
    archive: Published, outer: bytes, tmp_path: Path, make: Any
) -> None:
    folder = tmp_path / "data" / "a_set"
    done = fetch("a_set", archive, folder)
    assert done.new
    assert done.origin[1] == f"{make.digest(outer)}  a_set.zip ({UNKNOWN})"
    found = contents(folder)
    manifest = found.pop(MANIFEST).decode()
    assert found == {**INNER, "names.txt": b"n"}
    assert f"# {done.origin[0]}" in manifest
    assert f"{make.digest(b'1 2 3')}  Set/train/x.txt\n" in manifest
    assert [child.name for child in folder.parent.iterdir()] == ["a_set"], "nothing is left beside the data"
    # The form is that of a tool which everybody has.
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "-c", "--quiet", MANIFEST], cwd=folder, check=True)


def test_a_second_run_does_nothing(archive: Published, site: Any, tmp_path: Path) -> None:
    first = fetch("a_set", archive, tmp_path / "a")
    asked, before = len(site.asked), {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")}
    second = fetch("a_set", archive, tmp_path / "a")
    assert not second.new
    assert second.origin == first.origin
    assert len(site.asked) == asked
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")} == before


def test_data_from_another_archive_are_not_what_was_asked_for(archive: Published, tmp_path: Path) -> None:
    fetch("a_set", archive, tmp_path / "a")
    with pytest.raises(FetchError, match="another archive"):
        fetch("a_set", archive, tmp_path / "a", sha256="1" * 64)


def test_a_folder_with_other_things_is_not_touched(archive: Published, site: Any, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.txt").write_text("mine")
    with pytest.raises(FetchError, match="not empty"):
        fetch("a_set", archive, tmp_path / "a")
    assert contents(tmp_path) == {"a/mine.txt": b"mine"}
    assert site.asked == []


def test_an_empty_folder_is_filled(archive: Published, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert fetch("a_set", archive, tmp_path / "a").new


def test_a_digest_that_is_asked_for_is_demanded(archive: Published, outer: bytes, tmp_path: Path, make: Any) -> None:
    with pytest.raises(FetchError, match="not the one that was expected") as caught:
        fetch("a_set", archive, tmp_path / "a", sha256="1" * 64)
    assert make.digest(outer) in str(caught.value)
    assert not (tmp_path / "a").exists()
    done = fetch("a_set", archive, tmp_path / "a", sha256=make.digest(outer).upper())
    assert "as asked for with --sha256" in done.origin[1]


def test_a_digest_on_record_cannot_be_overruled(site: Any, outer: bytes, tmp_path: Path, make: Any) -> None:
    url = site.put("/a.zip", outer)
    known = entry(Archive(url, "a.zip", size=len(outer), sha256=make.digest(outer), trust="we noted it"))
    with pytest.raises(FetchError, match="not the one on record"):
        fetch("a", known, tmp_path / "a", sha256="1" * 64)
    assert site.asked == []
    assert "(we noted it)" in fetch("a", known, tmp_path / "a").origin[1]


def test_an_interrupted_fetch_goes_on(archive: Published, site: Any, tmp_path: Path) -> None:
    site.pages["/ds/a+set.zip"].cuts = [100, 0, 0, 0, 0, 0, 0]
    with pytest.raises(FetchError, match="could not be downloaded"):
        fetch("a_set", archive, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    site.pages["/ds/a+set.zip"].cuts = []
    assert fetch("a_set", archive, tmp_path / "a").new
    assert site.asked[-1] == ("/ds/a+set.zip", "bytes=100-")


def test_an_archive_that_is_here_is_not_asked_for_again(
    archive: Published, site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("data_pipelines.fetch.unpack_nested", stop)
        with pytest.raises(KeyboardInterrupt):
            fetch("a_set", archive, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / ".a.fetch" / "unpacked").exists()
    fetch("a_set", archive, tmp_path / "a")
    assert len(site.asked) == 1


def test_a_hostile_archive_leaves_no_data(site: Any, tmp_path: Path, make: Any) -> None:
    bad = entry(Archive(site.put("/a.zip", make.zipped({"ok.txt": b"", "../../b.txt": b"x"})), "a.zip"))
    with pytest.raises(FetchError, match="not safe"):
        fetch("a", bad, tmp_path / "deep" / "a")
    assert sorted(contents(tmp_path)) == ["deep/.a.fetch/a.zip"]


@pytest.mark.parametrize(("number", "expected"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "cannot be written")])
def test_a_disk_that_does_not_take_it(
    number: int, expected: str, archive: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("data_pipelines.fetch.write_manifest", fail)
    with pytest.raises(FetchError, match=expected):
        fetch("a_set", archive, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    monkeypatch.undo()
    assert fetch("a_set", archive, tmp_path / "a").new


def test_the_folder_may_be_the_working_one(archive: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    assert fetch("a_set", archive, Path()).new
    assert set(contents(tmp_path / "a")) == {*INNER, "names.txt", MANIFEST}


def test_a_page_instead_of_an_archive_is_not_kept(archive: Published, outer: bytes, site: Any, tmp_path: Path) -> None:
    site.pages["/ds/a+set.zip"].data = b"<html>please log in</html>"
    with pytest.raises(FetchError, match="or is none"):
        fetch("a_set", archive, tmp_path / "a")
    site.pages["/ds/a+set.zip"].data = outer
    assert fetch("a_set", archive, tmp_path / "a").new


@pytest.mark.parametrize("name", ["a_set.zip", "a+set.zip"])
def test_a_folder_of_files_that_were_downloaded_before(
    name: str, archive: Published, outer: bytes, site: Any, tmp_path: Path
) -> None:
    (tmp_path / "usb").mkdir()
    (tmp_path / "usb" / name).write_bytes(outer)
    done = fetch("a_set", archive, tmp_path / "a", source=str(tmp_path / "usb"))
    assert set(contents(tmp_path / "a")) == {*INNER, "names.txt", MANIFEST}
    assert site.asked == []
    assert (tmp_path / "usb" / name).read_bytes() == outer
    assert str(tmp_path) not in "".join(done.origin), "a manifest names no folder of a machine"


def test_a_folder_without_the_file_or_with_a_wrong_one(
    archive: Published, site: Any, tmp_path: Path, make: Any
) -> None:
    usb = tmp_path / "usb"
    with pytest.raises(FetchError, match="no such folder"):
        fetch("a_set", archive, tmp_path / "a", source=str(usb))
    usb.mkdir()
    with pytest.raises(FetchError, match=r"a_set.zip or a\+set.zip"):
        fetch("a_set", archive, tmp_path / "a", source=str(usb))
    (usb / "a_set.zip").write_bytes(b"else")
    with pytest.raises(FetchError, match="not the one that was expected"):
        fetch("a_set", archive, tmp_path / "a", source=str(usb), sha256="1" * 64)
    assert (usb / "a_set.zip").exists(), "a file of the user is never removed"


def test_a_mirror(archive: Published, outer: bytes, other_site: Any, site: Any, tmp_path: Path) -> None:
    other_site.put("/mirror/a_set.zip", outer)
    done = fetch("a_set", archive, tmp_path / "a", source=f"{other_site.url}/mirror/")
    assert other_site.url in done.origin[0]
    assert site.asked == []
    with pytest.raises(FetchError, match="not an address"):
        fetch("a_set", archive, tmp_path / "b", source="ftp://a.org/x")


def test_github_s_own_folder_is_not_part_of_the_set(site: Any, tmp_path: Path, make: Any) -> None:
    data = make.zipped({"set-1408d85/DATA/s01/a.csv": b"1", "set-1408d85/README.md": b"r"})
    fetch("a", entry(Archive(site.put("/a", data, length=False), "a.zip", one_folder=True)), tmp_path / "a")
    assert set(contents(tmp_path / "a")) == {"DATA/s01/a.csv", "README.md", MANIFEST}


LISTED = {"csv/one 1.csv": b"1", "csv/two.csv": b"22", "README": b"r", "other/three.mat": b"333"}


@pytest.fixture
def listed(site: Any, make: Any) -> Published:
    for name, data in LISTED.items():
        site.put(f"/files/1.0.0/{name.replace(' ', '%20')}", data)
    text = "".join(f"{make.digest(data)} {name}\n" for name, data in LISTED.items())
    url = site.put("/files/1.0.0/SHA256SUMS.txt", text.encode())
    return entry(Listing(url, ("csv/", "README")))


def test_a_list_names_the_files_and_checks_each(listed: Published, tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    done = fetch("l", listed, tmp_path / "l", report=lambda *x: told.append(x))
    found = contents(tmp_path / "l")
    assert set(found) == {"csv/one 1.csv", "csv/two.csv", "README", MANIFEST}
    assert found["csv/two.csv"] == b"22"
    assert "each file as the list there says" in done.origin[1]
    assert (3, 3, "files") in told


def test_a_file_that_is_not_as_the_list_says(listed: Published, site: Any, tmp_path: Path) -> None:
    site.pages["/files/1.0.0/csv/two.csv"].data = b"23"
    with pytest.raises(FetchError, match="not the one that was expected"):
        fetch("l", listed, tmp_path / "l")
    assert not (tmp_path / "l").exists()
    site.pages["/files/1.0.0/csv/two.csv"].data = b"22"
    asked = len(site.asked)
    fetch("l", listed, tmp_path / "l")
    assert [path for path, _ in site.asked[asked:]] == ["/files/1.0.0/SHA256SUMS.txt", "/files/1.0.0/csv/two.csv"]


def test_a_list_from_a_folder(listed: Published, site: Any, tmp_path: Path) -> None:
    usb = tmp_path / "usb"
    usb.mkdir()
    with pytest.raises(FetchError, match=r"SHA256SUMS.txt"):
        fetch("l", listed, tmp_path / "l", source=str(usb))
    (usb / "SHA256SUMS.txt").write_bytes(site.pages["/files/1.0.0/SHA256SUMS.txt"].data)
    with pytest.raises(FetchError, match="lacks a file"):
        fetch("l", listed, tmp_path / "l", source=str(usb))
    for name, data in LISTED.items():
        (usb / name).parent.mkdir(exist_ok=True)
        (usb / name).write_bytes(data)
    fetch("l", listed, tmp_path / "l", source=str(usb))
    assert contents(tmp_path / "l")["README"] == b"r"
    assert site.asked == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "not the publisher's list"),
        (b"<html>moved</html>", "not the publisher's list"),
        (b"0" * 64 + b"  else.txt\n", "none of the files"),
        (b"0" * 64 + b"  csv/../../out.txt\n", "not safe"),
        (b"0" * 64 + b"  /etc/passwd\n", "not safe"),
    ],
)
def test_a_list_that_is_none(text: bytes, expected: str, listed: Published, site: Any, tmp_path: Path) -> None:
    site.pages["/files/1.0.0/SHA256SUMS.txt"].data = text
    with pytest.raises(FetchError, match=expected):
        fetch("l", listed, tmp_path / "l")


def test_one_digest_for_many_files_means_nothing(listed: Published, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="many files"):
        fetch("l", listed, tmp_path / "l", sha256="1" * 64)


def test_a_manifest_in_the_archive_does_not_speak_for_ours(site: Any, tmp_path: Path, make: Any) -> None:
    data = make.zipped({MANIFEST: b"# lies\n", "a.txt": b"1"})
    fetch("a", entry(Archive(site.put("/a", data), "a.zip")), tmp_path / "a")
    assert "lies" not in (tmp_path / "a" / MANIFEST).read_text()
    assert verify(tmp_path / "a") == 1


def test_verify_counts_what_is_not_as_it_was(archive: Published, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    fetch("a_set", archive, folder)
    assert verify(folder) == 3
    (folder / "names.txt").write_bytes(b"N")
    (folder / "Set" / "README").unlink()
    (folder / "S17.txt").write_text("new")
    with pytest.raises(FetchError, match="1 missing, 1 changed, 1 new") as caught:
        verify(folder)
    assert "S17" not in str(caught.value)


def test_the_table_keeps_its_promises(repo: Path) -> None:
    assert len(SETS) == 8
    names = set()
    for name, published in SETS.items():
        source = published.source
        assert source.url.startswith("https://")
        assert published.page.startswith("https://")
        assert all((published.title, published.licence, published.confirmed))
        if isinstance(source, Archive):
            assert bool(source.sha256) == bool(source.trust), "a digest without its origin, or the other way round"
            names.add(source.name)
            if source.sha256:
                assert len(source.sha256) == 64
        assert name.isidentifier()
    assert len(names) == 6
    assert json.dumps(sorted(SETS))
    # What lands in the default folder is never committed.
    ignored = (repo / ".gitignore").read_text().splitlines()
    assert "/data/" in ignored


def test_waits_are_longer_and_longer() -> None:
    assert list(transfer.WAITS_S) == sorted(set(transfer.WAITS_S))
