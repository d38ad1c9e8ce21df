"""One file over http: whole and right, or nothing under its name."""

import errno
import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any
from urllib.request import Request

import numpy as np
import pytest

from data_pipelines.fetch import transfer
from data_pipelines.fetch.transfer import download
from hdt_fm.schema.errors import FetchError

DATA = np.random.default_rng(0).bytes(3_300_000)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_with_its_digest_and_progress(site: Any, tmp_path: Path, make: Any) -> None:
    told: list[tuple[int, int]] = []
    url = site.put("/a.zip", DATA)
    came = download(
        url, tmp_path / "a", size=len(DATA), sha256=make.digest(DATA).upper(), report=lambda *x: told.append(x)
    )
    assert came == make.digest(DATA)
    assert (tmp_path / "a").read_bytes() == DATA
    assert left(tmp_path) == ["a"]
    assert told[0] == (0, len(DATA))
    assert told[-1] == (len(DATA), len(DATA))


def test_a_cut_connection_is_gone_on_with(site: Any, tmp_path: Path, make: Any) -> None:
    url = site.put("/a", DATA, cuts=[1_000_001, 500_000])
    assert download(url, tmp_path / "a", sha256=make.digest(DATA)) == make.digest(DATA)
    assert site.asked == [("/a", None), ("/a", "bytes=1000001-"), ("/a", "bytes=1500001-")]
    assert site.sent == len(DATA), "bytes were sent twice"


def test_an_interrupted_download_is_gone_on_with_by_the_next_run(site: Any, tmp_path: Path, make: Any) -> None:
    url = site.put("/a", DATA)

    def stop(done: int, total: int) -> None:
        if done > 1_500_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(url, tmp_path / "a", report=stop)
    assert left(tmp_path) == [".a.part", ".a.part.json"]
    kept = (tmp_path / ".a.part").stat().st_size
    assert 0 < kept < len(DATA)
    assert download(url, tmp_path / "a") == make.digest(DATA)
    assert site.asked[-1] == ("/a", f"bytes={kept}-")
    assert left(tmp_path) == ["a"]


@pytest.mark.parametrize("how", [{"ranges": False}, {"etag": None}, {"etag": 'W/"weak"'}])
def test_a_server_that_cannot_go_on_starts_over(how: dict[str, Any], site: Any, tmp_path: Path, make: Any) -> None:
    url = site.put("/a", DATA, cuts=[1_000_000], **how)
    assert download(url, tmp_path / "a") == make.digest(DATA)
    assert site.sent == len(DATA) + 1_000_000


def test_a_file_that_changed_meanwhile_is_started_over(site: Any, tmp_path: Path, make: Any) -> None:
    url = site.put("/a", DATA)
    (tmp_path / ".a.part").write_bytes(DATA[:500_000])
    (tmp_path / ".a.part.json").write_text(json.dumps({"validator": '"older"'}))
    new = DATA[::-1]
    site.pages["/a"].data = new
    assert download(url, tmp_path / "a") == make.digest(new)
    assert (tmp_path / "a").read_bytes() == new


def test_a_part_that_is_all_there_already(site: Any, tmp_path: Path, make: Any) -> None:
    url = site.put("/a", DATA)
    (tmp_path / ".a.part").write_bytes(DATA)
    (tmp_path / ".a.part.json").write_text(json.dumps({"validator": '"one"'}))
    assert download(url, tmp_path / "a", sha256=make.digest(DATA)) == make.digest(DATA)
    assert site.sent == 0


def test_a_part_without_a_note_is_not_trusted(site: Any, tmp_path: Path, make: Any) -> None:
    (tmp_path / ".a.part").write_bytes(b"something else")
    assert download(site.put("/a", DATA), tmp_path / "a") == make.digest(DATA)


def test_a_wrong_digest_leaves_nothing_and_says_both(site: Any, tmp_path: Path, make: Any) -> None:
    url = site.put("/a", DATA)
    with pytest.raises(FetchError, match="not the one that was expected") as caught:
        download(url, tmp_path / "a", sha256="0" * 64)
    assert "0" * 64 in str(caught.value)
    assert make.digest(DATA) in str(caught.value)
    assert left(tmp_path) == []


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
def test_a_wrong_size_leaves_nothing(length: bool, size: int, site: Any, tmp_path: Path) -> None:
    url = site.put("/a", DATA, length=length)
    with pytest.raises(FetchError, match="size") as caught:
        download(url, tmp_path / "a", size=size)
    assert str(size) in str(caught.value)
    assert str(len(DATA)) in str(caught.value)
    assert left(tmp_path) == []
    if length:
        assert site.sent <= len(DATA)


