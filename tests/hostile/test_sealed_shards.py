"""Sealed shard folders that somebody changed who has no key, or who seals as anybody can who knows a public one."""

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.finished import finished, put_seals
from data_pipelines.sealing import rewrite
from hdt_fm.data.shards import ShardFolder
from hdt_fm.data.stock import decode
from hdt_fm.schema import age
from hdt_fm.schema.errors import ConfigError, CorruptShardError, HdtError, ShardError
from hdt_fm.schema.npy import npy_header
from hdt_fm.schema.shard_index import read_index, write_index

pyrage = pytest.importorskip("pyrage")
SURFACE = "sealed shard folder"
SHARD, MEMBER = "train/made-00000.tar", "b000000.ppg.npy.age"


@pytest.fixture(scope="module")
def key() -> object:
    return pyrage.x25519.Identity.generate()


@pytest.fixture(autouse=True)
def told(key: object, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RECIPIENTS", key.to_public()), ("IDENTITY", key)):
        monkeypatch.delenv(f"HDT_FM_{name}_FILE", raising=False)
        monkeypatch.setenv(f"HDT_FM_{name}", str(value))


@pytest.fixture
def sealed(honest_shards: Path, room: Path) -> Path:
    rewrite(honest_shards, room / "sealed")
    return room / "sealed"


def seal(data: bytes) -> bytes:
    """As anybody can who knows the public key."""
    return age.seal(data, age.recipients(needed=True))


def entries_of(folder: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(folder / SHARD) as tar:
        return [(info.name, tar.extractfile(info).read()) for info in tar.getmembers()]


def put(folder: Path, entries: list[tuple[str, bytes]], *, vouched: bool) -> None:
    """Another tar in the place of the one there; `vouched` by seals that were made anew, and without an index."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    data = out.getvalue().rstrip(b"\0")
    data += bytes(-len(data) % 512 + 1024)
    (folder / SHARD).write_bytes(data)
    if vouched:
        (folder / SHARD).with_suffix(".idx").unlink()
        seals = dict(finished(folder).sealed.seals.shards)
        change = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        seals[SHARD] = seals[SHARD].model_copy(update=change)
        put_seals(folder, seals, to=age.recipients(needed=True))


def changed(change: Callable[[dict[str, bytes]], dict[str, bytes]], *, vouched: bool = True) -> Callable:
    return lambda folder: put(folder, list(change(dict(entries_of(folder))).items()), vouched=vouched)


def _opened(data: bytes) -> bytes:
    return age.Identity().open(data, most=1 << 30, where="x")


def _swapped(found: dict[str, bytes]) -> dict[str, bytes]:
    other = MEMBER.replace("b000000", "b000001")
    return found | {MEMBER: found[other], other: found[MEMBER]}


def _flipped(folder: Path) -> None:
    record = next(one for one in read_index(folder / "train/made-00000.idx").members if one["name"] == b"wid")
    raw = bytearray((folder / SHARD).read_bytes())
    raw[int(record["offset"] + record["length"]) - 3] ^= 1
    (folder / SHARD).write_bytes(raw)


def _cut(folder: Path) -> None:
    os.truncate(folder / SHARD, (folder / SHARD).stat().st_size - 5000)


def _manifest_of_somebody(folder: Path) -> None:
    stranger = str(pyrage.x25519.Identity.generate().to_public())
    (folder / "manifest.json.age").write_bytes(
        age.seal(_opened((folder / "manifest.json.age").read_bytes()), [stranger])
    )


def _manifest_beside(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(_opened((folder / "manifest.json.age").read_bytes()))


def _manifest_instead(folder: Path) -> None:
    _manifest_beside(folder)
    (folder / "manifest.json.age").unlink()


def _bomb() -> bytes:
    """An age file that says to hold a hundred gigabytes, of which nothing is there."""
    return seal(npy_header(np.dtype("<i2"), (2**40, 1, 4)) + bytes(64))


def _many_stanzas() -> bytes:
    data = seal(b"x" * 5000)
    first = data.index(b"\n") + 1
    return data[:first] + b"-> X25519 " + b"A" * 43 + b"\n" + (b"A" * 43 + b"\n") * 9000 + data[first:]


CASES: dict[str, tuple[Callable[[Path], None], type[HdtError], str]] = {
    "a byte of a sealed member changed": (_flipped, CorruptShardError, "differ from what was written"),
    "a shard that is cut off": (_cut, CorruptShardError, "cut off or changed"),
    "a plain member among sealed ones": (
        changed(
            lambda found: {(n[:-4] if n == MEMBER else n): (_opened(d) if n == MEMBER else d) for n, d in found.items()}
        ),
        ShardError,
        "lies plain in a sealed shard",
    ),
    "a plain member by the name of a sealed one": (
        changed(lambda found: found | {MEMBER: _opened(found[MEMBER])}),
        CorruptShardError,
        "is no age file",
    ),
    "members of two blocks that changed places, without seals": (
        changed(_swapped, vouched=False),
        CorruptShardError,
        "A shard is cut off or changed|differ from what was written",
    ),
    "a member sealed by a stranger, of another shape": (
        changed(lambda found: found | {MEMBER: seal(npy_header(np.dtype("<i2"), (6, 1, 9)) + bytes(108))}),
        ShardError,
        "another form than the header promises",
    ),
    "a member that is a pickle, sealed": (
        changed(lambda found: found | {MEMBER: seal(b"\x80\x04\x95")}),
        ShardError,
        "not a plain .npy array",
    ),
    "a member that declares 8 TB, sealed": (
        changed(lambda found: found | {MEMBER: _bomb()}),
        ShardError,
        "does not fill its member",
    ),
    "an age file with nine thousand stanzas": (
        changed(lambda found: found | {MEMBER: _many_stanzas()}),
        CorruptShardError,
        "is no age file",
    ),
    "a sealed member cut off inside its tar": (
        changed(lambda found: found | {MEMBER: found[MEMBER][:-40]}),
        ShardError,
        "does not fill its member|changed or cut off",
    ),
    "a manifest sealed for somebody else": (_manifest_of_somebody, ShardError, "cannot be opened"),
    "a plain manifest beside the sealed one": (_manifest_beside, ShardError, "a plain and a sealed manifest"),
    "a plain manifest in place of the sealed one": (_manifest_instead, HdtError, "cut off or changed|is sealed"),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused(case: str, sealed: Path) -> None:
    change, error, words = CASES[case]
    change(sealed)
    with pytest.raises(error, match=words):
        read_all(sealed)


def read_all(path: Path) -> None:
    folder = ShardFolder.open(path)
    folder.gather(np.arange(folder.windows))


GOT = {
    "an index whose places were exchanged": ("(none)", "made again from the tar; every window is the right one"),
    "a member that says to hold more than any, for stock webdataset": ("ShardError", "holds more than it may"),
    "a folder without a key to it": ("ConfigError", "no key is set to open them"),
}


def test_an_index_whose_places_were_exchanged(sealed: Path) -> None:
    expected = ShardFolder.open(sealed).window_ids
    path = (sealed / SHARD).with_suffix(".idx")
    index = read_index(path)
    members = index.members.copy()
    one, other = [place for place, record in enumerate(members) if record["name"] == b"wid"][:2]
    for field in ("offset", "length", "xxh3"):
        members[field][[one, other]] = members[field][[other, one]]
    write_index(path, type(index)(index.tar_bytes, index.tar_sha256, members))
    assert (ShardFolder.open(sealed).window_ids == expected).all()


def test_a_member_that_says_to_hold_more_than_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdt_fm.data.stock.MAX_DECODED_BYTES", 1000)
    monkeypatch.setattr("pyrage.decrypt_io", lambda *what: pytest.fail("something was opened"))
    with pytest.raises(ShardError, match="holds more than it may"):
        decode({"__key__": "b000000", "ppg.npy.age": seal(bytes(5000))})


def test_a_folder_without_a_key_to_it(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HDT_FM_IDENTITY")
    with pytest.raises(ConfigError, match="no key is set to open them"):
        ShardFolder.open(shutil.copytree(sealed, sealed.with_name("copy")))
