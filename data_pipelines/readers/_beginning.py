"""The first bytes of a file, for `detect`: of gzip files too, and never an error."""

import gzip
import zlib
from pathlib import Path


def first_bytes(path: Path, count: int) -> bytes:
    """At most `count` bytes from the beginning; nothing where there is no file that can be read."""
    try:
        if not path.is_file():
            return b""
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
            return handle.read(count)
    except (OSError, EOFError, zlib.error):
        return b""
