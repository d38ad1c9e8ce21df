"""The secret that a private run draws from: who is drawn, which windows, the noise. Each draw follows from its place.

Draws are read from SHAKE-256 over a key of 256 bits from the operating system. torch's own generator will not do: on a
CPU 32 bits of a seed make its state, which can be tried one after another, and the seed of a config is published.
"""

import hashlib
import os
import secrets
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from hdt_fm.schema.errors import CheckpointError

KEY_NAME = "noise.key"
KEY_BYTES = 32
# A sum of so many Gaussians, brought back to unit variance: of one alone, the last bits of a float tell what it was
# added to (Holohan and Braghin 2021, section 5.1, which opacus's secure mode follows too).
GAUSSIANS = 4


class Secret:
    """Numbers that nobody can foretell without the key, and that are the same each time at the same place.

    Args:
        key: 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        assert len(key) == KEY_BYTES, "made by `fresh` or `kept`"
        self._key = key

    @property
    def fingerprint(self) -> str:
        """Tells keys apart and says nothing of them."""
        return hashlib.sha256(b"fingerprint" + self._key).hexdigest()[:16]

    def words(self, *place: str | int, count: int) -> NDArray[np.uint64]:
        """`count` words of 64 bits."""
        name = "/".join(map(str, place)).encode()
        return np.frombuffer(hashlib.shake_256(self._key + name).digest(8 * count), dtype="<u8")

    def uniform(self, *place: str | int, count: int) -> Float[np.ndarray, " count"]:
        """Between 0 and 1, neither of them."""
        return ((self.words(*place, count=count) >> np.uint64(11)) + 0.5) * 2.0**-53

    def normal(self, *place: str | int, count: int) -> Float[np.ndarray, " count"]:
        """Of zero mean and unit variance, in float64; by Box and Muller, of sums."""
        half = -(-count * GAUSSIANS // 2)
        one, other = np.split(self.uniform(*place, count=2 * half), 2)
        radius, angle = np.sqrt(-2.0 * np.log(one)), 2.0 * np.pi * other
        drawn = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[: GAUSSIANS * count]
        return drawn.reshape(GAUSSIANS, count).sum(axis=0) / np.sqrt(GAUSSIANS)


def fresh(folder: Path) -> Secret:
    """A new secret, kept in the folder for the time of the run; only its owner may read the file."""
    key = secrets.token_bytes(KEY_BYTES)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{KEY_NAME}.tmp"
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder / KEY_NAME)
    return Secret(key)


def kept(folder: Path) -> Secret:
    """The secret of a run that is not done.

    Raises:
        CheckpointError: If it is gone: other noise for the same steps would need an account of its own.
    """
    path = folder / KEY_NAME
    key = path.read_bytes() if path.is_file() else b""
    if len(key) != KEY_BYTES:
        raise CheckpointError(
            "The secret of a private run is gone, so it cannot go on",
            where=str(path),
            expected=f"the {KEY_BYTES} bytes that the run wrote when it began",
            got=f"{len(key)} bytes" if path.is_file() else "no file",
            fix="start a new run in another folder; steps that were handed out already count for themselves",
        )
    return Secret(key)


def forget(folder: Path) -> None:
    """Delete the secret: whoever has it can take the noise off again."""
    (folder / KEY_NAME).unlink(missing_ok=True)
