"""Files below one http(s) address, whole or by ranges: patient with the network, and silent about credentials.

Credentials are told as keys are (`hdt_fm/schema/keys.py`), and sent over https only, or within this machine.
"""

import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from hdt_fm import __version__
from hdt_fm.schema.errors import ConfigError, CorruptShardError, ShardError
from hdt_fm.schema.keys import told_by

# Whole value of the header Authorization, and a signed query without its "?"; told as keys are, never in a config.
AUTHORIZATION_VARIABLE, QUERY_VARIABLE = "HDT_FM_SHARDS_AUTHORIZATION", "HDT_FM_SHARDS_QUERY"
TRIES, TIMEOUT_S, FIRST_WAIT_S, LONGEST_WAIT_S = 6, 30.0, 0.25, 30.0
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
REDIRECTS, MAX_REDIRECTS = (301, 302, 303, 307, 308), 5
CONNECTIONS = 8
PIECE = 1 << 20
Result = TypeVar("Result")


class _AgainError(Exception):
    """Worth another try, after so many seconds if the server said so."""

    def __init__(self, what: str, wait_s: float | None = None) -> None:
        super().__init__(what)
        self.wait_s = wait_s


class Server:
    """Reads files below an address. May be used by threads; another process opens connections of its own.

    Args:
        address: http or https, without user, password or query: an address ends up in configs and records.
        tries: Of each request; between them the waits double.
        timeout_s: For a connection, and for each silence within an answer.
        sleep: The clock, for tests.

    Raises:
        ConfigError: If the address cannot be used as it stands, or credentials that are told cannot be read.
    """

    def __init__(
        self,
        address: str,
        *,
        tries: int = TRIES,
        timeout_s: float = TIMEOUT_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._secrets = told_by(AUTHORIZATION_VARIABLE) or "", (told_by(QUERY_VARIABLE) or "").lstrip("?")
        _check(address, secret=any(self._secrets))
        self.address, self.tries, self.timeout_s, self.sleep = address.rstrip("/"), tries, timeout_s, sleep
        self._pools: dict[int, Any] = {}

    def __repr__(self) -> str:
        return f"Server({self.address!r})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pools": {}}

    def get(self, name: str, *, limit: int) -> bytes | None:
        """A whole small file; None where there is none.

        Raises:
            ShardError: If it is larger than `limit`, or cannot be had.
        """

        def once() -> bytes | None:
            with self._ask(name, {}) as answer:
                if answer.status in (404, 410):
                    return None
                data = answer.read(limit + 1)
            if len(data) > limit:
                raise ShardError("A file on a server is too large to be what it should be", where=self.shown(name))
            return data

        return self._patiently(name, once)

    def get_range(self, name: str, start: int, stop: int, *, size: int) -> bytes | None:
        """Bytes `start` to `stop` of a file that has `size`; None if the server gives whole files only.

        Raises:
            CorruptShardError: If the file there is missing or of another size.
            ShardError: If it cannot be had.
        """

        def once() -> bytes | None:
            with self._ask(name, {"Range": f"bytes={start}-{stop - 1}"}) as answer:
                self._check_there(answer, name)
                if answer.status != 206:
                    return None
                given = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.headers.get("Content-Range", ""))
                if given is None or (int(given[1]), int(given[2])) != (start, stop - 1):
                    raise _AgainError("another range than the one asked for")
                if given[3] not in ("*", str(size)):
                    raise self._changed(name, size, f"{given[3]} bytes")
                data = answer.read(stop - start + 1)
            if len(data) != stop - start:
                raise _AgainError("a cut-off answer")
            return data

        return self._patiently(name, once)

    def get_pieces(self, name: str, *, size: int) -> Iterator[bytes]:
        """A whole file, a piece after another; one that is cut off raises, and asks to be begun again.

        Raises:
            CorruptShardError: If it is missing, cut off or of another size.
        """
        with self._ask(name, {}) as answer:
            self._check_there(answer, name)
            stated = answer.headers.get("Content-Length", str(size))
            if stated != str(size):
                raise self._changed(name, size, f"{stated} bytes")
            came = 0
            while piece := answer.read(PIECE):
                came += len(piece)
                if came > size:
                    raise self._changed(name, size, "more")
                yield piece
        if came != size:
            raise _AgainError("a cut-off answer")

    def patiently(self, name: str, once: Callable[[], Result]) -> Result:
        """Call again where something passing went wrong in it, also in `get_pieces`."""
        return self._patiently(name, once)

    def shown(self, name: str) -> str:
        """A file for messages: nothing secret is in it."""
        return f"{self.address}/{name}"

    def _patiently(self, name: str, once: Callable[[], Result]) -> Result:
        from urllib3.exceptions import HTTPError, NameResolutionError, SSLError

        for turn in range(1, self.tries + 1):
            try:
                return once()
            except _AgainError as error:
                last, wait = str(error), error.wait_s
            except (HTTPError, OSError) as error:
                last, wait = type(error).__name__, None
                if isinstance(error, NameResolutionError | SSLError):
                    break
            if turn < self.tries:
                self.sleep(_wait_s(turn, wait))
        raise ShardError(
            "A file of a remote shard folder could not be read",
            where=self.shown(name),
            got=f"{last} after {turn} {'try' if turn == 1 else 'tries'}",
            fix="check the address, the network and the proxy (https_proxy), then run the same command again: "
            "what came is kept",
        )

    def _ask(self, name: str, headers: dict[str, str]) -> "_Answer":
        """An answer worth reading: 200, 206, or one that says the file is not there."""
        authorization, query = self._secrets
        url = f"{self.address}/{name}" + (f"?{query}" if query else "")
        sent = {"User-Agent": f"hdt-fm/{__version__}", "Accept-Encoding": "identity"} | headers
        if authorization:
            sent["Authorization"] = authorization
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._pool(url).request(
                "GET", url, headers=sent, preload_content=False, decode_content=False, redirect=False, retries=False
            )
            if answer.status not in REDIRECTS:
                break
            url = self._next(url, answer, name)
            if urlsplit(url).netloc != urlsplit(self.address).netloc:
                sent.pop("Authorization", None)
        return self._worth_reading(answer, name)

    def _next(self, url: str, answer: Any, name: str) -> str:
        """Follows to https, and on http to the same machine; anything else could hand us to anyone."""
        following = urljoin(url, answer.headers.get("Location", ""))
        answer.close()
        old, new = urlsplit(url), urlsplit(following)
        if new.scheme != "https" and not (old.scheme == new.scheme == "http" and old.hostname == new.hostname):
            raise ShardError(
                "The server sends us on to a place that is not safe",
                where=self.shown(name),
                expected="https, or the same host",
                fix="give the address where the folder really is",
            )
        return following

    def _worth_reading(self, answer: Any, name: str) -> "_Answer":
        status = answer.status
        if status in (200, 206, 404, 410, 416) and not answer.headers.get("Content-Encoding", "").strip():
            return _Answer(answer)
        wait = answer.headers.get("Retry-After", "")
        answer.close()
        if status in TRANSIENT:
            raise _AgainError(f"HTTP {status}", float(wait) if wait.isdigit() else None)
        if status in (401, 403):
            raise ShardError(
                "The server does not let us read a shard folder",
                where=self.shown(name),
                got=f"HTTP {status}",
                fix=f"put the value of the Authorization header into {AUTHORIZATION_VARIABLE}, "
                f"or a signed query into {QUERY_VARIABLE}",
            )
        raise ShardError(
            "The server's answer cannot be used",
            where=self.shown(name),
            expected="the bytes of the file as they are",
            got=f"HTTP {status}" + (", encoded" if status < 300 else ""),
        )

    def _check_there(self, answer: "_Answer", name: str) -> None:
        if answer.status in (404, 410):
            raise CorruptShardError("A shard is missing", where=self.shown(name), fix="ask whoever runs the server")
        if answer.status == 416:
            raise self._changed(name, None, "a shorter file")

    def _changed(self, name: str, size: int | None, got: str) -> CorruptShardError:
        return CorruptShardError(
            "A shard is cut off or changed",
            where=self.shown(name),
            expected=f"{size} bytes" if size is not None else "the size that the manifest gives",
            got=got,
            fix="ask whoever runs the server to put the folder there again",
        )

    def _pool(self, url: str) -> Any:
        """Connections of this process, kept open; through the proxy that the environment names."""
        import urllib3

        if os.getpid() not in self._pools:
            logging.getLogger("urllib3.connectionpool").addFilter(_without_query)
            settings: dict[str, Any] = {
                "maxsize": CONNECTIONS,
                "timeout": urllib3.Timeout(connect=self.timeout_s, read=self.timeout_s),
            }
            parts = urlsplit(url)
            proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
            self._pools = {os.getpid(): _proxied(proxy, settings) if proxy else urllib3.PoolManager(**settings)}
        return self._pools[os.getpid()]


