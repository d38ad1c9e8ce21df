"""The blocks of a shard, after a check that its members are what the header promises."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from hdt_fm.schema.codec import Codec
from hdt_fm.schema.errors import ShardError
from hdt_fm.schema.npy import DTYPES
from hdt_fm.schema.shard import ShardEntry, ShardHeader
from hdt_fm.schema.shard_index import SEALED, codec_of, name_of, shape_of
from hdt_fm.schema.shard_seal import told_name

# Members that every block must have; they are read when the folder is opened, and are never packed.
FACTS = ("wid", "subj", "t0", "mask", "sqi")
Promise = tuple[str, tuple[int, ...], Codec]


def blocks_of(
    members: np.ndarray, header: ShardHeader, entry: ShardEntry, *, sealed: bool = False
) -> list[dict[str, int]]:
    """Members of each block by name: their places in the index.

    Args:
        sealed: Whether the folder is.

    Raises:
        ShardError: If a block lacks a member or has one of another form, there are more or fewer windows than
            the manifest promises, or a member lies plain in a sealed folder or sealed in a plain one.
    """
    odd = np.flatnonzero((members["codec"] >= SEALED) != sealed)
    if len(odd):
        raise ShardError(
            "A member of a shard lies " + ("plain in a sealed folder" if sealed else "sealed in a plain folder"),
            where=f"{entry.path}: {name_of(members[odd[0]])}",
            fix="do not trust this folder; get it from its maker again",
        )
    blocks, windows = [], 0
    for first, last in _edges(members):
        names = {members[place]["name"].decode(): place for place in range(first, last)}
        if sealed:
            names = {told_name(name, header): place for name, place in names.items()}
        if "wid" not in names or len(names) != last - first:
            raise ShardError(
                "A block of a shard is not complete", where=entry.path, expected="each member once, and wid"
            )
        size = int(members[names["wid"]]["shape"][0])
        _check(members, names, promised(header, size), where=entry.path)
        blocks.append(names)
        windows += size
    if (windows, len(blocks)) != (entry.windows, entry.blocks):
        raise ShardError(
            "A shard does not hold the windows that the manifest promises",
            where=entry.path,
            expected=f"{entry.windows} windows in {entry.blocks} blocks",
            got=f"{windows} in {len(blocks)}",
        )
    return blocks


def promised(header: ShardHeader, size: int) -> dict[str, Promise]:
    """What members a block of so many windows may have: dtype, shape, and the codec that it may be packed by."""
    columns = len(header.modalities)
    members: dict[str, Promise] = {
        "wid": ("<i8", (size,), "none"),
        "subj": ("<i4", (size,), "none"),
        "t0": ("<i8", (size,), "none"),
        "mask": ("|u1", (size, columns), "none"),
        "sqi": ("<f2", (size, columns), "none"),
    }
    for column in header.modalities:
        dtype = "<i2" if column.encoding == "i16" else "<f4"
        members[column.name] = (dtype, (size, column.channels, column.samples), column.codec)
        members[f"{column.name}_observed"] = ("|u1", (size, -(-column.samples // 8)), column.codec)
    return members | {f"y_{label.name}": ("<f4", (size,), "none") for label in header.labels}


def _edges(members: np.ndarray) -> Iterator[tuple[int, int]]:
    starts = np.flatnonzero(np.diff(members["block"].astype(np.int64), prepend=-1))
    return pairwise([*map(int, starts), len(members)])


def _check(members: np.ndarray, names: dict[str, int], promises: dict[str, Promise], *, where: str) -> None:
    for name, (dtype, shape, codec) in promises.items():
        if name not in names:
            if name in FACTS:
                raise ShardError("A block of a shard is not complete", where=f"{where}: {name}")
            continue
        record = members[names[name]]
        fits = shape_of(record) == shape and DTYPES[record["dtype"]] == np.dtype(dtype)
        if not fits or codec_of(record) not in ("none", codec):
            raise ShardError(
                "A member of a shard has another form than the header promises",
                where=f"{where}: {name_of(record)}",
                expected=f"{dtype} of shape {shape}" + (f", plain or by {codec}" if codec != "none" else ", plain"),
            )
