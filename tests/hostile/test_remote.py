"""A server that sends a folder's reader elsewhere, or gives more than it was asked for."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hdt_fm.data.ranged_get import Server
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import ConfigError, HdtError, ShardError

SURFACE = "remote folder"


class Handler(BaseHTTPRequestHandler):
    """Answers everything with what the test planned."""

    protocol_version = "HTTP/1.1"

    def __init__(self, site: "Site", *arguments: object) -> None:
        self.site = site
        super().__init__(*arguments)

    def log_message(self, *arguments: object) -> None:
        """Silence."""

    def do_GET(self) -> None:
        self.site.asked.append((self.path, dict(self.headers)))
        status, headers, body = self.site.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Site:
    def __init__(self) -> None:
        self.answer: tuple[int, dict, bytes] = (404, {}, b"")
        self.asked: list = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, self))
        self.server.daemon_threads = True
        self.server.handle_error = lambda *who: None
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/data"


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.server.shutdown()
    site.server.server_close()


@pytest.fixture(autouse=True)
def quick(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDT_FM_SHARDS_CACHE", str(room / "cache"))
    monkeypatch.setattr("hdt_fm.data.ranged_get.FIRST_WAIT_S", 0.001)
    monkeypatch.setattr("hdt_fm.data.ranged_get.LONGEST_WAIT_S", 0.002)


ANSWERS: dict[str, tuple[Callable[[Site], tuple], str]] = {
    "a redirect to file:///etc/passwd": (lambda site: (302, {"Location": "file:///etc/passwd"}, b""), "not safe"),
    "a redirect to another host over http": (
        lambda site: (302, {"Location": "http://localhost:9/elsewhere"}, b""),
        "not safe",
    ),
    "a redirect to ftp": (lambda site: (307, {"Location": "ftp://evil/x"}, b""), "not safe"),
    "a redirect to the metadata of a cloud": (
        lambda site: (302, {"Location": "http://169.254.169.254/latest/meta-data"}, b""),
        "not safe",
    ),
    "a redirect without end": (lambda site: (302, {"Location": "/data/manifest.json"}, b""), "cannot be used"),
    "an answer that is compressed": (
        lambda site: (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b" + bytes(50)),
        "cannot be used",
    ),
    "a manifest that is a web page": (lambda site: (200, {}, b"<html>log in</html>"), "manifest cannot be read"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_is_refused(case: str, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDT_FM_SHARDS_AUTHORIZATION", "Bearer sesame")
    answer, words = ANSWERS[case]
    site.answer = answer(site)
    with pytest.raises(ShardError, match=words) as caught:
        ShardFolder.open(site.address)
    assert "sesame" not in str(caught.value)


def test_a_manifest_without_end_is_not_kept(site: Site) -> None:
    site.answer = (200, {}, b"{" + b" " * 4096)
    with pytest.raises(ShardError, match="too large"):
        Server(site.address).get("manifest.json", limit=1024)


ADDRESSES = {
    "ftp://host/x": "cannot be read as one",
    "http://me:secret@host/x": "more than an address",
    "https://host/x?token=secret": "more than an address",
    "file:///etc": "cannot be read as one",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=ADDRESSES[address]) as caught:
        Server(address)
    assert "secret" not in str(caught.value)


GOT = {
    **{case: ("ShardError", words) for case, (_, words) in ANSWERS.items()},
    "a manifest without end": ("ShardError", "too large"),
    **{f"the address {address}": ("ConfigError", words) for address, words in ADDRESSES.items()},
}


def test_every_error_is_one_for_users() -> None:
    assert issubclass(ShardError, HdtError)
