"""Tars of a shard folder whose manifest vouches for them: whoever made both had all the power there is."""

import gzip
import hashlib
import io
import json
import pickle
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import blosc2
import numpy as np
import pytest

from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema import shard_index, shard_walk
from hdt_fm.schema.errors import CorruptShardError, HdtError, LeakError, ShardError
from hdt_fm.schema.npy import npy_header
from hdt_fm.schema.shard_index import ShardIndex, read_index, write_index

SURFACE = "shard folder"
SHARD = "train/made-00000.tar"
Change = Callable[[list], list]


def member(name: str, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def packed(entries: list) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def unpacked(data: bytes) -> list:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [(info, tar.extractfile(info).read()) for info in tar.getmembers()]


def vouched(folder: Path, data: bytes) -> None:
    """Put a tar in place, take its index away, and let the manifest give its true size and digest."""
    path = folder / SHARD
    path.write_bytes(data)
    path.with_suffix(".idx").unlink(missing_ok=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["splits"]["train"][0] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def with_member(name: str, make: Callable[[object], bytes], **fields: object) -> Callable:
    """One member more, after the first block's."""
    return lambda entries, payload: [*entries, member(name, make(payload), **fields)]


def replaced(name: str, make: Callable[[object], bytes]) -> Callable:
    """Another content of a member that belongs there."""
    return lambda entries, payload: [
        member(name, make(payload)) if info.name == name else (info, data) for info, data in entries
    ]


def _object_array(payload: object) -> bytes:
    return npy(np.array([payload], dtype=object))


def _code_header(payload: object) -> bytes:
    text = b"{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (1,), }"
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.ljust(117) + b"\n"


def _endless(payload: object) -> bytes:
    return npy_header(np.dtype("<f4"), (2**30, 2**30)) + bytes(64)


def _b2(payload: object) -> bytes:
    array = np.zeros((6, 1, 256), np.int16)
    chunk = blosc2.compress2(array.view(np.uint8).reshape(-1), typesize=2)
    return npy_header(array.dtype, (2**40, 1, 256)) + chunk


PPG = "b000000.ppg.npy"
TARS = {
    "a pickle as a member (.pkl)": (with_member("b000000.extra.pkl", pickle.dumps), ShardError, "forbidden name"),
    "a pickle as a member (.pyd)": (with_member("b000000.extra.pyd", pickle.dumps), ShardError, "forbidden name"),
    "a pickle as a member (.pth)": (with_member("b000000.extra.pth", pickle.dumps), ShardError, "forbidden name"),
    "a pickle under an array's name": (replaced(PPG, pickle.dumps), ShardError, "not a plain .npy array"),
    "a pickle by a codec's name": (
        with_member("b000000.extra.npy.b2", pickle.dumps),
        ShardError,
        "not a plain .npy array",
    ),
    ".npy of Python objects": (replaced(PPG, _object_array), ShardError, "not a plain .npy array"),
    ".npy whose header is code": (replaced(PPG, _code_header), ShardError, "not a plain .npy array"),
    ".npy of 2^60 numbers": (replaced(PPG, _endless), ShardError, "does not fill its member"),
    "a codec's member of 500 TB": (
        with_member("b000000.extra.npy.b2", _b2),
        ShardError,
        "declares what no shard holds",
    ),
    "a member ../../evil": (with_member("../../evil.npy", _object_array), ShardError, "forbidden name"),
    "a member /abs/evil": (with_member("/tmp/hostile_evil.npy", _object_array), ShardError, "forbidden name"),
    "a symbolic link": (
        with_member(PPG, lambda _: b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        ShardError,
        "plain USTAR files only",
    ),
    "a hard link": (
        with_member(PPG, lambda _: b"", type=tarfile.LNKTYPE, linkname="b000000.wid.npy"),
        ShardError,
        "plain USTAR files only",
    ),
    "a device": (with_member(PPG, lambda _: b"", type=tarfile.CHRTYPE), ShardError, "plain USTAR files only"),
    "a member twice": (lambda entries, payload: [*entries, entries[-1]], ShardError, "holds a member twice"),
}


@pytest.mark.parametrize("case", TARS)
def test_a_tar_that_its_manifest_vouches_for(case: str, shards: Path, payload: object) -> None:
    change, error, words = TARS[case]
    vouched(shards, packed(change(unpacked((shards / SHARD).read_bytes()), payload)))
    with pytest.raises(error, match=words):
        ShardFolder.open(shards)


def _huge(data: bytes) -> bytes:
    raw = bytearray(data)
    place = 512 + -(-len(unpacked(data)[0][1]) // 512) * 512
    raw[place + 124 : place + 135] = b"77777777777"
    raw[place + 148 : place + 156] = b" " * 8
    raw[place + 148 : place + 155] = f"{sum(raw[place : place + 512]):06o}\0".encode()
    return bytes(raw)


BYTES = {
    "a tar that is cut off": (lambda data: data[: len(data) // 2], CorruptShardError, "has no proper end"),
    "a member that says it has 8 GB": (_huge, CorruptShardError, "larger than its shard"),
    "a compressed tar by the name .tar": (
        lambda data: gzip.compress(data + bytes(1 << 24)),
        CorruptShardError,
        "damaged or cut off",
    ),
    "a zip bomb by the name .tar": (
        lambda data: zlib.compress(bytes(1 << 24)),
        CorruptShardError,
        "damaged or cut off",
    ),
}


@pytest.mark.parametrize("case", BYTES)
def test_bytes_that_are_no_honest_tar(case: str, shards: Path) -> None:
    change, error, words = BYTES[case]
    vouched(shards, change((shards / SHARD).read_bytes()))
    with pytest.raises(error, match=words):
        ShardFolder.open(shards)


def test_a_tar_of_more_members_than_any(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of a million; the bound is lowered here, since the tar itself would be of 270 MB."""
    assert shard_walk.MAX_MEMBERS == shard_index.MAX_MEMBERS <= 1 << 18
    monkeypatch.setattr(shard_walk, "MAX_MEMBERS", 1000)
    tiny = [member(f"b000000.m{number}.npy", npy(np.zeros(1, np.uint8))) for number in range(1001)]
    vouched(shards, packed([unpacked((shards / SHARD).read_bytes())[0], *tiny]))
    with pytest.raises(ShardError, match="more members than any"):
        ShardFolder.open(shards)


def _lying(field: str, value: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = (folder / SHARD).with_suffix(".idx")
        index = read_index(path)
        members = index.members.copy()
        members[field][0] = value
        write_index(path, ShardIndex(index.tar_bytes, index.tar_sha256, members))

    return change


def _manifest(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        change(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return edit


def _raw_manifest(data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "manifest.json").write_bytes(data)


def _stranger(manifest: dict) -> None:
    for row in manifest["subjects"]:
        row["split"] = "test" if row["split"] == "train" else "train"


FOLDERS = {
    "an index that lies about a member's kind": (
        _lying("dtype", 5),
        ShardError,
        "another form than the header promises",
    ),
    "a manifest with another digest": (
        _manifest(lambda m: m["splits"]["train"][0].update(sha256="0" * 64)),
        CorruptShardError,
        "differ from what was written",
    ),
    "a manifest with a path ../../evil": (
        _manifest(lambda m: m["splits"]["train"][0].update(path="../../evil-00000.tar")),
        ShardError,
        "cannot be a shard",
    ),
    "a manifest with a path `pipe:`": (
        _manifest(lambda m: m["splits"]["train"][0].update(path="pipe:touch evil")),
        ShardError,
        "cannot be a shard",
    ),
    "a manifest that is a pickle": (_raw_manifest(pickle.dumps({})), ShardError, "manifest cannot be read"),
    "a manifest nested 100,000 deep": (_raw_manifest(b"[" * 100_000), ShardError, "manifest cannot be read"),
    "a manifest with a key of its own": (
        _manifest(lambda m: m.update({"_target_": "os.system"})),
        ShardError,
        "manifest cannot be read",
    ),
    "a manifest that swaps test and training people": (_manifest(_stranger), LeakError, "in another split"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_what_lies_beside_the_tars(case: str, shards: Path) -> None:
    change, error, words = FOLDERS[case]
    change(shards)
    with pytest.raises(error, match=words):
        ShardFolder.open(shards)


INDICES = {
    "an index that points outside of its tar": _lying("offset", 2**62),
    "an index that says an array has 2^80 numbers": _lying("shape", (2**40, 2**40, 1)),
}


@pytest.mark.parametrize("case", INDICES)
def test_an_index_that_lies_is_made_again_from_the_tar(
    case: str, shards: Path, caplog: pytest.LogCaptureFixture
) -> None:
    want = ShardFolder.open(shards).gather(np.arange(6))
    INDICES[case](shards)
    got = ShardFolder.open(shards).gather(np.arange(6))
    assert "damaged or of another version; it is made again" in caplog.text
    assert (got.signals["ppg"].values == want.signals["ppg"].values).all()


GOT = dict.fromkeys(INDICES, ("(none)", "index is made again from the tar, with a warning")) | {
    "a tar of 10^6 members": ("ShardError", "more members than any (2^18)")
}


def test_every_error_is_one_for_users() -> None:
    assert all(issubclass(error, HdtError) for table in (TARS, BYTES, FOLDERS) for _, error, _ in table.values())