def test_errors_of_the_moment_are_tried_again_with_longer_waits(
    site: Any, tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "WAITS_S", (1.0, 2.0, 4.0))
    waited: list[float] = []
    url = site.put("/a", DATA, codes=[500, 503, 429])
    assert download(url, tmp_path / "a", sleep=waited.append) == make.digest(DATA)
    assert waited == [1.0, 2.0, 4.0]


def test_a_server_that_stays_ill_is_given_up(site: Any, tmp_path: Path) -> None:
    url = site.put("/a", DATA, codes=[503] * 99)
    with pytest.raises(FetchError, match="could not be downloaded") as caught:
        download(url, tmp_path / "a")
    assert caught.value.got == "HTTP 503 after 6 tries"
    assert len(site.asked) == 6


def test_a_line_that_is_cut_at_once_every_time_is_given_up(site: Any, tmp_path: Path) -> None:
    url = site.put("/a", DATA, cuts=[0] * 99)
    with pytest.raises(FetchError, match="could not be downloaded"):
        download(url, tmp_path / "a")
    assert len(site.asked) == 6


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_refusal_is_final(code: int, site: Any, tmp_path: Path) -> None:
    url = site.put("/a", DATA, codes=[code])
    with pytest.raises(FetchError, match=f"HTTP {code}"):
        download(url, tmp_path / "a")
    assert len(site.asked) == 1
    assert not (tmp_path / "a").exists()


def test_nobody_listens(tmp_path: Path, site: Any) -> None:
    with pytest.raises(FetchError, match="proxy"):
        download("http://127.0.0.1:9/a", tmp_path / "a")


def test_a_name_that_nobody_knows_is_said_at_once(tmp_path: Path, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(FetchError, match=r"after 1 try \(.*Name or service not known"):
        download("http://data.invalid/a", tmp_path / "a", sleep=lambda seconds: pytest.fail("it waited"))


def test_the_same_host_may_send_us_on(site: Any, tmp_path: Path, make: Any) -> None:
    site.put("/b", DATA)
    url = site.put("/a", b"", location="/b")
    assert download(url, tmp_path / "a") == make.digest(DATA)


def test_another_host_over_http_may_not(site: Any, other_site: Any, tmp_path: Path) -> None:
    other = other_site.put("/b", DATA).replace("127.0.0.1", "localhost")
    with pytest.raises(FetchError, match="not safe") as caught:
        download(site.put("/a", b"", location=other), tmp_path / "a")
    assert caught.value.got == "http://localhost"
    assert other_site.asked == []
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("old", "new", "good"),
    [
        ("https://a.org/x", "https://b.org/x", True),
        ("http://a.org/x", "https://b.org/x", True),
        ("http://a.org/x", "http://a.org/y", True),
        ("http://a.org/x", "http://b.org/y", False),
        ("https://a.org/x", "http://a.org/y", False),
        ("https://a.org/x", "ftp://a.org/y", False),
        ("https://a.org/x", "file:///etc/passwd", False),
    ],
)
def test_where_we_may_be_sent(old: str, new: str, good: bool) -> None:
    def ask() -> Any:
        return transfer._Redirects().redirect_request(Request(old), None, 302, "", {}, new)  # type: ignore[arg-type]

    if good:
        assert ask().full_url == new
        return
    with pytest.raises(FetchError, match="not safe"):
        ask()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://a.org/x", "data:text/plain,x", "a.org/x", "http://"])
def test_only_http_and_https(url: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="not an address to download from"):
        download(url, tmp_path / "a")


def test_too_little_room_is_said_before(site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 8, 1))  # type: ignore[attr-defined]
    with pytest.raises(FetchError, match="disk is full, or would be") as caught:
        download(site.put("/a", DATA), tmp_path / "a")
    assert f"{len(DATA)} bytes needed, 1 free" in str(caught.value)


def test_a_disk_that_fills_up_on_the_way_keeps_what_came(
    site: Any, tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    url = site.put("/a", DATA)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FetchError, match="disk is full, or would be"):
        download(url, tmp_path / "a")
    assert left(tmp_path) == [".a.part", ".a.part.json"]
    monkeypatch.undo()
    assert download(url, tmp_path / "a") == make.digest(DATA)


def test_a_proxy_from_the_environment_is_asked(
    site: Any, tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", site.url)
    monkeypatch.setenv("no_proxy", "")
    site.put("http://data.invalid/a", DATA)
    assert download("http://data.invalid/a", tmp_path / "a") == make.digest(DATA)


def test_no_secret_of_a_url_is_told(site: Any, tmp_path: Path) -> None:
    url = site.url.replace("http://", "http://me:secret@") + "/none?token=secret"
    with pytest.raises(FetchError) as caught:
        download(url, tmp_path / "a")
    assert "secret" not in str(caught.value)
