"""Lists of digests as publishers put them beside their files (`SHA256SUMS.txt` of PhysioNet)."""

import re
from pathlib import Path

from data_pipelines.fetch.archives import safe_place
from hdt_fm.schema.errors import FetchError

MAX_BYTES, MAX_FILES = 64 << 20, 200_000
_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *]?(\S.*)")


def read_listing(path: Path, wanted: tuple[str, ...]) -> dict[str, str]:
    """Path -> digest of the files whose path begins with one of `wanted`.

    Raises:
        FetchError: If it is no such list, names a place outside, or nothing that is wanted.
    """
    if path.stat().st_size > MAX_BYTES:
        raise _no_list(path, "a file that is too large")
    lines = path.read_bytes().decode("utf-8", errors="replace").splitlines()
    matches = [_LINE.fullmatch(line) for line in lines if line.strip()]
    if not matches or not all(matches) or len(matches) > MAX_FILES:
        raise _no_list(path, "other lines")
    found = {str(safe_place(match[2], path)): match[1].lower() for match in matches if match}
    chosen = {name: digest for name, digest in sorted(found.items()) if name.startswith(wanted)}
    if not chosen:
        raise _no_list(path, "none of the files that we want")
    return chosen


def _no_list(path: Path, got: str) -> FetchError:
    return FetchError(
        "This is not the publisher's list of digests",
        where=path.name,
        expected="a sha256 and a path in each line",
        got=got,
        fix="look at the publisher's page; the set may have moved",
    )
