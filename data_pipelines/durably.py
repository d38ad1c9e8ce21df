"""Files that are whole or not there, also after a power cut."""

import errno
import io
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np


def write_durably(path: Path, data: bytes, *, temporary: Path | None = None) -> None:
    """Write by a temporary name on the same disk (one that nobody else has), fsync, rename."""
    temporary = temporary or path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def first_wins(folder: Path, fill: Callable[[Path], object]) -> None:
    """Make a folder as a whole. Of two processes that do so at once, and differ, what the first one made stays.

    Args:
        fill: Writes what is to lie in it into an empty folder.
    """
    if folder.is_dir():
        return
    own = folder.with_name(f"own-{secrets.token_hex(8)}")
    own.mkdir()
    try:
        fill(own)
        os.rename(own, folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not folder.is_dir():
            raise
    finally:
        shutil.rmtree(own, ignore_errors=True)


def array_bytes(array: np.ndarray) -> bytes:
    """An array as .npy."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
