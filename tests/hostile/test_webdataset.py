"""Shards that people read with plain webdataset and our `decode`, which is what our README tells them to do."""

import gzip
import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import webdataset

from hdt_fm.data.stock import decode
from hdt_fm.schema.errors import CorruptShardError, ShardError
from hdt_fm.schema.npy import npy_header

SURFACE = "plain webdataset with our decode"


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as out:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


def read(path: Path) -> list[dict]:
    return list(webdataset.WebDataset([str(path)], shardshuffle=False).map(decode))


def _code(payload: object) -> bytes:
    text = b"{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (1,), }"
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.ljust(117) + b"\n"


def _objects(payload: object) -> bytes:
    return npy(np.array([payload], dtype=object))


SAMPLES: dict[str, tuple[str, Callable[[object], bytes], type[Exception], str]] = {
    "a key ../../evil": (
        "../../evil.ppg.npy",
        lambda _: npy(np.zeros(3, np.float32)),
        ShardError,
        "not a block of a shard",
    ),
    "a key /abs/evil": ("/abs/evil.ppg.npy", lambda _: npy(np.zeros(3, np.float32)), ShardError, "not a block"),
    ".npy of Python objects": ("b000000.ppg.npy", _objects, ShardError, "not a plain .npy array"),
    ".npy whose header is code": ("b000000.ppg.npy", _code, ShardError, "not a plain .npy array"),
    ".npy of 2^60 numbers": (
        "b000000.ppg.npy",
        lambda _: npy_header(np.dtype("<f4"), (2**30, 2**30)) + bytes(64),
        ShardError,
        "does not fill its member",
    ),
    "a packed member that declares 8 TB": (
        "b000000.ppg.npy.pco",
        lambda _: npy_header(np.dtype("<i2"), (2**42, 1)) + bytes(64),
        ShardError,
        "declares what no shard holds",
    ),
    "a packed member that is a pickle": (
        "b000000.ppg.npy.b2",
        lambda payload: npy_header(np.dtype("<i2"), (4, 1)) + pickle.dumps(payload),
        CorruptShardError,
        "does not become the array",
    ),
}


@pytest.mark.parametrize("case", SAMPLES)
def test_a_sample_is_refused(case: str, room: Path, payload: object) -> None:
    name, make, error, words = SAMPLES[case]
    with pytest.raises(error, match=words):
        read(tar(room / "a.tar", {name: make(payload)}))


@pytest.mark.parametrize("ending", ["pkl", "pyd", "pth", "pickle", "pt"])
def test_pickles_stay_bytes(ending: str, room: Path, payload: object) -> None:
    data = pickle.dumps(payload)
    array = npy(np.arange(6, dtype=np.int64))
    (sample,) = read(tar(room / "a.tar", {"b000000.wid.npy": array, f"b000000.extra.{ending}": data}))
    assert sample[f"extra.{ending}"] == data
    assert sample["wid"].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_compressed_tar_is_read_as_webdataset_does_and_runs_nothing(room: Path, payload: object) -> None:
    """webdataset unpacks a gzip by any name, without a bound: ours does not (see the shard folder)."""
    path = tar(room / "plain.tar", {"b000000.extra.pkl": pickle.dumps(payload)})
    (room / "a.tar").write_bytes(gzip.compress(path.read_bytes()))
    assert isinstance(read(room / "a.tar")[0]["extra.pkl"], bytes)


GOT = {
    "a pickle as a member (.pkl, .pyd, .pth, .pickle, .pt)": ("(none)", "stays bytes, nothing is run"),
    "a compressed tar by the name .tar": ("(none)", "webdataset unpacks it, without a bound; nothing is run"),
}
