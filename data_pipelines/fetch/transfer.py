"""One file over http(s): resumed after an interruption, and under its name only when it is whole and right."""

import http.client
import os
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from data_pipelines.fetch.checks import check, check_room, check_url, is_full, no_room, shown, wrong_size
from data_pipelines.fetch.partial import BLOCK, Part
from hdt_fm import __version__
from hdt_fm.schema.errors import FetchError

Report = Callable[[int, int], None]
TIMEOUT_S = 60.0
# Waits between tries that brought nothing new; a try that brought bytes starts the row again.
WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
# A name that nobody knows and a certificate that is not theirs: no use in asking again.
FINAL = (socket.gaierror, ssl.SSLCertVerificationError)
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class _CutError(Exception):
    """The connection ended early; what came is kept."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to https, and on http to the same host; anything else could hand us another file."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        same = old.scheme == new.scheme == "http" and old.hostname == new.hostname
        if new.scheme != "https" and not same:
            raise FetchError(
                "The server sends us on to a place that is not safe",
                where=shown(req.full_url),
                expected="https, or the same host",
                got=f"{new.scheme}://{new.hostname}",
                fix="look at the publisher's page, download by hand, then use --from FOLDER",
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(
    url: str,
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    report: Report = lambda done, total: None,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Download a file; ask again where a connection was cut, and go on where it ended.

    Args:
        url: http or https.
        target: Its final name; until then it is `.NAME.part` beside it, which stays after an interruption.
        size: Bytes that it must have, if known.
        sha256: Digest that it must have, if known.
        report: Called with the bytes so far and in all (0 if unknown).
        sleep: The clock, for tests.

    Returns:
        The digest of what came.

    Raises:
        FetchError: If it cannot be had, or is not what was expected; nothing stands under the final name then.
    """
    check_url(url)
    part, waits, tries = Part(target.with_name(f".{target.name}.part")), iter(WAITS_S), 0
    while True:
        before, tries = part.size, tries + 1
        try:
            _try(url, part, size, report)
            break
        except FetchError:
            raise
        except (_CutError, OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code not in TRANSIENT:
                raise _refused(url, error) from error
            if is_full(error):
                raise no_room(target.parent, None) from error
            if part.size > before:
                waits = iter(WAITS_S)
            wait = None if isinstance(getattr(error, "reason", None), FINAL) else next(waits, None)
            if wait is None:
                raise _gave_up(url, error, tries) from error
            sleep(wait)
    check(part.path, str(part.hash.hexdigest()), size=size, sha256=sha256, where=shown(url), otherwise=part.drop)
    return part.become(target)


def _try(url: str, part: Part, size: int | None, report: Report) -> None:
    request = urllib.request.Request(
        url, headers={"User-Agent": f"hdt-fm/{__version__}", "Accept-Encoding": "identity"}
    )
    if part.size and not part.validator:
        part.restart()
    if part.size:
        request.add_header("Range", f"bytes={part.size}-")
        request.add_header("If-Range", part.validator)
    try:
        answer = urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416 and part.size:
            # Either all of it is here already, or it is another file; the digest and a fresh start tell.
            if error.headers.get("Content-Range") == f"bytes */{part.size}":
                return
            part.restart()
            raise _CutError from error
        raise
    with answer:
        if answer.status != 206 or not _goes_on(answer.headers, part.size):
            part.restart()
        part.of(_validator(answer.headers))
        length = answer.headers.get("Content-Length")
        total = part.size + int(length) if length and length.isdigit() else 0
        if size is not None and total and total != size:
            part.drop()
            raise wrong_size(size, total, shown(url))
        check_room(part.path.parent, (total or size or 0) - part.size)
        _receive(answer, part, total, report)
    if size is not None and part.size > size:
        part.drop()
        raise wrong_size(size, part.size, shown(url))


def _receive(answer: Any, part: Part, total: int, report: Report) -> None:
    report(part.size, total)
    with part.path.open("ab") as handle:
        while True:
            block = answer.read(BLOCK)
            if not block:
                break
            handle.write(block)
            handle.flush()
            part.add(block)
            report(part.size, total)
        os.fsync(handle.fileno())
    if part.size < total:
        raise _CutError


def _goes_on(headers: Message, at: int) -> bool:
    return headers.get("Content-Range", "").startswith(f"bytes {at}-")


def _validator(headers: Message) -> str:
    """What `If-Range` may name: a strong ETag, else the date of the last change."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _refused(url: str, error: urllib.error.HTTPError) -> FetchError:
    return FetchError(
        "The server does not give the file",
        where=shown(url),
        got=f"HTTP {error.code} {http.client.responses.get(error.code, '')}".strip(),
        fix="look at the publisher's page; with files that were downloaded by hand, use --from FOLDER",
    )


def _gave_up(url: str, error: Exception, tries: int) -> FetchError:
    code = f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else type(error).__name__.strip("_")
    reason = getattr(error, "reason", None)
    return FetchError(
        "The file could not be downloaded",
        where=shown(url),
        got=f"{code} after {tries} {'try' if tries == 1 else 'tries'}"
        + (f" ({reason})" if isinstance(reason, OSError) else ""),
        fix="check the network and the proxy (https_proxy), then run the same command again: it goes on where it was",
    )
