"""Codecs of shard members: `<m>.npy.b2` and `<m>.npy.pco` hold a plain .npy header, then the array's bytes, smaller.

What a member becomes stands in its header, in the open: it is bounded before anything is unpacked, and an index is made
without the libraries. `b2` is one chunk of blosc2 (LZ4 over shuffled bytes), `pco` a standalone pcodec file. Each is
written by one thread with fixed settings, so that equal arrays give equal bytes wherever, and however many at a time.

Format: https://github.com/Blosc/c-blosc2/blob/main/README_CHUNK_FORMAT.rst and https://github.com/pcodec/pcodec
"""

import math
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal

import numpy as np

from hdt_fm.schema.errors import ConfigError, CorruptShardError, ShardError

Codec = Literal["none", "b2", "pco"]
CODECS: tuple[Codec, ...] = ("none", "b2", "pco")
LIBRARIES = {"b2": "blosc2", "pco": "pcodec"}
# A block is 4-16 MB; past this, what a header declares is taken for an attack on memory.
MAX_DECODED_BYTES = 256 << 20
_B2_LEVEL, _B2_BLOCK, _B2_HEADER = 5, 1 << 17, 32
# A tenth smaller than level 4 on windows of int16, for a third more time; 10 takes twice that and gives 0.5 %.
_PCO_LEVEL = 8
# As we write them: LZ4; not compressed since it would not get smaller; the same of a few bytes.
_B2_FLAGS = (0x25, 0x27, 0x07)
_B2_FILTERS = bytes([0, 0, 0, 0, 0, 1])
_B2_LZ4 = bytes([1, 0])
# blosc2 lets these stand above the settings that it is called with; several threads write in the order they finish in.
_B2_SETTINGS = ("CLEVEL", "COMPRESSOR", "BLOCKSIZE", "SPLITMODE", "SHUFFLE", "TYPESIZE", "DELTA", "NTHREADS")


def need_codec(codec: Codec) -> None:
    """Make sure that the library of a codec is there.

    Raises:
        ConfigError: If it is not installed, or the environment would change what it writes.
    """
    if codec != "none":
        _library(codec)
    names = [f"BLOSC_{word}" for word in _B2_SETTINGS]
    harmless = {"BLOSC_NTHREADS": "1"}
    set_here = [name for name in names if name in os.environ and os.environ[name] != harmless.get(name)]
    if codec == "b2" and set_here:
        raise ConfigError(
            "The environment would change the bytes of packed members",
            where="environment",
            expected="the same bytes everywhere",
            got=f"{', '.join(set_here)} set",
            fix=f"unset {' '.join(set_here)}",
        )


def encode(array: np.ndarray, codec: Codec) -> bytes:
    """The bytes of a C-ordered array by `b2` or `pco`.

    Raises:
        ConfigError: As `need_codec`.
        ShardError: If the array is larger than anyone would unpack.
    """
    need_codec(codec)
    if array.nbytes > MAX_DECODED_BYTES:
        raise ShardError(
            f"A block is too large for the codec {codec!r}",
            expected=f"{MAX_DECODED_BYTES >> 20} MB at most",
            got=f"{array.nbytes >> 20} MB",
            fix="make block_windows smaller, or use codec none",
        )
    return _ENCODE[codec](np.ascontiguousarray(array).reshape(-1))


def decode_into(payload: bytes | memoryview, codec: Codec, out: np.ndarray, *, where: str) -> None:
    """Unpack into the caller's array; never past its end, and only if that is what it fills.

    Args:
        payload: What follows the .npy header.
        out: C-ordered, of the dtype and shape in that header.

    Raises:
        ConfigError: If the codec's library is not installed.
        CorruptShardError: If the bytes do not become this array. `out` then holds anything.
    """
    if not out.flags.c_contiguous:
        raise ValueError("a member is unpacked into a C-ordered array")
    library, flat = _library(codec), out.reshape(-1)
    try:
        whole = _DECODE[codec](library, payload, flat)
    except (ValueError, RuntimeError, TypeError):
        whole = False
    except BaseException as error:
        # pcodec is Rust: its panics come as a BaseException that has no other name to be caught by.
        if type(error).__name__ != "PanicException":
            raise
        whole = False
    if not whole:
        raise CorruptShardError(
            "A packed member does not become the array that its header declares",
            where=where,
            expected=f"{codec} of {out.nbytes} bytes",
            fix="copy the shard from its maker again, or build the folder again with `hdt-fm shard`",
        )


def decoded(payload: bytes | memoryview, codec: Codec, dtype: np.dtype, shape: tuple[int, ...], *, where: str) -> Any:
    """`decode_into` a new array.

    Raises:
        ShardError: If the declared size is past all bounds; nothing is unpacked then.
    """
    if math.prod(shape) * dtype.itemsize > MAX_DECODED_BYTES:
        raise ShardError("A packed member declares more than any block holds", where=where, got=f"shape {shape}")
    out = np.empty(shape, dtype)
    decode_into(payload, codec, out, where=where)
    return out


def _library(codec: Codec) -> Any:
    try:
        return import_module(LIBRARIES[codec])
    except ImportError:
        raise ConfigError(
            f"The codec {codec!r} needs {LIBRARIES[codec]}, which is not installed",
            fix="pip install 'hdt-fm[codecs]'",
        ) from None


def _b2_encode(flat: np.ndarray) -> bytes:
    blosc2 = _library("b2")
    return blosc2.compress2(
        flat.view(np.uint8),
        codec=blosc2.Codec.LZ4,
        clevel=_B2_LEVEL,
        filters=[blosc2.Filter(code) for code in _B2_FILTERS],
        filters_meta=[0] * 6,
        typesize=flat.itemsize,
        blocksize=_B2_BLOCK,
        splitmode=blosc2.SplitMode.ALWAYS_SPLIT,
        nthreads=1,
    )


def _b2_decode(blosc2: Any, payload: bytes | memoryview, flat: np.ndarray) -> bool:
    """A chunk may name other codecs and filters, for which blosc2 looks up and runs plug-ins: only ours pass."""
    head = bytes(payload[:_B2_HEADER])
    sizes = [int.from_bytes(head[place : place + 4], "little") for place in (4, 8, 12)]
    ours = (
        len(head) == _B2_HEADER
        and head[:2] == b"\x05\x01"
        and head[2] in _B2_FLAGS
        and head[3] == flat.itemsize
        and sizes[::2] == [flat.nbytes, len(payload)]
        and 0 < sizes[1] <= _B2_BLOCK
        and head[16:22] == _B2_FILTERS
        and head[22:24] == _B2_LZ4
        and not any(head[24:31])
        and head[31] in (0, 0x10)  # 0x10: nothing but zeros
    )
    if ours:
        blosc2.decompress2(payload, dst=flat.view(np.uint8), nthreads=1)
    return ours


def _pco_encode(flat: np.ndarray) -> bytes:
    pcodec = _library("pco")
    config = pcodec.ChunkConfig(compression_level=_PCO_LEVEL, enable_8_bit=flat.itemsize == 1)
    return pcodec.standalone.simple_compress(flat, config)


def _pco_decode(pcodec: Any, payload: bytes | memoryview, flat: np.ndarray) -> bool:
    done = pcodec.standalone.simple_decompress_into(bytes(payload), flat)
    return bool(done.finished) and done.n_processed == len(flat)


_ENCODE: dict[str, Callable[[np.ndarray], bytes]] = {"b2": _b2_encode, "pco": _pco_encode}
_DECODE: dict[str, Callable[[Any, bytes | memoryview, np.ndarray], bool]] = {"b2": _b2_decode, "pco": _pco_decode}
