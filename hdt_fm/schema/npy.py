"""The header of a `.npy` member: written with aligned data, read without trusting it.

Format: NumPy format 1.0 (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
"""

import math
import re
from collections.abc import Sequence

import numpy as np

from hdt_fm.schema.codec import MAX_DECODED_BYTES
from hdt_fm.schema.errors import ShardError

ALIGNMENT = 64
MAX_HEADER = 1024
DTYPES = tuple(np.dtype(text) for text in ("<f4", "<i2", "|u1", "<i4", "<i8", "<f2"))
_MAGIC = b"\x93NUMPY\x01\x00"
# One fixed spelling, the one numpy writes; anything else (objects, structures, Fortran order) is refused unread.
_HEADER = re.compile(rb"\{'descr': '([<|][fiu][1248])', 'fortran_order': False, 'shape': \(([0-9, ]{0,80})\), \} *\n")


def npy_header(dtype: np.dtype, shape: Sequence[int]) -> bytes:
    """Header of a C-ordered array, padded to a multiple of 64 bytes."""
    inner = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
    text = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': ({inner}), }}".encode()
    length = -(-(len(_MAGIC) + 2 + len(text) + 1) // ALIGNMENT) * ALIGNMENT
    body = text.ljust(length - len(_MAGIC) - 3) + b"\n"
    return _MAGIC + len(body).to_bytes(2, "little") + body


def parse_npy_header(
    start: bytes, payload_bytes: int, *, packed: bool = False, where: str
) -> tuple[np.dtype, tuple[int, ...], int]:
    """Read the first bytes of a member: dtype, shape and the length of the header.

    Args:
        payload_bytes: All that the member holds.
        packed: Something follows that becomes the array by a codec: it need not fill the member, and is bounded.

    Raises:
        ShardError: If it is not a plain array of a known dtype, or does not fill its member exactly.
    """
    length = len(_MAGIC) + 2 + int.from_bytes(start[8:10], "little")
    match = _HEADER.fullmatch(start[10:length]) if start[:8] == _MAGIC and length <= MAX_HEADER else None
    dtype = np.dtype(match[1].decode()) if match else None
    if match is None or dtype not in DTYPES:
        raise ShardError(
            "A member is not a plain .npy array",
            where=where,
            expected=f"format 1.0, C order, dtype one of {', '.join(known.str for known in DTYPES)}",
            fix="do not open it with anything that unpickles; get the shard from its maker again",
        )
    shape = tuple(int(number) for number in match[2].decode().replace(" ", "").split(",") if number)
    size = math.prod(shape) * dtype.itemsize
    if not 1 <= len(shape) <= 3 or (packed and not (size <= MAX_DECODED_BYTES and length < payload_bytes)):
        raise ShardError(
            "A packed array declares what no shard holds",
            where=where,
            expected=f"1 to 3 axes that make {MAX_DECODED_BYTES} bytes at most, and something to make them from",
            got=f"shape {shape} of {dtype.str}",
            fix="do not trust this shard; get it from its maker again",
        )
    if not packed and size + length != payload_bytes:
        raise ShardError(
            "An array does not fill its member",
            where=where,
            expected=f"1 to 3 axes that make {payload_bytes - length} bytes",
            got=f"shape {shape} of {dtype.str}",
        )
    return dtype, shape, length
