"""A shard folder on a server, or a local one: told apart by its address; the cache that its parts come to."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hdt_fm.data.disk_cache import DiskCache, UnderWay, cache_of
from hdt_fm.data.ranged_get import Server

_ADDRESS = re.compile(r"(https?|file):/+(.*)", re.IGNORECASE | re.DOTALL)


def place_of(text: Path | str) -> "Path | RemoteFolder":
    """A path, or the folder that an http(s) address names; file:// is a path. `Path` has eaten a slash of either."""
    match = _ADDRESS.fullmatch(str(text))
    if match is None:
        return Path(text)
    if match[1].lower() == "file":
        return Path(unquote("/" + match[2]))
    return RemoteFolder(f"{match[1].lower()}://{match[2]}")


class RemoteFolder:
    """Where the shards of a folder are read from, and what of them lies here already.

    Args:
        address: http(s) address of the folder that holds `manifest.json`.
        cache: Where pieces are kept; by the environment, or the user's own, if None.
        server: How files are asked for; made from the address if None.
    """

    def __init__(self, address: str, *, cache: DiskCache | None = None, server: Server | None = None) -> None:
        self.server = server or Server(address)
        self.cache = cache or cache_of()
        self.name = urlsplit(self.server.address).path.rpartition("/")[2] or self.server.address
        # Until it has shown that it is not so.
        self.gives_ranges = True
        self._under_way = UnderWay()

    def file(self, name: str, *, limit: int) -> bytes | None:
        """A small file as it is now; None where there is none."""
        return self.server.get(name, limit=limit)

    def fetched(self, name: str, fetch: Callable[[], bool]) -> Path | None:
        """A file of the cache, fetched if it is not there; what one thread fetches the others wait for.

        Args:
            fetch: Puts the file into the cache, or returns False where that cannot be.
        """
        while (path := self.cache.find(name)) is None:
            if other := self._under_way.begin(name):
                other.wait()
                continue
            try:
                if not fetch():
                    return None
            finally:
                self._under_way.end(name)
        return path
