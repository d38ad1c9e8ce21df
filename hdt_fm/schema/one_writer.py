"""One process writes to a folder at a time; readers need no lock."""

from pathlib import Path

from hdt_fm.schema.errors import HdtError


def hold(handle: int, folder: Path, error: type[HdtError]) -> None:
    """Lock an open file or folder against other writers; the lock goes with the process, and readers need none.

    Raises:
        HdtError: Of the kind `error`: if somebody else holds it.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows: there two must not change a folder at a time
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise busy(folder, error) from None


def busy(folder: Path, error: type[HdtError]) -> HdtError:
    """The error for a folder that another process is changing."""
    return error("Another process is changing this folder", where=str(folder), fix="run it again when that is done")