class _Answer:
    """An answer whose connection is used again if it was read to its end, and closed if not."""

    def __init__(self, answer: Any) -> None:
        self._answer, self.status, self.headers = answer, answer.status, answer.headers

    def __enter__(self) -> "_Answer":
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None or self.status >= 400:
            self._answer.close()
        self._answer.release_conn()

    def read(self, size: int) -> bytes:
        """Up to so many bytes: fewer at the end only, and never fewer than were announced."""
        parts = []
        while size > 0 and (part := self._answer.read(min(size, PIECE))):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _check(address: str, *, secret: bool) -> None:
    parts = urlsplit(address)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.username or parts.password or parts.query or parts.fragment:
        # The address is not shown: what is wrong in it may be secret.
        raise ConfigError(
            "The address of a shard folder holds more than an address",
            expected="https://host/path without user, password, query or fragment",
            fix=f"put credentials into {AUTHORIZATION_VARIABLE} or {QUERY_VARIABLE}",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("An address cannot be read as one", expected="https://host/path")
    if secret and parts.scheme != "https" and not local:
        raise ConfigError(
            "Credentials would travel in the open",
            where=f"{parts.scheme}://{parts.hostname}",
            expected="https",
            fix=f"use the https address, or unset {AUTHORIZATION_VARIABLE} and {QUERY_VARIABLE}",
        )


def _without_query(record: logging.LogRecord) -> bool:
    """urllib3 tells each address at level DEBUG; what is signed in it stays out."""
    if isinstance(record.args, tuple):
        record.args = tuple(part.partition("?")[0] if isinstance(part, str) else part for part in record.args)
    return True


def _wait_s(turn: int, asked_s: float | None) -> float:
    """Twice as long each time, and never in step with others who wait."""
    wait = FIRST_WAIT_S * 2 ** (turn - 1) * random.uniform(0.5, 1.0)
    return min(max(wait, asked_s or 0.0), LONGEST_WAIT_S)


def _proxied(proxy: str, settings: dict[str, Any]) -> Any:
    import urllib3

    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    port = f":{parts.port}" if parts.port else ""
    headers = (
        urllib3.make_headers(proxy_basic_auth=f"{parts.username}:{parts.password or ''}") if parts.username else None
    )
    return urllib3.ProxyManager(f"{parts.scheme}://{parts.hostname}{port}", proxy_headers=headers, **settings)
