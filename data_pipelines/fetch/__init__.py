"""Public sets from where they are published to a folder, in their published layout."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from data_pipelines.fetch.archives import BrokenArchiveError, lift_one_folder, unpack, unpack_nested
from data_pipelines.fetch.checks import check, is_full, no_room, shown
from data_pipelines.fetch.kept import MANIFEST, digest_of, is_finished, origin_of, write_manifest
from data_pipelines.fetch.listing import read_listing
from data_pipelines.fetch.places import in_folder, local_folder, not_there, told, url_of
from data_pipelines.fetch.published import Archive, Listing, Published
from data_pipelines.fetch.transfer import download
from hdt_fm.schema.errors import FetchError

Report = Callable[[int, int, str], None]
UNKNOWN = "no digest on record: it cannot be told whether this is what was published"


@dataclass(frozen=True)
class Fetched:
    """A set that is in its folder.

    Args:
        folder: Where.
        new: Whether this call brought it; else it was there.
        origin: Lines about where it came from, with digests.
    """

    folder: Path
    new: bool
    origin: list[str]


def fetch(
    name: str,
    published: Published,
    folder: Path,
    *,
    source: str | None = None,
    sha256: str | None = None,
    report: Report = lambda done, total, what: None,
) -> Fetched:
    """Bring a set into a folder; what is there already is not brought again.

    Until all of it is right it stays in `.NAME.fetch` beside the folder, where the next call goes on.

    Args:
        name: Of the set.
        published: Its entry.
        folder: Does not exist, is empty, or holds this set.
        source: A mirror (URL of the folder in which the files lie) or a folder with files downloaded before.
        sha256: A digest that the archive must have, beside the one on record.
        report: Called with done, in all (0 if unknown) and what is counted.

    Raises:
        FetchError: If something is not as expected; the folder is as it was then.
    """
    place = Path(os.path.abspath(folder))
    if is_finished(place):
        return Fetched(folder, False, _same(origin_of(place), sha256, folder))
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise FetchError(
            "The folder is not empty, and was not filled by `hdt-fm fetch` to its end",
            where=str(folder),
            fix="choose another one with --to, or use these data as they are; nothing was touched",
        )
    try:
        origin = _bring(name, published.source, place, source, sha256, report)
    except OSError as error:
        if is_full(error):
            raise no_room(folder.parent, None) from error
        raise FetchError(
            "The folder cannot be written",
            where=str(folder),
            got=os.strerror(error.errno or 0),
            fix="choose another one with --to",
        ) from error
    return Fetched(folder, True, origin)


def _bring(
    name: str, origin: Archive | Listing, place: Path, source: str | None, sha256: str | None, report: Report
) -> list[str]:
    work = place.parent / f".{place.name}.fetch"
    work.mkdir(parents=True, exist_ok=True)
    if isinstance(origin, Archive):
        ready, said = _archive(origin, work, work / "unpacked", source, sha256, report)
    elif sha256:
        raise FetchError("This set is many files with a digest each", got="one --sha256", fix="leave --sha256 out")
    else:
        ready, said = _listed(origin, work / "files", source, report)
    lines = [f"{name}, fetched by hdt-fm from {told(origin, source)}", *said]
    report(0, 0, "digests")
    write_manifest(ready, lines)
    if place.exists():
        place.rmdir()
    ready.rename(place)
    shutil.rmtree(work)
    return lines


def _archive(
    archive: Archive, work: Path, fresh: Path, source: str | None, sha256: str | None, report: Report
) -> tuple[Path, list[str]]:
    known = archive.sha256
    if known and sha256 and known != sha256.lower():
        raise FetchError(
            "The digest that you ask for is not the one on record",
            expected=f"sha256 {known} ({archive.trust})",
            got=f"sha256 {sha256.lower()}",
            fix="leave --sha256 out, or find out which one is right",
        )
    wanted = known or (sha256.lower() if sha256 else None)
    local = in_folder(source, archive)
    if local is None:
        path = work / archive.name
        digest = _downloaded(url_of(archive, source), path, archive.size, wanted, report)
    else:
        path, digest = local, digest_of(local)
        check(path, digest, size=archive.size, sha256=wanted, where=path.name, otherwise=lambda: None)
    report(0, 0, "unpacking")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        unpack(path, fresh)
        unpack_nested(fresh, archive.nested)
    except BaseException as error:
        shutil.rmtree(fresh, ignore_errors=True)
        if isinstance(error, BrokenArchiveError) and local is None:
            # With no digest on record this is the first that tells; the next run must not meet it again.
            path.unlink()
        raise
    trust = archive.trust if known else "as asked for with --sha256" if sha256 else UNKNOWN
    return lift_one_folder(fresh) if archive.one_folder else fresh, [f"{digest}  {archive.name} ({trust})"]


def _downloaded(url: str, path: Path, size: int | None, sha256: str | None, report: Report) -> str:
    if path.is_file():
        digest = digest_of(path)
        if sha256 in (None, digest):
            return digest
        path.unlink()
    return download(url, path, size=size, sha256=sha256, report=lambda done, total: report(done, total, path.name))


def _listed(listing: Listing, files: Path, source: str | None, report: Report) -> tuple[Path, list[str]]:
    """Every wanted file of the list, each checked against it; files that are here and right are kept."""
    base, local = (listing.base if source is None else source).rstrip("/"), local_folder(source)
    files.mkdir(exist_ok=True)
    list_name = listing.url.rpartition("/")[2]
    beside = files.parent / list_name
    if local:
        if not (local / list_name).is_file():
            raise not_there(local, [list_name])
        shutil.copyfile(local / list_name, beside)
    else:
        beside.unlink(missing_ok=True)
        download(f"{base}/{list_name}", beside)
    wanted = read_listing(beside, listing.wanted)
    for number, (name, digest) in enumerate(wanted.items()):
        report(number, len(wanted), "files")
        path = files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and digest_of(path) == digest:
            continue
        if local:
            _copy(local / name, path, digest)
        else:
            path.unlink(missing_ok=True)
            download(f"{base}/{quote(name)}", path, sha256=digest)
    report(len(wanted), len(wanted), "files")
    for path in [path for path in files.rglob("*") if path.is_file()]:
        if path.relative_to(files).as_posix() not in wanted:
            path.unlink()
    said = f"{list_name} of {shown(base) if local is None else 'a local folder'}: each file as the list there says"
    return files, [f"{digest_of(beside)}  {said}"]


def _copy(path: Path, target: Path, digest: str) -> None:
    if not path.is_file():
        raise FetchError(
            "The folder lacks a file that the list names", where=str(path.parent), fix="download the whole set"
        )
    check(path, digest_of(path), size=None, sha256=digest, where=str(path.parent), otherwise=lambda: None)
    shutil.copyfile(path, target)


def _same(origin: list[str], sha256: str | None, folder: Path) -> list[str]:
    """Refuse data that are there but not those that were asked for."""
    if sha256 and not any(line.startswith(sha256.lower()) for line in origin):
        raise FetchError(
            "The data that are there came from another archive",
            where=str(folder / MANIFEST),
            expected=f"sha256 {sha256.lower()}",
            fix="move the folder away, or choose another one with --to",
        )
    return origin
