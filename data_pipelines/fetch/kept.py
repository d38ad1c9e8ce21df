"""What is beside fetched data: `MANIFEST.sha256`, which says where it came from and what every file was then."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from hdt_fm.schema.errors import FetchError

MANIFEST = "MANIFEST.sha256"
BLOCK = 1 << 20


def is_finished(folder: Path) -> bool:
    """Whether the folder holds a set that was fetched to its end."""
    return (folder / MANIFEST).is_file()


def digest_of(path: Path, report: Callable[[int], None] = lambda count: None) -> str:
    """SHA-256 of a file."""
    state = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(BLOCK):
            state.update(block)
            report(len(block))
    return state.hexdigest()


def write_manifest(folder: Path, origin: list[str]) -> None:
    """Write the digest of every file, in the form of `sha256sum`, below lines that say where they came from."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST]
    names = sorted(path.relative_to(folder).as_posix() for path in paths)
    lines = [*(f"# {line}" for line in origin), *(f"{digest_of(folder / name)}  {name}" for name in names)]
    (folder / MANIFEST).write_text("\n".join(lines) + "\n")


def origin_of(folder: Path) -> list[str]:
    """Where a finished set came from, as its manifest says."""
    lines = (folder / MANIFEST).read_text().splitlines()
    return [line.removeprefix("# ") for line in lines if line.startswith("#")]


def verify(folder: Path, report: Callable[[int, int], None] = lambda done, total: None) -> int:
    """Compare every file with the manifest.

    Returns:
        How many files there are.

    Raises:
        FetchError: If one is missing, changed or new. Their names are not told: they may be of people.
    """
    expected = dict(_entries(folder))
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    changed = 0
    for number, (name, digest) in enumerate(sorted(expected.items()), 1):
        changed += name in there and digest_of(folder / name) != digest
        report(number, len(expected))
    missing, new = len(set(expected) - there), len(there - set(expected))
    if missing or changed or new:
        raise FetchError(
            "The data are not as they were fetched",
            where=str(folder),
            expected=f"{len(expected)} files as in {MANIFEST}",
            got=f"{missing} missing, {changed} changed, {new} new",
            fix=f"`sha256sum -c {MANIFEST}` names them; move the folder away and fetch again",
        )
    return len(expected)


def _entries(folder: Path) -> Iterator[tuple[str, str]]:
    for line in (folder / MANIFEST).read_text().splitlines():
        digest, _, name = line.partition("  ")
        if not line.startswith("#") and name:
            yield name, digest
