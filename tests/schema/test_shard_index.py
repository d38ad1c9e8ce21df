"""Foreign, hostile and damaged tars and indexes speak, and nothing in them runs."""

import io
import pickle
import random
import tarfile

import numpy as np
import pytest

from hdt_fm.schema.errors import CorruptShardError, ShardError
from hdt_fm.schema.npy import npy_header
from hdt_fm.schema.shard import ModalityColumn, ShardHeader
from hdt_fm.schema.shard_index import MEMBER, ShardIndex, read_index, write_index
from hdt_fm.schema.shard_walk import walk_tar

HEADER = ShardHeader(
    modalities=(ModalityColumn(name="ppg", unit="au", channels=1, sampling_rate_hz=5, samples=5, encoding="f32"),),
    labels=(),
    window_s=1,
    hop_s=1,
)


class Bomb:
    """Unpickled, it leaves a trace."""

    fired = False

    def __reduce__(self):
        return (setattr, (Bomb, "fired", True))


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def entry(name, data, **change):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in change.items():
        setattr(info, key, value)
    return info, data


def write(path, entries, *, header=True, form=tarfile.USTAR_FORMAT):
    first = [entry("__hdt__/header.json", HEADER.model_dump_json().encode())] if header else []
    with tarfile.open(path, "w", format=form) as tar:
        for info, data in [*first, *entries]:
            tar.addfile(info, io.BytesIO(data))
    return path


GOOD = [
    entry("b000000.ppg.npy", npy(np.arange(15, dtype=np.float32).reshape(3, 1, 5))),
    entry("b000000.wid.npy", npy(np.array([7, 8, 9]))),
    entry("b000001.wid.npy", npy(np.array([1, 2]))),
]


def test_the_walk_sees_what_tarfile_sees(tmp_path):
    path = write(tmp_path / "a.tar", GOOD)
    index = walk_tar(path)
    with tarfile.open(path) as tar:
        members = tar.getmembers()[1:]
    assert [int(record["offset"]) for record in index.members] == [member.offset_data for member in members]
    assert [int(record["length"]) for record in index.members] == [member.size for member in members]
    assert [f"b{r['block']:06d}.{r['name'].decode()}.npy" for r in index.members] == [m.name for m in members]
    assert index.members["shape"].tolist() == [[3, 1, 5], [3, 0, 0], [2, 0, 0]]


