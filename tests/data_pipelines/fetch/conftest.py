"""A web site on this machine that misbehaves as told, and archives made on the fly."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from data_pipelines.fetch import transfer


@dataclass
class Page:
    """One file of the site.

    Args:
        data: What it holds.
        etag: None for a server that names no version.
        ranges: Whether the server goes on in the middle.
        length: Whether it says how long the file is.
        cuts: After how many bytes it hangs up, one for each request; then it is well.
        codes: Statuses instead of the file, one for each request; then it is well.
        location: Where it sends people on to.
    """

    data: bytes = b""
    etag: str | None = '"one"'
    ranges: bool = True
    length: bool = True
    cuts: list[int] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    location: str | None = None


@dataclass
class Site:
    """Pages by path, and what was asked for: (path, Range)."""

    url: str
    pages: dict[str, Page]
    asked: list[tuple[str, str | None]]
    sent: int = 0

    def put(self, path: str, data: bytes, **how: object) -> str:
        self.pages[path] = Page(data, **how)  # type: ignore[arg-type]
        return self.url + path


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.site.asked.append((self.path, self.headers.get("Range")))
        page = self.site.pages.get(self.path)
        if page is None or page.codes:
            self.send_error(page.codes.pop(0) if page else 404)
            return
        if page.location:
            self.send_response(302)
            self.send_header("Location", page.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = self._start(page)
        if start is None:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(page.data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = page.data[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(page.data) - 1}/{len(page.data)}")
        if page.etag:
            self.send_header("ETag", page.etag)
        if page.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        body = body[: page.cuts.pop(0)] if page.cuts else body
        self.site.sent += len(body)
        self.wfile.write(body)

    def _start(self, page: Page) -> int | None:
        asked = self.headers.get("Range")
        if not asked or not page.ranges or self.headers.get("If-Range") != page.etag:
            return 0
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        return start if start < len(page.data) else None


def _served() -> Iterator[Site]:
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.site = Site(f"http://127.0.0.1:{server.server_address[1]}", {}, [])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield handler.site
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site; nobody waits between tries, and no proxy of this machine is asked."""
    monkeypatch.setattr(transfer, "WAITS_S", (0.0,) * len(transfer.WAITS_S))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield from _served()


@pytest.fixture
def other_site() -> Iterator[Site]:
    """A second one."""
    yield from _served()


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip of these files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def digest(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def make() -> type:
    """What makes archives and digests; tests cannot import a conftest."""
    return type("Make", (), {"zipped": staticmethod(zipped), "digest": staticmethod(digest)})
