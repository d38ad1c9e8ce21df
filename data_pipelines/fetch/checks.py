"""What must hold of an address, a file that came, and the disk; each with the error that says otherwise."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from hdt_fm.schema.errors import FetchError


def check_url(url: str) -> None:
    """Refuse anything but http(s) with a host."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FetchError(
            "This is not an address to download from",
            expected="http:// or https://",
            got=f"{parts.scheme or 'no'} scheme",
            fix="give a whole URL, or a folder with files that were downloaded before",
        )


def check(
    path: Path, digest: str, *, size: int | None, sha256: str | None, where: str, otherwise: Callable[[], None]
) -> None:
    """Compare a whole file with what is known of it; on a difference `otherwise` is done first.

    Raises:
        FetchError: With both sizes or digests.
    """
    came = path.stat().st_size
    if size is not None and came != size:
        otherwise()
        raise wrong_size(size, came, where)
    if sha256 is not None and digest != sha256.lower():
        otherwise()
        raise FetchError(
            "The file is not the one that was expected; it was not used",
            where=where,
            expected=f"sha256 {sha256.lower()}",
            got=f"sha256 {digest}",
            fix="try again; if it stays so, ask the publisher whether the file was changed before you trust it",
        )


def check_room(folder: Path, needed: int) -> None:
    """Refuse before the disk is full."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise no_room(folder, f"{needed} bytes needed, {free} free")


def no_room(folder: Path, got: str | None) -> FetchError:
    """The error of a disk that is or would be full."""
    return FetchError(
        "The disk is full, or would be",
        where=str(folder),
        got=got,
        fix="make room, then run the same command again: it goes on where it was; or choose another disk with --to",
    )


def is_full(error: BaseException) -> bool:
    """Whether an error says that there is no room left."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)


def shown(url: str) -> str:
    """A URL without what may be secret: user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"


def wrong_size(size: int, came: int, where: str) -> FetchError:
    """The error of a file with another size."""
    return FetchError(
        "The file does not have the size that was expected; it was not used",
        where=where,
        expected=f"{size} bytes",
        got=f"{came} bytes",
        fix="try again; if it stays so, ask the publisher whether the file was changed before you trust it",
    )