HOSTILE = {
    "pickle member": [entry("b000000.ppg.pkl", pickle.dumps(Bomb()))],
    "object array": [entry("b000000.ppg.npy", npy(np.array([Bomb()], dtype=object)))],
    "path outside": [entry("../../b000000.ppg.npy", GOOD[0][1])],
    "absolute path": [entry("/tmp/b000000.ppg.npy", GOOD[0][1])],
    "capital letter": [entry("b000000.PPG.npy", GOOD[0][1])],
    "second header": [entry("__hdt__/header.json", b"{}")],
    "same member twice": [GOOD[1], GOOD[1]],
    "blocks backwards": [GOOD[2], GOOD[1]],
    "symbolic link": [entry("b000000.ppg.npy", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")],
    "hard link": [entry("b000000.ppg.npy", b"", type=tarfile.LNKTYPE, linkname="b000000.wid.npy")],
    "device": [entry("b000000.ppg.npy", b"", type=tarfile.CHRTYPE)],
    "folder": [entry("b000000.ppg.npy", b"", type=tarfile.DIRTYPE)],
    "Fortran order": [entry("b000000.ppg.npy", npy(np.asfortranarray(np.ones((2, 3), np.float32))))],
    "structured dtype": [entry("b000000.ppg.npy", npy(np.zeros(2, MEMBER)))],
    "big endian": [entry("b000000.ppg.npy", npy(np.zeros(2, ">f4")))],
    "four axes": [entry("b000000.ppg.npy", npy(np.zeros((1, 1, 1, 2), np.float32)))],
    "no axis": [entry("b000000.ppg.npy", npy(np.float32(1)))],
    "claims more than there is": [entry("b000000.ppg.npy", npy_header(np.dtype("<f4"), (2**40, 2**40, 4)) + b"1234")],
    "code in its header": [
        entry("b000000.ppg.npy", b"\x93NUMPY\x01\x00\x40\x00" + b"__import__('os')".ljust(63) + b"\n")
    ],
    "huge npy header": [entry("b000000.ppg.npy", b"\x93NUMPY\x01\x00\xff\xff" + b" " * 70_000)],
    "not an array": [entry("b000000.ppg.npy", b"hello")],
    "empty member": [entry("b000000.ppg.npy", b"")],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_tars_are_refused(tmp_path, case):
    with pytest.raises(ShardError) as caught:
        walk_tar(write(tmp_path / "a.tar", HOSTILE[case]))
    assert "a.tar" in str(caught.value)
    assert "/etc" not in str(caught.value)
    assert not Bomb.fired


def test_foreign_tars_are_refused(tmp_path):
    with pytest.raises(ShardError, match="forbidden name"):
        walk_tar(write(tmp_path / "a.tar", [entry("photo.jpg", b"x" * 2000)], header=False))
    with pytest.raises(ShardError, match="not a shard"):
        walk_tar(write(tmp_path / "b.tar", GOOD, header=False))
    with pytest.raises(ShardError):
        walk_tar(write(tmp_path / "c.tar", [entry("é" * 90 + ".npy", b"x")], form=tarfile.PAX_FORMAT))
    with pytest.raises(ShardError, match="header"):
        walk_tar(write(tmp_path / "d.tar", [entry("__hdt__/header.json", b"{}"), *GOOD], header=False))
    (tmp_path / "e.tar").write_bytes(b"PK\x03\x04" + bytes(5000))
    with pytest.raises(ShardError):
        walk_tar(tmp_path / "e.tar")


def test_a_huge_declared_size_is_refused(tmp_path):
    info, data = GOOD[0]
    for size in ("77777777777", "00000777777"):
        raw = bytearray(write(tmp_path / "a.tar", [(info, data)]).read_bytes())
        raw[1024 + 124 : 1024 + 135] = size.encode()
        raw[1024 + 148 : 1024 + 156] = b" " * 8
        raw[1024 + 148 : 1024 + 155] = f"{sum(raw[1024:1536]):06o}\0".encode()
        (tmp_path / "b.tar").write_bytes(raw)
        with pytest.raises(CorruptShardError, match="larger than its shard"):
            walk_tar(tmp_path / "b.tar")


def test_every_truncation_is_seen(tmp_path):
    data = write(tmp_path / "a.tar", GOOD).read_bytes()
    end = len(data.rstrip(b"\0")) + 512
    for length in [*range(0, end, 97), end - 1]:
        (tmp_path / "b.tar").write_bytes(data[:length])
        with pytest.raises(CorruptShardError):
            walk_tar(tmp_path / "b.tar")


def test_any_flipped_bit_gives_a_shard_error_or_another_digest(tmp_path):
    data = write(tmp_path / "a.tar", GOOD).read_bytes()
    whole, chance = walk_tar(tmp_path / "a.tar"), random.Random(1)
    for _ in range(400):
        raw = bytearray(data)
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        (tmp_path / "b.tar").write_bytes(raw)
        try:
            assert walk_tar(tmp_path / "b.tar").tar_sha256 != whole.tar_sha256
        except ShardError:
            continue


def test_an_index_comes_back_and_any_flipped_bit_in_it_is_seen(tmp_path):
    index = walk_tar(write(tmp_path / "a.tar", GOOD))
    write_index(tmp_path / "a.idx", index)
    back = read_index(tmp_path / "a.idx")
    assert back.members.tobytes() == index.members.tobytes()
    assert (back.tar_bytes, back.tar_sha256) == (index.tar_bytes, index.tar_sha256)
    data, chance = (tmp_path / "a.idx").read_bytes(), random.Random(2)
    for _ in range(200):
        raw = bytearray(data)
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        (tmp_path / "b.idx").write_bytes(raw)
        with pytest.raises(CorruptShardError, match="damaged"):
            read_index(tmp_path / "b.idx")
    for length in (0, 7, 8, 40, len(data) - 1):
        (tmp_path / "b.idx").write_bytes(data[:length])
        with pytest.raises(CorruptShardError, match="damaged"):
            read_index(tmp_path / "b.idx")


@pytest.mark.parametrize(
    "change",
    [
        {"offset": 10**6},
        {"offset": 2**63},
        {"length": 2**40},
        {"dtype": 9},
        {"ndim": 0},
        {"ndim": 7},
        {"header": 1},
        {"shape": (2**32, 2**32, 1)},
    ],
)
def test_a_well_made_index_that_points_outside_is_refused(tmp_path, change):
    index = walk_tar(write(tmp_path / "a.tar", GOOD))
    members = index.members.copy()
    for key, value in change.items():
        members[key][0] = value
    write_index(tmp_path / "a.idx", ShardIndex(index.tar_bytes, index.tar_sha256, members))
    with pytest.raises(CorruptShardError, match="points outside"):
        read_index(tmp_path / "a.idx")
