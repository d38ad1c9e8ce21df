"""Where a file is taken from: its publisher, a mirror, or a folder of the user."""

from pathlib import Path
from urllib.parse import quote, unquote

from data_pipelines.fetch.checks import check_url, shown
from data_pipelines.fetch.published import Archive, Listing
from hdt_fm.schema.errors import FetchError


def url_of(archive: Archive, source: str | None) -> str:
    """The file at its publisher's, or on a mirror under its own name."""
    return archive.url if source is None else f"{source.rstrip('/')}/{quote(archive.name)}"


def in_folder(source: str | None, archive: Archive) -> Path | None:
    """The file in a folder of the user, under our name or the publisher's."""
    folder = local_folder(source)
    if folder is None:
        return None
    names = [archive.name, unquote(archive.url.rpartition("/")[2])]
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        raise not_there(folder, names)
    return found[0]


def local_folder(source: str | None) -> Path | None:
    """The folder that the user names, None for the publisher or a mirror."""
    if source is None:
        return None
    if "://" in source:
        check_url(source)
        return None
    if not Path(source).is_dir():
        raise FetchError("There is no such folder", where=source, expected="a folder, or a URL", fix="check --from")
    return Path(source)


def not_there(folder: Path, names: list[str]) -> FetchError:
    """The error of a folder without the file."""
    return FetchError(
        "The folder does not hold the file", where=str(folder), expected=" or ".join(names), fix="check --from"
    )


def told(source: Archive | Listing, other: str | None) -> str:
    """Where a set came from, without a path of this machine or a secret."""
    if other is None:
        return source.url
    return "a folder with files that were downloaded before" if local_folder(other) else shown(other)
