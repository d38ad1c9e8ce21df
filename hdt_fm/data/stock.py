"""For people who read shards with plain webdataset: a decoder that never unpickles, and an un-batcher.

    dataset = webdataset.WebDataset(paths, shardshuffle=False).map(decode)
    for block in dataset: ...        # {"__key__": "b000000", "ppg": (window, channel, time), "mask": ..., ...}
    for window in dataset.compose(one_by_one): ...

i16 members are codes: value = code * lsb + offset, with the numbers in manifest.json or __hdt__/header.json.
Never call webdataset's own `.decode()` on shards that you did not make: it runs pickles.
"""

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np


def decode(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Members of a webdataset sample as arrays, the suffix `.npy` dropped; others stay bytes."""
    return {
        name.removesuffix(".npy"): np.load(io.BytesIO(value), allow_pickle=False) if name.endswith(".npy") else value
        for name, value in sample.items()
    }


def one_by_one(blocks: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Blocks -> windows."""
    for block in blocks:
        arrays = {name: value for name, value in block.items() if isinstance(value, np.ndarray)}
        for row in range(len(arrays["wid"])):
            yield {name: array[row] for name, array in arrays.items()}
