"""For people who read shards with plain webdataset: a decoder that never unpickles, and an un-batcher.

    dataset = webdataset.WebDataset(paths, shardshuffle=False).map(decode)
    for block in dataset: ...        # {"__key__": "b000000", "ppg": (window, channel, time), "mask": ..., ...}
    for window in dataset.compose(one_by_one): ...

i16 members are codes: value = code * lsb + offset, with the numbers in manifest.json or __hdt__/header.json.
Sealed members (`.npy.age`) are opened with HDT_FM_IDENTITY; labels of a sealed shard go by their number in the header.
Never call webdataset's own `.decode()` on shards that you did not make: it runs pickles.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import numpy as np

from hdt_fm.schema.age import SUFFIX
from hdt_fm.schema.codec import CODECS, MAX_DECODED_BYTES, Codec, decoded
from hdt_fm.schema.errors import ShardError
from hdt_fm.schema.npy import MAX_HEADER, parse_npy_header
from hdt_fm.schema.shard_seal import shard_identity

_BLOCK = re.compile(r"b[0-9]{6}")


def decode(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Members of a webdataset sample as arrays, plain, packed or sealed, without their suffix; others stay bytes.

    Raises:
        ShardError: If a member is not a plain array of what its header declares, or the sample is no block of a shard:
            webdataset keeps `../../name` and `/name` as keys, and whoever made a path of one would write there.
        ConfigError: If the library of its codec is not installed, or it is sealed and no key is set.
    """
    if "__key__" in sample and not _BLOCK.fullmatch(str(sample["__key__"])):
        raise ShardError(
            "A sample is not a block of a shard",
            where="the key of a sample",
            expected="bNNNNNN",
            fix="do not trust this shard; get it from its maker again",
        )
    arrays, identity = {}, shard_identity()
    for name, value in sample.items():
        member, dot, rest = name.removesuffix(SUFFIX).partition(".npy")
        codec = rest.removeprefix(".") or "none"
        known = bool(dot) and isinstance(value, bytes) and codec in CODECS
        if known and name.endswith(SUFFIX):
            value = identity.open(value, most=MAX_DECODED_BYTES + MAX_HEADER, where=name)
        arrays[member if known else name] = _array(value, cast(Codec, codec), name) if known else value
    return arrays


def _array(value: bytes, codec: Codec, name: str) -> np.ndarray:
    dtype, shape, header = parse_npy_header(value[:MAX_HEADER], len(value), packed=codec != "none", where=name)
    if codec == "none":
        # A copy: what comes of webdataset may be written into, and bytes may not.
        return np.frombuffer(value, dtype=dtype, offset=header).reshape(shape).copy()
    return decoded(memoryview(value)[header:], codec, dtype, shape, where=name)


def one_by_one(blocks: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Blocks -> windows."""
    for block in blocks:
        arrays = {name: value for name, value in block.items() if isinstance(value, np.ndarray)}
        for row in range(len(arrays["wid"])):
            yield {name: array[row] for name, array in arrays.items()}
