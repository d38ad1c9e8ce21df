"""For people who read shards with plain webdataset: a decoder that never unpickles, and an un-batcher.

    dataset = webdataset.WebDataset(paths, shardshuffle=False).map(decode)
    for block in dataset: ...        # {"__key__": "b000000", "ppg": (window, channel, time), "mask": ..., ...}
    for window in dataset.compose(one_by_one): ...

i16 members are codes: value = code * lsb + offset, with the numbers in manifest.json or __hdt__/header.json.
Never call webdataset's own `.decode()` on shards that you did not make: it runs pickles.
"""

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import numpy as np

from hdt_fm.schema.codec import CODECS, Codec, decoded
from hdt_fm.schema.npy import MAX_HEADER, parse_npy_header


def decode(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Members of a webdataset sample as arrays, plain or packed, without their suffix; others stay bytes.

    Raises:
        ShardError: If a packed member is not what its header declares.
        ConfigError: If the library of its codec is not installed.
    """
    arrays = {}
    for name, value in sample.items():
        member, dot, rest = name.partition(".npy")
        codec = rest.removeprefix(".") or "none"
        known = bool(dot) and isinstance(value, bytes) and codec in CODECS
        arrays[member if known else name] = _array(value, cast(Codec, codec), name) if known else value
    return arrays


def _array(value: bytes, codec: Codec, name: str) -> np.ndarray:
    if codec == "none":
        return np.load(io.BytesIO(value), allow_pickle=False)
    dtype, shape, header = parse_npy_header(value[:MAX_HEADER], len(value), packed=True, where=name)
    return decoded(memoryview(value)[header:], codec, dtype, shape, where=name)


def one_by_one(blocks: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Blocks -> windows."""
    for block in blocks:
        arrays = {name: value for name, value in block.items() if isinstance(value, np.ndarray)}
        for row in range(len(arrays["wid"])):
            yield {name: array[row] for name, array in arrays.items()}
